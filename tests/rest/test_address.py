"""One account has one address, however it is written; what only looks like it is refused."""

from __future__ import annotations

import pytest

from airflow_provider_workflows.rest.address import base_url


@pytest.mark.parametrize(
    ("host", "scheme", "port"),
    [
        ("acme.example", None, None),
        ("ACME.example", "https", 443),
        ("acme.example/", "", 0),
        ("acme.example:443", None, None),
        ("https://acme.example", None, 443),
        (" HTTPS://Acme.Example:443/ ", "https", 443),
    ],
)
def test_one_account_has_one_address(host: str, scheme: str | None, port: int | None) -> None:
    assert base_url(host, scheme, port) == "https://acme.example"


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("intra", "https://intra"),
        ("a_b.acme.example", "https://a_b.acme.example"),
        ("_b24.acme.example", "https://_b24.acme.example"),
        ("intra/b24", "https://intra/b24"),
        ("intra:8443/apps/b24.v2/", "https://intra:8443/apps/b24.v2"),
        ("10.0.0.7", "https://10.0.0.7"),
        ("2001:DB8::7", "https://[2001:db8::7]"),
        ("[2001:db8::7]", "https://[2001:db8::7]"),
        ("http://[::1]:8024", "http://[::1]:8024"),
    ],
)
def test_where_an_account_may_be(host: str, url: str) -> None:
    assert base_url(host) == url


@pytest.mark.parametrize(
    "host",
    [
        "user@acme.example",
        "https://acme.example@evil.example",
        "acme.example:443@evil.example",
        "acme.example\\@evil.example",
        "acme.example\\.evil.example",
        "acme.example\t.evil.example",
        "acme.example\r\n.evil.example",
        "acme.example%00.evil.example",
        "acme.exampl\u0435",
        "acme.example/..",
        "acme.example/b24/../other",
        "acme.example/b24/%2e%2e/other",
        "acme.example/.b24",
        "acme.example//b24",
        "acme.example/b24;x",
        "acme.example?x",
        "acme.example#x",
        "fe80::1%eth0",
        "[::1",
        "1:2:3",
        "acme.example:0x50",
        "acme.example:70000",
        "file:///etc/passwd",
        "http://10.0.0.7",
        "http://127.1",
        "http://2130706433",
        "http://[::2]",
    ],
)
def test_what_may_lead_elsewhere_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"host|schema|port") as caught:
        base_url(host)
    assert "acme" not in str(caught.value).replace("acme.bitrix24.com", "")


@pytest.mark.parametrize(
    ("host", "scheme", "port", "differs"),
    [
        ("https://127.0.0.1", "http", None, "scheme"),
        ("acme.example:443", None, 8443, "port"),
        ("http://127.0.0.1:8024", "https", 8025, "scheme and port"),
    ],
)
def test_what_contradicts_itself_is_refused(host: str, scheme: str | None, port: int | None, differs: str) -> None:
    with pytest.raises(ValueError, match=f"contradict each other about the account's {differs}$"):
        base_url(host, scheme, port)
