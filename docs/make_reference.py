"""Writes reference.md, the list of all public names, from the code: ``make reference``."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from airflow_provider_workflows.rest.errors import ProviderError

PAGE = Path(__file__).with_name("reference.md")
PACKAGE = "airflow_provider_workflows"
#: Modules, and what they offer to users; default: their ``__all__``.
FOR_DAGS: dict[str, tuple[str, ...]] = {
    "operators.bitrix24": (),
    "operators.domo": (),
    "sensors.bitrix24": ("RunningWorkflowsSensor",),
    "sensors.domo": ("DomoWorkflowSensor",),
    "triggers.bitrix24": ("WorkflowsAppearedTrigger",),
    "notifications.bitrix24": ("Bitrix24Notifier",),
}
HOOKS: dict[str, tuple[str, ...]] = {"hooks.bitrix24": ("Bitrix24Hook",), "hooks.domo": ("DomoHook",)}
FOR_TESTS: dict[str, tuple[str, ...]] = {"testing": ()}
#: Modules that are of use without Airflow.
WITHOUT_AIRFLOW: dict[str, tuple[str, ...]] = {
    "bitrix24": (),
    "domo": (),
    "rest.redaction": ("redact",),
    "simulator": (),
}
_HOOK = ("check", "get_conn", "run", "shared_client", "test_connection")
_CLIENT = ("close", "run", "stats", "stop")
#: Of classes that have members for the rest of the package, too, those that are for users.
FOR_USERS: dict[str, tuple[str, ...]] = {
    "Bitrix24Hook": _HOOK,
    "DomoHook": _HOOK,
    "Bitrix24Client": _CLIENT,
    "DomoClient": _CLIENT,
    "Portal": ("from_webhook_url", "with_access_token", "with_webhook"),
    "WorkflowFilter": ("matches", "params", "parse"),
}

INTRODUCTION = """\
# Reference

Made from the code by `make reference`; not edited by hand. These names are public: they change only as
[CONTRIBUTING.md](../CONTRIBUTING.md#compatibility) says. All others may change at any time. What a class or a function
does in detail, and each of its parameters, is in its docstring (`help(TerminateWorkflowOperator)`).
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join(
        [
            INTRODUCTION,
            "## For Dags\n",
            "All parameters are given by name. Operators and sensors take those of Airflow's own `BaseOperator` and",
            "`BaseSensorOperator`, too.\n",
            *sections(FOR_DAGS),
            "## Hooks\n",
            *sections(HOOKS, members=True),
            "## For tests\n",
            "The fixtures are on the page [Testing your Dags](testing.md).\n",
            *sections(FOR_TESTS, members=True),
            "## Errors\n",
            f"All are a `ProviderError`. The modules are those of `{PACKAGE}`.\n",
            "| error | is a | module | a retry helps | meaning |",
            "| --- | --- | --- | --- | --- |",
            *map(error_row, errors()),
            "",
            "## Without Airflow\n",
            *sections(WITHOUT_AIRFLOW, members=True),
        ]
    )


def public_names(module: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Return what a module offers, without errors, which have a table of their own."""
    found = import_module(f"{PACKAGE}.{module}")
    offered = {name: getattr(found, name) for name in names or found.__all__}
    return {name: value for name, value in offered.items() if not is_error(value)}


def sections(modules: dict[str, tuple[str, ...]], *, members: bool = False) -> Iterator[str]:
    """Return the parts of the page on some modules."""
    for name, names in modules.items():
        yield from section(name, public_names(name, names), members=members)


def section(name: str, offered: dict[str, Any], *, members: bool = False) -> Iterator[str]:
    """Return the part of the page on a module."""
    yield f"### `{PACKAGE}.{name}`\n"
    for title, value in offered.items():
        call = "" if inspect.isclass(value) and issubclass(value, Exception) else f"({parameters(value)})"
        yield f"- `{title}{call}`: {summary(value)}"
        if members and inspect.isclass(value):
            yield from (f"  - {line}" for line in member_lines(value))
    yield ""


def member_lines(owner: type) -> Iterator[str]:
    """Return a line for each public method and property that this package gives a class."""
    own = {name for one in owner.__mro__ if one.__module__.startswith(PACKAGE) for name in vars(one)}
    for name in sorted(FOR_USERS.get(owner.__name__, own)):
        value = inspect.getattr_static(owner, name)
        if name.startswith("_"):
            continue
        if isinstance(value, property):
            yield f"`{name}`: {summary(value)}"
        elif inspect.isroutine(value):
            yield f"`{name}({parameters(getattr(owner, name))})`: {summary(getattr(owner, name))}"


def parameters(value: Any) -> str:
    """Return the parameters of a class or a function, without their types."""
    shown = []
    keyword_only = False
    for one in inspect.signature(value).parameters.values():
        # A method's own object, and what goes on to Airflow's class.
        if one.name == "self" or (one.kind is one.VAR_KEYWORD and inspect.isclass(value)):
            continue
        if one.kind is one.KEYWORD_ONLY and not keyword_only:
            shown.append("*")
            keyword_only = True
        stars = "*" if one.kind is one.VAR_POSITIONAL else "**" if one.kind is one.VAR_KEYWORD else ""
        shown.append(f"{stars}{one.name}{default(one.default)}")
    return ", ".join(shown)


def default(value: Any) -> str:
    """Return how a default is shown; of objects only that there is one."""
    if value is inspect.Parameter.empty:
        return ""
    return f"={value!r}" if value is None or isinstance(value, (bool, int, float, str, tuple)) else "=…"


def summary(value: Any) -> str:
    """Return the first line of a docstring, as Markdown."""
    line = (inspect.getdoc(value) or "").partition("\n")[0]
    line = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", line)
    return line.replace("``", "`")


def is_error(value: Any) -> bool:
    """Tell whether something is an error of the package."""
    return inspect.isclass(value) and issubclass(value, ProviderError)


def errors() -> list[type[ProviderError]]:
    """Return all errors of the package, the general ones first."""
    package = import_module(PACKAGE)
    for found in pkgutil.walk_packages(package.__path__, f"{PACKAGE}."):
        # The page needs Airflow 3, and has no errors of its own.
        if not found.name.startswith((f"{PACKAGE}.simulator", f"{PACKAGE}.ui.")):
            import_module(found.name)
    seen: dict[type[ProviderError], None] = {}

    def add(error: type[ProviderError]) -> None:
        seen[error] = None
        for kind in sorted(error.__subclasses__(), key=lambda one: (one.__module__, one.__name__)):
            # Tests make some of their own.
            if kind.__module__.startswith(f"{PACKAGE}."):
                add(kind)

    add(ProviderError)
    return list(seen)


def error_row(error: type[ProviderError]) -> str:
    """Return a row of the table of errors."""
    base = "" if error is ProviderError else f"`{error.__bases__[0].__name__}`"
    where = error.__module__.removeprefix(f"{PACKAGE}.")
    differs = "retry_helps" in inspect.signature(error.__init__).parameters
    helps = "as `retry_helps` says" if differs else "yes" if error.retry_helps else "no"
    return f"| `{error.__name__}` | {base} | `{where}` | {helps} | {summary(error)} |"


if __name__ == "__main__":
    PAGE.write_text(page())
