"""Two blind answers at once, the choice between them, and who was who."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from duelling import CANARY, fill
from http_service import Served, config_of, serving
from pydantic import ValidationError
from reciting import Reciting
from served import BASE, Scene

from feedback_store import NotFound
from feedback_store import Policy as PolicyRecord
from rlhf.config import validate
from rlhf.serving.settings import ArenaSettings, ServeConfig
from rlhf.serving.traffic import Traffic

Serve = Callable[..., AbstractContextManager[Served]]
Start = Callable[..., AbstractContextManager[Served]]
MANY = {"requests_per_minute": 100_000}
SIDES = ("left", "right")


@pytest.fixture
def start(serve: Serve, tmp_path: Path, tiny_model: Path) -> Start:
    """A service with a champion, and policies that its config may name."""

    @contextmanager
    def started(engine: Any = None, **config: Any) -> Iterator[Served]:
        fill(tmp_path, tiny_model)
        with serve(engine, **config) as served:
            yield served

    return started


@pytest.fixture(scope="module")
def duels(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with a canary, for all tests that change no more of it than its store."""
    folder = tmp_path_factory.mktemp("duels")
    fill(folder, tiny_model)
    long = {"max_new_tokens": 100_000}
    limits = {**long, **MANY}
    config = config_of(tiny_model, folder, **CANARY, limits=limits, sampling=long)
    with serving(config, Reciting(), folder) as served:
        yield served


@pytest.fixture
def client(duels: Served) -> Iterator[httpx.Client]:
    with visitor(duels) as client:
        yield client


@contextmanager
def visitor(served: Served) -> Iterator[httpx.Client]:
    """A browser that has been on the page."""
    with served.client() as client:
        client.get("/").raise_for_status()
        yield client


def asked(content: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}], **more}


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(part.removeprefix("data: ")) for part in text.split("\n\n") if part]


def played(client: httpx.Client, content: str = "say one two", **more: Any) -> dict[str, Any]:
    """A whole round's last event."""
    answer = client.post("/web/arena", json=asked(content, **more))
    assert answer.status_code == 200, answer.text
    last = events(answer.text)[-1]
    assert last["done"] is True
    return last


def tokens(last: dict[str, Any]) -> dict[str, str]:
    return {"X-Vote-Token": f"{last['left']['token']},{last['right']['token']}"}


def choose(client: httpx.Client, last: dict[str, Any], choice: str) -> httpx.Response:
    body = {
        "a": last["left"]["id"],
        "b": last["right"]["id"],
        "choice": choice,
        "shown_first": "a",
        "reason": "arena",
    }
    return client.post("/v1/comparisons", json=body, headers=tokens(last))


def pair(last: dict[str, Any]) -> dict[str, str]:
    return {"a": last["left"]["id"], "b": last["right"]["id"]}


def test_both_answers_come_at_once_and_are_recorded_like_any_other(
    duels: Served, client: httpx.Client
) -> None:
    said = "One sentence ends here. Another one follows it now."
    answer = client.post("/web/arena", json=asked(f"slowly {said}", style="formal"))
    assert answer.headers["content-type"].startswith("text/event-stream")
    found = events(answer.text)
    for side in SIDES:
        own = [event for event in found if event.get("side") == side]
        assert "".join(event.get("text", "") for event in own) == said
        assert own[-1]["finish"] == "stop" and own[-1]["id"] == found[-1][side]["id"]
    sides = [event["side"] for event in found[:-1]]
    assert len(set(sides[:3])) == 2, f"the answers come one after another: {sides}"
    last = found[-1]
    assert set(last) == {"done", "left", "right", "conversation", "turn", "style"}
    assert set(last["left"]) == set(last["right"]) == {"id", "token", "expires_at"}
    one, other = (duels.store.interaction(last[side]["id"]) for side in SIDES)
    assert {one.policy, other.policy} == {"champion", "canary"}
    differing = {"id", "policy", "sampling", "seq", "created_at", "latency_ms", "first_token_ms"}
    assert one.model_dump(exclude=differing) == other.model_dump(exclude=differing)
    assert (one.conversation, one.turn) == (last["conversation"], 0)
    assert one.user and one.style_used == "formal" and not one.solicited
    assert one.assignment_probability == 1.0, "everybody gets both"
    assert one.sampling["seed"] != other.sampling["seed"]
    assert one.sampling | {"seed": 0} == other.sampling | {"seed": 0}


def test_nothing_but_the_texts_tells_one_from_the_other(
    duels: Served, client: httpx.Client
) -> None:
    """200 rounds: bytes, headers, and the order of the ids against who is left."""
    shapes, headers, left, order = set(), set(), Counter[str](), Counter[tuple[bool, bool]]()
    for _ in range(200):
        answer = client.post("/web/arena", json=asked("say well"))
        last = events(answer.text)[-1]
        on_left = duels.store.interaction(last["left"]["id"]).policy
        left[str(on_left)] += 1
        order[on_left == "champion", last["left"]["id"] < last["right"]["id"]] += 1
        shapes.add(re.sub(r'"(id|token|conversation)": "[^"]*"|\d{9,}', "…", answer.text))
        plain = {k: v for k, v in answer.headers.items() if k not in ("x-request-id", "date")}
        headers.add(tuple(sorted(plain.items())))
    # Which side is first to show a word may differ; nothing else does.
    assert {tuple(sorted(shape.split("\n\n"))) for shape in shapes} == {
        tuple(sorted(next(iter(shapes)).split("\n\n")))
    }
    told = "".join(shapes)
    assert not [w for w in ("champion", "canary", "policy", "model", "seed", "ms") if w in told]
    assert len(headers) == 1
    # Both by χ² with one degree of freedom: beyond 20 once in 100,000 fair series.
    assert sum((left[p] - 100) ** 2 / 100 for p in ("champion", "canary")) < 20, left
    assert _independence(order) < 20, order


def _independence(table: Counter[tuple[bool, bool]]) -> float:
    total = table.total()
    chi = 0.0
    for row in (True, False):
        for column in (True, False):
            across = sum(table[row, c] for c in (True, False))
            down = sum(table[r, column] for r in (True, False))
            expected = across * down / total
            chi += (table[row, column] - expected) ** 2 / expected
    return chi


def test_who_was_who_is_told_after_the_choice_alone(duels: Served, client: httpx.Client) -> None:
    with visitor(duels) as stranger:
        last = played(client)
        early = client.get("/web/arena/reveal", params=pair(last))
        assert early.status_code == 403 and early.json()["error"]["code"] == "no_choice_yet"
        assert choose(client, last, "b").json() == {**pair(last), "waiting": False}
        kept = list(duels.store.comparisons())[-1]
        assert (kept.choice, kept.shown_first, kept.reason) == ("b", "a", "arena")
        assert (kept.a, kept.b) == (last["left"]["id"], last["right"]["id"])
        assert kept.voter == duels.store.interaction(kept.a).user, "the vote is another's"
        told = client.get("/web/arena/reveal", params=pair(last)).json()
        roles = {p: p for p in ("champion", "canary")}
        for side in ("a", "b"):
            policy = duels.store.interaction(pair(last)[side]).policy
            assert told[side] == {"policy": policy, "role": roles[str(policy)]}
        assert told["choice"] == "b"
        turned = {"a": last["right"]["id"], "b": last["left"]["id"]}
        other_way = client.get("/web/arena/reveal", params=turned).json()
        assert other_way == {"choice": "a", "a": told["b"], "b": told["a"]}
        with duels.client() as anywhere:  # by the tokens, without a session
            by_token = anywhere.get("/web/arena/reveal", params=pair(last), headers=tokens(last))
            assert by_token.json() == told
            assert anywhere.get("/web/arena/reveal", params=pair(last)).status_code == 403
        refused = stranger.get("/web/arena/reveal", params=pair(last))
        assert refused.status_code == 403 and "\n" not in refused.json()["error"]["message"]
        half = {"X-Vote-Token": last["left"]["token"]}
        assert client.get("/web/arena/reveal", params=pair(last), headers=half).status_code == 403


def test_a_choice_can_be_withdrawn_and_never_changed(duels: Served, client: httpx.Client) -> None:
    """Once who answered may be known, another choice would be no blind one."""
    last = played(client)
    assert choose(client, last, "a").status_code == 200
    assert choose(client, last, "a").status_code == 200, "the same request sent again"
    for other in ("b", "tie", "both_bad"):
        refused = choose(client, last, other)
        assert refused.status_code == 409
        assert refused.json()["error"]["code"] == "blind_choice_stands"
    turned = {
        "a": last["right"]["id"],
        "b": last["left"]["id"],
        "choice": "a",
        "reason": "regenerate",
    }
    headers = {"X-Vote-Token": f"{last['right']['token']},{last['left']['token']}"}
    assert client.post("/v1/comparisons", json=turned, headers=headers).status_code == 409
    same = {**turned, "choice": "b", "reason": "arena"}
    assert client.post("/v1/comparisons", json=same, headers=headers).status_code == 200
    gone = client.delete("/v1/comparisons", params=pair(last), headers=tokens(last))
    assert gone.status_code == 204
    assert client.get("/web/arena/reveal", params=pair(last)).status_code == 403
    assert choose(client, last, "b").status_code == 409
    assert choose(client, last, "a").status_code == 409
    user = duels.store.interaction(last["left"]["id"]).user
    with pytest.raises(NotFound):
        duels.store.live_comparison(*pair(last).values(), str(user))


def test_the_conversation_goes_on_with_the_winner_s_answer(
    duels: Served, client: httpx.Client
) -> None:
    first = played(client, "say hello")
    turns = [
        {"role": "user", "content": "say hello"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "say more"},
    ]
    body = {"messages": turns, "conversation": first["conversation"]}
    last = events(client.post("/web/arena", json=body).text)[-1]
    assert (last["conversation"], last["turn"]) == (first["conversation"], 1)
    rows = [duels.store.interaction(one[s]["id"]) for one in (first, last) for s in SIDES]
    assert {row.conversation for row in rows} == {first["conversation"]}
    assert [row.turn for row in rows] == [0, 0, 1, 1]
    assert len({row.user for row in rows}) == 1


@pytest.mark.parametrize("begun", [False, True])
def test_a_client_that_goes_away_stops_both(
    duels: Served, client: httpx.Client, begun: bool
) -> None:
    after = duels.store.watermark()
    if begun:
        body = asked("slowly " + "One two three. " * 500)
        with client.stream("POST", "/web/arena", json=body) as answer:
            next(answer.iter_text())
    else:
        with pytest.raises(httpx.ReadTimeout):
            client.post("/web/arena", json=asked("never"), timeout=0.3)
    duels.wait_until_idle()
    rows = [row for row in duels.store.interactions() if (row.seq or 0) > after]
    assert [row.finish_reason for row in rows] == ["cancelled", "cancelled"]
    engine: Any = duels.service.engine
    assert {row.id for row in rows} <= set(engine.closed), "the engine goes on"


def test_an_answer_that_breaks_off_leaves_nothing_to_choose(
    duels: Served, client: httpx.Client
) -> None:
    text = client.post("/web/arena", json=asked("break One. Two. Three.")).text
    assert events(text)[-1]["error"]["code"] == "engine_unavailable"
    assert not any("done" in event for event in events(text))
    refused = client.post("/web/arena", json=asked("refuse"))
    assert refused.status_code == 400 and refused.json()["error"]["code"] == "invalid_prompt"
    duels.wait_until_idle()


def test_without_a_second_policy_two_samples_of_the_champion(reciting_server: Served) -> None:
    with visitor(reciting_server) as client:
        last = played(client)
        one, other = (reciting_server.store.interaction(last[side]["id"]) for side in SIDES)
        assert one.policy is None and other.policy is None
        assert one.sampling["seed"] != other.sampling["seed"]
        assert one.assignment_probability == 1.0
        choose(client, last, "tie")
        told = client.get("/web/arena/reveal", params=pair(last)).json()
        assert told["a"] == told["b"] == {"policy": "base", "role": "champion"}


def test_configured_policies_are_drawn_two_at_a_time(start: Start, tiny_model: Path) -> None:
    engine = Reciting()
    names = ["champion", "base", "third"]
    with start(engine, arena={"policies": names}, limits=MANY) as served, visitor(served) as client:
        assert engine.held == {"champion", str(tiny_model), "third"}
        found = Counter[tuple[str | None, str | None]]()
        for _ in range(100):
            last = played(client, "say x")
            rows = [served.store.interaction(last[side]["id"]) for side in SIDES]
            found[rows[0].policy, rows[1].policy] += 1
            assert {row.assignment_probability for row in rows} == {2 / 3}
        policies = {"champion", None, "third"}
        assert set(found) == {(a, b) for a in policies for b in policies if a != b}
        named = {"model": "third", "messages": [{"role": "user", "content": "say x"}]}
        assert client.post("/v1/chat/completions", json=named).status_code == 404
        choose(client, last, "a")
        told = client.get("/web/arena/reveal", params=pair(last)).json()
        assert {told["a"]["policy"], told["b"]["policy"]} <= {"champion", "base", "third"}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    made.two()
    made.policy("third")
    yield made
    made.store.close()


def traffic_of(scene: Scene, canary: str | None, *names: str) -> Traffic:
    config = {"base_model": BASE, "traffic": {"canary": canary}, "arena": {"policies": names}}
    return Traffic(
        scene.store,
        scene.engine,
        validate(ServeConfig, config, "serve.yaml"),
        scene.folder,
        scene.news.append,
        clock=lambda: scene.now,
    )


def pairs(traffic: Traffic) -> set[frozenset[str]]:
    return {frozenset(arm.policy.label for arm in traffic.duel()[:2]) for _ in range(100)}


def test_a_canary_goes_before_the_configured_policies(scene: Scene) -> None:
    traffic = traffic_of(scene, "canary", "third", "base")
    asyncio.run(traffic.start())
    assert pairs(traffic) == {frozenset({"champion", "canary"})}
    # Rounds say nothing of how the canary fares with those who were dealt to it.
    for arm in traffic.duel()[:2]:
        traffic.finished(arm, error=True, blocked=False, first_token_ms=1.0)
    assert [figures.answers for figures in traffic.figures().values()] == [0, 0]


def test_one_configured_policy_is_held_against_the_champion(scene: Scene) -> None:
    traffic = traffic_of(scene, None, "third")
    asyncio.run(traffic.start())
    assert pairs(traffic) == {frozenset({"champion", "third"})}
    assert traffic.duel()[2] == 1.0


def test_a_policy_that_is_not_ready_is_told_of_and_the_others_play(scene: Scene) -> None:
    about = {"id": "whole", "kind": "full", "base_model": BASE, "files": {}}
    folder = scene.folder / "policies" / "whole"
    folder.mkdir()
    (folder / "policy.json").write_text(json.dumps(about), encoding="utf-8")
    scene.store.add_policy(PolicyRecord(id="whole", kind="full", base_model=BASE, path=str(folder)))
    scene.engine.broken["third"] = "no memory"
    traffic = traffic_of(scene, None, "canary", "third", "whole", "base")

    async def go() -> None:
        await traffic.start()
        assert any("third can't be made ready" in text for text in scene.news)
        assert any("whole is a full model, and the arena keeps LoRA" in t for t in scene.news)
        assert pairs(traffic) == {frozenset({"canary", BASE})}
        scene.engine.broken.clear()
        scene.now += 1_000.0
        for _ in range(3):
            await traffic.look()
        assert set(scene.engine.held) == {"champion", "canary", "third", BASE}
        assert len(pairs(traffic)) == 3 and traffic.duel()[2] == 2 / 3
        assert [arm.policy.label for arm in traffic.models()] == ["champion"]

    asyncio.run(go())


def test_an_unknown_policy_is_told_of_and_the_champion_plays(scene: Scene) -> None:
    traffic = traffic_of(scene, None, "nobody")
    asyncio.run(traffic.start())
    assert any("nobody" in text for text in scene.news) and traffic.problems()
    assert pairs(traffic) == {frozenset({"champion"})}


def test_memory_is_bounded_by_the_settings() -> None:
    assert ArenaSettings(policies=("champion", "base", "p1", "p2", "p3"))
    for names in (("p1", "p2", "p3", "p4"), ("p1", "p1")):
        with pytest.raises(ValidationError, match=r"at most three|twice"):
            ArenaSettings(policies=names)


def test_who_may_play_and_who_may_see_the_leaderboard(start: Start) -> None:
    with start(guests=True) as served:
        chat, review = served.client("chat"), served.client("review")
        with chat, review, served.client() as nobody:
            assert chat.post("/web/arena", json=asked("say x")).status_code == 200
            assert review.post("/web/arena", json=asked("say x")).status_code == 403
            assert nobody.post("/web/arena", json=asked("say x")).status_code == 401
            assert nobody.get("/web/arena/leaderboard").status_code == 401
            assert chat.get("/web/arena/leaderboard").status_code == 403
            assert review.get("/web/arena/leaderboard").status_code == 200
            start_page = nobody.get("/").text
            assert nobody.post("/web/arena", json=asked("say x")).status_code == 403, "no token"
            csrf = {"X-CSRF-Token": re.findall(r'"csrf": "(\w+)"', start_page)[0]}
            last = nobody.post("/web/arena", json=asked("say x"), headers=csrf)
            assert last.status_code == 200
            round_ = events(last.text)[-1]
            assert choose(nobody, round_, "a").status_code == 200, "a guest votes by the tokens"
            assert nobody.get("/web/arena/reveal", params=pair(round_)).status_code == 200


def test_a_public_leaderboard_is_for_all_who_chat(start: Start) -> None:
    with start(arena={"public_leaderboard": True}) as served, served.client("chat") as client:
        assert client.get("/web/arena/leaderboard").status_code == 200


def test_the_leaderboard_counts_live_choices_of_people(start: Start) -> None:
    with start(**CANARY, poll_seconds=0.1) as served, visitor(served) as client:
        empty = client.get("/web/arena/leaderboard").json()
        assert empty["standings"] == [] and empty["games"] == 0
        for number in range(12):
            last = played(client, "say x")
            canary = served.store.interaction(last["left"]["id"]).policy == "canary"
            best = "a" if canary else "b"
            choose(client, last, "tie" if number == 0 else "both_bad" if number == 1 else best)
        client.delete("/v1/comparisons", params=pair(last), headers=tokens(last))
        end = time.monotonic() + 20.0
        while served.store.counted("default").upto < served.store.watermark():
            assert time.monotonic() < end, "not counted"
            time.sleep(0.05)
        board = client.get("/web/arena/leaderboard").json()
    assert [one["policy"] for one in board["standings"]] == ["canary", "champion"]
    first = board["standings"][0]
    assert (first["games"], first["wins"], first["ties"], first["both_bad"]) == (10, 9, 1, 1)
    assert first["few"] and first["role"] == "canary" and first["raw"]["elo"] > 1_000
    assert board["both_bad"] == 1 and board["games"] == 10 and board["left"] is not None


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        asked("x", style="rude"),
        asked("x", conversation="no spaces"),
        asked("x", model="canary"),
        asked("x" * 40_000),
    ],
)
def test_what_is_not_a_round_is_refused_in_one_line(
    reciting_server: Served, body: dict[str, Any]
) -> None:
    with reciting_server.client() as client:
        answer = client.post("/web/arena", json=body)
    assert answer.status_code == 400 and "\n" not in answer.json()["error"]["message"]
