"""The tokens of local applications: where Airflow keeps them, and how workers get them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

from airflow.providers.common.compat.sdk import mask_secret

from airflow_provider_workflows.bitrix24.errors import TokenStoreError
from airflow_provider_workflows.bitrix24.oauth.application import Application
from airflow_provider_workflows.bitrix24.oauth.renewing import Chain, exchange_code, load_tokens, usable_tokens
from airflow_provider_workflows.bitrix24.oauth.stores import Lease, RecordTokenStore, TokenStep, parse_tokens
from airflow_provider_workflows.bitrix24.oauth.tokens import Tokens
from airflow_provider_workflows.bitrix24.oauth.wire import TokenWire
from airflow_provider_workflows.hooks.connections import ConnectionFieldError
from airflow_provider_workflows.hooks.observers import observer_for
from airflow_provider_workflows.hooks.stores import record_store
from airflow_provider_workflows.records.store import RecordStoreError
from airflow_provider_workflows.rest.clock import Clock
from airflow_provider_workflows.rest.driver import Driver
from airflow_provider_workflows.rest.plans import Plan
from airflow_provider_workflows.rest.protocol import HttpSettings
from airflow_provider_workflows.rest.redaction import hide_frames, register_secret
from airflow_provider_workflows.rest.thread_runtime import ThreadRuntime
from airflow_provider_workflows.rest.threads import finish

log = logging.getLogger(__name__)

#: Seconds for a request to the token server. Two of them have to end before a lease does.
TOKEN_TIMEOUT = 10.0

T = TypeVar("T")


class VariableTokenStore:
    """Keeps tokens in an Airflow Variable, which Airflow encrypts. Any worker can write it at any time.

    :param name: the Variable's key. Airflow masks what it holds, as it has the word "token" in it.
    :param clock: returns the Unix time.
    """

    spread = 1.0

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self._name = name
        self._clock = clock

    def __str__(self) -> str:
        return f"Airflow's Variable {self._name}"

    def change(self, step: TokenStep) -> tuple[Tokens | None, float]:
        """Read the Variable, and write it if there is something new."""
        try:
            found = parse_tokens(_variable().get(self._name, None))
            now = self._clock()
            new = step(found, now)
            if new:
                about = "Tokens of a Bitrix24 application. Written by airflow-provider-workflows."
                _variable().set(self._name, new.model_dump_json(), about)
        except Exception as error:
            # Whatever Airflow, its database or a secrets backend raises.
            raise RecordStoreError(str(self), type(error).__name__) from None
        return new or found, now


def _variable() -> Any:
    """Return the class of Airflow's that works here: tasks and triggers need another one than commands."""
    if hasattr(sys.modules.get("airflow.sdk.execution_time.task_runner"), "SUPERVISOR_COMMS"):
        from airflow.sdk import Variable
    else:
        from airflow.models.variable import Variable
    return Variable


def _airflows_fernet() -> Any:
    try:
        from airflow.sdk.crypto import get_fernet
    except ImportError:
        from airflow.models.crypto import get_fernet
    return get_fernet()


class AirflowCipher:
    """Encrypts as Airflow does.

    :param conn_id: whose tokens they are, for the error.
    :raises ConnectionFieldError: if Airflow has no key.
    """

    def __init__(self, conn_id: str) -> None:
        self._fernet = _airflows_fernet()
        if not self._fernet.is_encrypted:
            raise ConnectionFieldError(conn_id, "tokens are only stored encrypted: set Airflow's [core] fernet_key")

    def encrypt(self, content: bytes) -> bytes:
        """Return what may be stored."""
        return bytes(self._fernet.encrypt(content))

    def decrypt(self, content: bytes) -> bytes | None:
        """Return the plain text; ``None`` if the key is not the one it was encrypted with."""
        # Not with the module: Dag files import it.
        from cryptography.fernet import InvalidToken

        try:
            return bytes(self._fernet.decrypt(content))
        except InvalidToken:
            log.error("The stored tokens cannot be decrypted: this host has another [core] fernet_key")
            return None


@lru_cache(maxsize=32)
def chain_of(application: Application, shared_store: str | None, clock: Clock) -> Chain:
    """Return where the tokens of an application are kept, and the lease to renew them. May block.

    :param shared_store: id of the connection of the store that workers share; ``None``: an Airflow Variable.
    :raises ConnectionFieldError: if they cannot be kept there.
    """
    name = application.name
    # With no shared store, these are the files of each host: of its workers, one at a time renews the tokens.
    records = record_store(shared_store, clock.time)
    lease = Lease(records, f"{name}-lease")
    if shared_store is None:
        return Chain(application, VariableTokenStore(name, clock.time), lease)
    return Chain(application, RecordTokenStore(records, name, AirflowCipher(application.conn_id)), lease)


@hide_frames
def run(plan: Plan[T], application: Application, http: HttpSettings, clock: Clock) -> T:
    """Run a plan about tokens, in this thread: Airflow answers only certain threads of its triggerer.

    :param http: how requests are made; those for tokens may take :data:`TOKEN_TIMEOUT` at most.
    :raises ApiError: if it fails.
    """
    brief = replace(http, connect_timeout=TOKEN_TIMEOUT, read_timeout=TOKEN_TIMEOUT, total_timeout=TOKEN_TIMEOUT)
    runtime = ThreadRuntime(brief, clock)
    try:
        driver = Driver(TokenWire(application), runtime, clock)
        driver.observer = observer_for("bitrix24", application.base_url, clock)
        return finish(driver.run(plan, longest_pause=None, retry_timeout=0.0))
    except TokenStoreError:
        # The store's connection may have another password by now: a triggerer lives for weeks.
        chain_of.cache_clear()
        raise
    finally:
        runtime.close()


@dataclass(frozen=True, slots=True)
class ApplicationTokens:
    """The tokens of a connection to a local application. Airflow hides all that is secret about them.

    :param chain: where they are, and whose.
    """

    chain: Chain
    http: HttpSettings
    clock: Clock

    @hide_frames
    def stored(self) -> tuple[Tokens, float]:
        """Return the tokens that are stored, be they good or not, and the store's time.

        :raises AuthorizeAgainError: if there are none.
        :raises TokenStoreError: if the store cannot be reached now.
        """
        tokens, now = self._run(load_tokens(self.chain))
        if warning := tokens.age_warning(now):
            log.warning("Connection %r: %s", self.chain.application.conn_id, warning)
        return _masked(tokens), now

    @hide_frames
    def renewed(self, refused: str | None) -> Tokens:
        """Return tokens that can be used, new ones if need be.

        :param refused: the access token that the portal has refused.
        :raises ApiError: if there are none.
        """
        return _masked(self._run(usable_tokens(self.chain, refused)))

    @hide_frames
    def exchange(self, code: str, server: str | None) -> Tokens:
        """Return the tokens for a code; they are stored.

        :param code: what the portal gave for them; it works once, and for half a minute.
        :param server: the token server that the portal has named.
        :raises ApiError: if there are none.
        """
        register_secret(code)
        mask_secret(code)
        return _masked(self._run(exchange_code(self.chain, code, server)))

    def _run(self, plan: Plan[T]) -> T:
        return run(plan, self.chain.application, self.http, self.clock)


def _masked(tokens: Tokens) -> Tokens:
    mask_secret(tokens.access_token)
    mask_secret(tokens.refresh_token)
    return tokens
