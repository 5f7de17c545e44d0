"""Starting a workflow, once."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from airflow_provider_workflows.domo import calls
from airflow_provider_workflows.domo.errors import NotFoundError, StartNotFoundError, StartUnclearError
from airflow_provider_workflows.domo.models import Instance
from airflow_provider_workflows.domo.watching import instance_of
from airflow_provider_workflows.rest.errors import ArgumentError, UnknownOutcomeError
from airflow_provider_workflows.rest.plans import Plan, exponential_backoff, poll_until, read_list, send

log = logging.getLogger(__name__)

#: How often a start whose reply was lost is looked for: for about half a minute.
LOOKS = 6


def check_start(model_id: Any, version: Any, message_name: Any, data: Any) -> None:
    """Check the arguments of a start.

    :raises ArgumentError: with the argument's name.
    """
    check_model_id(model_id)
    check_version(version)
    check_message_name(message_name)
    if data is not None:
        check_data(data)


def check_model_id(model_id: Any, argument: str = "model_id") -> None:
    """Check the id of a workflow model.

    :raises ArgumentError: if it cannot be one.
    """
    if not isinstance(model_id, str) or not re.fullmatch(r"[0-9A-Za-z-]{1,64}", model_id):
        raise ArgumentError(
            f"{argument}: {model_id!r} is not a model id such as '2052e10a-d142-4391-a731-2be1ab1c0188'"
        )


def check_version(version: Any, argument: str = "version") -> None:
    """Check a model's version.

    :raises ArgumentError: if it cannot be one.
    """
    if not isinstance(version, str) or not re.fullmatch(r"\d+(\.\d+){1,3}", version):
        raise ArgumentError(f"{argument} must be a deployed version such as '1.1.0', not {version!r}")


def check_message_name(message_name: Any, argument: str = "message_name") -> None:
    """Check the title of a Start shape.

    :raises ArgumentError: if it cannot be one.
    """
    if not isinstance(message_name, str) or not message_name.strip():
        raise ArgumentError(
            f"{argument} must be the title of the Start shape, e.g. 'Start Orders', not {message_name!r}"
        )


def check_data(data: Any, argument: str = "data") -> None:
    """Check input values.

    :raises ArgumentError: if they have no names.
    """
    if not isinstance(data, Mapping):
        raise ArgumentError(f"{argument} must be a mapping of input names to values, not {type(data).__name__}")


def latest_instances(model_id: str) -> Plan[dict[str, Instance]]:
    """Read the latest 100 instances of a model, by id. Undocumented by Domo.

    :param model_id: the workflow model's id.
    """
    call = calls.list_instances(model_id)
    reply = yield from send(call)
    return {row.id: row for row in read_list(Instance, reply, str(call))}


def start_instance(
    model_id: str,
    version: str,
    message_name: str,
    data: Mapping[str, Any] | None = None,
    known: Iterable[str] | None = None,
) -> Plan[Instance]:
    """Start a workflow, once: Domo has no key by which it would know a repeat.

    After a lost reply it looks for the instance that may have been started. It never sends the start again.

    :param model_id: the workflow model's id.
    :param version: a deployed and active version, e.g. ``1.1.0``.
    :param message_name: title of the Start shape.
    :param data: input values.
    :param known: ids that :func:`latest_instances` gave before; ``None`` if it could not.
    :raises StartNotFoundError: if there is nothing to start under these names.
    :raises StartUnclearError: if the reply was lost, and not exactly one new instance is there.
    """
    check_start(model_id, version, message_name, data)
    try:
        return (yield from instance_of(calls.start_instance(model_id, version, message_name, data)))
    except NotFoundError as error:
        raise StartNotFoundError(error.call, http_status=404, text=error.text, trace=error.trace) from None
    except UnknownOutcomeError as error:
        failure = error
    if known is None:
        raise StartUnclearError(failure.call, text=failure.reason)
    look = partial(find_started, model_id, version, known=known)
    found = yield from poll_until(look, exponential_backoff(LOOKS), "looking for the lost start")
    if found is None:
        raise StartUnclearError(failure.call, text=f"{failure.reason} There is no new instance of the model.")
    log.warning("The reply to the start was lost; instance %s is new since, and is taken for it", found.id)
    return found


def find_started(
    model_id: str, version: str, *, known: Iterable[str] = (), since: datetime | None = None
) -> Plan[Instance | None]:
    """Find the one instance of a model and version that is new.

    :param model_id: the workflow model's id.
    :param version: its version.
    :param known: ids that :func:`latest_instances` gave before.
    :param since: only those created then or later.
    :raises StartUnclearError: if there are several.
    """
    before = set(known)
    latest = yield from latest_instances(model_id)
    found = [
        one
        for one in latest.values()
        if one.id not in before
        and one.model_version in {version, None}
        and (since is None or (one.created_on is not None and one.created_on >= since))
    ]
    if len(found) > 1:
        ids = ", ".join(one.id for one in found)
        raise StartUnclearError("start workflow", text=f"any of these new instances may be it: {ids}")
    return found[0] if found else None
