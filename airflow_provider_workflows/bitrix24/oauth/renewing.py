"""How tokens are renewed: by one worker at a time, and written before they are used.

A refresh token may work only once. So a worker whose access token is refused first reads whether a newer one is stored.
If not, the worker that gets the lease asks the token server, and stores the new tokens. If it is killed at any point,
another one takes over when the lease has run out.
"""

from __future__ import annotations

import logging
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from airflow_provider_workflows.bitrix24.errors import (
    AuthorizeAgainError,
    RefreshTokenError,
    TokenServerError,
    TokenStoreError,
)
from airflow_provider_workflows.bitrix24.oauth.application import Application
from airflow_provider_workflows.bitrix24.oauth.stores import Lease, TokenStore, Turn
from airflow_provider_workflows.bitrix24.oauth.tokens import TokenReply, Tokens
from airflow_provider_workflows.bitrix24.oauth.wire import LicenceCall, TokenCall
from airflow_provider_workflows.rest.errors import ApiError, ProviderError, RejectedError, UnknownOutcomeError
from airflow_provider_workflows.rest.plans import Blocking, Count, Pause, Plan

log = logging.getLogger(__name__)

#: Seconds between two reads of the store while another worker renews the tokens.
WAIT = 0.5
#: Seconds to wait for another worker's tokens when this worker's refresh token is refused.
LOOK = 10.0
#: How often new tokens are tried to be stored, and seconds between two tries: for ten minutes, as without them the
#: connection is lost, and sooner than another worker gives up who looks for them.
WRITES, WRITE_PAUSE = 200, 3.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Chain:
    """The tokens of a connection, each pair of which replaces the one before.

    :param application: whose they are.
    :param store: where they are kept.
    :param lease: whose turn it is to renew them.
    """

    application: Application
    store: TokenStore
    lease: Lease


def load_tokens(chain: Chain) -> Plan[tuple[Tokens, float]]:
    """Return the tokens that are stored, and the store's time.

    :raises AuthorizeAgainError: if there are none.
    """
    tokens, now = yield _at_store(chain, lambda: chain.store.change(lambda *_: None))
    if tokens is None:
        raise AuthorizeAgainError("oauth.token", text=f"no tokens are stored for {chain.application.conn_id!r}")
    return tokens, now


def usable_tokens(chain: Chain, refused: str | None = None) -> Plan[Tokens]:
    """Return tokens that can be used: those that are stored, or if these have expired or are refused, new ones.

    :param refused: the access token that the portal has refused.
    :returns: the tokens that are stored then, perhaps by another worker.
    :raises AuthorizeAgainError: if only a person can go on.
    :raises AuthenticationError: if the token server does not accept the application.
    :raises NotProcessedError: if the token server or the store is not available now.
    """
    owner = secrets.token_hex(8)
    while True:
        tokens, now = yield from load_tokens(chain)
        if _usable(tokens, now, refused):
            return tokens
        turn: Turn = yield _at_store(chain, partial(chain.lease.take, owner, tokens.fingerprint))
        if turn.refused_for is not None:
            return (yield from _await_other(chain, tokens, LOOK - turn.refused_for))
        if not turn.wait:
            break
        yield Pause(min(WAIT, turn.wait), "another worker renews the tokens", "poll")
    if chain.store.spread:
        at_random = random.uniform(0, chain.store.spread)  # noqa: S311
        yield Pause(at_random, "leaving workers on other hosts time to renew the tokens first", "poll")
    try:
        # Again, as another one may have had its turn since.
        tokens, now = yield from load_tokens(chain)
        renewed = tokens if _usable(tokens, now, refused) else (yield from _renew(chain, tokens))
    except RefreshTokenError as error:
        yield from _drop(chain, owner, tokens.fingerprint)
        return (yield from _await_other(chain, tokens, LOOK, error))
    except ApiError:
        yield from _drop(chain, owner)
        raise
    yield from _drop(chain, owner)
    return renewed if renewed is tokens else (yield from read_licence(chain, renewed))


def _usable(tokens: Tokens, now: float, refused: str | None) -> bool:
    return tokens.access_token != refused and now < tokens.expires_at


def exchange_code(chain: Chain, code: str, server: str | None) -> Plan[Tokens]:
    """Return the first tokens, after a person has authorised the application; they are stored in place of any others.

    :param code: what the portal gave for them; it works once, and for half a minute.
    :param server: the token server that the portal has named.
    :raises ApiError: if there are none.
    """
    application = chain.application
    reply = yield from _ask(TokenCall(application.token_url_at(server), "authorization_code", code))
    if not application.is_portal(reply.client_endpoint):
        text = f"the tokens are not for {application.base_url} but for another portal; nothing is stored"
        raise RejectedError("oauth.token", text=text)
    tokens = yield from _store(chain, None, reply)
    return (yield from read_licence(chain, tokens))


def read_licence(chain: Chain, tokens: Tokens) -> Plan[Tokens]:
    """Ask the portal for its plan, and store it with the tokens. Tokens are as good without it.

    :returns: the tokens with it.
    """

    def step(found: Tokens | None, _: float) -> Tokens | None:
        return found.model_copy(update={"licence": licence}) if found and _same(found, tokens) else None

    try:
        licence: str = yield LicenceCall(tokens.access_token)
        if licence == tokens.licence:
            return tokens
        stored, _ = yield _at_store(chain, partial(chain.store.change, step))
    except ApiError as error:
        log.info("The portal's plan could not be read: %s", error.message)
        return tokens
    return stored or tokens


def _renew(chain: Chain, old: Tokens) -> Plan[Tokens]:
    application = chain.application
    reply = yield from _ask(
        TokenCall(application.token_url_at(old.server_endpoint), "refresh_token", old.refresh_token)
    )
    if not application.is_portal(reply.client_endpoint):
        log.warning("The portal of %r has a new address; set the connection's host to it", application.conn_id)
    tokens = yield from _store(chain, old, reply)
    yield Count("token_refreshes")
    return tokens


def _ask(call: TokenCall) -> Plan[TokenReply]:
    """Ask for tokens, and once more if the reply is lost: if the server has renewed them, it may tell again."""
    try:
        reply: TokenReply = yield call
        return reply
    except UnknownOutcomeError as error:
        log.warning("The token server's reply was lost; asking once more: %s", error.message)
    yield Pause(1.0, "the token server's reply was lost")
    try:
        reply = yield call
        return reply
    except UnknownOutcomeError as error:
        raise TokenServerError(str(call), code=error.code, http_status=error.http_status, text=error.text) from None


def _store(chain: Chain, old: Tokens | None, reply: TokenReply) -> Plan[Tokens]:
    """Store new tokens, unless others have replaced the old ones meanwhile; return what is stored."""

    def step(found: Tokens | None, now: float) -> Tokens | None:
        ours = old is None or found is None or _same(found, old)
        return Tokens.after(found or old, reply, now) if ours else None

    for left in reversed(range(WRITES)):
        try:
            stored, _ = yield _at_store(chain, partial(chain.store.change, step))
        except TokenStoreError as error:
            if not left:
                raise
            log.warning("The new tokens could not be stored; they are not used until they are: %s", error.message)
            yield Pause(WRITE_PAUSE, "new tokens could not be stored")
        else:
            break
    log.info("Tokens of %r: pair %d is stored", chain.application.conn_id, stored.generation)
    return stored  # type: ignore[no-any-return]


def _same(found: Tokens | None, old: Tokens) -> bool:
    return found is not None and (found.refresh_token, found.generation) == (old.refresh_token, old.generation)


def _await_other(chain: Chain, old: Tokens, seconds: float, refusal: RefreshTokenError | None = None) -> Plan[Tokens]:
    """Return the tokens that another worker, which used the same refresh token first, stores."""
    while seconds > 0:
        yield Pause(1.0, "another worker may be storing new tokens", "poll")
        seconds -= 1.0
        found, _ = yield from load_tokens(chain)
        if not _same(found, old):
            return found
    text = f"the token server does not accept the refresh token of {chain.application.conn_id!r} any more"
    code, status = (refusal.code, refusal.http_status) if refusal else (None, None)
    raise AuthorizeAgainError("oauth.token", code=code, http_status=status, text=text)


def _drop(chain: Chain, owner: str, refused: str = "") -> Plan[None]:
    try:
        yield _at_store(chain, lambda: chain.lease.drop(owner, refused))
    except TokenStoreError as error:
        log.warning("The lease was not released; other workers may have to wait for half a minute: %s", error.message)


def _at_store(chain: Chain, function: Callable[[], T]) -> Blocking:
    """Return a step that uses the store; a failure of the store is raised as an error of the call."""

    def guarded() -> T:
        try:
            return function()
        except OSError as error:
            text = error.message if isinstance(error, ProviderError) else f"{chain.store}: {error}"
            raise TokenStoreError("oauth.token", text=text) from None

    return Blocking(guarded)
