"""Faults planted into clean dialogues: each is found, and what is clean is left alone."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlhf.prepare.pipeline import Prepared, prepare
from rlhf.prepare.settings import PrepareConfig

Row = dict[str, Any]

INTENTS = ("delivery", "refund", "account", "warranty")
STYLES = ("formal", "concise", "caring")
THINGS = """kettle lamp chair heater blender camera router printer bicycle helmet toaster speaker
monitor keyboard vacuum mixer drill ladder mattress sofa curtain mirror radio scanner tripod"""
WHAT = """arrived broken; stopped working; makes a loud noise; has a missing part; came in another
colour; smells of smoke; gets too hot; leaks at the bottom; will not switch on; shows an error; has
a bent handle; lost its warranty card; is slower than promised; trips the fuse; does not fit"""
STEPS = """unplug it overnight; check the valve below; press both buttons at once; send a picture;
look at the label on the back; use the cable from the box; read page nine of the manual; wait until
it is cold; remove the grey cover; tighten the screw on the left; choose the second menu; keep the
receipt at hand; ask the neighbour who signed; open the app and log in; pack it in the old box;
clean the filter with water; turn the dial to zero; note the number on the lid"""
N = 1_200


def clean_rows(seed: int) -> Iterator[Row]:
    """Dialogues of 200 users, balanced, each its own: no fault is in them."""
    draw = random.Random(seed)
    things, whats = THINGS.split(), " ".join(WHAT.split()).split("; ")
    steps = " ".join(STEPS.split()).split("; ")
    for n in range(N):
        thing, what = draw.choice(things), draw.choice(whats)
        words = " ".join(draw.choice("bdfgklmnprst") + draw.choice("aeiou") * 2 for _ in range(4))
        one, two, three = draw.sample(steps, 3)
        yield {
            "context": f"User: Our {thing} {what}, model {words}. What should we do now?",
            "response": f"Assistant: Please {one}, then {two}. In short: {three}, and the {thing} "
            f"named {words} should be fine.",
            "intent": INTENTS[n % 4],
            "style": STYLES[n % 3],
            "user": f"user {n % 200}",
        }


@pytest.fixture(scope="module")
def clean() -> list[Row]:
    return list(clean_rows(7))


def prepared(folder: Path, lines: list[str], **values: Any) -> Prepared:
    (folder / "d.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    given = {"sources": ["d.jsonl"], "max_rejected": 1, **values}
    return prepare(PrepareConfig.model_validate(given), folder, folder / "out")


def dumped(rows: list[Row]) -> list[str]:
    return [json.dumps(row) for row in rows]


def kept(made: Prepared) -> dict[str, Row]:
    files = [(made.folder / f"{name}.jsonl").read_text() for name in ("train", "held_out")]
    return {row["source"]: row for text in files for row in map(json.loads, text.splitlines())}


def told(made: Prepared, check: str) -> list[str]:
    return [w["line"] for w in made.report["coverage"]["warnings"] if w["check"] == check]


def test_clean_rows_raise_no_alarm(tmp_path: Path, clean: list[Row]) -> None:
    made = prepared(tmp_path, dumped(clean))
    rows = made.report["rows"]
    assert rows["rejected"] + rows["twins"] <= N / 100
    assert made.report["texts"]["anonymised_texts"] <= 2 * N / 100
    for check in ("intent", "user", "duplicates", "rejected"):
        assert told(made, check) == []


def reworded(row: Row, draw: random.Random) -> Row:
    """The same row but for one word of some fifty."""
    words = row["response"].split()
    words[draw.randrange(2, len(words))] = "indeed"
    return {**row, "response": " ".join(words)}


def test_every_near_twin_is_found(tmp_path: Path, clean: list[Row]) -> None:
    draw = random.Random(1)
    longer = [{**r, "response": r["response"] + " " + r["response"][11:] * 2} for r in clean[:400]]
    planted = [reworded(row, draw) for row in longer[:100]]
    made = prepared(tmp_path, dumped(longer + planted))
    found = {f"d.jsonl:{n}" for n in range(401, 501)} - kept(made).keys()
    assert len(found) >= 98
    assert made.report["rows"]["twins"] - len(found) <= 4


def test_every_identifier_is_replaced(tmp_path: Path, clean: list[Row]) -> None:
    rows = [dict(row) for row in clean[:300]]
    secrets = []
    for n, row in enumerate(rows[:60]):
        phone, mail = f"1381234{5000 + n}", f"ann.lee{n}@example.org"
        secrets += [phone, mail]
        row["context"] += f" My number is {phone}."
        row["response"] += f" We write to {mail}."
    made = prepared(tmp_path, dumped(rows))
    texts = json.dumps(list(kept(made).values()))
    assert [secret for secret in secrets if secret in texts] == []
    assert made.report["texts"]["identifiers"] == {"EMAIL": 60, "PHONE": 60}


def test_every_broken_row_is_rejected(tmp_path: Path, clean: list[Row]) -> None:
    lines = dumped(clean[:300])
    broken = ["{]", '{"context": 5, "response": "a"}', "null", '{"context": "a"}', '{"a": NaN}']
    places = random.Random(2).sample(range(1, 300), 50)
    for n, place in enumerate(sorted(places, reverse=True)):
        lines.insert(place, broken[n % 5])
    made = prepared(tmp_path, lines)
    rejected = [json.loads(t) for t in (made.folder / "rejected.jsonl").read_text().splitlines()]
    assert sorted(r["line"] for r in rejected) == [
        n for n, line in enumerate(lines, start=1) if line in broken
    ]


def test_a_user_of_thirty_percent_is_told(tmp_path: Path, clean: list[Row]) -> None:
    rows = [{**row, "user": "loud"} if n % 10 < 3 else row for n, row in enumerate(clean)]
    (line,) = told(prepared(tmp_path, dumped(rows)), "user")
    assert "30.0%" in line


def test_a_missing_intent_is_told(tmp_path: Path, clean: list[Row]) -> None:
    rows = [row for n, row in enumerate(clean) if row["intent"] != "refund" or n < 40]
    (line,) = told(prepared(tmp_path, dumped(rows)), "intent")
    assert "refund" in line


def test_what_would_leak_into_the_held_out_rows_is_found(tmp_path: Path, clean: list[Row]) -> None:
    (tmp_path / "test.jsonl").write_text("\n".join(dumped(clean[:100])) + "\n")
    asked_too = [
        {**row, "response": f"Assistant: Nothing of the kind, {n} times over, as Bob said."}
        for n, row in enumerate(clean[:40])
    ]
    shouted = [{**row, "context": row["context"].upper()} for row in clean[40:80]]
    lines = dumped(clean[100:] + asked_too + shouted)
    made = prepared(tmp_path, lines, held_out_sources=["test.jsonl"], held_out=0)
    train = {k for k in kept(made) if k.startswith("d.jsonl")}
    leaked = {f"d.jsonl:{n}" for n in range(N - 100 + 1, N - 100 + 81)}
    assert train & leaked == set()
    assert len(train) >= (N - 100) * 0.99
    assert made.report["twins"]["across_the_split"] >= 80
