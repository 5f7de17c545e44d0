"""Starting something once, in a system that has no key by which it would know a repeated start.

The one procedure for all vendors, and for all tries of a task:

1. What there is of the same target is noted before the start is sent.
2. The start is sent once. If it was done, its id is noted. If it was surely not done, the note is forgotten.
3. If its reply was lost, what is new of the same target is looked for, for as long as the system may still be working
   on the start. The system does not say who started a thing and why, so a new one may always be another's: of a
   sibling task, another Dag run, another application. Only where the author of the Dag says that nothing else starts
   this target is the one new thing taken for the lost start.
4. Where one may be it, the start is unclear: the task fails and names it, and a later try starts nothing as long as
   one may be it. Where none may be it, the start was not done, and a later try sends it again.

``docs/safety.md`` has it as a table.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from airflow_provider_workflows.rest.errors import ApiError, ArgumentError, RejectedError, UnknownOutcomeError
from airflow_provider_workflows.rest.plans import Count, Pause, Plan
from airflow_provider_workflows.rest.redaction import escape_controls

log = logging.getLogger(__name__)

#: Seconds between searches for a lost start: it may still be worked on for a minute, after which requests are cut.
SETTLING_DELAYS = (1, 2, 4, 8, 15, 30)
#: How many candidates an error names.
NAMED = 10
#: How many candidates a note keeps.
NOTED = 100


def check_inputs(values: Any, argument: str) -> None:
    """Refuse inputs of a start that are no mapping, or that JSON cannot hold, with an ``ArgumentError``."""
    if not isinstance(values, Mapping):
        raise ArgumentError(f"{argument} must be a mapping of names to values, not {type(values).__name__}")
    for name, value in values.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ArgumentError(
                f"{argument}: {name!r} cannot be sent as JSON ({error}); give texts, numbers, booleans, lists and "
                "mappings of these, and a date or a decimal as a text"
            ) from None


class StartUnclearError(UnknownOutcomeError):
    """A start that may or may not have been done.

    :param call: the start.
    :param candidates: ids of what may be it.
    :param advice: what to do.
    :param details: what is known, as for any ``ApiError``.
    """

    def __init__(self, call: str, *, candidates: Iterable[str] = (), advice: str = "", **details: Any) -> None:
        super().__init__(call, **details)
        self.advice = advice
        self.candidates = tuple(candidates)


class ForeignIdError(ApiError):
    """The note of what was started names something of another target."""

    advice = "Somebody may have changed the task's state. Clear the task to start anew."


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something of the same target that is new, and so may be a lost start.

    :param about: what the system shows of it, for the reader of an error.
    :param failed: whether it failed or was cancelled, so that another one is to be started in any case.
    """

    id: str
    about: str
    failed: bool = False


@dataclass(frozen=True, slots=True)
class StartNote:
    """What is kept of a start for later tries.

    :param id: what was started; ``None`` while that is not known.
    :param known: ids of what there was of the same target before; ``None`` if they may not be listed.
    :param candidates: what may be the lost start, with what was shown of it; ``None`` if it was not looked for yet.
    """

    id: str | None = None
    known: list[str] | None = None
    candidates: dict[str, str] | None = None


class Notes(Protocol):
    """Where the note of a start is kept."""

    @property
    def unnoted_since(self) -> datetime | None:
        """Since when an earlier try may have started something without a note; ``None`` if that cannot be."""

    def read(self) -> StartNote | None:
        """Return the note of an earlier try."""

    def write(self, note: StartNote) -> None:
        """Keep a note in place of the one before."""

    def forget(self) -> None:
        """Have the next try start anew."""


class StartRequest(Protocol):
    """What is to be started, in a vendor's words."""

    @property
    def name(self) -> str:
        """What the start is called in errors."""

    def existing(self) -> Plan[list[str]]:
        """Return the ids of what there is of the same target, and perhaps of more.

        :raises RejectedError: if they may not be listed.
        """

    def start(self) -> Plan[str]:
        """Send the start, and return the id of what was started."""

    def find_new(self, known: Iterable[str], since: datetime | None) -> Plan[list[Candidate]]:
        """Return what there is of the same target, except what is known or older."""

    def reconnect(self, id: str) -> Plan[bool]:
        """Return whether to go on with what an earlier try started, or to start another one.

        :raises ForeignIdError: if it is of another target.
        """


@dataclass
class StartOnce:
    """Starts something once, or finds what an earlier try has started.

    :param request: what is to be started.
    :param notes: what is kept for later tries.
    :param run: runs a plan.
    :param sole_starter: nothing else starts this target meanwhile, so that the one new thing is the lost start.
    """

    request: StartRequest
    notes: Notes
    run: Callable[[Plan[Any]], Any]
    sole_starter: bool = False
    #: The id, from the moment on at which it is known; also if the task is interrupted then.
    id: str | None = field(default=None, init=False)

    def start(self) -> str:
        """Start it, unless an earlier try did, and return its id.

        :raises StartUnclearError: if that cannot be found out.
        :raises ApiError: if it was not started.
        """
        note = self.notes.read()
        if note is not None and note.id is not None:
            if self.run(self.request.reconnect(note.id)):
                log.info("Reconnecting to %s, which an earlier try started", note.id)
                self.id = note.id
                return note.id
            log.info("%s, which an earlier try started, failed or was cancelled; starting another one", note.id)
        elif note is not None or self.notes.unnoted_since is not None:
            reason = "An earlier try may have started it."
            if found := self._find(note or StartNote(known=[]), reason):
                log.warning("%s is new since an earlier try, and is taken for what that try started", found)
                return found
            log.info("Nothing that an earlier try may have started is there; starting")
        return self._start()

    def _start(self) -> str:
        try:
            known: list[str] | None = self.run(self.request.existing())
        except RejectedError as error:
            log.warning("If the reply to the start is lost, it cannot be looked for: %s", error.message)
            known = None
        note = StartNote(known=known)
        self.notes.write(note)
        try:
            self.run(self._send())
        except UnknownOutcomeError as error:
            failure = error
        except ApiError:
            # Surely not done: a later try must not take what others start for it.
            self.notes.forget()
            raise
        finally:
            if self.id is not None:
                self.notes.write(StartNote(id=self.id))
        if self.id is not None:
            log.info("Started %s", escape_controls(self.id))
            return self.id
        log.warning("The reply to the start was lost; looking for what it started: %s", failure)
        found = self._find(note, failure.what)
        if found is None:
            self.notes.forget()
            text = f"{failure.what} A minute later, nothing new has appeared."
            raise StartUnclearError(self.request.name, text=text, advice="A retry sends the start again.")
        log.warning("The reply to the start was lost; %s is new, and is taken for what it started", found)
        return found

    def _send(self) -> Plan[None]:
        self.id = yield from self.request.start()

    def _find(self, note: StartNote, reason: str) -> str | None:
        """Return the id of the lost start; ``None`` if it was not done.

        :raises StartUnclearError: if one or more may be it.
        """
        if note.known is None:
            text = f"{reason} The credential may not list what is running, so the start cannot be looked for."
            raise StartUnclearError(self.request.name, text=text, advice=_TO_DO)
        try:
            found: dict[str, Candidate] = self.run(self._search(note.known, settled=note.candidates is not None))
        except ApiError as error:
            text = f"{reason} It could not be looked for: {error.call}: {error.what}"
            raise StartUnclearError(self.request.name, text=text, advice="A retry looks for it first.") from None
        # What was seen earlier and has ended since may still have been the start.
        seen = {id: Candidate(id, f"{about}, no longer listed") for id, about in (note.candidates or {}).items()}
        candidates = [one for one in (seen | found).values() if not one.failed]
        if not candidates:
            self.run(_settled())
            return None
        if self.sole_starter and len(candidates) == 1:
            self.id = candidates[0].id
            self.notes.write(StartNote(id=self.id))
            self.run(_settled())
            return self.id
        noted = {one.id: (note.candidates or {}).get(one.id, one.about) for one in candidates[:NOTED]}
        self.notes.write(StartNote(known=note.known, candidates=noted))
        named = ", ".join(f"{one.id} ({one.about})" for one in candidates[:NAMED])
        more = f" and {len(candidates) - NAMED} more" if len(candidates) > NAMED else ""
        text = f"{reason} These are new, and each may be what was started, or somebody else's: {named}{more}."
        raise StartUnclearError(self.request.name, text=text, advice=_TO_DO, candidates=[one.id for one in candidates])

    def _search(self, known: list[str], *, settled: bool) -> Plan[dict[str, Candidate]]:
        """Search for what is new: once, or for as long as the start may still be worked on."""
        since = self.notes.unnoted_since
        found: dict[str, Candidate] = {}
        for delay in () if settled else SETTLING_DELAYS:
            found |= {one.id: one for one in (yield from self.request.find_new(known, since))}
            if self.sole_starter and found:
                return found
            yield Pause(delay, "looking for the lost start", "settling")
        return found | {one.id: one for one in (yield from self.request.find_new(known, since))}


def _settled() -> Plan[None]:
    yield Count("settled")


_TO_DO = (
    "Check those named below: if one is this task's, mark the task as successful; if none is, clear the task to start "
    "anew. A retry starts nothing while one may be it."
)
