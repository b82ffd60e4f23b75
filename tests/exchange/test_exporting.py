"""An export is what `datasets` loads: tables, splits, consent, names, and a card that says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from identifier_scan import all_files, identifiers_in, planted_in
from redaction_corpus import corpus

from feedback_store import Comparison, Feedback, Interaction, Message, Store
from rlhf.exchange import exporting, tables
from rlhf.exchange.card import dataset_card
from rlhf.exchange.exporting import ExportOptions, export
from rlhf.files import sha256_file

Call = Callable[..., tuple[int, str, str]]
TABLES = ["interactions", "feedback", "comparisons", "sft", "dpo", "kto", "prompts"]


def fill(path: str, count: int = 60) -> None:
    """Two answers to each prompt, a vote and a choice; every tenth without consent."""
    with Store.open(path) as store:
        for n in range(count):
            common: dict[str, Any] = {
                "messages": (Message(role="user", content=f"question {n}"),),
                "conversation": f"c{n}",
                "consent": n % 10 != 0,
                "user": f"user-{n % 3}",
                "sampling": {"temperature": 0.5},
            }
            a = Interaction(id=f"a{n}", response=f"good {n}", intent="ask", **common)
            b = Interaction(id=f"b{n}", response=f"bad {n}", **common)
            up = Feedback(id=f"u{n}", interaction=a.id, voter=f"v{n % 7}", kind="thumb", value=1.0)
            down = Feedback(id=f"d{n}", interaction=b.id, voter="ann", kind="thumb", value=-1.0)
            choice = Comparison(id=f"c{n}", a=a.id, b=b.id, voter="ann", choice="a")
            store.append(interactions=[a, b], feedback=[up, down], comparisons=[choice])
        store.withdraw("a1", "v1", "thumb")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """`datasets.load_dataset` on a folder, without a network and with a cache of its own."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()

    def call(folder: str, *arguments: Any, **options: Any) -> Any:
        return datasets.load_dataset(folder, *arguments, cache_dir=tmp_path / "cache", **options)

    return call


def test_datasets_loads_every_table_of_it(here: Path, rlhf: Call, load: Any) -> None:
    fill("f.db")
    code, out, err = rlhf("votes", "export", "out", "--store", "f.db", "--json")
    assert code == 0, err
    manifest = json.loads(out)
    assert list(manifest["tables"]) == TABLES
    assert manifest == json.loads(Path("out/manifest.json").read_text())

    whole = load("out")  # the default table
    assert whole["train"].num_rows == 108
    first = whole["train"][0]
    assert first["prompt"] == [{"role": "user", "content": "question 1"}]
    assert (first["response"], json.loads(first["sampling"])) == ("good 1", {"temperature": 0.5})
    for name, splits in manifest["tables"].items():
        found = load("out", name)
        assert {split: rows.num_rows for split, rows in found.items()} == splits
    assert manifest["tables"]["feedback"] == {"train": 107}  # one was withdrawn
    assert manifest["tables"]["comparisons"] == {"train": 54}
    assert sum(manifest["tables"]["dpo"].values()) == 54
    assert set(manifest["tables"]["dpo"]) == {"train", "test"}

    built = Path("runs/snapshots") / manifest["snapshot"]
    expected = [json.loads(line) for line in (built / "dpo.jsonl").read_text().splitlines()]
    for row, original in zip(load("out", "dpo", split="train"), expected, strict=True):
        assert {name: row[name] for name in original} == original
    for name, digest in manifest["files"].items():
        assert sha256_file(Path("out") / name) == digest


def test_rows_without_consent_are_left_out_unless_asked(here: Path, rlhf: Call, load: Any) -> None:
    fill("f.db")
    rlhf("votes", "export", "kept", "--store", "f.db")
    rlhf("votes", "export", "all", "--store", "f.db", "--without-consent")
    kept, everyone = load("kept", split="train"), load("all", split="train")
    assert set(kept["consent"]) == {True} and everyone.num_rows == 120
    ids = set(kept["id"])
    assert set(load("kept", "feedback", split="train")["interaction"]) <= ids
    comparisons = load("kept", "comparisons", split="train")
    assert {*comparisons["a"], *comparisons["b"]} <= ids
    # Asked for or not, nothing trains on them.
    for name in ("sft", "dpo", "kto", "prompts"):
        counts = [sum(json.loads(Path(f, "manifest.json").read_text())["tables"][name].values())
                  for f in ("kept", "all")]  # fmt: skip
        assert counts[0] == counts[1]
    assert "left out" in Path("kept/README.md").read_text()
    assert "**without consent to train**" in Path("all/README.md").read_text()


def test_people_have_names_of_one_export_alone(here: Path, rlhf: Call, load: Any) -> None:
    fill("f.db")
    voters = []
    for folder in ("one", "two"):
        rlhf("votes", "export", folder, "--store", "f.db")
        voted = load(folder, "feedback", split="train")
        chosen = load(folder, "comparisons", split="train")
        assert len(set(voted["voter"])) == 8 and set(chosen["voter"]) < set(voted["voter"])
        assert len(set(load(folder, split="train")["user"])) == 3
        voters.append(set(voted["voter"]))
        for path in Path(folder).rglob("*.parquet"):
            assert "ann" not in str(pq.read_table(path).to_pydict().get("voter"))
    assert voters[0].isdisjoint(voters[1])


def test_the_card_names_tables_redaction_and_origin(here: Path, rlhf: Call) -> None:
    fill("f.db", 20)
    rlhf("votes", "export", "out", "--store", "f.db")
    _, header, body = Path("out/README.md").read_text().split("---\n", 2)
    card = yaml.safe_load(header)
    assert card["license"] is None and card["size_categories"] == ["n<1K"]
    assert [c["config_name"] for c in card["configs"]] == TABLES
    assert card["configs"][0]["default"] is True
    for words in ("`<PHONE>`", "`<ID_CARD>`", "snapshot `", "| interactions | train | 36 |"):
        assert words in body


def test_what_slipped_by_older_detectors_is_redacted_on_the_way_out(here: Path, rlhf: Call) -> None:
    secret = "13812345678"
    with Store.open("f.db", redact=lambda text: text) as store:  # as if nothing knew phones yet
        prompt = (Message(role="user", content=f"call {secret}"),)
        answer = Interaction(id="a", messages=prompt, response=f"I call {secret}")
        words = Feedback(interaction="a", voter="v", kind="comment", text=f"{secret}?")
        up = Feedback(interaction="a", voter="v", kind="thumb", value=1.0, reasons=(secret,))
        store.append(interactions=[answer], feedback=[words, up])
    rlhf("votes", "export", "out", "--store", "f.db")
    for path in Path("out").rglob("*.parquet"):
        assert secret not in str(pq.read_table(path).to_pydict())


def test_no_identifier_reaches_an_export(here: Path, rlhf: Call) -> None:
    """Out of a store that took them in as they are: any file of it, Parquet decoded, card too."""
    drawn = [sentence for sentence in corpus(600, 60) if sentence.spans]
    texts = [sentence.text for sentence in drawn]
    planted = [
        sentence.text[start:end]
        for sentence in drawn
        for start, end, kind in sentence.spans
        if kind in ("ID_CARD", "BANK_CARD")
    ]
    with Store.open("f.db", redact=lambda text: text) as store:
        for n, text in enumerate(texts):
            prompt = (Message(role="user", content=text), Message(role="system", content=text))
            row = Interaction(id=f"i{n}", messages=prompt, response=texts[-n - 1], user=f"u{n}")
            told = {"interaction": row.id, "voter": f"v{n % 7}"}
            votes = [
                {"kind": "thumb", "value": 1.0 - 2.0 * (n % 2), "reasons": (text[:1_000],)},
                {"kind": "comment", "text": text},
                {"kind": "correction", "text": text},
            ]
            words = [Feedback.model_validate(told | vote) for vote in votes]
            store.append(interactions=[row], feedback=words)
    assert len(set(identifiers_in([Path("f.db"), *Path().glob("f.db-wal")]))) >= 50
    code, _, err = rlhf("votes", "export", "out", "--store", "f.db")
    assert code == 0, err
    tables = list(Path("out").rglob("*.parquet"))
    assert {path.parent.name for path in tables} >= {"interactions", "feedback", "kto"}
    clear = here / "clear"
    for place, path in enumerate(tables):  # the bytes are compressed: scan what a reader reads
        clear.mkdir(exist_ok=True)
        rows = json.dumps(pq.read_table(path).to_pylist(), ensure_ascii=False, default=str)
        (clear / f"{place}-{path.parent.name}.json").write_text(rows, encoding="utf-8")
    assert sum("<ID_CARD>" in path.read_text() for path in clear.iterdir()) >= 3
    files = [*all_files(Path("out")), *all_files(clear)]
    assert list(identifiers_in(files)) == []
    assert list(planted_in(files, planted)) == []


def test_an_export_replaces_nothing_unasked(here: Path, rlhf: Call) -> None:
    fill("f.db", 5)
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years")
    code, _, err = rlhf("votes", "export", "mine", "--store", "f.db", "--replace")
    assert code == 2 and "exists and is no export" in err
    assert rlhf("votes", "export", "out", "--store", "f.db")[0] == 0
    code, _, err = rlhf("votes", "export", "out", "--store", "f.db")
    assert code == 2 and "add --replace" in err
    before = Path("out/manifest.json").read_text()
    with Store.open("f.db") as store:
        prompt = (Message(role="user", content="new"),)
        store.append(interactions=[Interaction(messages=prompt, response="r")])
    assert rlhf("votes", "export", "out", "--store", "f.db", "--replace")[0] == 0
    assert Path("out/manifest.json").read_text() != before
    assert Path("mine/thesis.txt").read_text() == "years"


def test_a_failed_export_leaves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill("f.db", 5)

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "dataset_card", full)
    with Store.open("f.db") as store, pytest.raises(OSError, match="No space"):
        export(store, Path("out"), ExportOptions())
    assert [path.name for path in here.iterdir() if "out" in path.name] == []


def test_a_store_without_votes_or_rows(here: Path, rlhf: Call, load: Any) -> None:
    with Store.open("f.db") as store:
        prompt = (Message(role="user", content="q"),)
        store.append(interactions=[Interaction(id="a", messages=prompt, response="r")])
    code, out, _ = rlhf("votes", "export", "out", "--store", "f.db", "--json")
    told = json.loads(out)
    assert code == 0 and told["tables"] == {"interactions": {"train": 1}}
    assert told["snapshot"] is None and load("out", split="train").num_rows == 1
    assert "no vote made a row" in Path("out/README.md").read_text()
    code, out, _ = rlhf("votes", "export", "none", "--store", "f.db", "--project", "x")
    assert code == 0 and "no rows" in out
    code, _, err = rlhf("votes", "export", "o", "--store", "gone.db")
    assert code == 2 and "no such store" in err


def test_a_named_snapshot_makes_the_training_tables(here: Path, rlhf: Call) -> None:
    fill("f.db", 30)
    built = json.loads(rlhf("snapshot", "build", "--store", "f.db", "--json")[1])["id"]
    fill_more = Interaction(messages=(Message(role="user", content="late"),), response="r")
    with Store.open("f.db") as store:
        store.append(interactions=[fill_more])
    command = ("votes", "export", "out", "--store", "f.db", "--snapshot", built, "--json")
    told = json.loads(rlhf(*command)[1])
    assert told["snapshot"] == built and told["tables"]["interactions"] == {"train": 55}
    assert sum(told["tables"]["prompts"].values()) == 27
    code, _, err = rlhf("votes", "export", "p", "--store", "f.db", "--snapshot", "nothing")
    assert code == 1 and "no snapshot nothing" in err
    shutil.rmtree(f"runs/snapshots/{built}")
    assert rlhf("votes", "export", "p", "--store", "f.db", "--snapshot", built)[0] == 1


def test_rows_are_written_by_the_group(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables, "ROWS_PER_GROUP", 10)
    fill("f.db", 30)
    with Store.open("f.db") as store:
        export(store, Path("out"), ExportOptions())
    written = pq.ParquetFile("out/interactions/train.parquet")
    assert written.metadata.num_row_groups == 6


@pytest.mark.parametrize(
    ("rows", "name"),
    [(0, "n<1K"), (1_000, "1K<n<10K"), (2_000_000, "1M<n<10M"), (10**9, "n>100M")],
)
def test_sizes_are_named_as_the_hub_names_them(rows: int, name: str) -> None:
    told = {"project": "p", "version": "1", "watermark": 1, "snapshot": None}
    told |= {"without_consent": False, "tables": {"interactions": {"train": rows}}}
    assert yaml.safe_load(dataset_card(told).split("---\n")[1])["size_categories"] == [name]


def test_a_field_that_no_column_knows_is_kept() -> None:
    row = tables.training_row({"prompt": [], "weight": 1.0, "new": [1]}, tables.TRAINING["sft"])
    assert row == {"prompt": [], "weight": 1.0, "more": '{"new": [1]}'}
