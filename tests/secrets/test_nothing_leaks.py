"""A grep for the credentials over all captured output of all failing tests at DEBUG finds nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

import pytest

from tests.rest.loopback import HANG, closed_port, http, loopback
from tests.secrets.answers import FAILURES, TOKEN_FAILURES, renewing

ROOT = Path(__file__).parents[2]
SCENARIOS = Path(__file__).with_name("failing_scenarios.py")

#: The tokens with characters that a URL quotes; a webhook's code has none.
WEBHOOK, TOKEN, DOMO = "w3bh00k-c0de_7f2a", "acc3ss+t0ken=9e1b", "DDCI|d3vel0per+t0ken"
#: Of an application: its key, its tokens, those that it is given, and the code for them.
KEY, ACCESS, REFRESH = "cl13nt+s3cret=77", "st0red+acc3ss=4d", "st0red|r3fresh+21"
NEW_ACCESS, NEW_REFRESH, CODE = "n3w+acc3ss=90aa", "n3w|r3fresh+4cc", "c0de+0f=authoriz3"
NEW = {"access_token": NEW_ACCESS, "refresh_token": NEW_REFRESH, "expires_in": 3600}
STORED = {"access_token": ACCESS, "refresh_token": REFRESH, "generation": 1, "issued_at": 1, "expires_at": 9e9}
SECRETS = (WEBHOOK, TOKEN, DOMO, KEY, ACCESS, REFRESH, NEW_ACCESS, NEW_REFRESH, CODE)
CONTROLS = ["MESSAGE", "VARIABLE", "FRAME", "CAUSE", "LOG", "PICKLE", "XCOM", "URL", "LIBRARY"]


def connections(host: str, port: int | None, scheme: str, failure: str) -> dict[str, dict[str, Any]]:
    """Return the connections of all credentials to one server."""
    place = {"host": host, "port": port, "schema": scheme}
    timeouts = {"read_timeout": {"hang": 0.1, "hang_long": 3.0}.get(failure, 20)}
    return {
        f"webhook_{failure}": {**place, "login": "1", "password": WEBHOOK, "extra": timeouts},
        f"token_{failure}": {**place, "extra": {**timeouts, "access_token": TOKEN}},
        f"domo_{failure}": {**place, "password": DOMO, "extra": timeouts},
    }


ACME = {"host": "acme.bitrix24.com", "login": "1", "password": WEBHOOK}
ACME_DOMO = {"host": "acme.domo.com", "password": DOMO}
BAD_CONNECTIONS: dict[str, dict[str, Any] | str] = {
    "bad_host": ACME | {"host": f"acme.bitrix24.com/{WEBHOOK}"},
    "bad_host_port": ACME | {"host": f"https://acme.bitrix24.com:{WEBHOOK}/"},
    "bad_pasted": {"host": f"https://acme.bitrix24.com/rest/{WEBHOOK}/"},
    "bad_pasted_port": {"host": f"https://acme.bitrix24.com:{WEBHOOK}/rest/1/{WEBHOOK}/"},
    "bad_pasted_code": ACME | {"password": f"https://acme.bitrix24.com/rest/{WEBHOOK}/"},
    "bad_host_user": ACME | {"host": f"https://acme.bitrix24.com:{WEBHOOK}@evil.com"},
    "bad_host_control": ACME | {"host": f"acme.bitrix24.com/{WEBHOOK}\r\n\x1b[2K"},
    "bad_host_query": ACME | {"host": f"acme.bitrix24.com?{WEBHOOK}"},
    "bad_other_host": ACME | {"host": "acme.de", "password": f"https://acme.bitrix24.com/rest/1/{WEBHOOK}/"},
    "bad_other_login": ACME | {"login": "2", "password": f"https://acme.bitrix24.com/rest/1/{WEBHOOK}/"},
    "bad_other_code": ACME | {"host": f"https://acme.bitrix24.com/rest/1/{WEBHOOK}x/"},
    "bad_quoted_code": ACME | {"password": f"'{WEBHOOK}'"},
    "bad_user": f"https://{quote(WEBHOOK)}:443@acme.bitrix24.com/rest/1/{quote(WEBHOOK)}/",
    "bad_conn_type": ACME | {"conn_type": "https"},
    "bad_domo_conn_type": ACME | {"conn_type": "bitrix24"},
    "bad_domo_host_user": ACME_DOMO | {"host": f"https://acme.domo.com:{quote(DOMO)}@evil.com"},
    "bad_code": ACME | {"password": f"1/{WEBHOOK}"},
    "bad_login": ACME | {"login": WEBHOOK},
    "bad_scheme": ACME | {"schema": WEBHOOK},
    "bad_http": ACME | {"schema": "http"},
    "bad_address": f"http://acme.bitrix24.com/rest/1/{quote(WEBHOOK)}/",
    "bad_address_path": f"https://acme.bitrix24.com/rest/{quote(WEBHOOK)}/",
    "bad_extra": ACME | {"extra": {"webhook": WEBHOOK}},
    "bad_extra_beside": {"host": "acme.bitrix24.com", "extra": {"access_token": TOKEN, "unknown": 1}},
    "bad_both": ACME | {"extra": {"access_token": TOKEN}},
    "bad_token": {"host": "acme.bitrix24.com", "extra": {"access_token": f"{TOKEN} {TOKEN}"}},
    "bad_token_type": {"host": "acme.bitrix24.com", "extra": {"access_token": [TOKEN]}},
    "bad_application": {"host": "acme.bitrix24.com", "extra": {"client_id": "1", "client_secret": f"{KEY} {KEY}"}},
    "bad_application_key": {"host": "acme.bitrix24.com", "extra": {"client_id": "1", "client_secret": [KEY]}},
    "bad_application_alone": {"host": "acme.bitrix24.com", "extra": {"client_secret": KEY}},
    "bad_token_url": {
        "host": "acme.bitrix24.com",
        "extra": {"client_id": "1", "client_secret": KEY, "token_url": f"https://acme.example/{KEY}?{KEY}"},
    },
    "bad_timeout": {"host": "acme.bitrix24.com", "extra": {"access_token": TOKEN, "read_timeout": TOKEN}},
    "bad_verify": ACME | {"extra": {"verify": f"/nowhere/{WEBHOOK}.pem"}},
    "bad_verify_folder": {"host": "acme.bitrix24.com", "extra": {"access_token": TOKEN, "verify": f"/{TOKEN}/"}},
    "bad_verify_type": ACME | {"extra": {"verify": [WEBHOOK]}},
    "bad_domo_verify": ACME_DOMO | {"extra": {"verify": f"{DOMO}\r\n\x1b[2K"}},
    "bad_domo_host": ACME_DOMO | {"host": f"acme.domo.com/{DOMO}"},
    "bad_domo_port": ACME_DOMO | {"host": f"https://acme.domo.com:{DOMO}/"},
    "bad_domo_bracket": ACME_DOMO | {"host": f"https://[{DOMO}"},
    "bad_domo_token": ACME_DOMO | {"password": f"Token: {DOMO}"},
    "bad_domo_http": ACME_DOMO | {"schema": "http"},
    "bad_domo_extra": ACME_DOMO | {"extra": {"token": DOMO}},
    "bad_domo_path": ACME_DOMO | {"extra": {"instance_path": f"/{DOMO}"}},
}
BAD_URLS = {
    "URL_BARE": f"acme.bitrix24.com/rest/1/{WEBHOOK}/",
    "URL_HTTP": f"http://acme.bitrix24.com/rest/1/{WEBHOOK}/",
    "URL_PATH": f"https://acme.bitrix24.com/{WEBHOOK}/",
    "URL_PORT": f"https://acme.bitrix24.com:{WEBHOOK}/rest/1/{WEBHOOK}/",
    "URL_BRACKET": f"https://[{WEBHOOK}/rest/1/{WEBHOOK}/",
    "URL_HOST": f"https://acme bitrix24/rest/1/{WEBHOOK}/",
    "URL_USER": f"https://{WEBHOOK}@acme.bitrix24.com/rest/1/{WEBHOOK}/",
    "URL_FOLDER": f"https://acme.bitrix24.com/{WEBHOOK}/rest/1/{WEBHOOK}/",
    "URL_CONTROL": f"https://acme.bitrix24.com\r\n/rest/1/{WEBHOOK}/",
}


@dataclass(frozen=True)
class Run:
    """A run of all scenarios: what it printed, and each scenario's expected and real exception."""

    printed: str
    ended: dict[str, tuple[str, str]]
    counts: dict[str, int]


def control(name: str) -> str:
    return f"c0ntr0l+{name}=leaks"


def as_text(name: str, connection: dict[str, Any] | str) -> str:
    """Return a connection as it stands in an environment variable."""
    if isinstance(connection, str):
        return connection
    return json.dumps({"conn_type": "domo" if "domo" in name else "bitrix24", **connection})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    report = tmp_path_factory.mktemp("secrets") / "report.xml"
    known: dict[str, dict[str, Any] | str] = dict(BAD_CONNECTIONS)
    with ExitStack() as stack:
        known |= connections("acme.example", None, "https", "nowhere")
        known |= connections("127.0.0.1", closed_port(), "http", "unreachable")
        answers = {"hang_long": lambda request: HANG} | {name: one.answer for name, one in FAILURES.items()}
        for name, answer in answers.items():
            server = stack.enter_context(loopback(answer))
            known |= connections("127.0.0.1", server.port, "http", name)
        for name in (*TOKEN_FAILURES, "renewed"):
            server = stack.enter_context(loopback(renewing(name, json.dumps(NEW).encode())))
            place = {"host": "127.0.0.1", "port": server.port, "schema": "http"}
            url = f"http://127.0.0.1:{server.port}/oauth/token/"
            known[f"application_{name}"] = place | {
                "extra": {"client_id": "local.1", "client_secret": KEY, "token_url": url}
            }
        variables = {
            **{f"AIRFLOW_CONN_{name.upper()}": as_text(name, one) for name, one in known.items()},
            **BAD_URLS,
            **{f"CONTROL_{name}": control(name) for name in CONTROLS},
            "BAD_CONNECTIONS": json.dumps(list(BAD_CONNECTIONS)),
            "BAD_URLS": json.dumps(list(BAD_URLS)),
            "SECRET_WEBHOOK": WEBHOOK,
            "SECRET_TOKEN": TOKEN,
            "SECRET_DOMO": DOMO,
            "SECRET_CODE": CODE,
            "STORED_TOKENS": json.dumps(STORED),
            "PORT": str(stack.enter_context(loopback(lambda request: http())).port),
            "NO_PORT": str(closed_port()),
        }
        options = ["-o", "log_level=DEBUG", "-rA", "--showlocals", "--tb=long", "-vv", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, f"--junitxml={report}", str(SCENARIOS)],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")} | variables,
            capture_output=True,
            text=True,
            check=False,
        )
    (suite,) = ElementTree.parse(report).getroot()  # noqa: S314
    ended = {}
    for case in suite.iter("testcase"):
        expected = "".join(one.get("value", "") for one in case.iter("property"))
        failure = case.find("failure")
        raised = "" if failure is None else failure.get("message", "").partition(":")[0]
        ended[f"{case.get('classname')}.{case.get('name')}"] = (expected, raised.rpartition(".")[2])
    counts = {name: int(suite.get(name, "-1")) for name in ("tests", "failures", "errors", "skipped")}
    return Run(done.stdout + done.stderr + report.read_text(), ended, counts)


def every_one_fails(run: Run) -> None:
    assert run.counts == {"tests": len(run.ended), "failures": len(run.ended), "errors": 0, "skipped": 0}


def each_ends_in_the_exception_that_it_is_about(run: Run) -> None:
    assert {name: outcome for name, outcome in run.ended.items() if outcome[0] != outcome[1]} == {}


def every_way_to_fail_is_met_by_every_credential(run: Run) -> None:
    met = "\n".join(run.ended)
    for failure in set(FAILURES) - {"running"}:
        for credential in ("webhook", "token", "domo"):
            assert f"test_client[{failure}-{credential}]" in met
            assert f"test_async_client[{failure}-{credential}]" in met


def the_http_librarys_debug_lines_are_among_what_is_printed(run: Run) -> None:
    assert '"POST /rest/1/***/bizproc.workflow.instances HTTP/1.1" 401' in run.printed
    assert "Starting new HTTP connection" in run.printed
    assert re.search(r"HTTP Request: POST http://127.0.0.1:\d+/rest/1/\*\*\*/", run.printed), "httpx's"
    assert "send_request_headers.started" in run.printed, "httpcore's"


def so_are_the_variables_of_frames_of_this_package(run: Run) -> None:
    assert re.search(r"^step +\= Call\(method='bizproc\.workflow\.instances'", run.printed, re.MULTILINE)
    assert re.search(r"^error +\= .*Error\(", run.printed, re.MULTILINE)


def a_leak_is_found(run: Run) -> None:
    assert [name for name in CONTROLS if control(name) not in run.printed] == []


def no_credential_is_printed_anywhere(run: Run) -> None:
    lines = run.printed.splitlines()
    for secret in SECRETS:
        for form in {str(secret), quote(secret), quote(secret, safe="")}:
            assert [line[:300] for line in lines if form in line] == []


def test_nothing_leaks(run: Run, subtests: pytest.Subtests) -> None:
    """One run is looked at in many ways; the grep is worth something only if everything went wrong as it was meant."""
    for look in (
        every_one_fails,
        each_ends_in_the_exception_that_it_is_about,
        every_way_to_fail_is_met_by_every_credential,
        the_http_librarys_debug_lines_are_among_what_is_printed,
        so_are_the_variables_of_frames_of_this_package,
        a_leak_is_found,
        no_credential_is_printed_anywhere,
    ):
        with subtests.test(look.__name__):
            look(run)
