"""The lineage over HTTP: from a vote to the release and back, in steps that keep their bounds."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_service import Served, config_of, serving
from lineage_world import HOSTILE, fill
from reciting import Reciting

from feedback_store import Feedback, Interaction, Message


@pytest.fixture(scope="module")
def world(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Answers, votes on them, what was built, trained, decided and released of these."""
    folder = tmp_path_factory.mktemp("world")
    config = config_of(tiny_model, folder, runs=str(folder / "runs"))
    with serving(config, Reciting(), folder) as served:
        fill(served.store, folder / "runs")
        yield served


def get(served: Served, **asked: Any) -> dict[str, Any]:
    """Once all data sets were read."""
    end = time.monotonic() + 30
    with served.client() as client:
        while True:
            found: dict[str, Any] = client.get("/web/lineage", params=asked).json()
            if not found.get("counting") or time.monotonic() > end:
                return found
            time.sleep(0.1)


def reached(found: dict[str, Any], start: str) -> set[str]:
    """All that arrows lead to from a thing."""
    seen, waiting = {start}, [start]
    while waiting:
        here = waiting.pop()
        fresh = {to for of, to in found["edges"] if of == here} - seen
        seen |= fresh
        waiting += fresh
    return seen


def test_from_a_vote_to_the_release_and_back(world: Served) -> None:
    (snapshot,) = world.store.snapshots()
    rows = (Path(snapshot.path) / "dpo.jsonl").read_text().splitlines()
    vote = json.loads(rows[0])["votes"][0]
    found = get(world, id=vote)
    kind = "comparison" if vote.startswith("c") else "feedback"
    assert found["chosen"] == f"{kind}:{vote}"
    assert "release:2" in reached(found, found["chosen"])
    chosen = next(n for n in found["nodes"] if n["key"] == found["chosen"])
    assert chosen["facts"]["said"]["prompt"].startswith("question")

    release = get(world, id="2")
    votes = [n for n in release["nodes"] if n["kind"] in ("feedback", "comparison")]
    assert votes and all("release:2" in reached(release, n["key"]) for n in votes)
    one = next(n for n in release["nodes"] if n["key"] == "release:2")
    assert one["facts"]["learned_from"] == snapshot.id
    data = next(n for n in release["nodes"] if n["kind"] == "snapshot")
    assert data["more"]["made_of"] == data["facts"]["votes"] - len(votes) > 0
    assert get(world)["chosen"] == "policy:new"  # the champion, where nothing is asked for


def test_every_kind_of_thing_is_shown(world: Served) -> None:
    (snapshot,) = world.store.snapshots()
    for id, kind in {
        "x3": "interaction", "t3": "feedback", "c3": "comparison", snapshot.id: "snapshot",
        "dpo-20261124T040602Z-411321191ff1": "run", "411321191ff1": "run", "old": "policy",
        "gate": "decision", "1": "release", snapshot.id[:9]: "snapshot",
    }.items():  # fmt: skip
        found = get(world, id=id)
        assert found["chosen"].startswith(kind), id
        keys = {n["key"] for n in found["nodes"]}
        assert {key for arrow in found["edges"] for key in arrow} <= keys
    run = get(world, id="411321191ff1")
    chosen = next(n for n in run["nodes"] if n["key"] == run["chosen"])
    assert chosen["facts"]["config"] == "beta: 0.1\nstage: dpo\n"
    assert get(world, id="1")["nodes"][0]["facts"]["answers"]["answered"] == 160
    said = json.dumps([get(world, id="x3"), get(world, id="t3")])
    assert '"voter"' not in said and '"user"' not in said


def test_beginnings_that_many_share_and_ids_of_nothing(world: Served) -> None:
    found = get(world, id="t1")
    assert found["chosen"] == "feedback:t1"
    many = get(world, id="c")
    assert many["chosen"] is None and {one["kind"] for one in many["choices"]} == {"comparison"}
    with world.client() as client:
        for id in ("nothing", HOSTILE, "%", "\x00", "9" * 200, "../../etc", "٣"):
            answer = client.get("/web/lineage", params={"id": id})
            assert answer.status_code == 404, id
        assert client.get("/web/lineage", params={"id": "x" * 400}).status_code == 400


def test_votes_of_a_snapshot_with_what_they_speak_of(world: Served) -> None:
    (snapshot,) = world.store.snapshots()

    def drawn(client: httpx.Client, **more: Any) -> list[dict[str, Any]]:
        answer = client.get("/web/lineage/votes", params={"snapshot": snapshot.id, **more})
        found: list[dict[str, Any]] = answer.json()["votes"]
        return found

    with world.client() as client:
        votes = drawn(client)
        assert len({vote["id"] for vote in votes}) == 20
        for vote in votes:
            number = vote["id"][1:]
            assert vote["prompt"] == f"question {number} {HOSTILE}"
            assert vote["answers"][0]["answer"] == f"x {number}"
            assert len(vote["answers"]) == (2 if vote["kind"] == "comparison" else 1)
            assert "voter" not in vote
        assert len(drawn(client, most=3)) == 3
        assert drawn(client, draw=1) != votes
        assert client.get("/web/lineage/votes", params={"snapshot": "none"}).status_code == 404


def test_an_answer_with_very_many_votes_is_shown_in_part(world: Served) -> None:
    said = (Message(role="user", content="popular"),)
    words = [
        Feedback(interaction="popular", voter=f"voter{n}", kind="thumb", value=1.0)
        for n in range(2_000)
    ]
    world.store.append(interactions=[Interaction(id="popular", messages=said, response="r")])
    world.store.append(feedback=words)
    found = get(world, id="popular")
    assert len(found["nodes"]) <= 81
    (chosen,) = (n for n in found["nodes"] if n["key"] == found["chosen"])
    assert chosen["more"]["went_into"] >= 900
    wider = get(world, id="popular", breadth=30)
    assert len(found["nodes"]) < len(wider["nodes"]) <= 81
