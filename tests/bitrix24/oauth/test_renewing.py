"""Tokens are renewed by one worker at a time and written before they are used, whoever is killed or late."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_workflows.bitrix24.errors import AuthorizeAgainError, TokenServerError, TokenStoreError
from airflow_provider_workflows.bitrix24.oauth.renewing import usable_tokens
from airflow_provider_workflows.bitrix24.oauth.tokens import Tokens
from airflow_provider_workflows.bitrix24.oauth.wire import LicenceCall, TokenCall
from airflow_provider_workflows.rest.errors import AuthenticationError, NotProcessedError, RejectedError
from airflow_provider_workflows.rest.plans import Pause
from airflow_provider_workflows.rest.protocol import Request, Response
from tests.bitrix24.oauth.workers import Place, Worker, finish, work

ROTATIONS = ["strict", "grace", "none"]


def renewer(place: Place, host: int = 0, refused: str | None = None) -> Worker:
    """Return a worker whose access token is refused: the one that is stored, or the one before."""
    return Worker(place, usable_tokens(place.chains[host], refused or place.stored().access_token))


def expire(place: Place) -> str:
    """Let the access token expire; return it."""
    place.world.tokens.expire()
    return place.stored().access_token


class TestSideBySide:
    @pytest.mark.parametrize("rotation", ROTATIONS)
    @pytest.mark.parametrize("old_access", ["lives", "dies"])
    def test_of_eight_workers_with_one_store_one_renews_and_all_use_what_it_stored(
        self, rotation: str, old_access: str
    ) -> None:
        place, chance = Place(refresh_rotation=rotation, old_access=old_access), random.Random(1)  # noqa: S311
        for generation in range(2, 32):
            expire(place)
            got = finish(place, *[renewer(place) for _ in range(8)], chance=chance)
            assert {tokens.access_token for tokens in got} == {place.stored().access_token}
            assert (place.stored().generation, place.renewals()) == (generation, generation - 1)
        assert place.lives()

    @pytest.mark.parametrize("rotation", ROTATIONS)
    def test_of_two_hosts_with_variables_only_each_renews_once_at_most_and_the_chain_lives(self, rotation: str) -> None:
        place, chance = Place(hosts=2, refresh_rotation=rotation), random.Random(2)  # noqa: S311
        for _ in range(30):
            expire(place)
            got = finish(place, *[renewer(place, host) for host in [0, 1] * 4], chance=chance)
            assert all(place.world.tokens.status(tokens.access_token) == "valid" for tokens in got)
            assert place.lives()
        assert 30 <= place.renewals() <= place.asked() <= 60

    def test_the_loser_of_two_hosts_uses_the_winners_tokens(self) -> None:
        place = Place(hosts=2)
        first, second = renewer(place, 0), renewer(place, 1)
        while not isinstance(second.steps and second.steps[-1], TokenCall):
            # Both have looked at the store before the first one asks.
            (first if len(first.steps) < len(second.steps) else second).step()
            place.now = max(place.now, first.awake_at, second.awake_at)
        got = finish(place, first, second)
        assert got[0] == got[1] == place.stored()
        assert (place.renewals(), place.asked()) == (1, 2)


class TestKilled:
    def alone(self, place: Place) -> list[object]:
        worker = renewer(place)
        finish(place, worker)
        return worker.steps

    @pytest.mark.parametrize("rotation", ROTATIONS)
    @pytest.mark.parametrize("hosts", [0, 1])
    def test_at_any_step_it_is_followed_by_another_and_only_new_tokens_that_it_had_not_stored_can_be_lost(
        self, rotation: str, hosts: int
    ) -> None:
        steps = self.alone(Place(hosts))
        asked = next(at for at, step in enumerate(steps) if isinstance(step, TokenCall))
        for killed_at in range(len(steps) + 1):
            place = Place(hosts, refresh_rotation=rotation, refresh_grace_seconds=40.0)
            old = expire(place)
            killed, began = renewer(place), place.now
            while len(killed.steps) < killed_at:
                place.now = max(place.now, killed.awake_at)
                killed.step()
            (then,) = finish(place, renewer(place, refused=old))
            # Whether the reply was on its way or had come, the next step would have stored it.
            if rotation == "strict" and killed_at == asked + 1:
                assert isinstance(then, AuthorizeAgainError)
                assert (place.asked(), place.renewals()) == (2, 1)
            else:
                assert place.lives()
                assert then == place.stored()
                assert place.renewals() == (2 if killed_at == asked + 1 else 1)
            assert place.now - began < 45, "the lease of one who is gone, and some looks"

    def test_one_that_was_frozen_does_not_write_over_newer_tokens(self) -> None:
        place = Place(refresh_rotation="grace", refresh_grace_seconds=1e6)
        expire(place)
        frozen = renewer(place)
        while not isinstance(frozen.steps and frozen.steps[-1], TokenCall):
            frozen.step()
        place.now += 3600
        (newer,) = finish(place, renewer(place))
        (late,) = finish(place, frozen)
        assert late == newer == place.stored()

    def test_a_frozen_one_that_was_first_is_waited_for_by_the_one_who_is_refused(self) -> None:
        place = Place()
        frozen = renewer(place)
        while not isinstance(frozen.steps and frozen.steps[-1], TokenCall):
            frozen.step()
        place.now += 31
        refused = renewer(place)
        while place.asked() < 2 or not isinstance(refused.steps[-1], Pause):
            refused.step()
        got = finish(place, frozen, refused)
        assert got[0] == got[1] == place.stored()


class TestTheTokenServer:
    @pytest.mark.parametrize(("rotation", "alive"), [("strict", False), ("grace", True), ("none", True)])
    def test_a_lost_reply_is_asked_for_once_more(self, rotation: str, alive: bool) -> None:
        place = Place(refresh_rotation=rotation)
        place.inject("lost_after")
        expire(place)
        (got,) = finish(place, renewer(place))
        assert place.asked() == 2
        assert isinstance(got, Tokens if alive else AuthorizeAgainError)
        assert place.lives() is alive

    @pytest.mark.parametrize("fault", ["lost_before", "error_500", "html", "truncated"])
    def test_one_that_gives_no_answer_is_asked_twice_and_again_with_the_next_call(self, fault: str) -> None:
        place = Place(refresh_rotation="grace")
        place.inject(fault, times=2)
        got = finish(place, renewer(place))
        assert isinstance(got[0], TokenServerError)
        assert isinstance(got[0], NotProcessedError)
        (then,) = finish(place, renewer(place))
        assert (then, place.asked()) == (place.stored(), 3)

    def test_a_refused_refresh_token_is_final_and_not_sent_again_by_others(self) -> None:
        place = Place(revoked=True)
        began = place.now
        got = finish(place, *[renewer(place) for _ in range(8)])
        assert {type(error) for error in got} == {AuthorizeAgainError}
        assert (place.asked(), place.now - began < 15) == (1, True)
        assert "authorize" in str(got[0])
        place.now += 60
        (later,) = finish(place, renewer(place))
        assert (type(later), place.asked()) == (AuthorizeAgainError, 1)
        assert not later.retry_helps

    @pytest.mark.parametrize("in_200", [True, False])
    def test_a_wrong_secret_is_final_with_any_status(self, in_200: bool) -> None:
        place = Place(wrong_client_in_200=in_200, client_secret="another")
        (got,) = finish(place, renewer(place))
        assert isinstance(got, AuthenticationError)
        assert (got.code, place.asked()) == ("WRONG_CLIENT" if in_200 else "invalid_client", 1)
        assert place.lives()

    def test_one_that_takes_no_post_is_not_sent_the_secret_in_an_address(self) -> None:
        place = Place(token_post_refused=True)
        (got,) = finish(place, renewer(place))
        assert isinstance(got, RejectedError)
        assert (got.http_status, place.asked()) == (405, 1)

    def test_another_one_that_the_vendor_names_is_asked_next_time_and_nobody_elses(self) -> None:
        for named, then in {
            "https://oauth.bitrix24.tech/rest/": "https://oauth.bitrix24.tech/oauth/token/",
            "https://oauth.bitrix24.tech.evil.example/rest/": "https://oauth.bitrix.info/oauth/token/",
            "https://oauth.bitrix24.tech:8443/rest/": "https://oauth.bitrix.info/oauth/token/",
            "not an address": "https://oauth.bitrix.info/oauth/token/",
        }.items():
            place = Place(server_endpoint=named, named_endpoint=None)
            finish(place, renewer(place))
            worker = renewer(place)
            finish(place, worker)
            assert [step.url for step in worker.steps if isinstance(step, TokenCall)] == [then]

    @pytest.mark.parametrize("odd", [None, 17, -1.0, []])
    def test_tokens_are_kept_whatever_else_comes_with_them(self, odd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        place = Place()
        answer = place._answer
        others = dict.fromkeys(("expires_in", "member_id", "client_endpoint", "server_endpoint"), odd)

        async def oddly(request: Request) -> Response:
            response = await answer(request)
            told = json.loads(response.content)
            return replace(response, content=json.dumps(told | (others if "refresh_token" in told else {})).encode())

        monkeypatch.setattr(place, "_answer", oddly)
        (got,) = finish(place, renewer(place))
        assert (got, got.generation) == (place.stored(), 2)
        assert place.lives()

    def test_the_connections_own_one_is_asked_whatever_is_named(self) -> None:
        place = Place(server_endpoint="https://oauth.bitrix24.tech/rest/")
        finish(place, renewer(place))
        worker = renewer(place)
        finish(place, worker)
        assert [step.url for step in worker.steps if isinstance(step, TokenCall)] == [place.application.token_url]


class TestTheStore:
    def test_what_is_stored_is_encrypted(self) -> None:
        place = Place()
        finish(place, renewer(place))
        stored = place.stored()
        written = b"".join(place.records._records.values())
        assert stored.access_token.encode() not in written
        assert stored.refresh_token.encode() not in written

    def test_new_tokens_are_tried_to_be_stored_until_they_are_and_not_used_before(self) -> None:
        place = Place()
        worker = renewer(place)
        while not isinstance(worker.steps and worker.steps[-1], TokenCall):
            worker.step()
        place.away = True
        for _ in range(12):
            place.now = max(place.now, worker.awake_at)
            worker.step()
        assert worker.outcome is None
        place.away = False
        assert finish(place, worker) == [place.stored()]
        assert place.lives()

    def test_one_that_is_away_at_first_keeps_the_call_from_being_sent(self) -> None:
        place = Place()
        worker = renewer(place)
        place.away = True
        (got,) = finish(place, worker)
        assert isinstance(got, TokenStoreError)
        assert (got.retry_helps, place.asked()) == (True, 0)

    def test_tokens_that_have_expired_by_its_clock_are_renewed_without_a_call_and_others_are_left_alone(self) -> None:
        place = Place()
        before = place.stored()
        assert finish(place, Worker(place, usable_tokens(place.chain))) == [before]
        place.now += 3600
        (got,) = finish(place, Worker(place, usable_tokens(place.chain)))
        assert (got, got.generation, place.renewals()) == (place.stored(), 2, 1)

    def test_who_wakes_with_a_token_of_long_ago_does_not_use_one_that_has_expired_since(self) -> None:
        place = Place()
        old = place.stored().access_token
        finish(place, renewer(place))
        place.now += 3600
        (got,) = finish(place, Worker(place, usable_tokens(place.chain, old)))
        assert (got.generation, place.world.tokens.status(got.access_token)) == (3, "valid")

    def test_no_tokens_at_all_are_a_matter_for_a_person(self) -> None:
        place = Place()
        place.records._records.clear()
        (got,) = finish(place, Worker(place, usable_tokens(place.chain)))
        assert isinstance(got, AuthorizeAgainError)
        assert "no tokens are stored for 'b24'" in str(got)


class TestThePlan:
    @pytest.mark.parametrize(
        ("licence", "enterprise"),
        [("de_basic", False), ("de_enterprise250", True), ("ru_ent250", True), ("en_center", False), ("", False)],
    )
    def test_it_is_read_with_new_tokens(self, licence: str, enterprise: bool) -> None:
        place = Place(license=licence)
        (got,) = finish(place, renewer(place))
        assert got == place.stored()
        assert got.is_enterprise is enterprise

    def test_tokens_are_as_good_without_it(self) -> None:
        place = Place(commercial_plan=False)
        worker = renewer(place)
        (got,) = finish(place, worker)
        assert any(isinstance(step, LicenceCall) for step in worker.steps)
        assert (got, got.licence) == (place.stored(), "")


@pytest.mark.parametrize(("days", "warns"), [(20.9, None), (21.1, "after 28"), (151, "after 180 days;")])
def test_the_age_of_the_refresh_token_is_warned_about(days: float, warns: str | None) -> None:
    place = Place()
    warning = place.stored().age_warning(place.now + days * 86400)
    assert warning is None if warns is None else warns in str(warning)


def test_each_step_of_any_may_come_after_each_of_any_others() -> None:
    """The same with other chances: nobody fails, though now and then one is killed."""
    place, chance = Place(refresh_rotation="grace", refresh_grace_seconds=40.0), random.Random(3)  # noqa: S311
    for _ in range(40):
        expire(place)
        workers = [renewer(place) for _ in range(4)]
        for worker in work(place, workers, chance):
            if worker.outcome is None and chance.random() < 0.01:
                worker.outcome = place.stored()
        assert all(isinstance(worker.outcome, Tokens) for worker in workers)
        assert place.lives()
