"""Whatever comes back, a call ends in a result or in one of the typed errors, and the limits go on working."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_workflows.bitrix24 import calls as bitrix24_calls
from airflow_provider_workflows.bitrix24.batches import Batches
from airflow_provider_workflows.bitrix24.calls import BATCH, Call, Reply
from airflow_provider_workflows.bitrix24.coalescing import RequestCoalescer
from airflow_provider_workflows.bitrix24.errors import OperatingTimeLimitError
from airflow_provider_workflows.bitrix24.limits.limiter import PortalRateLimiter
from airflow_provider_workflows.bitrix24.portal import Portal
from airflow_provider_workflows.bitrix24.wire import Bitrix24Wire
from airflow_provider_workflows.domo import calls as domo_calls
from airflow_provider_workflows.domo.account import Account
from airflow_provider_workflows.domo.wire import DomoWire
from airflow_provider_workflows.rest.errors import ApiError
from airflow_provider_workflows.rest.protocol import Response
from airflow_provider_workflows.rest.replies import LONGEST_WAIT

WORKFLOW = "66e412fdc9bd44.36306599"
READ, END = bitrix24_calls.list_workflows(), bitrix24_calls.kill_workflow(WORKFLOW)
BOTH = bitrix24_calls.batch({"c0": READ, "c1": END})
BITRIX24 = Bitrix24Wire(Portal.with_webhook("acme.bitrix24.com", 17, "wh00k0c0de0f0acme"))
DOMO = DomoWire(Account.with_token("acme.domo.com", "DDCIdevel0pert0ken"))

# Numbers of any size and kind, also those that JSON has no word for, as Python's json writes them.
numbers = (
    st.integers() | st.floats() | st.sampled_from([10**12, -1, 1e308, 5e-324, float("nan"), float("inf"), 10**300])
)
leaves = st.none() | st.booleans() | numbers | st.text(max_size=20) | numbers.map(str)
# The names that something reads, so that what is read is often there, with something strange in it.
NAMES = (
    "result result_error result_total result_next result_time error error_description total next time operating"
    " operating_reset_at duration finish c0 c1 ID id status message toe"
)
names = st.sampled_from(NAMES.split()) | st.text(max_size=5)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=5), max_leaves=30
)


def maybe(value: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return value | values


times = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("operating", "operating_reset_at", "duration", "finish"), leaves)
)
codes = st.sampled_from(["QUERY_LIMIT_EXCEEDED", "OPERATION_TIME_LIMIT", "expired_token", "", "0"])
errors = st.fixed_dictionaries({"error": maybe(codes)}, optional={"error_description": values})
by_key = st.fixed_dictionaries({}, optional={"c0": values, "c1": values})
parts = st.fixed_dictionaries(
    {},
    optional={
        "result": maybe(by_key),
        "result_error": maybe(st.fixed_dictionaries({}, optional={"c0": maybe(errors), "c1": maybe(errors)})),
        "result_total": maybe(by_key),
        "result_next": maybe(by_key),
        "result_time": maybe(st.fixed_dictionaries({}, optional={"c0": maybe(times), "c1": maybe(times)})),
    },
)
envelopes = errors | st.fixed_dictionaries(
    {"result": maybe(parts)}, optional={"total": leaves, "next": leaves, "time": maybe(times)}
)
contents = (
    maybe(envelopes).map(lambda value: json.dumps(value).encode())
    | st.binary()
    | st.integers(1, 100_000).map(lambda depth: b'{"result":' * depth)
)
headers = st.fixed_dictionaries(
    {}, optional={"Retry-After": st.text() | numbers.map(str), "Location": st.text(), "Date": st.text()}
)
responses = st.builds(
    Response, st.just(200) | st.sampled_from([400, 429, 503]) | st.integers(100, 999), headers, contents
)


def outcome_of(wire: Any, call: Any, response: Response) -> Any:
    """Return the result of a call, or its error, as a driver does; nothing else may be raised."""
    try:
        return wire.result(call, response)
    except ApiError as error:
        failure = error
    # The log and the report hold it.
    assert len(str(failure)) < 5000
    assert failure.retry_after is None or 0 <= failure.retry_after <= LONGEST_WAIT
    return failure


@given(responses, st.sampled_from([READ, END, BOTH]))
def test_a_call_to_bitrix24_has_an_outcome(response: Response, call: Call) -> None:
    outcome = outcome_of(BITRIX24, call, response)
    assert isinstance(outcome, (Reply, ApiError))
    if isinstance(outcome, Reply) and call.commands:
        assert list(outcome.result) == ["c0", "c1"]
        assert all(isinstance(its_own, (Reply, ApiError)) for its_own in outcome.result.values())


DOMO_CALLS = (
    domo_calls.get_instance("x"),
    domo_calls.cancel_instance("x"),
    domo_calls.start_instance("m", "1", "Start", {}),
)


@given(responses, st.sampled_from(DOMO_CALLS))
def test_a_call_to_domo_has_an_outcome(response: Response, call: domo_calls.Call) -> None:
    outcome = outcome_of(DOMO, call, response)
    assert isinstance(outcome, (dict, list, ApiError))


@given(st.lists(st.tuples(responses, st.sampled_from([READ, END, BOTH])), max_size=10))
def test_whatever_the_portal_says_the_rate_is_one_to_live_with(said: list[tuple[Response, Call]]) -> None:
    limiter = PortalRateLimiter(clock=lambda: 1_800_000_000.0)
    for response, call in said:
        try:
            wait: float | None = next(limiter.acquire(call), 0.0)
        except OperatingTimeLimitError as held:
            wait = held.retry_after
        else:
            limiter.release(call, outcome_of(BITRIX24, call, response))
        assert wait is not None
        assert 0 <= wait <= LONGEST_WAIT + 60


@given(st.lists(responses, max_size=10))
def test_whatever_the_portal_says_a_batch_has_a_size(said: list[Response]) -> None:
    batches = Batches()
    for response in said:
        batches.learn(2, outcome_of(BITRIX24, BOTH, response))
        assert 1 <= batches.next_size(200, trial=False) <= BATCH


@given(st.lists(responses, min_size=1, max_size=5), st.integers(1, 4))
def test_whatever_the_portal_says_who_shares_a_request_is_answered(said: list[Response], waiters: int) -> None:
    left = list(said)

    async def attempt(call: Call) -> Reply | ApiError:
        return outcome_of(BITRIX24, call, left.pop(0) if len(left) > 1 else left[0])  # type: ignore[no-any-return]

    async def work() -> list[Any]:
        coalescer = RequestCoalescer(attempt, 4, delay=0.0)
        reads = [bitrix24_calls.list_workflows(start=50 * nth) for nth in range(waiters)]
        return await asyncio.wait_for(asyncio.gather(*(coalescer.load(call) for call in reads)), 300)

    outcomes = asyncio.run(work())
    assert len(outcomes) == waiters
    assert all(isinstance(outcome, (Reply, ApiError)) for outcome in outcomes)
