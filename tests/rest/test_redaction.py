from __future__ import annotations

import logging
import pickle
import traceback

import pytest
import requests

from airflow_provider_workflows.rest.errors import ApiError
from airflow_provider_workflows.rest.redaction import MASK, escape_controls, hide_frames, redact, register_secret
from tests.rest.loopback import http, loopback


class TestRedact:
    def test_a_text_without_secrets_stays_as_it_is(self) -> None:
        register_secret("r3dact0ne")
        assert redact("nothing of interest") == "nothing of interest"

    def test_every_occurrence_goes_also_inside_a_word(self) -> None:
        register_secret("r3dact0ne")
        assert redact("r3dact0ne/xr3dact0nex") == f"{MASK}/x{MASK}x"

    def test_so_does_the_form_it_has_in_an_address(self) -> None:
        register_secret("r3dact t/wo")
        assert redact("?a=r3dact%20t%2Fwo") == f"?a={MASK}"

    def test_of_a_secret_that_begins_with_another_nothing_is_left(self) -> None:
        register_secret("r3dact")
        register_secret("r3dactLonger")
        assert redact("r3dactLonger") == MASK

    def test_an_error_redacts_whatever_the_vendor_wrote(self) -> None:
        register_secret("r3dactErr0r")
        error = ApiError("x", code="no r3dactErr0r", text="of r3dactErr0r", trace="r3dactErr0r")
        assert error.message == f"x: error code 'no {MASK}', of {MASK}, trace code (toe) {MASK}."
        assert b"r3dactErr0r" not in pickle.dumps(error)


class TestLogs:
    def test_the_http_librarys_debug_lines_do_not_show_it(self, caplog: pytest.LogCaptureFixture) -> None:
        register_secret("l0gSecret")
        with caplog.at_level("DEBUG"), loopback(lambda request: http()) as server:
            requests.get(f"http://127.0.0.1:{server.port}/rest/1/l0gSecret/x", timeout=300)
        assert f"GET /rest/1/{MASK}/x" in caplog.text
        assert "l0gSecret" not in caplog.text

    def test_a_path_without_secrets_is_logged_as_before(self, caplog: pytest.LogCaptureFixture) -> None:
        register_secret("l0gSecret")
        with caplog.at_level("DEBUG"):
            logging.getLogger("urllib3.connectionpool").debug('"%s %s"', "GET", "/100%/x")
        assert '"GET /100%/x"' in caplog.text


class Interrupted(BaseException):
    pass


@hide_frames
def fail(kind: type[BaseException], secret: str) -> None:
    try:
        raise LookupError(secret)
    except LookupError as error:
        raise kind("what went wrong") from error


class TestHideFrames:
    @pytest.mark.parametrize("kind", [ValueError, ApiError, Interrupted, KeyboardInterrupt])
    def test_the_exception_stays_but_its_frames_and_causes_go(self, kind: type[BaseException]) -> None:
        with pytest.raises(kind, match="what went wrong") as caught:
            fail(kind, "h1dden" + "Secret")
        shown = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
        assert "h1dden" + "Secret" not in shown
        assert [frame.name for frame in traceback.extract_tb(caught.tb)][1:] == ["hidden"]

    def test_what_does_not_fail_is_not_changed(self) -> None:
        assert hide_frames(divmod)(7, 2) == (3, 1)
        assert hide_frames(fail).__name__ == "fail"


class TestVisible:
    @pytest.mark.parametrize(
        ("text", "seen"),
        [
            ("Süß, 7 %, 流れ", "Süß, 7 %, 流れ"),
            ("a\nb\r\tc", r"a\nb\r\tc"),
            ("\x1b[31mred\x00\x7f\x9b", r"\x1b[31mred\x00\x7f\x9b"),
            ("\u2028\u2029\u202e\u2066", r"\u2028\u2029\u202e\u2066"),
            ("\u200e\u200f\ud800\U000e0041", r"\u200e\u200f\ud800\U000e0041"),
        ],
    )
    def test_what_would_not_be_seen_is(self, text: str, seen: str) -> None:
        assert escape_controls(text) == seen

    def test_an_errors_texts_stay_on_one_line(self) -> None:
        forged = "no\n[2026-01-01] INFO - done\x1b[2K"
        error = ApiError("call", code=forged, text=forged, trace=forged)
        assert not set("\n\x1b") & set(f"{error}{error.reason}{error.text}{error.code}{error.trace}")
        assert r"no\n[2026-01-01] INFO - done\x1b[2K" in str(error)
