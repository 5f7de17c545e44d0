"""Writes reference.md, the list of all public names, from the code: ``make reference``."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from airflow.providers.common.compat.sdk import BaseHook, BaseNotifier, BaseOperator, BaseOperatorLink
from airflow.triggers.base import BaseTrigger

from airflow_provider_workflows.rest.errors import ProviderError

PAGE = Path(__file__).with_name("reference.md")
PACKAGE = "airflow_provider_workflows"
#: Modules for Dag files, and of which class those are that they offer.
FOR_DAGS: dict[str, type] = {
    "operators.bitrix24": BaseOperator,
    "operators.domo": BaseOperator,
    "sensors.bitrix24": BaseOperator,
    "sensors.domo": BaseOperator,
    "triggers.bitrix24": BaseTrigger,
    "triggers.domo": BaseTrigger,
    "triggers.pause": BaseTrigger,
    "notifications.bitrix24": BaseNotifier,
    "links.bitrix24": BaseOperatorLink,
    "links.domo": BaseOperatorLink,
}
HOOKS: dict[str, type] = {"hooks.bitrix24": BaseHook, "hooks.domo": BaseHook}
FOR_TESTS = "testing"
#: Modules that are of use without Airflow, and what they offer; default: their ``__all__``.
WITHOUT_AIRFLOW = {"bitrix24": (), "domo": (), "rest.redaction": ("redact",), "simulator": ()}

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
            *(part for name, base in FOR_DAGS.items() for part in section(name, public_classes(name, base))),
            "## Hooks\n",
            *(part for name, base in HOOKS.items() for part in section(name, public_classes(name, base), members=True)),
            "## For tests\n",
            "The fixtures are on the page [Testing your Dags](testing.md).\n",
            *section(FOR_TESTS, public_names(module(FOR_TESTS)), members=True),
            "## Errors\n",
            f"All are a `ProviderError`. The modules are those of `{PACKAGE}`.\n",
            "| error | is a | module | a retry helps | meaning |",
            "| --- | --- | --- | --- | --- |",
            *map(error_row, errors()),
            "",
            "## Without Airflow\n",
            *(
                part
                for name, names in WITHOUT_AIRFLOW.items()
                for part in section(name, public_names(module(name), names), members=True)
            ),
        ]
    )


def module(name: str) -> ModuleType:
    """Return a module of the package."""
    return import_module(f"{PACKAGE}.{name}")


def public_classes(name: str, base: type) -> dict[str, Any]:
    """Return the public classes of a kind that a module defines, or offers by its ``__all__``."""
    found = module(name)
    if hasattr(found, "__all__"):
        return public_names(found)
    return {
        name: value
        for name, value in vars(found).items()
        if inspect.isclass(value)
        and issubclass(value, base)
        and value.__module__ == found.__name__
        and not name.startswith("_")
    }


def public_names(found: ModuleType, names: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what a module offers."""
    return {name: getattr(found, name) for name in names or found.__all__ if not is_error(getattr(found, name))}


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
    for name in sorted({name for one in owner.__mro__ if one.__module__.startswith(PACKAGE) for name in vars(one)}):
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
