"""A Domo account (instance host) and the credential it is called with."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from airflow_provider_workflows.rest.address import FieldError, base_url
from airflow_provider_workflows.rest.redaction import hide_frames, register_secret

#: Where one workflow instance is read. Domo does not document it; public code reads it here.
INSTANCE_PATH = "/api/workflow/v1/instances/{instance_id}"
#: Requests under way at once, unless set in the connection. Domo does not publish its limits.
IN_FLIGHT = 4


@dataclass(frozen=True, slots=True)
class Account:
    """A Domo account.

    :param base_url: e.g. ``https://acme.domo.com``.
    :param token: developer token.
    :param instance_path: path at which one workflow instance is read, with ``{instance_id}`` in it
        (undocumented by Domo, hence settable).
    """

    base_url: str
    token: str = field(repr=False)
    instance_path: str = INSTANCE_PATH

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[!-~]+", self.token or ""):
            raise FieldError("password", "must be the developer token: printable, with no spaces")
        if not re.fullmatch(r"/[!-z|~]*\{instance_id\}[!-z|~]*", self.instance_path):
            raise FieldError("instance_path", "must be a path that holds '{instance_id}' once")
        if urlsplit(self.base_url).path or self.base_url != base_url(self.base_url):
            raise FieldError("host", "must be the account's host name, with no path, e.g. acme.domo.com")
        register_secret(self.token)

    @classmethod
    @hide_frames
    def with_token(
        cls,
        host: str | None,
        token: str,
        scheme: str | None = None,
        port: int | None = None,
        instance_path: str = INSTANCE_PATH,
    ) -> Self:
        """Return an account called with a developer token.

        :param host: the account's host name, e.g. ``acme.domo.com``.
        :param token: the developer token.
        :param scheme: ``https``, or ``http`` for a loopback host.
        :param port: port, if not the scheme's own.
        :param instance_path: see the class.
        :raises FieldError: with the connection field's name.
        """
        return cls(base_url(host, scheme, port), token.strip(), instance_path)
