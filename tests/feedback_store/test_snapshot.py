import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from new_stores import empty_store

from feedback_store import (
    Comparison,
    Damaged,
    EmptySnapshot,
    Feedback,
    Interaction,
    Message,
    NotFound,
    Refused,
    SnapshotManifest,
    SnapshotRules,
    Store,
    Unavailable,
    build_snapshot,
    load_snapshot,
)
from feedback_store.snapshots.building import abandoned_builds, building

ALL = SnapshotRules(held_out=0.0)
NAMES = {
    "sft.jsonl",
    "dpo.jsonl",
    "kto.jsonl",
    "prompts.jsonl",
    "heldout_dpo.jsonl",
    "heldout_kto.jsonl",
    "heldout_prompts.jsonl",
    "heldout_comparisons.jsonl",
}


@pytest.fixture
def built(store: Store, tmp_path: Path, ask, thumb) -> tuple[Path, SnapshotManifest]:
    store.append(
        interactions=[ask("a", response="好的。"), ask("b", response="No.")],
        feedback=[thumb("a"), thumb("b", -1.0)],
    )
    manifest = build_snapshot(store, tmp_path / "snapshots", ALL)
    return tmp_path / "snapshots" / manifest.id, manifest


def test_the_folder_is_what_the_manifest_says(store: Store, built) -> None:
    folder, manifest = built
    assert {file.name for file in folder.iterdir()} == NAMES | {"manifest.json"}
    assert [path.name for path in folder.parent.iterdir()] == [manifest.id]
    assert load_snapshot(folder) == manifest
    assert manifest.watermark == 4 and manifest.counts == {"interactions": 2, "thumb": 2}
    rows = {name: entry.rows for name, entry in manifest.files.items() if entry.rows}
    assert rows == {"sft.jsonl": 1, "dpo.jsonl": 1, "kto.jsonl": 2, "prompts.jsonl": 1}
    record = store.snapshot(manifest.id)
    assert (record.path, record.watermark) == (str(folder), 4)
    assert SnapshotManifest.model_validate(record.manifest) == manifest


def test_rows_are_canonical_json(built) -> None:
    folder, _ = built
    text = (folder / "kto.jsonl").read_bytes().decode()
    assert "好的。" in text and "\r" not in text and text.endswith("\n")
    for line in text.splitlines():
        again = json.dumps(json.loads(line), sort_keys=True, ensure_ascii=False)
        assert line == again.replace(", ", ",").replace(": ", ":")


def test_building_again_finds_the_same(store: Store, built) -> None:
    folder, manifest = built
    written = (folder / "manifest.json").stat().st_mtime_ns
    assert build_snapshot(store, folder.parent, ALL) == manifest
    assert (folder / "manifest.json").stat().st_mtime_ns == written
    moved = build_snapshot(store, folder.parent.parent / "elsewhere", ALL)
    assert moved == manifest
    assert [record.id for record in store.snapshots()] == [manifest.id]


def test_an_older_watermark_gives_the_older_snapshot(store: Store, built, ask, thumb) -> None:
    folder, manifest = built
    store.append(interactions=[ask("c", prompt="q")], feedback=[thumb("c"), thumb("a", -1.0)])
    store.withdraw("b", "ann", "thumb")
    assert build_snapshot(store, folder.parent, ALL, watermark=4) == manifest
    assert build_snapshot(store, folder.parent, ALL).id != manifest.id
    with pytest.raises(Refused, match="ahead of the store"):
        build_snapshot(store, folder.parent, ALL, watermark=99)


def test_other_rules_are_another_snapshot(store: Store, built) -> None:
    folder, manifest = built
    other = build_snapshot(store, folder.parent, SnapshotRules(held_out=0.0, rating_up=5))
    assert other.files == manifest.files and other.id != manifest.id


@pytest.mark.parametrize("name", ["kto.jsonl", "manifest.json"])
def test_a_flipped_bit_or_a_missing_file_is_named(built, name: str) -> None:
    folder, _ = built
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(Damaged, match=name):
        load_snapshot(folder)
    (folder / name).unlink()
    with pytest.raises(Damaged, match=f"{name}: missing"):
        load_snapshot(folder)


def test_a_manifest_that_lies_is_damaged(built) -> None:
    folder, _ = built
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"watermark":4', '"watermark":3'))
    with pytest.raises(Damaged, match="don't hash to its id"):
        load_snapshot(folder)
    with pytest.raises(NotFound):
        load_snapshot(folder / "nowhere")


def test_a_damaged_snapshot_is_not_taken_for_built(store: Store, built) -> None:
    folder, _ = built
    (folder / "dpo.jsonl").write_text("")
    with pytest.raises(Damaged, match="build the snapshot again"):
        build_snapshot(store, folder.parent, ALL)


def test_a_failed_write_leaves_nothing(store: Store, built, monkeypatch) -> None:
    folder, _ = built

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    aside = folder.parent.parent / "full"
    with pytest.raises(Unavailable, match="No space left"):
        build_snapshot(store, aside, ALL)
    assert list(aside.iterdir()) == []


def test_an_empty_snapshot_says_why(store: Store, tmp_path: Path, ask, thumb, compare) -> None:
    with pytest.raises(EmptySnapshot, match="0 interactions and 0 votes; collect some"):
        build_snapshot(store, tmp_path, ALL)
    store.append(
        interactions=[ask("a"), ask("b", prompt="q", consent=False), ask("c", response="C")],
        feedback=[thumb("a"), thumb("a", -1.0, voter="bob"), thumb("b")],
        comparisons=[compare("a", "c", "tie")],
    )
    with pytest.raises(EmptySnapshot) as raised:
        build_snapshot(store, tmp_path, ALL)
    text = str(raised.value)
    assert "in 3 interactions and 4 votes" in text and "\n" not in text
    assert "1 interactions no consent" in text and "1 kto contradiction" in text
    assert "1 ties" in text
    assert not (tmp_path / ALL.project).exists() and store.snapshots() == []


def test_projects_do_not_mix(store: Store, tmp_path: Path, ask, thumb) -> None:
    store.append(
        interactions=[ask("a", project="x"), ask("b", project="y")],
        feedback=[thumb("a"), thumb("b", -1.0)],
    )
    manifest = build_snapshot(store, tmp_path, SnapshotRules(project="x", held_out=0.0))
    assert manifest.counts == {"interactions": 1, "thumb": 1}
    assert manifest.files["kto.jsonl"].rows == 1 and manifest.files["dpo.jsonl"].rows == 0


# Few prompts, answers and voters, so that rows merge, cancel out and meet across the split.
interactions = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 5)), min_size=6, max_size=14
)
votes = st.lists(
    st.tuples(
        st.integers(0, 9),
        st.integers(0, 9),
        st.sampled_from("xyz"),
        st.sampled_from(["up", "down", "rate", "fix", "a", "b", "tie", "both_bad"]),
    ),
    min_size=6,
    max_size=20,
    unique_by=lambda vote: (vote[0], vote[1], vote[2], vote[3] in ("a", "b", "tie", "both_bad")),
)


def records(drawn, said) -> tuple[list[Interaction], dict[str, Feedback | Comparison]]:
    """The records of a drawn history, with one vote a key: only these may come in any order."""
    rows = [
        Interaction(
            id=f"i{n}",
            conversation=f"c{root}",
            messages=(Message(role="user", content=f"q{prompt}"),),
            response=f"r{answer}",
            policy=f"p{n % 2}",
        )
        for n, (prompt, answer, root) in enumerate(drawn)
    ]
    made: dict[str, Feedback | Comparison] = {}
    for left, right, voter, what in said:
        a, b = left % len(rows), right % len(rows)
        if what in ("up", "down"):
            fields = {"kind": "thumb", "value": 1.0 if what == "up" else -1.0}
        elif what == "rate":
            fields = {"kind": "rating", "value": float(1 + right % 5)}
        elif what == "fix":
            fields = {"kind": "correction", "text": f"r{right % 3}"}
        elif a != b:
            key = f"v-{min(a, b)}-{max(a, b)}-{voter}"
            made[key] = Comparison.model_validate(
                {"id": key, "a": f"i{a}", "b": f"i{b}", "voter": voter, "choice": what}
            )
            continue
        else:
            continue
        key = f"v-{a}-{voter}-{fields['kind']}"
        made[key] = Feedback.model_validate(
            {"id": key, "interaction": f"i{a}", "voter": voter, **fields}
        )
    return rows, made


def outcome(
    empty: Path,
    rows: list[Interaction | Feedback | Comparison],
    salt: str,
    window: int | None,
) -> dict[str, bytes] | str:
    """The bytes of every file of the snapshot, or why it is empty; early votes wait."""
    rules = SnapshotRules(held_out=0.4, salt=salt, window=window, replay=2, pairs_per_prompt=2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file in empty.iterdir():
            shutil.copy(file, folder)
        with Store.open(folder / "s.db") as store:
            for row in rows:
                if isinstance(row, Interaction):
                    store.append(interactions=[row])
                elif isinstance(row, Feedback):
                    store.append(feedback=[row], wait=True)
                else:
                    store.append(comparisons=[row], wait=True)
            try:
                built = folder / build_snapshot(store, folder, rules).id
            except EmptySnapshot as error:
                return str(error)
            return {file.name: file.read_bytes() for file in built.iterdir()}


@settings(max_examples=30)
@given(interactions, votes, st.sampled_from("st"), st.sampled_from([None, 4]), st.randoms())
def test_the_order_of_arrival_leaves_no_trace(drawn, said, salt, window, random) -> None:
    rows, made = records(drawn, said)
    first = outcome(empty_store(), [*rows, *made.values()], salt, window)
    shuffled = [*rows, *made.values()]
    random.shuffle(shuffled)  # votes before their interactions, too
    assert outcome(empty_store(), shuffled, salt, window) == first


def test_a_killed_build_is_found_and_a_living_one_is_not(tmp_path: Path) -> None:
    """Killed means SIGKILL, which leaves the folder behind and the kernel lets go of its lock."""
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from feedback_store.snapshots.building import building\n"
        "with building(Path(sys.argv[1])) as aside:\n"
        "    (aside / 'kto.jsonl').write_text('words')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    (tmp_path / ".building.mine").mkdir()  # not a name that a build gives
    with building(tmp_path) as living:
        assert living.is_dir()
        assert list(abandoned_builds(tmp_path)) == [left]
    assert not living.exists()
    assert list(abandoned_builds(tmp_path)) == [left]
