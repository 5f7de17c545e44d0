"""Reading a list page by page, so that nothing is missed while others end what is listed.

A page is asked for by its offset. When a row ends, those after it move forward, and one may pass from a page that is
still to be read to one that was read before. So within a request the later page is read before the earlier one:
rows move towards the pages that are read last. Where two pages came with different requests, they must share a
row, or the list must be known not to have changed in between; otherwise the gap between them is read again.

The order of a list's rows must never change, and rows that are new must come last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, TypeVar

from airflow_provider_workflows.bitrix24.batches import Batches, read_again
from airflow_provider_workflows.bitrix24.calls import PAGE, Call, Reply
from airflow_provider_workflows.rest.bulk import send_each
from airflow_provider_workflows.rest.errors import UnreadableReplyError
from airflow_provider_workflows.rest.plans import Plan

#: Most pages planned ahead, whatever total the portal reports: this many, or this many times those that came.
#: They take 12 requests, a quarter of the smallest bucket.
PAGES_AHEAD = 600
TIMES_AHEAD = 4
#: How often as many pages as the list has may be read again, before it is given up.
TIMES_AGAIN = 20

K = TypeVar("K")


@dataclass(slots=True)
class Rows(Generic[K]):
    """The rows of a page.

    :param ids: the ids of all rows of the page.
    :param kept: by id, what is kept of those that are wanted.
    """

    ids: frozenset[str]
    kept: dict[str, K]


@dataclass(slots=True)
class _Page(Generic[K]):
    """A page that was read.

    :param offset: where it begins.
    :param rows: its rows.
    :param total: how many rows the list had then, if the portal said so.
    :param is_last: whether the list ended there then.
    :param sent: number of the request that it came with, and its place in it.
    :param received: number of the last request that had been sent when it came.
    """

    offset: int
    rows: Rows[K]
    total: int | None
    is_last: bool
    sent: tuple[int, int]
    received: int

    def is_later_than(self, other: _Page[K]) -> bool:
        """Whether the portal surely read it after another."""
        together = self.sent[0] == other.sent[0]
        return self.sent[1] > other.sent[1] if together else self.sent[0] > other.received


class _Requests(Batches):
    """Notes which pages are sent together, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self._sent: dict[int, tuple[int, int]] = {}

    def make_batch(self, calls: Sequence[Call]) -> Call:
        """Return one call that does them all."""
        self.count += 1
        self._sent.update({call.params["start"]: (self.count, place) for place, call in enumerate(calls)})
        return super().make_batch(calls)

    def sent(self, offset: int) -> tuple[int, int]:
        """Return the number of the latest request for a page, and its place in it. The first page comes before all."""
        return self._sent.get(offset, (0, 0))


@dataclass(slots=True)
class _Reader(Generic[K]):
    """Reads pages, and knows in which order the portal did.

    :param page: returns the call of the page at an offset.
    :param read: returns the rows of a reply.
    :param what: what the pages are of, for the log.
    :param total: how many rows the list had when the latest page was read.
    """

    page: Callable[[int], Call]
    read: Callable[[Reply], Rows[K]]
    what: str
    total: int | None = None
    requests: _Requests = field(default_factory=_Requests)

    def take(self, offset: int, reply: Reply) -> _Page[K]:
        """Take in a page."""
        if reply.next not in (None, offset + PAGE):
            raise UnreadableReplyError(str(self.page(offset)), text="the pages do not go on")
        rows, self.total = self.read(reply), reply.total
        is_last = reply.next is None or not rows.ids
        return _Page(offset, rows, reply.total, is_last, self.requests.sent(offset), self.requests.count)

    def pages(self, offsets: Iterable[int]) -> Plan[list[_Page[K]]]:
        """Read pages, in each request in the order of the offsets.

        :param offsets: different ones, descending.
        """
        wanted = list(offsets)
        pages: dict[int, _Page[K]] = {}

        def done(offset: int, reply: Reply) -> None:
            pages[offset] = self.take(offset, reply)

        yield from send_each(wanted, self.page, done, read_again, what=self.what, batching=self.requests)
        return [pages[offset] for offset in wanted]


def read_pages(
    first: Reply,
    page: Callable[[int], Call],
    read: Callable[[Reply], Rows[K]],
    *,
    what: str,
    limit: int | None = None,
    only_shrinks: bool = False,
) -> Plan[dict[str, K]]:
    """Read the pages of a list, of which the first is there already: one request for each 50 of the others.

    What is in the list all the while is in the result, also when others end meanwhile: then some pages are read again,
    mostly with one further request.

    :param first: the first page.
    :param page: returns the call of the page at an offset.
    :param read: returns the rows of a reply.
    :param what: what the pages are of, for the log.
    :param limit: how many rows are enough, so that no further pages are read; default: all.
    :param only_shrinks: whether nothing can come into the list any more, so that equal totals show that nothing
        has changed. Otherwise the first page is read again after the others.
    :returns: by id, what was kept of the rows; in the list's order, but for those that ended meanwhile.
    :raises UnreadableReplyError: if the pages are not those of one list.
    """
    reader = _Reader(page, read, what)
    reader.requests.learn(1, first)
    pages = [reader.take(0, first)]
    yield from _read_on(reader, pages, limit, only_shrinks)
    yield from _join(reader, pages, only_shrinks)
    found: dict[str, K] = {}
    for one in reversed(pages):
        found |= one.rows.kept
    return found


def _read_on(reader: _Reader[K], pages: list[_Page[K]], limit: int | None, only_shrinks: bool) -> Plan[None]:
    """Read the pages after the first, and put them before it: the last page comes first.

    :param pages: the first page.
    """
    first = pages[0]
    while not pages[0].is_last:
        start = pages[0].offset + PAGE
        ahead = max(PAGES_AHEAD, TIMES_AHEAD * len(pages))
        if limit is not None:
            kept = set[str]().union(*(one.rows.kept for one in pages))
            ahead = min(ahead, -(-(limit - len(kept)) // PAGE))
            if ahead <= 0:
                return
        ids = set[str]().union(*(one.rows.ids for one in pages))
        end = min(max(pages[0].total or 0, start + 1), start + ahead * PAGE)
        offsets = [*range(start, end, PAGE)][::-1]
        again = [0] if pages[0] is first and not only_shrinks else []
        new = yield from reader.pages(offsets + again)
        read_again, new = new[len(offsets) :], new[: len(offsets)]
        pages[:] = [*new, *read_again, *pages]
        if any(not one.rows.ids for one in new):
            return
        if all(one.rows.ids <= ids for one in new):
            raise UnreadableReplyError(str(reader.page(start)), text="the pages do not go on")


def _join(reader: _Reader[K], pages: list[_Page[K]], only_shrinks: bool) -> Plan[None]:
    """Read again what may have been missed between pages.

    :param pages: the last page first; those that are read again are put where they belong.
    """
    most = TIMES_AGAIN * (len(pages) + 1)
    while gaps := _gaps(pages, only_shrinks):
        again: dict[int, range] = {}
        reached = pages[gaps[0]].offset
        for nth in gaps:
            upper, lower = pages[nth], pages[nth + 1]
            # Below a gap that is wide, others may be closed with it.
            if upper.offset <= reached:
                reached = max(0, min(upper.offset - PAGE, _now_at(lower, reader.total) // PAGE * PAGE))
                again[nth] = range(upper.offset - PAGE, reached - 1, -PAGE)
        most -= sum(map(len, again.values()))
        if most < 0:
            raise UnreadableReplyError(str(reader.page(0)), text="the list changes faster than it can be read")
        new = iter((yield from reader.pages(offset for offsets in again.values() for offset in offsets)))
        pages[:] = [one for nth, page in enumerate(pages) for one in (page, *islice(new, len(again.get(nth, ()))))]


def _now_at(page: _Page[K], total: int | None) -> int:
    """Return how far the last row of a page may have moved forward since.

    :param total: how many rows the list has now.
    """
    ended = max(0, page.total - total) if page.total is not None and total is not None else 0
    return page.offset + PAGE - 1 - ended


def _gaps(pages: list[_Page[K]], only_shrinks: bool) -> list[int]:
    """Return after which pages something may have been missed.

    :param pages: the last page first.
    """
    gaps = []
    nth = 0
    while nth + 1 < len(pages) and pages[nth].offset:
        upper, nth = pages[nth], nth + 1
        if not _adjoin(upper, pages[nth], only_shrinks):
            further = range(nth + 1, len(pages))
            shared = next((one for one in further if not upper.rows.ids.isdisjoint(pages[one].rows.ids)), None)
            if shared is None:
                gaps.append(nth - 1)
            else:
                nth = shared
    return gaps


def _adjoin(upper: _Page[K], lower: _Page[K], only_shrinks: bool) -> bool:
    """Return whether nothing was missed between two pages.

    :param upper: the one that is further on in the list.
    :param lower: the one before it.
    """
    return (
        # Nothing was there any more after the lower one.
        lower.is_last
        or (lower.offset + PAGE >= upper.offset and lower.is_later_than(upper))
        or (
            lower.offset + PAGE == upper.offset
            and only_shrinks
            and lower.total is not None
            and lower.total == upper.total
        )
        or not upper.rows.ids.isdisjoint(lower.rows.ids)
    )
