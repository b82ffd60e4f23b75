"""A worse canary goes back, an equal one stays: planted ones over a real store, and the rules."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from served import Scene, answered, crowd, thumb, votes

from feedback_store import Decision, Release
from feedback_store.errors import Unavailable
from rlhf.serving.guard import Figures, breach, percentile
from rlhf.serving.settings import GuardSettings
from rlhf.serving.traffic import Traffic

SETTINGS = GuardSettings()
FAST = tuple(100.0 + n % 7 for n in range(500))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.store.close()


def begun(scene: Scene, **about: Any) -> Traffic:
    """A canary that runs; its first answer and the champion's stand in the store."""
    if not scene.store.policies():
        scene.two()
    traffic = scene.traffic(canary="canary", **about)
    asyncio.run(traffic.start())
    return traffic


def look(traffic: Traffic) -> None:
    asyncio.run(traffic.look())


def runs_on(traffic: Traffic) -> bool:
    return [arm.role for arm in traffic.models()] == ["champion", "canary"]


def seen(traffic: Traffic, role: Any) -> tuple[int, int]:
    figures = traffic.figures()[role]
    return figures.ups, figures.downs


# The rules.


def test_few_down_votes_say_nothing_and_many_do() -> None:
    champion = Figures(ups=700, downs=300)
    assert breach(Figures(ups=1, downs=3), champion, SETTINGS, 0.2) is None
    assert breach(Figures(ups=70, downs=30), champion, SETTINGS, 0.2) is None
    assert breach(Figures(ups=100, downs=0), champion, SETTINGS, 0.2) is None
    why = breach(Figures(ups=45, downs=55), champion, SETTINGS, 0.2)
    assert why == "down-votes 55 of 100, the champion's 300 of 1000"
    assert breach(Figures(), Figures(), SETTINGS, 0.2) is None


@pytest.mark.parametrize("name, allowed", [("errors", 5), ("blocked", 2)])
def test_a_share_beyond_the_margin_is_a_breach(name: str, allowed: int) -> None:
    champion = Figures(answers=2_000, **{name: 40})  # 2 %

    def of(count: int, answers: int) -> str | None:
        return breach(Figures(answers=answers, **{name: count}), champion, SETTINGS, 0.2)

    assert of(20 + 10 * allowed, 1_000) is None  # as much more as is allowed
    assert of(20 + 30 * allowed, 1_000) is not None
    assert of(49, 49) is None  # too few to be looked at
    told = of(50, 50)
    assert told is not None and told.startswith(f"{name} 50 of 50")
    assert of(0, 1_000) is None


def test_a_canary_that_is_slow_to_begin_is_a_breach() -> None:
    champion = Figures(first_token_ms=FAST)

    def of(*times: float) -> str | None:
        return breach(Figures(first_token_ms=times), champion, SETTINGS, 0.2)

    assert percentile(FAST) == 106.0
    assert of(*FAST[:100]) is None
    assert of(*(1.9 * ms for ms in FAST[:100])) is None
    assert of(*(3.0 * ms for ms in FAST[:49])) is None
    told = of(*(3.0 * ms for ms in FAST[:60]))
    assert told is not None and "318 ms" in told and "106 ms" in told
    # 4 of 60 make the 95th percentile slow, and happen to a canary as fast as the champion.
    assert of(*FAST[:56], *[500.0] * 4) is None


# Over the store.


def test_a_planted_canary_is_sent_back_for_good(scene: Scene) -> None:
    traffic = begun(scene, share=0.2)
    lots = random.Random(5)
    rates = {"champion": 0.7, "canary": 0.5}
    got = 0
    while runs_on(traffic) and got < 300:
        got += crowd(scene.store, lots, rates, 0.2, 50)
        look(traffic)
    assert not runs_on(traffic) and traffic.breaches == 1
    assert traffic.assign("ann").role == "champion" and traffic.assign("ann").probability == 1.0
    [decision] = scene.store.decisions()
    assert not decision.promote and decision.reasons[0].startswith("guard: down-votes ")
    assert (decision.candidate, decision.champion) == ("canary", "champion")
    assert decision.report["canary"]["downs"] > 0
    assert sum("is sent back" in line for line in scene.news) == 1
    for _ in range(3):
        look(traffic)
    assert scene.engine.held == ["champion"] and len(scene.store.decisions()) == 1
    # After a restart, and on another server, it stays away.
    again = begun(scene, share=0.2)
    assert not runs_on(again) and "guard: down-votes" in scene.news[-1]
    # A newer decision on it gives it another chance, and counts from there.
    scene.store.add_decision(Decision(candidate="canary", champion="champion", promote=True))
    look(again)
    assert runs_on(again)
    look(again)
    assert runs_on(again) and seen(again, "canary") == (0, 0)


def test_an_equal_canary_stays(scene: Scene) -> None:
    traffic = begun(scene, share=0.2)
    lots = random.Random(6)
    for _ in range(10):
        crowd(scene.store, lots, {"champion": 0.6, "canary": 0.6}, 0.2, 100)
        look(traffic)
    assert runs_on(traffic) and scene.store.decisions() == []


def test_votes_are_those_that_stand_of_real_people_on_drawn_answers(scene: Scene) -> None:
    traffic = begun(scene)
    store = scene.store
    [row] = votes(store, "canary", [True])
    votes(store, "champion", [True, False])
    look(traffic)
    assert (seen(traffic, "canary"), seen(traffic, "champion")) == ((1, 0), (1, 1))
    store.append(feedback=[thumb(row, False)])
    store.append(feedback=[thumb(row, False)])
    look(traffic)
    assert seen(traffic, "canary") == (0, 1)
    store.withdraw(row.id, f"voter-of-{row.id}", "thumb")
    look(traffic)
    assert seen(traffic, "canary") == (0, 0)
    for fields in (
        {"probability": 1.0},  # named by the client, or no canary ran
        {"probability": None},  # served elsewhere
        {"simulated": True},
        {"project": "other"},
    ):
        other = answered("canary", **fields)  # type: ignore[arg-type]
        store.append(interactions=[other], feedback=[thumb(other, False)])
    other = answered("canary")
    store.append(interactions=[other], feedback=[thumb(other, False, simulated=True)])
    look(traffic)
    assert seen(traffic, "canary") == (0, 0)
    store.append(feedback=[thumb(row, True)])
    look(traffic)
    assert seen(traffic, "canary") == (1, 0)
    again = begun(scene)  # a restart counts the same from the store alone
    look(again)
    assert (seen(again, "canary"), seen(again, "champion")) == ((1, 0), (1, 1))


def test_votes_from_before_the_canary_do_not_count(scene: Scene) -> None:
    scene.two()
    votes(scene.store, "champion", [True] * 50)
    traffic = begun(scene)
    look(traffic)
    votes(scene.store, "canary", [True])
    votes(scene.store, "champion", [False])
    look(traffic)
    assert seen(traffic, "champion") == (0, 1)
    # Against another champion it begins anew.
    scene.policy("second", parent="champion")
    scene.release("second")
    look(traffic)
    votes(scene.store, "canary", [False])
    look(traffic)
    assert seen(traffic, "champion") == (0, 0) and seen(traffic, "canary") == (0, 1)


def test_one_person_cannot_send_a_canary_back(scene: Scene) -> None:
    traffic = begun(scene)
    votes(scene.store, "canary", [True] * 60)
    votes(scene.store, "champion", [True, True, True, True, False] * 60)
    rows = [answered("canary") for _ in range(400)]
    scene.store.append(interactions=rows, feedback=[thumb(row, False, "troll") for row in rows])
    look(traffic)
    assert runs_on(traffic) and seen(traffic, "canary") == (60, 10)
    rows = [answered("canary") for _ in range(120)]
    scene.store.append(interactions=rows, feedback=[thumb(row, False) for row in rows])
    look(traffic)
    assert not runs_on(traffic)


def test_against_the_base_model_votes_without_a_policy_count(scene: Scene) -> None:
    scene.policy("canary")
    traffic = begun(scene)
    votes(scene.store, "canary", [False] * 60)
    votes(scene.store, None, [True] * 60)
    look(traffic)
    [decision] = scene.store.decisions()
    assert decision.champion is None and not runs_on(traffic)


def test_failed_answers_send_it_back_and_named_ones_do_not(scene: Scene) -> None:
    traffic = begun(scene, share=0.2)
    champion, canary = traffic.models()
    named = traffic.policy("canary")
    assert named is not None
    for _ in range(100):
        traffic.finished(champion, error=False, blocked=False, first_token_ms=90.0)
        traffic.finished(named, error=True, blocked=False, first_token_ms=None)
    look(traffic)
    assert runs_on(traffic)
    for _ in range(50):
        traffic.finished(canary, error=True, blocked=False, first_token_ms=None)
    look(traffic)
    assert not runs_on(traffic)
    assert scene.store.decisions()[0].reasons[0].startswith("guard: errors 50 of 50")
    traffic.finished(canary, error=True, blocked=False, first_token_ms=None)  # one under way


def test_after_a_restart_the_recorded_ends_count(scene: Scene) -> None:
    begun(scene)
    rows = [answered("canary", finish_reason="content_filter") for _ in range(40)]
    rows += [answered("canary", finish_reason="error") for _ in range(5)]
    rows += [answered("champion", first_token_ms=float(n)) for n in range(60)]
    scene.store.append(interactions=rows)
    traffic = begun(scene)
    figures = traffic.figures()
    assert (figures["canary"].answers, figures["canary"].blocked, figures["canary"].errors) == (
        45,
        40,
        5,
    )
    assert figures["champion"].first_token_ms == tuple(float(n) for n in range(60))
    look(traffic)
    assert runs_on(traffic)  # fewer than min_answers
    for _ in range(5):
        traffic.finished(traffic.models()[1], error=False, blocked=True, first_token_ms=5.0)
    look(traffic)
    assert "blocked 45 of 50" in scene.store.decisions()[0].reasons[0]


def test_it_goes_back_even_while_the_store_takes_no_decision(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic = begun(scene)
    votes(scene.store, "canary", [False] * 60)
    votes(scene.store, "champion", [True] * 60)

    def full(decision: Decision) -> Decision:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(scene.store, "add_decision", full)
        look(traffic)
        look(traffic)
        assert not runs_on(traffic) and traffic.problems() == ["store: the disk is full"]
        assert traffic.breaches == 1
    look(traffic)
    assert len(scene.store.decisions()) == 1 and traffic.problems() == []


def test_two_servers_make_one_decision(scene: Scene) -> None:
    first, second = begun(scene), begun(scene)
    votes(scene.store, "canary", [False] * 60)
    votes(scene.store, "champion", [True] * 60)
    look(first)
    look(second)
    assert not runs_on(first) and not runs_on(second) and len(scene.store.decisions()) == 1


def test_the_webhook_is_told(scene: Scene) -> None:
    told: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    traffic = begun(scene, webhook=f"http://127.0.0.1:{server.server_port}/")
    votes(scene.store, "canary", [False] * 60)
    votes(scene.store, "champion", [True] * 60)

    async def story() -> None:
        await traffic.look()
        async with asyncio.timeout(10):
            while not told:
                await asyncio.sleep(0.01)

    asyncio.run(story())
    server.shutdown()
    thread.join()
    server.server_close()
    [event] = told
    assert (event["event"], event["policy"], event["champion"]) == (
        "guardrail",
        "canary",
        "champion",
    )
    assert event["reason"].startswith("down-votes 60 of 60")


def test_after_a_rollback_it_meets_the_champion_that_answers_now(scene: Scene) -> None:
    scene.policy("zero")
    scene.release("zero")
    scene.two()
    traffic = begun(scene)
    scene.store.add_release(Release(policy="zero", action="rollback"))
    look(traffic)
    assert [arm.policy.label for arm in traffic.models()] == ["zero", "canary"]


# Planted canaries, run after run.


def planted(folder: Path, seed: int, rates: dict[str, float], share: float, most: int) -> bool:
    """Whether the guard sends it back before the canary has more than `most` votes."""
    folder.mkdir()
    scene = Scene(folder)
    try:
        traffic = begun(scene, share=share)
        lots = random.Random(seed)
        got = 0
        while got < most and runs_on(traffic):
            got += crowd(scene.store, lots, rates, share, round(25 / share))
            look(traffic)
        return not runs_on(traffic) and got <= most
    finally:
        scene.store.close()


@pytest.mark.slow
def test_200_planted_canaries_go_back_and_200_equal_ones_stay(tmp_path: Path) -> None:
    worse = {"champion": 0.7, "canary": 0.5}
    equal = {"champion": 0.7, "canary": 0.7}
    gone = [planted(tmp_path / f"worse{n}", n, worse, 0.2, 300) for n in range(200)]
    wrong = [planted(tmp_path / f"equal{n}", 1_000 + n, equal, 0.2, 300) for n in range(200)]
    assert sum(gone) >= 190 and sum(wrong) <= 10


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.5, 0.7, 0.9])
def test_the_rule_finds_20_points_at_other_rates_too(rate: float) -> None:
    """The same without a store, vote by vote: only the counts are needed."""
    gone = wrong = 0
    for seed in range(200):
        lots = random.Random(seed)
        gone += _gone(lots, rate, rate - 0.2)
        wrong += _gone(lots, rate, rate)
    assert gone >= 190 and wrong <= 10


def _gone(lots: random.Random, champion: float, canary: float) -> bool:
    sides = {"champion": [0, 0], "canary": [0, 0]}
    while sum(sides["canary"]) < 300:
        arm, rate = ("canary", canary) if lots.random() < 0.2 else ("champion", champion)
        sides[arm][lots.random() < rate] += 1
        if sum(sides["canary"]) % 5 == 0 and arm == "canary":
            ours, theirs = (Figures(ups=up, downs=down) for down, up in reversed(sides.values()))
            if breach(ours, theirs, SETTINGS, 0.2) is not None:
                return True
    return False
