"""Ids and their beginnings, and taint that comes down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from feedback_store import Interaction, Message, Policy, Release, Snapshot, Store, Taint
from rlhf.errors import UsageError
from rlhf.lineage import Made, read_ledger, trace
from rlhf.lineage.find import named
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
