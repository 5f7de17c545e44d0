"""What may stand in the ``extra`` of connections. Imported when one is read: these models take a while to be made."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, field_validator

from airflow_provider_workflows.bitrix24.limits.bucket import Limits
from airflow_provider_workflows.bitrix24.oauth.application import check_token_url
from airflow_provider_workflows.domo.account import IN_FLIGHT as DOMO_IN_FLIGHT
from airflow_provider_workflows.domo.account import INSTANCE_PATH
from airflow_provider_workflows.rest.protocol import IN_FLIGHT, MOST_IN_FLIGHT, HttpSettings


class HttpExtra(BaseModel):
    """The part of ``extra`` that all connection types have.

    :param connect_timeout: seconds for making a connection, default 10.
    :param read_timeout: seconds without a byte of the reply, default 70.
    :param total_timeout: seconds for a request and its whole reply, default 180.
    :param max_reply_size: bytes that a decoded reply may have, default 64 MiB.
    :param verify: path of the certificates to trust, a file or a folder; certificates are always checked.
    """

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    connect_timeout: float = Field(HttpSettings().connect_timeout, gt=0)
    read_timeout: float = Field(HttpSettings().read_timeout, gt=0)
    total_timeout: float = Field(HttpSettings().total_timeout, gt=0)
    max_reply_size: int = Field(HttpSettings().max_reply_size, gt=0)
    verify: str | None = None

    @field_validator("verify", mode="before")
    @classmethod
    def _is_a_path(cls, verify: Any) -> Any:
        if isinstance(verify, bool):
            raise ValueError("must be the path of a CA bundle: certificates are always checked")
        return verify

    def http(self) -> HttpSettings:
        """Return how requests are made."""
        return HttpSettings(**{field.name: getattr(self, field.name) for field in fields(HttpSettings)})


class Bitrix24Extra(HttpExtra):
    """The ``extra`` of a connection of type ``bitrix24``.

    :param access_token: OAuth access token, instead of a webhook's user id and code; it is not renewed.
    :param client_id: id of a local application, instead of them: its tokens are renewed.
    :param client_secret: the application's secret.
    :param token_url: its token server; default: ``https://oauth.bitrix.info/oauth/token/``.
    :param bucket_capacity: requests that may go at once; 50, on Enterprise plans 250.
    :param bucket_drain: requests a second after that; 2, on Enterprise plans 5.
    :param operating_limit: seconds that a method may run in ten minutes; 480.
    :param in_flight: requests under way at once in bulk work at most; 16.
    :param max_share: the part of both that is ours, above 0 and at most 1; the rest is left to other integrations.
    :param shared_store: id of a connection of type ``redis``, ``postgres`` or ``mysql``: where workers on several
        hosts share the rate limit and the tokens; default: the files of each host, and an Airflow Variable.
    """

    access_token: SecretStr | None = None
    client_id: str | None = None
    client_secret: SecretStr | None = None
    token_url: Annotated[str, AfterValidator(check_token_url)] | None = None
    bucket_capacity: float = Field(Limits().bucket_capacity, ge=2)
    bucket_drain: float = Field(Limits().bucket_drain, gt=0)
    operating_limit: float = Field(Limits().operating_limit, gt=0)
    in_flight: int = Field(IN_FLIGHT, ge=1, le=MOST_IN_FLIGHT)
    max_share: float = Field(1.0, gt=0, le=1)
    shared_store: str | None = None


class DomoExtra(HttpExtra):
    """The ``extra`` of a connection of type ``domo``.

    :param instance_path: path at which one workflow instance is read (undocumented by Domo).
    :param in_flight: requests under way at once, of one task or of all triggers of a triggerer; 4.
    """

    instance_path: str = INSTANCE_PATH
    in_flight: int = Field(DOMO_IN_FLIGHT, ge=1, le=MOST_IN_FLIGHT)
