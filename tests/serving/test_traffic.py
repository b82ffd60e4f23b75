"""Who answers whom, and swaps: a real store, and an engine that keeps count of its calls."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import BASE, Scene

from feedback_store import Decision, Release
from rlhf.errors import PolicyError
from rlhf.serving.engines import EngineFailed
from rlhf.serving.traffic import Arm, Traffic

run = asyncio.run


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.store.close()


def started(traffic: Traffic) -> Traffic:
    run(traffic.start())
    return traffic


def served(traffic: Traffic) -> list[tuple[str, str]]:
    return [(arm.role, arm.policy.label) for arm in traffic.models()]


def looks(traffic: Traffic, times: int = 1) -> None:
    async def several() -> None:
        for _ in range(times):
            await traffic.look()

    run(several())


def test_before_a_first_release_the_base_model_answers_all(scene: Scene) -> None:
    traffic = started(scene.traffic())
    arm = traffic.assign("ann")
    assert (arm.policy.id, arm.policy.label, arm.role, arm.probability) == (
        None,
        BASE,
        "champion",
        1.0,
    )
    assert traffic.models() == [arm] == [traffic.policy(BASE)]
    assert traffic.policy("canary") is None and traffic.problems() == []


def test_a_champion_that_cannot_answer_keeps_the_service_from_starting(scene: Scene) -> None:
    scene.policy("other", base_model="another base")
    scene.release("other")
    with pytest.raises(PolicyError, match="another base"):
        run(scene.traffic().start())
    scene.two()
    scene.engine.broken["champion"] = "no memory"
    with pytest.raises(EngineFailed, match="no memory"):
        run(scene.traffic().start())


def test_users_stay_on_the_side_that_they_were_drawn_for(scene: Scene) -> None:
    scene.two()
    traffic = started(scene.traffic(canary="canary", share=0.2))
    users = [f"user {n}" for n in range(4_000)]
    first = {user: traffic.assign(user) for user in users}
    assert first == {user: traffic.assign(user) for user in users}
    # One who reads the store's own name of a user back is the same user.
    assert traffic.assign(scene.store.pseudonym("user 1")) == first["user 1"]
    counts = Counter(arm.role for arm in first.values())
    assert 700 < counts["canary"] < 900  # 800 ± 4 standard deviations
    for arm in first.values():
        assert arm.probability == (0.2 if arm.role == "canary" else 0.8)
    again = started(scene.traffic(canary="canary", share=0.2))
    assert first == {user: again.assign(user) for user in users}
    # Who had the last canary is no more likely to have the next.
    scene.policy("next", parent="champion")
    other = started(scene.traffic(canary="next", share=0.2))
    both = sum(other.assign(user).role == arm.role == "canary" for user, arm in first.items())
    assert 110 < both < 210  # 160 by chance


def test_without_a_user_the_arm_is_drawn(scene: Scene) -> None:
    scene.two()
    lots = iter([0.19, 0.2, 0.9])
    traffic = started(scene.traffic(canary="canary", share=0.2, draw=lambda: next(lots)))
    assert [traffic.assign(None).role for _ in range(3)] == ["canary", "champion", "champion"]


def test_a_client_may_name_what_is_served_and_nothing_else(scene: Scene) -> None:
    scene.two()
    scene.policy("third", parent="champion")
    traffic = started(scene.traffic(canary="canary"))
    named = traffic.policy("canary")
    assert named is not None and (named.role, named.probability) == ("canary", 1.0)
    assert traffic.policy("third") is None and traffic.policy("../champion") is None


def test_a_new_champion_is_ready_before_it_answers_and_the_old_one_goes_after_its_leases(
    scene: Scene,
) -> None:
    scene.two()
    traffic = started(scene.traffic())
    seen: list[str] = []
    scene.engine.on_ready = lambda label: seen.append(traffic.assign("ann").policy.label)
    old = traffic.assign("ann")

    async def story() -> None:
        with traffic.lease(old), traffic.lease(old):
            scene.release("canary")
            await traffic.look()
            assert seen == ["champion"]  # still the old one, while the new one was made ready
            assert traffic.assign("ann").policy.label == "canary"
            for _ in range(3):
                await traffic.look()
            assert scene.engine.held == ["champion", "canary"]
        for _ in range(2):
            await traffic.look()

    run(story())
    assert scene.engine.held == ["canary"]
    scene.store.add_release(Release(policy="champion", action="rollback"))
    looks(traffic, 3)
    assert served(traffic) == [("champion", "champion")] and scene.engine.held == ["champion"]
    assert [line for line in scene.news if "answers now" in line] == [
        "champion canary answers now; before it champion did",
        "champion champion answers now; before it canary did",
    ]


def test_a_lease_taken_right_after_a_swap_finds_the_old_champion_still_there(scene: Scene) -> None:
    scene.two()
    traffic = started(scene.traffic())
    arm = traffic.assign("ann")
    scene.release("canary")

    async def story() -> None:
        await traffic.look()
        with traffic.lease(arm):
            for _ in range(3):
                await traffic.look()
            assert "champion" in scene.engine.held

    run(story())


def test_a_champion_that_cannot_be_made_ready_leaves_the_old_one_and_is_tried_again(
    scene: Scene,
) -> None:
    scene.two()
    traffic = started(scene.traffic())
    scene.engine.broken["canary"] = "no memory"
    scene.release("canary")
    looks(traffic, 3)
    assert served(traffic) == [("champion", "champion")]
    assert traffic.problems() == ["policy canary: no memory"]
    tries = scene.engine.calls.count("ready canary")
    assert tries == 1  # the clock stands still
    for _ in range(10):
        scene.now += 4.0
        looks(traffic)
    assert scene.engine.calls.count("ready canary") == 4  # after 4, 12 and 28 s
    assert sum("no memory" in line for line in scene.news) == 1
    del scene.engine.broken["canary"]
    scene.now += 300.0
    looks(traffic)
    assert served(traffic) == [("champion", "canary")] and traffic.problems() == []


def test_damaged_files_keep_the_old_champion(scene: Scene) -> None:
    scene.two()
    traffic = started(scene.traffic())
    (scene.folder / "policies" / "canary" / "policy.json").write_text("{}")
    scene.release("canary")
    looks(traffic)
    assert served(traffic) == [("champion", "champion")]
    assert "damaged" in traffic.problems()[0]
    scene.release("champion")
    looks(traffic)
    assert traffic.problems() == []  # nobody wants it any more


def test_a_canary_that_cannot_be_made_ready_keeps_nobody_from_answers(scene: Scene) -> None:
    scene.two()
    scene.engine.broken["canary"] = "no memory"
    traffic = started(scene.traffic(canary="canary"))
    assert served(traffic) == [("champion", "champion")]
    assert traffic.problems() == ["policy canary: no memory"]
    unknown = started(scene.traffic(canary="nobody"))
    assert served(unknown) == [("champion", "champion")]
    assert "nobody" in unknown.problems()[0]


def test_a_canary_that_becomes_champion_is_none_any_more(scene: Scene) -> None:
    scene.two()
    traffic = started(scene.traffic(canary="can"))
    assert served(traffic) == [("champion", "champion"), ("canary", "canary")]
    scene.release("canary")
    looks(traffic, 3)
    assert served(traffic) == [("champion", "canary")]
    assert traffic.assign("ann") == Arm(traffic.models()[0].policy, "champion", 1.0)
    assert scene.engine.calls == ["ready champion", "ready canary", "drop champion"]


def test_latest_is_the_newest_descendant_that_nobody_refused(scene: Scene) -> None:
    scene.two()
    traffic = started(scene.traffic(canary="latest"))
    assert served(traffic)[1:] == [("canary", "canary")]
    scene.policy("grandchild", parent="canary")
    scene.policy("stranger")
    looks(traffic, 3)
    assert served(traffic)[1:] == [("canary", "grandchild")]
    assert scene.engine.held == ["champion", "grandchild"]
    scene.store.add_decision(Decision(candidate="grandchild", promote=False, reasons=("worse",)))
    scene.store.add_decision(Decision(candidate="stranger", promote=True, project="other"))
    looks(traffic)
    assert served(traffic)[1:] == [("canary", "canary")]
    scene.store.add_decision(Decision(candidate="stranger", promote=True))
    looks(traffic)
    assert served(traffic)[1:] == [("canary", "stranger")]  # built anew, and passed the gate here
    # Rolled back from: it was champion, and is no candidate.
    scene.release("stranger")
    scene.store.add_release(Release(policy="champion", action="rollback"))
    looks(traffic)
    assert served(traffic) == [("champion", "champion"), ("canary", "canary")]


def test_one_named_by_id_runs_though_the_gate_refused_it(scene: Scene) -> None:
    scene.two()
    scene.store.add_decision(Decision(candidate="canary", promote=False, reasons=("worse",)))
    assert served(started(scene.traffic(canary="canary")))[1:] == [("canary", "canary")]
    assert served(started(scene.traffic(canary="latest")))[1:] == []


def test_while_the_store_cannot_be_read_all_stays_as_it_is(scene: Scene) -> None:
    scene.two()
    traffic = started(scene.traffic(canary="canary"))
    before = served(traffic)
    scene.store.close()
    looks(traffic, 2)
    assert served(traffic) == before
    assert len(traffic.problems()) == 1 and "closed" in traffic.problems()[0]
    assert sum("store" in line for line in scene.news) == 1


def test_watching_follows_the_store_until_it_is_cancelled(scene: Scene) -> None:
    scene.two()
    traffic = scene.traffic()
    traffic._config = traffic._config.model_copy(update={"poll_seconds": 0.01})

    async def story() -> None:
        await traffic.start()
        watching = asyncio.create_task(traffic.watch())
        scene.release("canary")
        async with asyncio.timeout(10):
            while traffic.assign("ann").policy.label != "canary":
                await asyncio.sleep(0.01)
        watching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await watching

    run(story())
