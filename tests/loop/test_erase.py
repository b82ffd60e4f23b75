"""A person out of a real loop: no byte is left, and every policy that learned of them is named."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml

from feedback_store import Comparison, Feedback, Interaction, Message, SnapshotRules, Store
from feedback_store.snapshots.building import building
from feedback_store.snapshots.manifest import SnapshotManifest
from rlhf import cli
from rlhf.config import validate
from rlhf.cycle_settings import LoopConfig
from rlhf.rounds import run_loop

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

CANARIES = {
    "prompt": "canary-prompt-7f3a of mine",
    "answer": "canary-answer-51bc for you",
    "comment": "canary-comment-09de, dull",
    "correction": "金丝雀更正内容 canary-fix-e2",
    "id": "canary.person.id",
}
PPO = {
    "stage": "ppo",
    "rewards": [{"name": "length", "params": {"low": 1, "high": 30}}],
    # Rounds of one prompt each: a round shows four answers, so that many prompts are shown.
    "updates": 20,
    "prompts": 1,
    "samples": 4,
    "minibatches": 1,
    "epochs": 1,
    "held_out_every": 100,
    "save_every": 100,
    "sampling": {"max_new_tokens": 4},
}


def plant(store: Store) -> None:
    """Ten conversations of the person, half of them said again by a vote of somebody else."""
    for n in range(10):
        asked = (Message(role="user", content=f"{CANARIES['prompt']} {n}"),)
        answers = [
            Interaction(
                id=f"{CANARIES['id']}-{n}{slot}",
                conversation=f"{CANARIES['id']}-{n}",
                messages=asked,
                response=f"{CANARIES['answer']} {slot}",
                user=CANARIES["id"],
            )
            for slot in "ab"
        ]
        first, second = answers
        by = CANARIES["id"] if n % 2 else f"other{n}"
        told = [
            Feedback(interaction=first.id, voter=by, kind="thumb", value=1.0),
            Feedback(interaction=second.id, voter=by, kind="thumb", value=-1.0),
            Feedback(interaction=first.id, voter=by, kind="comment", text=CANARIES["comment"]),
            Feedback(
                interaction=second.id, voter=by, kind="correction", text=CANARIES["correction"]
            ),
        ]
        choice = Comparison(id=f"choice-{n}", a=first.id, b=second.id, voter=by, choice="a")
        store.append(interactions=answers, feedback=told, comparisons=[choice])


@pytest.fixture(scope="module")
def grown(
    tiny_loop: Callable[..., dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """A folder in which a loop ran one cycle on the person's votes among others."""
    folder = tmp_path_factory.mktemp("grown")
    rows = [
        {"context": f"User: tell me about item {n}", "response": f"Assistant: item {n} is green."}
        for n in range(40)
    ]
    (folder / "dialogues.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    stages = tiny_loop(folder)["stages"]
    tracked = {**PPO, "tracking": "wandb"}
    learned = {"epochs": 1, "learning_rate": 1e-2, "tracking": "none"}
    values = tiny_loop(folder, stages=[*stages, tracked], reward_model=learned)
    values["snapshot"] = {"trust": {"enabled": False}}  # two voters' votes, all alike
    values["gate"] = {"zero_tolerance": [], "min_prompts": 5, "win": {"min_rate": 0.01}}
    (folder / "loop.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("XDG_DATA_HOME", str(folder / "cache"))
        patch.setenv("WANDB_CACHE_DIR", str(folder / "cache" / "wandb"))
        patch.setenv("WANDB_DATA_DIR", str(folder / "cache" / "wandb-data"))
        with Store.open("runs/feedback.db") as store:
            plant(store)
        run_loop(validate(LoopConfig, values, "loop.yaml"), folder)
    yield folder


@pytest.fixture
def world(grown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, with exports in several forms and a data set that was loaded from one."""
    folder = tmp_path / "world"
    shutil.copytree(grown, folder)
    monkeypatch.chdir(folder)
    cache = folder / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("HF_HOME", str(cache / "huggingface"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(cache / "datasets"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(cache / "wandb"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(cache / "wandb-data"))
    exports(folder)
    return folder


def exports(folder: Path) -> None:
    """What people make of a snapshot: JSON Lines, Parquet, a loaded data set, a compressed copy."""
    import gzip

    import datasets

    (snapshot,) = (p for p in (folder / "runs/snapshots").iterdir() if p.name[0] != ".")
    rows = [json.loads(line) for line in (snapshot / "kto.jsonl").read_text().splitlines()]
    kept = [{"prompt": r["prompt"][-1]["content"], "label": r["label"]} for r in rows]
    out = folder / "exports"
    out.mkdir()
    (out / "votes.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    (out / "others.jsonl").write_text('{"prompt": "nobody\'s"}\n')
    with gzip.open(out / "votes.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    datasets.Dataset.from_list(kept).to_parquet(str(out / "votes.parquet"))
    datasets.load_dataset(
        "parquet", data_files=str(out / "votes.parquet"), cache_dir=str(folder / "cache/datasets")
    )


def holding(folder: Path) -> set[str]:
    """Files in which a canary stands, read otherwise than the code that is tested reads them."""
    import gzip

    import pyarrow as pa
    from pyarrow import parquet

    wanted = [form for c in CANARIES.values() for form in (c, json.dumps(c)[1:-1])]
    found = set()
    for path in (p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if path.suffix == ".gz":
            data += gzip.decompress(data)
        elif path.suffix == ".parquet":
            data += str(parquet.read_table(path).to_pydict()).encode()
        elif path.suffix == ".arrow":
            data += str(
                pa.ipc.open_stream(pa.memory_map(str(path))).read_all().to_pydict()
            ).encode()
        if any(form.encode() in data for form in wanted):
            found.add(str(path.relative_to(folder)))
    return found


def rlhf(*arguments: str) -> tuple[int, str]:
    """Run a command here; its exit code and what it printed."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
        patch.setattr(sys, "argv", ["rlhf", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    return int(stop.value.code or 0), out.getvalue()


PERSON = ("--user", CANARIES["id"], "--voter", CANARIES["id"], "--also", "exports")


def test_no_canary_is_left_anywhere_and_each_tainted_policy_is_named(world: Path) -> None:
    before = holding(world)
    stages = {path.partition("-")[0] for path in before}
    assert any(path.startswith("runs/feedback.db") for path in before)
    assert {"runs/ppo", "exports/votes.jsonl", "exports/votes.parquet"} <= stages
    assert any(path.endswith(".arrow") for path in before)
    assert any("/wandb/" in path for path in before), before
    with Store.open("runs/feedback.db") as store:
        trained = {p.id for p in store.policies() if p.snapshot}
        untouched = {p.id for p in store.policies() if not p.snapshot}
        (old,) = store.snapshots()

    code, out = rlhf("erase", *PERSON, "--json")
    assert code == 0
    report = json.loads(out)
    assert holding(world) == set()
    assert (world / "exports/others.jsonl").exists()
    assert report["finished_at"] and report["rows"]["interactions"] == 20
    assert report["rows"]["feedback"] == 40 and report["rows"]["comparisons"] == 10
    tainted = {one["policy"] for one in report["tainted"]}
    learned = {
        json.loads(p.read_text())["id"]
        for p in world.glob("runs/reward_model-*/adapter/policy.json")
    }
    assert trained and tainted == trained | learned and untouched.isdisjoint(tainted)
    assert all("start=rebuild" in one["rebuild"] for one in report["tainted"])
    assert report["snapshots"].keys() == {old.id} and not Path(old.path).exists()

    _, told = rlhf("lineage", "--json")
    assert {entry["policy"] for entry in json.loads(told) if entry["tainted"]} <= tainted
    for policy in tainted:
        node = json.loads(rlhf("lineage", policy[:10], "--json")[1])
        assert node["tainted"][0]["erasure"] == report["erasure"] and node["rebuild"]
        assert "TAINTED" in rlhf("lineage", policy)[1]
    for release in report["releases"]:
        assert release["policy"] in tainted
        assert json.loads(rlhf("lineage", str(release["release"]), "--json")[1])["tainted"] is True

    code, again = rlhf("erase", *PERSON, "--json")
    assert code == 0
    assert json.loads(again) == report


def test_the_new_snapshot_is_whole_and_says_what_it_does_without(world: Path) -> None:
    report = json.loads(rlhf("erase", *PERSON, "--json")[1])
    ((old, new),) = report["snapshots"].items()
    manifest = SnapshotManifest.model_validate_json(
        rlhf("snapshot", "show", f"runs/snapshots/{new}", "--json")[1]
    )
    assert manifest.erasures == (report["erasure"],)
    node = json.loads(rlhf("lineage", old, "--json")[1])
    assert node["erased"] == {"erasure": report["erasure"], "replaced_by": new}
    kinds = {child["kind"] for child in node["went_into"]}
    assert kinds == {"snapshot", "policy"}


def test_what_a_killed_build_left_goes(world: Path) -> None:
    """Half a snapshot, cut off in the middle of the person's words."""
    left = world / "runs/snapshots" / f".building.{'0a' * 16}"
    left.mkdir()
    (left / "kto.jsonl").write_bytes(CANARIES["correction"].encode()[:-3])
    other = world / "runs/snapshots" / f".building.{'0b' * 16}"
    other.mkdir()
    with building(world / "runs/snapshots") as living:
        code, out = rlhf("erase", *PERSON, "--dry-run", "--json")
        planned = json.loads(out)["copies"]
        assert code == 0 and left.exists()
        assert any(path.endswith(left.name) for path in planned)
        assert not any(living.name in path for path in planned)
        assert rlhf("erase", *PERSON, "--json")[0] == 0
        assert living.is_dir()
    assert not left.exists() and not other.exists()
    assert list((world / "runs/snapshots").glob(".building*")) == []


def test_a_dry_run_tells_and_changes_nothing(world: Path) -> None:
    def state() -> dict[str, bytes]:
        files = (p for p in world.rglob("*") if p.is_file() and p.suffix != ".lock")
        return {str(p): p.read_bytes() for p in files if not p.name.startswith("feedback.db-")}

    before = state()
    planned = json.loads(rlhf("erase", *PERSON, "--dry-run", "--json")[1])
    assert state() == before
    done = json.loads(rlhf("erase", *PERSON, "--json")[1])
    assert planned["rows"] == done["rows"] and planned["copies"] == done["copies"]
    assert planned["snapshots"].keys() == done["snapshots"].keys()
    assert {t["policy"] for t in planned["tainted"]} >= {t["policy"] for t in done["tainted"]}
    assert planned["releases"] == done["releases"] and planned["erasure"] is None


STEPS = [
    "begin_erasure",
    "note_copies",
    "erase_rows",
    "replace_snapshot",
    "scrub",
    "finish_erasure",
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_an_erasure_that_died_at_any_step_is_completed_by_the_same_command(
    world: Path, step: str, when: str
) -> None:
    original: Callable[..., Any] = getattr(Store, step)

    def dying(self: Store, *arguments: Any) -> Any:
        if when == "after":
            original(self, *arguments)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, step, dying)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            patch.setattr(sys, "argv", ["rlhf", "erase", *PERSON])
            cli.main()
    report = json.loads(rlhf("erase", *PERSON, "--json")[1])
    assert report["finished_at"] and report["rows"]["interactions"] == 20
    assert len(report["tainted"]) >= 4 and report["copies"]
    assert holding(world) == set()


def test_killed_while_copies_go(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import rlhf.erase

    remove, gone = rlhf.erase.remove, []

    def dying(path: Path) -> None:
        if len(gone) == 3:
            raise KeyboardInterrupt
        gone.append(path)
        remove(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rlhf.erase, "remove", dying)
        patch.setattr(sys, "argv", ["rlhf", "erase", *PERSON])
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            cli.main()
    report = json.loads(_rlhf("erase", *PERSON, "--json"))
    assert {str(path) for path in gone} <= set(report["copies"])
    assert holding(world) == set()


def _rlhf(*arguments: str) -> str:
    return rlhf(*arguments)[1]


def test_mistakes_are_told_in_a_line(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for code, arguments in (
        (2, ("erase",)),
        (2, ("erase", "--user", "x", "--also", "nowhere")),
        (1, ("erase", "--user", "stranger")),
        (2, ("lineage", "zzz")),
    ):
        assert rlhf(*arguments)[0] == code, arguments
    told = capsys.readouterr().err
    assert "nothing of this person" in told and "no interaction, vote, snapshot" in told


def test_a_vote_leads_to_a_release_and_a_release_to_its_votes(world: Path) -> None:
    with Store.open("runs/feedback.db") as store:
        (snapshot,) = store.snapshots()
        rows = [
            json.loads(line)
            for line in (Path(snapshot.path) / "kto.jsonl").read_text().splitlines()
        ]
        vote = rows[0]["votes"][0]
        releases = store.releases()
        decided = {d.id for d in store.decisions()}
    node = json.loads(rlhf("lineage", vote, "--json")[1])
    assert node["kind"] in ("feedback", "comparison")
    assert node["made_of"][0]["kind"] == "interaction"
    (into,) = node["went_into"]
    assert into["id"] == snapshot.id and into["in_files"]["kto.jsonl"] == 1
    kinds = {(n["kind"], n["id"]) for n in every(into, "went_into")}
    assert {id for kind, id in kinds if kind == "decision"} == decided
    last = releases[-1]
    assert len(releases) == 2 and ("release", str(last.seq)) in kinds

    node = json.loads(rlhf("lineage", str(last.seq), "--json")[1])
    behind = list(every(node, "made_of"))
    (frozen,) = (n for n in behind if n["kind"] == "snapshot" and "votes" in n)
    distinct = {v for name in snapshot.manifest["files"] for v in votes_of(snapshot.path, name)}
    assert frozen["votes"] == len(distinct) and set(frozen["votes_sample"]) <= distinct
    assert {n["kind"] for n in behind} >= {"policy", "run", "snapshot", "base", "decision"}
    (run,) = (n for n in behind if n["kind"] == "run" and n["id"].startswith("kto-"))
    assert run["config"]["stage"] == "kto" and run["code"]["rlhf-loop"]
    text = rlhf("lineage", str(last.seq))[1] + json.dumps(node)
    assert not any(c in text for name, c in CANARIES.items() if name != "id")


@pytest.mark.parametrize("kind", ["run", "decision", "interaction", "snapshot"])
def test_every_kind_of_id_is_walked_both_ways(world: Path, kind: str) -> None:
    with Store.open("runs/feedback.db") as store:
        ids = {
            "run": next(p.run for p in store.policies() if p.snapshot),
            "decision": store.decisions()[0].id,
            "interaction": f"{CANARIES['id']}-1a",
            "snapshot": store.snapshots()[0].id,
        }
    node = json.loads(rlhf("lineage", str(ids[kind]), "--json")[1])
    assert node["kind"] == kind
    assert node["went_into"] and (node.get("made_of") or kind in ("interaction", "snapshot"))
    assert any(n["kind"] == "release" for n in every(node, "went_into")) or kind == "run"


def every(node: dict[str, Any], branch: str) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get(branch, ()):
        yield from every(child, branch)


def votes_of(folder: str, name: str) -> set[str]:
    lines = (Path(folder) / name).read_text(encoding="utf-8").splitlines()
    return {vote for line in lines for vote in json.loads(line).get("votes", ())}


def test_a_backup_that_holds_the_person_is_named_and_kept(world: Path) -> None:
    shutil.copy("runs/feedback.db", "exports/backup.db")
    report = json.loads(rlhf("erase", *PERSON, "--json")[1])
    assert report["left"] == [str(world / "exports/backup.db")]
    assert os.path.exists("exports/backup.db")


def test_rules_that_are_kept_build_the_same_again(world: Path) -> None:
    report = json.loads(rlhf("erase", *PERSON, "--json")[1])
    with Store.open("runs/feedback.db") as store:
        kept = {s.id: s for s in store.snapshots()}
    ((old, new),) = report["snapshots"].items()
    rules = [SnapshotRules.model_validate(kept[id].manifest["rules"]) for id in (old, new)]
    assert rules[0] == rules[1] and kept[old].watermark == kept[new].watermark


def test_releasing_a_tainted_policy_is_not_done_in_silence(
    grown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    shutil.copytree(grown, tmp_path / "world")
    monkeypatch.chdir(tmp_path / "world")
    for name in ("HF_DATASETS_CACHE", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "none"))
    report = json.loads(_rlhf("erase", "--user", CANARIES["id"], "--json"))
    champion = next(r["policy"] for r in report["releases"] if r["champion"])
    for command in (("rollback",), ("promote", champion)):
        capsys.readouterr()
        assert rlhf("release", *command)[0] == 0
        assert ("learned from what was erased" in capsys.readouterr().err) == (
            command[0] == "promote"
        )
