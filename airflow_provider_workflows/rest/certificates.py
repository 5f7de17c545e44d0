"""Which certificates are trusted: the same in the worker and in the triggerer, whatever their HTTP libraries read."""

from __future__ import annotations

import os
import ssl
from functools import cache
from pathlib import Path

import certifi

from airflow_provider_workflows.rest.address import FieldError

#: Environment variables that name certificates to trust instead of the usual ones. The first that is set counts.
VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


def trusted(verify: str | None = None) -> ssl.SSLContext:
    """Return the TLS context that checks servers' certificates: as set, as the environment says, or certifi's.

    It serves all connections of a client, as making one reads all certificates.

    :param verify: path of a file of certificates, or of a folder of them as OpenSSL reads it.
    :raises ValueError: with the name of the setting or variable, if there are none at its path.
    """
    places = [("verify", verify), *((name, os.environ.get(name)) for name in VARIABLES)]
    name, path = next((place for place in places if place[1]), ("", None))
    if path is None:
        return _usual()
    try:
        is_folder = Path(path).is_dir()
        return ssl.create_default_context(cafile=None if is_folder else path, capath=path if is_folder else None)
    except OSError:  # also a file of something else
        raise FieldError(name, "names a path at which there are no certificates") from None


@cache
def _usual() -> ssl.SSLContext:
    return ssl.create_default_context(cafile=certifi.where())
