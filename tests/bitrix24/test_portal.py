from __future__ import annotations

import traceback

import pytest

from airflow_provider_workflows.bitrix24.portal import Portal, budget_name
from airflow_provider_workflows.rest.redaction import MASK, redact

CODE = "p0rtal0c0de0f0acme"
URL = f"https://acme.bitrix24.com/rest/17/{CODE}/"


class TestFromWebhookUrl:
    @pytest.mark.parametrize(
        "url",
        [
            URL,
            URL.removesuffix("/"),
            f"{URL}bizproc.workflow.instances",
            f"{URL}profile.json",
            f"{URL}crm.deal.list?filter[ID]=1",
            f"  {URL}\n",
            f"HTTPS://ACME.bitrix24.com/rest/17/{CODE}/",
        ],
    )
    def test_it_is_read_as_bitrix24_shows_it(self, url: str) -> None:
        assert Portal.from_webhook_url(url) == Portal("https://acme.bitrix24.com", 17, CODE)

    def test_a_self_hosted_portal_may_have_a_port(self) -> None:
        portal = Portal.from_webhook_url(f"https://b24.acme.example:8443/rest/1/{CODE}/")
        assert portal.base_url == "https://b24.acme.example:8443"

    def test_a_self_hosted_portal_may_lie_in_a_folder(self) -> None:
        portal = Portal.from_webhook_url(f"https://intra/apps/b24/rest/1/{CODE}/profile.json")
        assert portal.method_url("batch") == f"https://intra/apps/b24/rest/1/{CODE}/batch"

    @pytest.mark.parametrize(
        "url",
        [
            "",
            CODE,
            f"acme.bitrix24.com/rest/17/{CODE}/",
            f"https://acme.bitrix24.com/{CODE}/",
            f"https://acme.bitrix24.com/rest/{CODE}/17/",
            "https://acme.bitrix24.com/rest/17/",
            "https://acme.bitrix24.com/rest/17//",
            f"https://acme.bitrix24.com/rest/api/17/{CODE}/",
            f"https:///rest/17/{CODE}/",
            f"https://acme.bitrix24.com:{CODE}/rest/17/{CODE}/",
            f"https://[{CODE}/rest/17/{CODE}/",
            f"ftp://acme.bitrix24.com/rest/17/{CODE}/",
            f"http://acme.bitrix24.com/rest/17/{CODE}/",
            f"https://acme..bitrix24.com/rest/17/{CODE}/",
            f"https://acme.bitrix24.com@evil.com/rest/17/{CODE}/",
            f"https://acme.bitrix24.com:443@evil.com/rest/17/{CODE}/",
            f"https://acme.bitrix24.com\\@evil.com/rest/17/{CODE}/",
            f"https://acme.bitrix24.com\n.evil.com/rest/17/{CODE}/",
            f"https://acme.bitrix24.com/../rest/17/{CODE}/",
            f"https://acme.bitrix24.com/{CODE}/rest/17/{CODE}/",
            "https://acme.bitrix24.com/rest/17/../",
            f"https://acme.bitrix24.com/rest/17/'{CODE}'/",
        ],
    )
    def test_anything_else_is_refused_without_repeating_it(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"host|URL|schema") as caught:
            Portal.from_webhook_url(url)
        assert CODE not in "".join(traceback.format_exception(caught.value))


class TestFields:
    def test_a_webhook_is_a_user_and_a_code(self) -> None:
        portal = Portal.with_webhook("acme.bitrix24.com", "17", f" {CODE} ")
        assert portal.method_url("batch") == f"https://acme.bitrix24.com/rest/17/{CODE}/batch"

    def test_an_access_token_has_no_user(self) -> None:
        portal = Portal.with_access_token("acme.bitrix24.com", f"{CODE}\n")
        assert (portal.user_id, portal.secret) == (None, CODE)
        assert portal.method_url("batch") == "https://acme.bitrix24.com/rest/batch"

    @pytest.mark.parametrize("user_id", ["", None, "admin", "1.5", "-1", CODE])
    def test_a_user_id_is_a_number(self, user_id: str | None) -> None:
        with pytest.raises(ValueError, match=r"^login must be") as caught:
            Portal.with_webhook("acme.bitrix24.com", user_id, CODE)
        assert CODE not in str(caught.value)

    @pytest.mark.parametrize(
        "code",
        [
            "",
            " ",
            "..",
            f"{CODE} x",
            f"17/{CODE}",
            f"{CODE}\r\nX-Header: 1",
            f"{CODE}ü",
            f"'{CODE}'",
            f"{CODE}?x",
            f"..%2f{CODE}",
        ],
    )
    def test_a_code_that_would_change_the_address_is_refused(self, code: str) -> None:
        with pytest.raises(ValueError, match=r"^password must be") as caught:
            Portal.with_webhook("acme.bitrix24.com", 17, code)
        assert CODE not in str(caught.value)

    @pytest.mark.parametrize("token", ["", "  ", f"{CODE} x", f"x/{CODE}"])
    def test_a_token_that_is_no_token_is_refused(self, token: str) -> None:
        with pytest.raises(ValueError, match=r"^access_token must be") as caught:
            Portal.with_access_token("acme.bitrix24.com", token)
        assert CODE not in str(caught.value)

    @pytest.mark.parametrize(
        "host",
        [
            "",
            None,
            "acme bitrix24",
            "acme.bitrix24.com/?x=1",
            "acme.bitrix24.com/../x",
            "acme:x",
            "-acme.com",
            "acme..com",
            "a" * 64 + ".com",
            CODE + "@x",
        ],
    )
    def test_a_host_is_a_host_name(self, host: str | None) -> None:
        with pytest.raises(ValueError, match=r"^host ") as caught:
            Portal.with_webhook(host, 17, CODE)
        assert CODE not in str(caught.value)

    @pytest.mark.parametrize("url", ["https://acme.bitrix24.com@evil.com", "http://evil.com", "https://evil.com/?"])
    def test_nor_is_a_base_url_taken_as_it_comes(self, url: str) -> None:
        with pytest.raises(ValueError, match=r"host|schema|base_url"):
            Portal(url, 17, CODE)


class TestScheme:
    def test_https_is_what_you_get_unless_you_say_otherwise(self) -> None:
        assert Portal.with_webhook("acme.bitrix24.com", 1, CODE).base_url == "https://acme.bitrix24.com"
        assert Portal.with_webhook("acme.bitrix24.com", 1, CODE, scheme="").base_url == "https://acme.bitrix24.com"

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.10"])
    def test_http_is_for_loopback(self, host: str) -> None:
        assert Portal.with_webhook(host, 1, CODE, "http", 8024).base_url == f"http://{host}:8024"

    @pytest.mark.parametrize("host", ["acme.bitrix24.com", "10.0.0.1", "localhost.acme.com", "127.0.0.1.nip.io"])
    def test_http_to_anywhere_else_is_refused(self, host: str) -> None:
        with pytest.raises(ValueError, match=r"^schema must not be 'http' .* clear text"):
            Portal.with_webhook(host, 1, CODE, "http")

    @pytest.mark.parametrize("scheme", ["ftp", "HTTP", "file", CODE])
    def test_other_schemes_are_refused(self, scheme: str) -> None:
        with pytest.raises(ValueError, match=r"^schema must be 'https'") as caught:
            Portal.with_webhook("127.0.0.1", 1, CODE, scheme)
        assert CODE not in str(caught.value)


class TestSecret:
    def test_it_is_not_in_the_repr(self) -> None:
        portal = Portal.from_webhook_url(URL)
        assert "acme.bitrix24.com" in repr(portal)
        assert CODE not in repr(portal)

    def test_it_is_redacted_from_texts_from_then_on(self) -> None:
        Portal.with_access_token("acme.bitrix24.com", "t0ken+w1th&s1gns")
        assert redact("in clear t0ken+w1th&s1gns, quoted t0ken%2Bw1th%26s1gns") == f"in clear {MASK}, quoted {MASK}"


class TestBudgetName:
    """All that call a portal share its budget, and no other portal's."""

    NAME = budget_name("https://acme.bitrix24.com")

    @pytest.mark.parametrize(
        "url",
        [
            "https://ACME.Bitrix24.com",
            "https://acme.bitrix24.com:443",
            "https://acme.bitrix24.com.",
            "https://Acme.bitrix24.com.:443/",
        ],
    )
    def test_a_portal_has_one_budget_however_its_host_is_written(self, url: str) -> None:
        assert budget_name(url) == self.NAME

    @pytest.mark.parametrize(
        "url",
        [
            "https://other.bitrix24.com",
            "https://acme.bitrix24.com:8443",
            "https://acme.bitrix24.com/b24",
            "http://acme.bitrix24.com",
            "https://acme.bitrix24.de",
        ],
    )
    def test_another_portal_has_another_budget(self, url: str) -> None:
        assert budget_name(url) != self.NAME

    def test_a_portal_at_an_ip_address_has_a_budget_too(self) -> None:
        assert budget_name("http://[::1]:8000") != budget_name("http://[::1]:8001")
