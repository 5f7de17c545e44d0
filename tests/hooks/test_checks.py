"""What the doctor finds, and the connection form's Test button with it: each defect by its name, with what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_workflows.__main__ import main
from airflow_provider_workflows.commands.doctor import check_connection
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.records.files import host_store
from airflow_provider_workflows.rest.sync import Client
from airflow_provider_workflows.simulator import Control, Simulator
from tests.rest.loopback import closed_port


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def control(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Control:
    """Return the simulator as new, with a connection to each system; nothing waits for anything in these tests."""
    simulator.control.reset()
    for vendor in ("bitrix24", "domo"):
        connect(simulator, monkeypatch, vendor)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "LocalExecutor")
    monkeypatch.setattr(Bitrix24Hook.clock, "sleep", lambda *_: pytest.fail("it waits"))
    return simulator.control


def connect(simulator: Simulator, monkeypatch: pytest.MonkeyPatch, vendor: str, **fields: Any) -> None:
    connection = simulator.connections()[f"{vendor}_default"] | fields
    monkeypatch.setenv(f"AIRFLOW_CONN_{vendor.upper()}_DEFAULT", json.dumps(connection))


def defects(conn_id: str, model_id: str | None = None) -> dict[str, str]:
    return {one.check: one.text for one in check_connection(conn_id, model_id) if one.level == "defect"}


def warnings(conn_id: str, model_id: str | None = None) -> dict[str, str]:
    return {one.check: one.text for one in check_connection(conn_id, model_id) if one.level == "warning"}


class TestBitrix24:
    def test_an_administrators_webhook_with_all_scopes_is_well(self, control: Control, simulator: Simulator) -> None:
        control.add_workflows([{}, {}, {}])
        store = host_store()
        found = {one.check: (one.level, one.text) for one in check_connection("bitrix24_default")}
        assert found == {
            "address": ("ok", f"{simulator.url} answers"),
            "administrator": ("ok", "user 1 is an administrator"),
            "scopes": ("ok", "granted: bizproc, department, im, task, user"),
            "methods": ("ok", "all methods for flows are available"),
            "workflows": ("ok", "can be listed, started and ended (3 are running)"),
            "clock": ("ok", "within 30 s of the portal's"),
            "store": ("ok", f"{store} can be used"),
            "pace": ("ok", "this host's processes share one rate limit"),
        }

    def test_it_reads_only_and_sends_two_requests(self, control: Control) -> None:
        check_connection("bitrix24_default")
        assert [entry["method"] for entry in control.requests()] == ["batch", "bizproc.workflow.instances"]
        assert control.journal() == []

    def test_it_reads_the_connection_once(self, control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
        read = []
        found = BaseHook.get_connection

        def counted(conn_id: str) -> Any:
            read.append(conn_id)
            return found(conn_id)

        monkeypatch.setattr(BaseHook, "get_connection", counted)
        check_connection("bitrix24_default")
        check_connection("domo_default")
        assert read == ["bitrix24_default", "domo_default"]

    def test_it_leaves_no_connections_open(self, control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
        closed: list[Any] = []
        monkeypatch.setattr(Client, "close", lambda self: closed.append(self))
        check_connection("bitrix24_default")
        check_connection("domo_default")
        assert len(closed) == 2

    def test_the_flows_creator_needs_no_more_than_the_scope_for_flows(self, control: Control) -> None:
        control.configure(scopes=["task"], is_admin=False)
        assert defects("bitrix24_default") == {}
        assert [entry["method"] for entry in control.requests()] == ["batch"]

    @pytest.mark.parametrize(
        ("settings", "check", "advice"),
        [
            ({"webhook_known": False}, "credential", "Check the credential"),
            ({"is_admin": False}, "administrator", "Have an administrator make the webhook"),
            ({"is_admin": False}, "workflows", "not an administrator"),
            ({"scopes": ["crm"]}, "scopes", "Add 'bizproc' or 'task'"),
            ({"scopes": []}, "scopes", "granted: none; missing: bizproc (workflows), task (flows), user"),
            ({"has_bizproc": False}, "methods", "not available: bizproc.workflow.instances, bizproc.workflow.start"),
            ({"commercial_plan": False}, "rights", "plan has no REST API"),
            ({"overload": True}, "server", "Only Bitrix24's support"),
            ({"https_required": True}, "server", 'Set "Scheme" in the connection to https'),
        ],
    )
    def test_each_defect_has_a_name_and_says_what_to_do(
        self, control: Control, settings: dict[str, Any], check: str, advice: str
    ) -> None:
        control.configure(**settings)
        assert advice in defects("bitrix24_default")[check]

    @pytest.mark.parametrize(
        ("kind", "options", "check", "advice"),
        [
            ("refused", {}, "limits", "run fewer tasks at once"),
            ("redirect", {"location": "https://new.bitrix24.com/"}, "address", "redirected to new.bitrix24.com"),
            ("html", {}, "server", "not a JSON object"),
            ("lost_before", {}, "server", "the connection ended"),
            ("error", {"status": 401, "code": "expired_token"}, "credential", "fresh access token"),
            ("missing_key", {"index": 0}, "server", "does not mention"),
        ],
    )
    def test_what_comes_instead_of_an_answer_is_a_defect_too(
        self, control: Control, kind: str, options: dict[str, Any], check: str, advice: str
    ) -> None:
        control.inject(kind, **options)
        assert advice in defects("bitrix24_default")[check]

    @pytest.mark.parametrize("ahead", [40.0, -40.0])
    def test_clocks_that_differ_are_a_warning(self, control: Control, ahead: float) -> None:
        control.configure(clock_ahead=ahead)
        assert ("ahead of" if ahead > 0 else "behind") in warnings("bitrix24_default")["clock"]
        assert defects("bitrix24_default") == {}

    def test_a_plan_without_flows_is_a_warning(self, control: Control) -> None:
        control.configure(has_flows=False)
        assert "tasks.flow.flow.get" in warnings("bitrix24_default")["methods"]

    def test_the_host_cannot_be_reached(
        self, control: Control, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connect(simulator, monkeypatch, "bitrix24", port=closed_port())
        assert defects("bitrix24_default")["address"].startswith("Check the host in the connection")

    def test_a_field_is_wrong(self, control: Control, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
        connect(simulator, monkeypatch, "bitrix24", login="")
        (fault,) = defects("bitrix24_default").values()
        assert fault.startswith('"Webhook\'s user id" (login) must be')
        assert control.requests() == []


class TestPace:
    def test_pods_that_pace_each_by_itself_are_a_defect(
        self, control: Control, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        assert "extra.shared_store" in defects("bitrix24_default")["pace"]

    @pytest.mark.parametrize("executor", ["KubernetesExecutor", "LocalExecutor,KubernetesExecutor"])
    def test_so_is_a_pod_for_each_task(self, control: Control, monkeypatch: pytest.MonkeyPatch, executor: str) -> None:
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
        assert "its own pod" in defects("bitrix24_default")["pace"]

    @pytest.mark.parametrize("executor", ["LocalExecutor", "SequentialExecutor"])
    def test_one_host_needs_no_store(self, control: Control, monkeypatch: pytest.MonkeyPatch, executor: str) -> None:
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", executor)
        assert "pace" not in {**defects("bitrix24_default"), **warnings("bitrix24_default")}

    def test_celery_may_have_workers_on_several_hosts(self, control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
        assert "extra.shared_store" in warnings("bitrix24_default")["pace"]

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_one_store_for_all_hosts_suits_pods_too(
        self, control: Control, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "KubernetesExecutor")
        connect(simulator, monkeypatch, "bitrix24", extra={"shared_store": "pace"})
        monkeypatch.setattr(Bitrix24Hook.clock, "sleep", lambda *_: None)
        monkeypatch.setenv("AIRFLOW_CONN_PACE", f"redis://:st0reSecret@127.0.0.1:{closed_port()}/0")
        found = check_connection("bitrix24_default")
        assert [one.text for one in found if one.check == "pace"] == [
            "all hosts that use this store share one rate limit"
        ]
        # But this one cannot be reached.
        (fault,) = (one.text for one in found if one.level == "defect")
        assert "each host keeps to half the rate by itself: Redis at 127.0.0.1:" in fault
        assert "st0reSecret" not in str(found)

    def test_a_store_without_a_connection_is_a_defect(
        self, control: Control, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connect(simulator, monkeypatch, "bitrix24", extra={"shared_store": "nowhere"})
        assert "nowhere" in defects("bitrix24_default")["connection"]

    def test_a_folder_that_cannot_be_written_to_is_a_defect(
        self, control: Control, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Bitrix24Hook.clock, "sleep", lambda *_: None)
        monkeypatch.setattr("tempfile.tempdir", "/proc")
        assert "each process keeps to half the rate by itself" in defects("bitrix24_default")["store"]


class TestDomo:
    MODEL = "0fd93e0c-2b76-4a5c-9f5e-6d5e2cbb1a11"

    @pytest.fixture(autouse=True)
    def _model(self, control: Control) -> None:
        control.add_domo_models([{"id": self.MODEL}])

    def test_a_token_that_works_is_well(self, control: Control, simulator: Simulator) -> None:
        found = [(one.check, one.text) for one in check_connection("domo_default")]
        assert found == [("address", f"{simulator.url} answers"), ("credential", "the token is Ada Admin's")]

    def test_rights_are_looked_at_where_a_model_is_given(self, control: Control) -> None:
        levels = {one.check: one.level for one in check_connection("domo_default", self.MODEL)}
        assert levels == dict.fromkeys(["address", "credential", "model", "runs"], "ok")
        assert control.journal() == []

    @pytest.mark.parametrize(
        ("settings", "check", "advice"),
        [
            ({"domo_permissions": ["READ"]}, "model", "give them 'Execute'"),
            ({"domo_forbidden": ["permissions"]}, "model", "may not be read"),
            ({"domo_forbidden": ["list"]}, "runs", "cannot be looked for"),
        ],
    )
    def test_rights_that_may_come_from_a_group_are_a_warning(
        self, control: Control, settings: dict[str, Any], check: str, advice: str
    ) -> None:
        control.configure(**settings)
        assert advice in warnings("domo_default", self.MODEL)[check]
        assert defects("domo_default", self.MODEL) == {}

    def test_a_model_that_is_not_there_is_a_defect(self, control: Control) -> None:
        assert "no such thing" in defects("domo_default", "2052e10a-d142-4391-a731-2be1ab1c0188")["model"]

    @pytest.mark.parametrize(
        ("settings", "check", "advice"),
        [
            ({"domo_token": "another"}, "credential", "Check the credential"),
            ({"domo_blocked": "page"}, "rights", "allowlist"),
            ({"domo_blocked": "redirect"}, "rights", "allowlist"),
        ],
    )
    def test_each_defect_has_a_name_and_says_what_to_do(
        self, control: Control, settings: dict[str, Any], check: str, advice: str
    ) -> None:
        control.configure(**settings)
        assert advice in defects("domo_default")[check]


class TestTestButton:
    def test_it_tells_all_that_is_well_in_a_line(self, control: Control, simulator: Simulator) -> None:
        ok, said = Bitrix24Hook().test_connection()
        assert ok
        assert said.startswith(f"address: {simulator.url} answers; administrator: user 1 is an administrator; scopes: ")
        assert DomoHook().test_connection() == (
            True,
            f"address: {simulator.url} answers; credential: the token is Ada Admin's",
        )

    def test_it_tells_what_is_wrong_alone(self, control: Control) -> None:
        control.configure(scopes=["crm"])
        ok, said = Bitrix24Hook().test_connection()
        assert not ok
        assert said.startswith("This connection: scopes: granted: crm; missing:")

    @pytest.mark.parametrize("name", ["A\n\x1b[2K", "<script>"])
    def test_what_the_vendor_calls_its_user_cannot_write_over_the_line(self, name: str) -> None:
        from airflow_provider_workflows.domo.checks import check_account

        plan = check_account()
        next(plan)
        with pytest.raises(StopIteration) as ended:
            plan.send({"displayName": name, "id": 7})
        assert "\n" not in ended.value.value[0].text


class TestCommand:
    def test_it_prints_a_table_and_ends_with_0(self, control: Control, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["doctor", "bitrix24_default", "domo_default"]) == 0
        printed = capsys.readouterr().out
        assert "  ok       administrator user 1 is an administrator\n" in printed
        assert printed.endswith("No defects.\n")

    def test_it_ends_with_1_if_there_is_a_defect_and_goes_on_with_the_others(
        self, control: Control, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["doctor", "nowhere", "domo_default"]) == 1
        printed = capsys.readouterr().out
        assert "defect   connection" in printed
        assert "there is none with id 'nowhere'" in printed
        assert "the token is Ada Admin's" in printed
        assert printed.endswith("1 defect.\n")

    def test_it_ends_with_2_if_it_is_called_wrongly(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["doctor"])
        assert ended.value.code == 2

    @pytest.mark.parametrize("settings", [{}, {"webhook_known": False, "domo_token": "another"}])
    def test_it_shows_no_secret(
        self, control: Control, capsys: pytest.CaptureFixture[str], settings: dict[str, Any]
    ) -> None:
        secrets = [control.settings()[name] for name in ("webhook_code", "domo_token")]
        control.configure(**settings)
        main(["doctor", "bitrix24_default", "domo_default", "--model", "m"])
        printed = "".join(capsys.readouterr())
        assert not [secret for secret in secrets if secret in printed]
