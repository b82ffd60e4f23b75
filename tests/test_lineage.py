"""Ids and their beginnings, and taint that comes down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from feedback_store import (
    Decision,
    Interaction,
    Message,
    Policy,
    Release,
    Snapshot,
    Store,
    Taint,
)
from rlhf.errors import UsageError
from rlhf.lineage import Bounds, Made, read_ledger, trace
from rlhf.lineage.find import named
from rlhf.lineage.graph import graph
from rlhf.lineage.made import spread
from rlhf.lineage.rebuild import rebuild_command
from rlhf.lineage.taint import learned_from


def made(id: str, **fields: Any) -> Made:
    return Made(id=id, kind="lora", base_model="base", **fields)


def test_taint_comes_down_through_parents_and_reward_models() -> None:
    line = [
        made("a"),
        made("b", parent="a"),
        made("r", parent="x"),
        made("p", parent="b", rewards=("r",)),
        made("q", parent="p"),
        made("free"),
    ]
    root = Taint(policy="r", erasure="e", through="snapshot", source="s")
    found = spread({m.id: m for m in line}, {"r": [root]})
    assert {id: (t[0].through, t[0].source) for id, t in found.items()} == {
        "r": ("snapshot", "s"),
        "p": ("reward", "r"),
        "q": ("parent", "p"),
    }


def test_a_circle_of_parents_ends() -> None:
    line = {m.id: m for m in (made("a", parent="b"), made("b", parent="a"))}
    root = Taint(policy="a", erasure="e", through="export", source="f")
    assert set(spread(line, {"a": [root]})) == {"a", "b"}


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store.open(tmp_path / "store.db") as opened:
        yield opened


def train(runs: Path, name: str, id: str, **about: Any) -> None:
    """What a finished run leaves."""
    folder = runs / name / "adapter"
    folder.mkdir(parents=True)
    manifest = {"id": id, "kind": "lora", "base_model": "base", "run": name, **about}
    (folder / "policy.json").write_text(json.dumps(manifest))
    (runs / name / "config.yaml").write_text(yaml.safe_dump(about.get("config", {"stage": "x"})))
    (runs / name / "manifest.json").write_text(json.dumps({"policy": id, **about}))
    (runs / name / "lineage.json").write_text(json.dumps({**about, "loop": "train", "base": ""}))


def snapshot_of(store: Store, folder: Path, **hashes: str) -> Snapshot:
    files = {f"{name}.jsonl": {"sha256": value, "rows": 1} for name, value in hashes.items()}
    return store.add_snapshot(
        Snapshot(
            id="snap", path=str(folder), project="default", watermark=9, counts={},
            manifest={"files": files},
        )
    )  # fmt: skip


def test_a_stage_whose_file_stayed_the_same_is_not_tainted(store: Store, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for stage in ("sft", "dpo", "kto", "ppo", "odd"):
        train(runs, f"{stage}-1-x", f"{stage}policy", snapshot="snap", data="snap")
    old = snapshot_of(store, tmp_path, sft="1", dpo="2", kto="3", prompts="4")
    ledger = read_ledger(store, runs)
    same = {"sft.jsonl": "1", "dpo.jsonl": "2", "kto.jsonl": "3", "prompts.jsonl": "4"}
    assert learned_from(ledger, "e", old, same) == []
    found = {t.policy for t in learned_from(ledger, "e", old, {**same, "kto.jsonl": "new"})}
    assert found == {"ktopolicy", "oddpolicy"}
    assert len(learned_from(ledger, "e", old, {})) == 5


def test_a_rebuild_of_one_stage_names_its_new_snapshot_and_parent(
    store: Store, tmp_path: Path
) -> None:
    runs = tmp_path / "runs"
    train(runs, "sft-1-x", "parent0", snapshot="snap", data="snap")
    train(runs, "dpo-1-x", "child00", snapshot="snap", data="snap", parent="parent0")
    snapshot_of(store, tmp_path / "snap", dpo="1")
    ledger = read_ledger(store, runs)
    told = rebuild_command(ledger, store, runs, ledger.made["child00"])
    assert told.startswith("rlhf train") and "dpo-1-x/config.yaml" in told
    assert f"data.path={tmp_path / 'snap'}" in told and "policy=parent0" in told
    ledger.taints["parent0"] = [  # type: ignore[index]
        Taint(policy="parent0", erasure="e", through="snapshot", source="snap")
    ]
    assert "policy=REBUILT-parent0" in rebuild_command(ledger, store, runs, ledger.made["child00"])


def test_beginnings_of_ids_and_numbers_of_releases(store: Store, tmp_path: Path) -> None:
    message = (Message(role="user", content="q"),)
    store.append(
        interactions=[
            Interaction(id=id, messages=message, response="r") for id in ("abc1", "abd1", "77x")
        ]
    )
    for id in ("abcpolicy", "7policy"):
        store.add_policy(Policy(id=id, kind="lora", base_model="base", path=str(tmp_path)))
    release = store.add_release(Release(policy="7policy", action="promote"))
    ledger = read_ledger(store, tmp_path / "runs")
    assert named(store, ledger, str(release.seq)) == ("release", "1")
    assert named(store, ledger, "abd") == ("interaction", "abd1")
    assert named(store, ledger, "abcp") == ("policy", "abcpolicy")
    assert named(store, ledger, "abc1") == ("interaction", "abc1")
    for many in ("abc", "7", "ab"):
        with pytest.raises(UsageError, match="begins more than one id"):
            named(store, ledger, many)
    for none in ("", "zz", "%", "_", "2"):
        with pytest.raises(UsageError, match="no interaction, vote"):
            named(store, ledger, none)
    assert trace(store, tmp_path / "runs", "1").made_of[0].id == "7policy"


def a_long_line(store: Store, tmp_path: Path, length: int) -> Path:
    """Policies each from the one before, each with a run, a decision and a release."""
    runs = tmp_path / "runs"
    before = None
    for number in range(length):
        id, run = f"p{number:04}", f"dpo-{number:04}-x"
        train(runs, run, id, snapshot="snap", data="snap", parent=before)
        record = {"kind": "lora", "base_model": "base", "path": str(tmp_path)}
        store.add_policy(Policy(id=id, parent=before, snapshot="snap", run=run, **record))
        store.add_decision(Decision(id=f"d{number}", candidate=id, champion=before, promote=True))
        store.add_release(Release(policy=id, action="promote"))
        before = id
    snapshot_of(store, tmp_path / "snap", dpo="1")
    return runs


def every(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for branch in ("made_of", "went_into"):
        for child in node.get(branch, ()):
            yield from every(child)


def test_a_walk_keeps_its_bounds_and_says_what_is_left_out(store: Store, tmp_path: Path) -> None:
    runs = a_long_line(store, tmp_path, 30)
    bounds = Bounds(depth=3, breadth=4, nodes=12)
    for given in ("p0000", "p0015", "p0029", "snap", "1", "d15", "dpo-0015-x"):
        node = trace(store, runs, given, bounds).document()
        assert len(list(every(node))) <= 2 * bounds.nodes + 1
        assert all(len(n.get("made_of", ())) <= 4 for n in every(node))
    node = trace(store, runs, "snap", bounds).document()
    assert len(node["went_into"]) == 4 and node["more"] == {"went_into": 26}
    back = trace(store, runs, "p0029", Bounds(depth=3)).document()
    told = [n["id"] for n in every({**back, "went_into": []}) if n["kind"] == "policy"]
    assert told == ["p0029", "p0028", "p0027", "p0026"]
    ends = [n for n in every(back) if n["id"] == "p0026"]
    assert ends[0]["more"] == {"made_of": 3}  # its run, its snapshot, its parent


def test_a_line_of_any_length_is_walked(store: Store, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    before = None
    for number in range(1_500):
        record = {"kind": "lora", "base_model": "base", "path": "x"}
        store.add_policy(Policy(id=f"p{number:04}", parent=before, **record))
        before = f"p{number:04}"
    node = trace(store, runs, "p1499")
    json.dumps(node.document())
    assert len([n for n in every(node.document()) if n["kind"] == "policy"]) == 101


def test_a_run_that_changed_is_read_again(store: Store, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    train(runs, "sft-1-x", "before")
    assert set(read_ledger(store, runs).made) == {"before"}
    manifest = {"id": "after", "kind": "lora", "base_model": "base", "run": "sft-1-x"}
    (runs / "sft-1-x" / "adapter" / "policy.json").write_text(json.dumps(manifest) + " ")
    assert set(read_ledger(store, runs).made) == {"after"}
    (runs / "sft-1-x" / "manifest.json").unlink()
    assert not read_ledger(store, runs).runs["sft-1-x"].finished


@pytest.mark.parametrize("name", ["manifest.json", "lineage.json", "adapter/policy.json"])
@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[1]", '{"id": 5, "versions": 3}', ""])
def test_broken_run_folders_are_left_out(
    store: Store, tmp_path: Path, name: str, text: str
) -> None:
    runs = tmp_path / "runs"
    train(runs, "sft-1-x", "p")
    (runs / "sft-1-x" / name).write_text(text)
    (runs / "sft-1-x" / "config.yaml").write_text("a: &a [*a]\n" + "b: [" * 5_000)
    assert trace(store, runs, "sft-1-x").document()["kind"] == "run"


def test_the_picture_goes_from_data_through_runs_and_decisions(
    store: Store, tmp_path: Path
) -> None:
    runs = a_long_line(store, tmp_path, 3)
    store.taint([Taint(policy="p0000", erasure=an_erasure(store), through="export", source="f")])
    ledger = read_ledger(store, runs)
    tree = trace(store, runs, "p0001", Bounds(depth=3, breadth=6, nodes=40))
    found = graph(tree, ledger, lambda id: None).document()
    assert found["chosen"] == "policy:p0001"
    arrows = {tuple(arrow) for arrow in found["edges"]}
    assert arrows >= {
        ("snapshot:snap", "run:dpo-0001-x"),
        ("run:dpo-0001-x", "policy:p0001"),
        ("policy:p0000", "policy:p0001"),
        ("policy:p0001", "decision:d1"),
        ("decision:d1", "release:2"),
        ("policy:p0001", "policy:p0002"),
    }
    assert ("snapshot:snap", "policy:p0001") not in arrows
    assert ("policy:p0001", "release:2") not in arrows
    tainted = {n["id"] for n in found["nodes"] if n["facts"].get("tainted")}
    assert {"p0000", "p0001", "p0002"} <= tainted
    assert len({n["key"] for n in found["nodes"]}) == len(found["nodes"])


def an_erasure(store: Store) -> str:
    said = (Message(role="user", content="q"),)
    store.append(interactions=[Interaction(id="i", messages=said, response="r", user="ann")])
    person = store.person(user="ann")
    return store.begin_erasure(person).id
