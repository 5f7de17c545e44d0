"""The tokens that an application is given."""

from __future__ import annotations

import hashlib
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from airflow_provider_workflows.rest.redaction import register_secret

DAY = 86400.0
#: Seconds after which an unused refresh token is in doubt (the vendor once said 28 days), and in danger (now 180).
DOUBTFUL_AGE, DANGEROUS_AGE = 21 * DAY, 150 * DAY


class _Pair(BaseModel):
    """Two tokens, which are hidden wherever this package writes."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    access_token: str = Field(pattern=r"^[!-.0-~]+$", repr=False)
    refresh_token: str = Field(pattern=r"^[!-~]+$", repr=False)

    def model_post_init(self, _: Any) -> None:
        register_secret(self.access_token)
        register_secret(self.refresh_token)


class TokenReply(_Pair):
    """What a token server gives.

    :param access_token: for calls.
    :param refresh_token: for the next pair.
    :param expires_in: seconds for which the first one works.
    :param member_id: the portal's id.
    :param client_endpoint: where the portal says that it is called.
    :param server_endpoint: where the token server says that it is.
    """

    expires_in: float = Field(3600.0, ge=0)
    member_id: str = ""
    client_endpoint: str | None = None
    server_endpoint: str | None = None

    @field_validator("expires_in", "member_id", "client_endpoint", "server_endpoint", mode="wrap")
    @classmethod
    def _or_default(cls, value: Any, read: ValidatorFunctionWrapHandler, field: ValidationInfo) -> Any:
        """Read an optional field: if it is malformed, the tokens, which come only once, are still used."""
        try:
            return read(value)
        except ValidationError:
            return cls.model_fields[str(field.field_name)].default


class Tokens(_Pair):
    """The pair of tokens that a connection has now, as it is stored.

    :param access_token: for calls.
    :param refresh_token: for the next pair.
    :param generation: how many pairs there have been.
    :param issued_at: Unix time at which the pair was stored, by the store's clock.
    :param expires_at: Unix time from which the access token works no more, by the same clock.
    :param member_id: the portal's id.
    :param server_endpoint: what the token server calls itself.
    :param licence: the portal's plan, as it says; empty if it is not known.
    """

    generation: int
    issued_at: float
    expires_at: float
    member_id: str = ""
    server_endpoint: str | None = None
    licence: str = ""

    @classmethod
    def after(cls, old: Tokens | None, reply: TokenReply, now: float) -> Tokens:
        """Return the pair that follows another one.

        :param old: the pair before; ``None`` for the first one.
        :param now: Unix time.
        """
        return cls(
            access_token=reply.access_token,
            refresh_token=reply.refresh_token,
            generation=old.generation + 1 if old else 1,
            issued_at=now,
            expires_at=now + reply.expires_in,
            member_id=reply.member_id,
            server_endpoint=reply.server_endpoint or (old.server_endpoint if old else None),
            licence=old.licence if old else "",
        )

    @property
    def is_enterprise(self) -> bool:
        """Return whether the portal's plan is known, and is an Enterprise one (such as ``de_enterprise250``)."""
        return "ent" in {part[:3] for part in self.licence.lower().split("_")}

    @property
    def fingerprint(self) -> str:
        """Return a hash that identifies the refresh token without revealing it."""
        return hashlib.sha256(self.refresh_token.encode()).hexdigest()[:16]

    def age_warning(self, now: float) -> str | None:
        """Return a warning about the refresh token's age; ``None`` if it is young.

        :param now: Unix time.
        """
        age = now - self.issued_at
        if age < DOUBTFUL_AGE:
            return None
        limit = "after 180 days" if age >= DANGEROUS_AGE else "after 180 days, and by older pages of Bitrix24 after 28"
        return (
            f"The refresh token has not been used for {age / DAY:.0f} days. An unused one stops working {limit}; "
            "then a person has to authorise the connection again. Have a small Dag use the connection each week."
        )
