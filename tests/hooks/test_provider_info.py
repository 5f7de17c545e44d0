"""What Airflow makes of the provider's description."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import airflow
import jsonschema  # type: ignore[import-untyped]
import pytest
from airflow.providers.common.compat.sdk import BaseHook, BaseOperatorLink
from airflow.providers_manager import ProvidersManager

from airflow_provider_workflows.get_provider_info import get_provider_info
from airflow_provider_workflows.hooks.bitrix24 import Bitrix24Hook
from airflow_provider_workflows.hooks.domo import DomoHook
from airflow_provider_workflows.hooks.extras import Bitrix24Extra, DomoExtra

HOOKS: dict[str, type[Any]] = {"bitrix24": Bitrix24Hook, "domo": DomoHook}
EXTRAS: dict[str, Any] = {"bitrix24": Bitrix24Extra, "domo": DomoExtra}
INFO = get_provider_info()
TYPES = {one["connection-type"]: one for one in INFO["connection-types"]}


def schema(name: str) -> dict[str, Any]:
    text = (Path(airflow.__file__).parent / f"{name}.schema.json").read_text()
    return json.loads(text)  # type: ignore[no-any-return]


def form(conn_type: str) -> tuple[dict[str, str], dict[str, bool]]:
    """Return the labels of a connection's form, and its fields for extra: whether they are typed blind."""
    manager = ProvidersManager()
    if conn_type not in manager.field_behaviours:
        # Airflow 3.1 has its forms without what Airflow 2 shows them with, for its API server alone.
        pytest.skip("this Airflow tells nobody of its forms")
    widgets = {key: one for key, one in manager.connection_form_widgets.items() if f"__{conn_type}__" in key}
    fields = {one.field_name: one.is_sensitive for one in widgets.values()}
    return manager.field_behaviours[conn_type]["relabeling"], fields


def dotted(value: Any) -> Iterator[str]:
    """Return everything in the description that names a module or class of ours."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from dotted(item)
    elif isinstance(value, str) and value.startswith("airflow_provider_workflows."):
        yield value


class TestDescription:
    def test_it_is_valid(self) -> None:
        jsonschema.validate(INFO, schema("provider_info"))

    def test_so_are_the_forms_where_airflow_knows_them(self) -> None:
        known = schema("provider.yaml")["properties"]["connection-types"]
        if "conn-fields" not in known["items"]["properties"]:
            pytest.skip("this Airflow takes forms from the hooks")
        jsonschema.validate(INFO["connection-types"], known)

    @pytest.mark.parametrize("name", sorted(set(dotted(INFO))))
    def test_all_that_it_names_is_there(self, name: str) -> None:
        module, _, attribute = name.rpartition(".")
        if attribute[0].isupper():
            assert isinstance(getattr(importlib.import_module(module), attribute), type)
        else:
            importlib.import_module(name)

    def test_it_names_both_systems_in_full(self) -> None:
        names = set(dotted(INFO))
        for kind in ("hooks", "operators"):
            assert {f"airflow_provider_workflows.{kind}.{vendor}" for vendor in HOOKS} <= names


@pytest.mark.filterwarnings("ignore:ProvidersManager")
class TestAirflowLists:
    def test_the_provider(self) -> None:
        assert ProvidersManager().providers["airflow-provider-workflows"].data["name"] == INFO["name"]

    @pytest.mark.parametrize("conn_type", HOOKS)
    def test_the_connection_types_and_their_hooks(self, conn_type: str) -> None:
        listed = ProvidersManager().hooks[conn_type]
        hook = HOOKS[conn_type]
        assert listed is not None
        assert listed.hook_class_name == f"{hook.__module__}.{hook.__name__}"
        assert listed.hook_name == hook.hook_name == TYPES[conn_type]["hook-name"]

    def test_the_links(self) -> None:
        listed = set(ProvidersManager().extra_links_class_names)
        assert set(INFO["extra-links"]) <= listed
        for name in INFO["extra-links"]:
            module, _, attribute = name.rpartition(".")
            assert issubclass(getattr(importlib.import_module(module), attribute), BaseOperatorLink)

    @pytest.mark.parametrize("conn_type", HOOKS)
    def test_the_forms_labels(self, conn_type: str) -> None:
        labels, _ = form(conn_type)
        assert labels["host"] == TYPES[conn_type]["ui-field-behaviour"]["relabeling"]["host"]


class TestHooks:
    @pytest.mark.parametrize("conn_type", HOOKS)
    def test_each_is_what_the_description_says(self, conn_type: str) -> None:
        hook: Any = HOOKS[conn_type]
        assert BaseHook in hook.mro()
        assert hook.conn_type == conn_type
        assert hook.conn_name_attr == f"{conn_type}_conn_id"
        assert hook.default_conn_name == f"{conn_type}_default"
        assert getattr(hook(), hook.conn_name_attr) == hook.default_conn_name

    @pytest.mark.parametrize("conn_type", HOOKS)
    def test_before_airflow_3_2_the_hook_tells_the_forms_labels(self, conn_type: str) -> None:
        labels = HOOKS[conn_type].get_ui_field_behaviour()
        jsonschema.validate(labels, schema("customized_form_field_behaviours"))
        described = TYPES[conn_type]["ui-field-behaviour"]
        assert labels == {
            "hidden_fields": described["hidden-fields"],
            "relabeling": described["relabeling"],
            "placeholders": described["placeholders"],
        }

    @pytest.mark.parametrize("conn_type", HOOKS)
    def test_the_form_offers_nothing_that_the_hook_does_not_read(self, conn_type: str) -> None:
        assert set(TYPES[conn_type]["conn-fields"]) < set(EXTRAS[conn_type].model_fields)

    @pytest.mark.parametrize("conn_type", HOOKS)
    def test_every_version_of_airflow_shows_these_fields(self, conn_type: str) -> None:
        _, shown = form(conn_type)
        assert shown == {
            name: field["schema"].get("format") == "password" for name, field in TYPES[conn_type]["conn-fields"].items()
        }

    @pytest.mark.parametrize("conn_type", HOOKS)
    def test_a_form_saves_no_default_so_that_it_can_change(self, conn_type: str) -> None:
        fields = TYPES[conn_type]["conn-fields"].values()
        assert all("default" not in field["schema"] and "null" in field["schema"]["type"] for field in fields)

    @pytest.mark.parametrize("conn_type", HOOKS)
    def test_the_numbers_that_a_blank_field_stands_for_are_the_hooks_own(self, conn_type: str) -> None:
        told = {
            name: float(found[1])
            for name, field in TYPES[conn_type]["conn-fields"].items()
            if (found := re.search(r"Blank: ([0-9.]+[0-9]|[0-9]+)", field["description"]))
        }
        assert told
        assert told == {name: EXTRAS[conn_type].model_fields[name].default for name in told}

    def test_the_token_is_typed_blind(self) -> None:
        assert TYPES["bitrix24"]["conn-fields"]["access_token"]["schema"]["format"] == "password"
