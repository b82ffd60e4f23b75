"""`rlhf rewards score|compare|fit` from files, snapshots and stores, to pages, YAML and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from planted_mix import NAMES, TRUTH, pairs, thumbs
from varied_votes import fill

from feedback_store import SnapshotRules, Store, build_snapshot
from rlhf.data.records import Record, split
from rlhf.lab import fitting
from rlhf.lab.mix import read_mix, scored
from rlhf.lab.votes import read_votes, unseen

Call = Callable[..., tuple[int, str, str]]

HOSTILE = "<script>alert('x')</script>\" onload=alert(1) {{ 7*7 }} \x01\u202e 你好"


def write(path: Path, records: list[Record]) -> str:
    rows = []
    for r in records:
        said = (
            {"chosen": r.chosen, "rejected": r.rejected}
            if r.shape == "preference"
            else {"completion": r.completion, "label": r.label}
        )
        rows.append({"prompt": [*r.prompt], "style": r.style, "weight": r.weight, **said})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def mix(path: Path, weights: dict[str, float]) -> str:
    rewards = [{"name": name, "weight": weight} for name, weight in weights.items()]
    path.write_text(yaml.safe_dump({"rewards": rewards}), encoding="utf-8")
    return str(path)


def test_the_true_mix_agrees_as_far_as_noise_lets_it(here: Path, rlhf: Call) -> None:
    votes = write(here / "votes.jsonl", [*pairs(1, 600), *thumbs(1, 400)])
    true = mix(here / "true.yaml", dict(zip(NAMES[:4], TRUTH[:4].tolist(), strict=True)))
    code, out, _ = rlhf("rewards", "compare", "--votes", votes, true, "--json")
    assert code == 0
    told = json.loads(out)
    by_name = {subject["name"]: subject for subject in told["subjects"]}
    assert list(by_name) == [*NAMES[:4], "true"]
    assert by_name["true"]["pairs"]["rate"] == pytest.approx(0.8, abs=0.04)
    assert by_name["true"]["thumbs"]["rate"] > max(
        by_name[name]["thumbs"]["rate"] for name in NAMES[:4]
    )
    assert by_name["planted_b"]["pairs"]["high"] < 0.5
    assert by_name["true"]["calibration"]["pairs"]["ece"] < 0.15
    assert told["correlations"][0][0] == pytest.approx(1.0)
    assert (here / "rewards.html").exists()


def test_hostile_texts_are_on_the_page_and_do_nothing(here: Path, rlhf: Call) -> None:
    prompt = ({"role": "user", "content": HOSTILE},)
    records = [
        Record("preference", prompt, chosen=f"{HOSTILE} {n}", rejected=HOSTILE * (1 + n % 3))
        for n in range(60)
    ]
    records = [replace(r, style=HOSTILE if n % 2 else "formal") for n, r in enumerate(records)]
    votes = write(here / "votes.jsonl", records)
    code, out, _ = rlhf("rewards", "compare", "--votes", votes, "--json")
    assert code == 0
    page = (here / "rewards.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;" in page
    assert not re.search(r"<script|<img|https?://|[\x00-\x08]| onload=alert\(1\) [^{]", page)
    texts = json.dumps([s["pairs"] for s in json.loads(out)["subjects"]])
    assert "alert" not in texts


def test_fit_writes_what_a_configuration_takes(
    here: Path, rlhf: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "_DRAWS", 10)
    votes = write(here / "votes.jsonl", pairs(2, 1500))
    every = mix(here / "every.yaml", dict.fromkeys(NAMES, 1.0))
    code, out, _ = rlhf(
        "rewards", "fit", "--votes", votes, every, "--out", "new/fit.yaml", "--json"
    )
    assert code == 0
    told = json.loads(out)
    (contest,) = told["held_out"]
    assert contest["best"] in NAMES[:2]
    assert contest["mix"]["rate"] > contest["single"]["rate"]
    assert contest["difference"]["low"] > 0
    written = read_mix(here / "new/fit.yaml")
    assert [c.name for c in written.rewards] == list(NAMES[:4])
    weights = np.array([c.weight for c in written.rewards])
    np.testing.assert_allclose(weights, TRUTH[:4] / np.abs(TRUTH[:4]).mean(), rtol=0.15)
    assert "planted_j adds nothing" in (here / "new/fit.yaml").read_text(encoding="utf-8")


def test_a_file_of_rewards_is_found_from_the_new_mix(here: Path, rlhf: Call) -> None:
    (here / "own.py").write_text(
        "def first(prompts, completions, **columns):\n"
        "    return [float(c[0]['content'].split()[0]) for c in completions]\n",
        encoding="utf-8",
    )
    votes = write(here / "votes.jsonl", pairs(3, 300))
    own = mix(here / "own.yaml", {"own.py:first": 1.0})
    code, _, _ = rlhf("rewards", "fit", "--votes", votes, own, "--out", "sub/fit.yaml")
    assert code == 0
    assert yaml.safe_load((here / "sub/fit.yaml").read_text())["rewards"] == [
        {"name": "../own.py:first", "weight": 1.0}
    ]
    assert read_mix(here / "sub/fit.yaml").rewards[0].name == f"{here.resolve()}/own.py:first"


def test_scores_of_every_answer_are_in_the_table_and_the_file(here: Path, rlhf: Call) -> None:
    records = pairs(4, 40)
    data = write(here / "data.jsonl", records)
    two = mix(here / "two.yaml", {"planted_a": 2.0, "planted_c": 1.0})
    code, out, _ = rlhf(
        "rewards", "score", data, "--rewards", two, "--out", "scores.parquet", "--json"
    )
    assert code == 0
    scores = scored(records, read_mix(here / "two.yaml").rewards)
    a, c, total = json.loads(out)
    assert (a["name"], c["name"], total["name"]) == ("planted_a", "planted_c", "total")
    assert a["mean"] == pytest.approx(scores.raw[:, 0].mean())
    assert total["quantiles"][2] == pytest.approx(np.median(scores.totals()))
    table = pq.read_table(here / "scores.parquet")
    assert table["answer"].to_pylist()[:2] == ["chosen", "rejected"]
    np.testing.assert_allclose(table["reward/planted_c"].to_numpy(), scores.raw[:, 1])


def test_a_store_is_read_as_its_snapshot_is(tmp_path: Path) -> None:
    with Store.open(tmp_path / "store.db") as store:
        fill(store, seed=1)
        rules = SnapshotRules(held_out=0.3)
        snapshot = build_snapshot(store, tmp_path / "snapshots", rules)
    of_store = read_votes(str(tmp_path / "store.db"), 0.3)
    of_snapshot = read_votes(str(tmp_path / "snapshots" / snapshot.id), 0.3)
    for name in ("seen", "held_out"):
        first, second = (
            sorted(map(repr, (replace(r, source="") for r in getattr(votes, name))))
            for votes in (of_store, of_snapshot)
        )
        assert first == second
    assert of_store.seen and of_store.held_out
    aside = unseen(str(tmp_path / "snapshots" / snapshot.id), 0.9, 0.0)
    assert aside.seen == of_snapshot.held_out and not aside.held_out


def test_what_training_kept_aside_is_unseen(tmp_path: Path) -> None:
    votes = write(tmp_path / "votes.jsonl", pairs(9, 200))
    _, kept_aside = split(read_votes(votes, 0.0).seen, 0.4)
    found = unseen(votes, 0.4, 0.2)
    assert {r.conversation for r in [*found.seen, *found.held_out]} == {
        r.conversation for r in kept_aside
    }
    assert found.held_out == read_votes(votes, 0.2).held_out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["compare", "--votes", "nowhere"], "no such store, snapshot or file"),
        (["compare", "--votes", "."], "neither a snapshot nor a prepared folder"),
        (["fit", "--votes", "few.jsonl"], "too few"),
        (["fit", "--votes", "few.jsonl", "none.yaml"], "cannot be read"),
        (["compare", "--votes", "talk.jsonl"], "holds no votes"),
        (["score", "nowhere"], "no such file"),
    ],
)
def test_mistakes_end_in_one_line(here: Path, rlhf: Call, arguments: list[str], told: str) -> None:
    write(here / "few.jsonl", pairs(5, 10))
    (here / "talk.jsonl").write_text('{"context": "User: tea?", "response": "Yes."}\n')
    code, _, err = rlhf("rewards", *arguments)
    assert code in (1, 2)
    assert told in err.splitlines()[-1]
    assert not list(here.glob("*.html")) + list(here.glob("fitted.yaml"))
