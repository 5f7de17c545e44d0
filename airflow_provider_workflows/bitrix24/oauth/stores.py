"""Where the tokens of a connection are kept, and which worker may renew them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from pydantic import BaseModel, ValidationError

from airflow_provider_workflows.bitrix24.oauth.tokens import Tokens
from airflow_provider_workflows.records.store import RecordStore

#: Seconds for which one worker may renew the tokens: more than it needs for two requests. If it is killed meanwhile,
#: the others wait for so long.
LEASE = 30.0
#: Seconds for which a refresh token that was refused is not tried again.
REFUSED = 600.0

#: Is given the tokens (``None``: there are none) and the store's time, and returns the new ones (``None``: as they
#: were). It may be called several times.
TokenStep = Callable[[Tokens | None, float], Tokens | None]


class TokenStore(Protocol):
    """The tokens of one connection, where all workers find them. Its ``str`` says where that is."""

    @property
    def spread(self) -> float:
        """Seconds over which hosts spread their renewals; 0 where the lease holds for all hosts."""

    def change(self, step: TokenStep) -> tuple[Tokens | None, float]:
        """Replace the tokens by what a step makes of them.

        :returns: what is stored then, and the store's time.
        :raises OSError: if the store is not available now.
        """


class Cipher(Protocol):
    """Encrypts what is stored."""

    def encrypt(self, content: bytes) -> bytes:
        """Return what may be stored."""

    def decrypt(self, content: bytes) -> bytes | None:
        """Return the plain text; ``None`` if the key is not the one it was encrypted with."""


class RecordTokenStore:
    """Keeps tokens in a record that all workers share.

    :param name: the record's name.
    :param cipher: what keeps them secret there.
    """

    spread = 0.0

    def __init__(self, records: RecordStore, name: str, cipher: Cipher) -> None:
        self._records = records
        self._name = name
        self._cipher = cipher

    def __str__(self) -> str:
        return f"{self._records}, record {self._name}"

    def change(self, step: TokenStep) -> tuple[Tokens | None, float]:
        """Change the record."""

        def change(content: bytes | None, now: float) -> tuple[tuple[Tokens | None, float], bytes | None]:
            opened = self._cipher.decrypt(content) if content else None
            found = parse_tokens(opened)
            new = step(found, now)
            stored = self._cipher.encrypt(new.model_dump_json().encode()) if new else None
            return (new or found, now), stored

        return self._records.change(self._name, change)


def parse_tokens(content: bytes | str | None) -> Tokens | None:
    """Return stored tokens; ``None`` if they cannot be read."""
    try:
        return Tokens.model_validate_json(content) if content else None
    except ValidationError:
        return None


class _LeaseRecord(BaseModel):
    owner: str = ""
    until: float = 0.0
    refused: str = ""
    refused_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Turn:
    """The answer to a request for the lease.

    :param wait: seconds for which another worker may hold it; 0 if it was taken.
    :param refused_for: seconds since the refresh token was refused; ``None`` if it was not.
    """

    wait: float = 0.0
    refused_for: float | None = None


class Lease:
    """Lets one worker at a time renew the tokens, for a limited time: a killed worker holds others up no longer.

    :param records: a store shared by all workers that must not renew at once.
    :param name: the record's name.
    """

    def __init__(self, records: RecordStore, name: str) -> None:
        self._records = records
        self._name = name

    def take(self, owner: str, fingerprint: str) -> Turn:
        """Ask for the lease, for :data:`LEASE` seconds from now.

        :param owner: id of the worker; the same one may ask again.
        :param fingerprint: of the refresh token that is to be used.
        :raises OSError: if the store is not available now.
        """

        def step(content: bytes | None, now: float) -> tuple[Turn, bytes | None]:
            record = _parse_lease(content)
            if record.refused == fingerprint and 0 <= now - record.refused_at < REFUSED:
                return Turn(refused_for=now - record.refused_at), None
            # What ends later than any lease was written by a clock that has been set since.
            if record.owner not in ("", owner) and now < record.until <= now + LEASE:
                return Turn(wait=record.until - now), None
            mine = record.model_copy(update={"owner": owner, "until": now + LEASE})
            return Turn(), mine.model_dump_json().encode()

        return self._records.change(self._name, step)

    def drop(self, owner: str, refused: str = "") -> None:
        """Release the lease.

        :param owner: id of the worker; nothing is done if another one holds it by now.
        :param refused: the fingerprint of a refresh token that was refused.
        :raises OSError: if the store is not available now.
        """

        def step(content: bytes | None, now: float) -> tuple[None, bytes | None]:
            record = _parse_lease(content)
            if record.owner != owner:
                return None, None
            free = _LeaseRecord(refused=refused or record.refused, refused_at=now if refused else record.refused_at)
            return None, free.model_dump_json().encode()

        self._records.change(self._name, step)


def _parse_lease(content: bytes | None) -> _LeaseRecord:
    try:
        return _LeaseRecord.model_validate_json(content) if content else _LeaseRecord()
    except ValidationError:
        return _LeaseRecord()
