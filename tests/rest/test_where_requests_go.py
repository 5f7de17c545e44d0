"""Which certificates are trusted, which proxy is used, and that no login is looked for: the same for both clients."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from airflow_provider_workflows.rest.aio import AsyncClient
from airflow_provider_workflows.rest.certificates import VARIABLES
from airflow_provider_workflows.rest.clock import SYSTEM_CLOCK
from airflow_provider_workflows.rest.errors import ApiError, NotConnectedError
from airflow_provider_workflows.rest.protocol import HttpSettings
from airflow_provider_workflows.rest.sync import Client
from airflow_provider_workflows.rest.thread_runtime import _TlsAdapter
from tests.rest.loopback import Loopback, http, loopback
from tests.rest.made_up import Wire, say

Call = Callable[..., int]


def in_the_worker(url: str, **settings: Any) -> int:
    with Client(Wire(url), http=HttpSettings(**settings)) as client:
        return client.run(say()).http_status  # type: ignore[no-any-return]


def in_the_triggerer(url: str, **settings: Any) -> int:
    async def work() -> int:
        client = AsyncClient(Wire(url), http=HttpSettings(**settings))
        try:
            return (await client.run(say())).http_status  # type: ignore[no-any-return]
        finally:
            await client.close()

    return asyncio.run(work())


@pytest.fixture(params=[in_the_worker, in_the_triggerer])
def call(request: pytest.FixtureRequest) -> Call:
    """Call a URL with either client, and return the status of the answer."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"]
    for name in [*VARIABLES, *names, *(one.lower() for one in names), "NETRC"]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(authority: trustme.CA) -> Iterator[Loopback]:
    """Serve with a certificate that nobody trusts unless told to."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with loopback(lambda request: http(), tls) as server:
        yield server


@pytest.fixture
def url(server: Loopback) -> str:
    return f"https://127.0.0.1:{server.port}/"


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    """Return the path of a file with the certificates that lead to the server's."""
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


@pytest.fixture
def other_bundle(tmp_path: Path) -> str:
    path = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(path))
    return str(path)


class TestCertificates:
    def test_an_unknown_authority_is_not_trusted(self, call: Call, url: str, server: Loopback) -> None:
        seen = len(server.requests)
        with pytest.raises(NotConnectedError, match="certificate is not trusted"):
            call(url)
        assert len(server.requests) == seen

    def test_the_setting_names_whom_to_trust(self, call: Call, url: str, bundle: str) -> None:
        assert call(url, verify=bundle) == 200

    @pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
    def test_so_does_the_environment(
        self, call: Call, url: str, bundle: str, variable: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(variable, bundle)
        assert call(url) == 200

    @pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command makes such folders")
    def test_a_folder_of_certificates_does(
        self, call: Call, url: str, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = tmp_path / "certs"
        folder.mkdir()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        # OpenSSL looks for a file that is named after the certificate.
        hashing = ["openssl", "x509", "-noout", "-subject_hash", "-in", str(folder / "ca.pem")]
        name = subprocess.run(hashing, capture_output=True, text=True, check=True).stdout.strip()
        (folder / "ca.pem").rename(folder / f"{name}.0")
        monkeypatch.setenv("SSL_CERT_DIR", str(folder))
        assert call(url) == 200

    def test_the_setting_counts_more_than_the_environment(
        self, call: Call, url: str, bundle: str, other_bundle: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for variable in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.setenv(variable, other_bundle)
        assert call(url, verify=bundle) == 200
        with pytest.raises(NotConnectedError, match="certificate is not trusted"):
            call(url)

    def test_who_is_named_is_trusted_and_nobody_else(self, call: Call, url: str, other_bundle: str) -> None:
        with pytest.raises(NotConnectedError, match="certificate is not trusted"):
            call(url, verify=other_bundle)

    @pytest.mark.parametrize("content", [None, "", "no certificate"])
    @pytest.mark.parametrize("name", ["verify", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
    def test_where_there_are_none_is_said_at_once(
        self, call: Call, url: str, name: str, content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "certificates.pem"
        if content is not None:
            path.write_text(content)
        settings = {"verify": str(path)} if name == "verify" else {}
        if not settings:
            monkeypatch.setenv(name, str(path))
        with pytest.raises(ValueError, match=rf"^{name} names a path at which there are no certificates$"):
            call(url, **settings)


class TestProxy:
    @pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
    def test_plain_http_which_is_for_loopback_uses_none(
        self, call: Call, variable: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with (
            loopback(lambda request: http(status="502 Bad Gateway")) as proxy,
            loopback(lambda request: http()) as server,
        ):
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
            assert call(f"http://127.0.0.1:{server.port}/") == 200
        assert (proxy.connections, server.connections) == (0, 1)

    @pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
    def test_https_uses_the_one_that_the_environment_names_and_shows_it_no_path(
        self, call: Call, variable: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with loopback(lambda request: http(status="403 Forbidden")) as proxy:
            monkeypatch.setenv(variable, f"http://127.0.0.1:{proxy.port}")
            with pytest.raises(NotConnectedError, match="proxy"):
                call("https://acme.example/rest/1/c0de/")
        (request, *_) = proxy.requests
        assert request.startswith(b"CONNECT acme.example:443 ")
        assert b"c0de" not in b"".join(proxy.requests)

    @pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
    def test_one_that_speaks_tls_is_checked_like_the_server(
        self, call: Call, variable: str, server: Loopback, bundle: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.requests.clear()
        monkeypatch.setenv(variable, f"https://127.0.0.1:{server.port}")
        with pytest.raises(NotConnectedError):
            call("https://acme.example/")
        assert server.requests == []
        with pytest.raises(ApiError):  # it is asked, and this one leads nowhere
            call("https://acme.example/", verify=bundle)
        assert server.requests[0].startswith(b"CONNECT acme.example:443 ")

    @pytest.mark.parametrize("exempt", ["*", "127.0.0.1"])
    def test_one_that_speaks_tls_is_not_asked_for_what_goes_without(
        self, call: Call, exempt: str, url: str, bundle: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "https://127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", exempt)
        assert call(url, verify=bundle) == 200

    @pytest.mark.parametrize("proxy", ["socks://u:s3cret@127.0.0.1:1", "ftp://u:s3cret@h", "http://u:s3cret/x@h:1"])
    def test_of_one_that_cannot_be_used_no_password_is_shown(self, proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        monkeypatch.setattr(SYSTEM_CLOCK, "sleep", lambda *_: None)
        with pytest.raises(NotConnectedError, match="the address of the host, or of the proxy") as caught:
            in_the_worker("https://acme.example/")
        assert "s3cret" not in str(caught.value)

    def test_one_of_socks_can_be_used_where_its_package_is_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[dict[str, Any]] = []
        monkeypatch.setattr("requests.adapters.SOCKSProxyManager", lambda url, **how: made.append(how))
        _TlsAdapter(ssl.create_default_context()).proxy_manager_for("SOCKS5h://127.0.0.1:1080")
        # More would be taken for what tells its connections from others, and refused.
        assert [sorted(how) for how in made] == [["block", "maxsize", "num_pools", "password", "username"]]


class TestNetrc:
    @pytest.mark.parametrize("entry", ["default", "machine 127.0.0.1"])
    def test_it_is_never_read(self, call: Call, entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = tmp_path / ".netrc"
        path.write_text(f"{entry} login somebody password s0mething\n")
        path.chmod(0o600)
        monkeypatch.setenv("NETRC", str(path))
        monkeypatch.setenv("HOME", str(tmp_path))
        with loopback(lambda request: http()) as server:
            assert call(f"http://127.0.0.1:{server.port}/") == 200
        assert b"authorization" not in server.requests[0].lower()
