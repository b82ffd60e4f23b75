"""How much personal data is found, and how little else: 6,000 sentences and 3,000 look-alikes."""

from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from identifier_scan import all_files, identifiers_in, planted_in
from redaction_corpus import Sentence, corpus

from feedback_store import (
    Feedback,
    Interaction,
    Message,
    SnapshotRules,
    Store,
    build_snapshot,
)
from feedback_store.redact import DETECTORS, find, redact

POSITIVES, NEGATIVES = 6_000, 3_000
# The least recall and precision: of the identifiers as promised, of the others as they are.
LEAST = {
    "ID_CARD": (0.995, 0.99),
    "BANK_CARD": (0.995, 0.99),
    "PHONE": (0.99, 0.97),
    "EMAIL": (0.995, 0.99),
    "PASSPORT": (0.98, 0.98),
    "PLATE": (0.98, 0.98),
    "ADDRESS": (0.95, 0.95),
    "NAME": (0.95, 0.97),
}
CHECKED = ("ID_CARD", "BANK_CARD")


@cache
def sentences() -> list[Sentence]:
    return corpus(POSITIVES, NEGATIVES)


@cache
def counts() -> dict[str, Counter[str]]:
    """Of each kind: how many are there, were found, and were found from end to end."""
    tally: dict[str, Counter[str]] = {kind: Counter() for kind in DETECTORS}
    for sentence in sentences():
        true, found = set(sentence.spans), set(map(tuple, find(sentence.text)))
        for name, spans in (("true", true), ("found", found), ("right", true & found)):
            for _, _, kind in spans:
                tally[kind][name] += 1
    return tally


def rates(kind: str) -> tuple[float, float]:
    tally = counts()[kind]
    return tally["right"] / tally["true"], tally["right"] / tally["found"]


@pytest.mark.parametrize("kind", DETECTORS)
def test_recall_and_precision(kind: str) -> None:
    recall, precision = rates(kind)
    print(
        f"{kind}: recall {recall:.2%}, precision {precision:.2%}, {counts()[kind]['true']} of them"
    )
    assert recall >= LEAST[kind][0]
    assert precision >= LEAST[kind][1]


def test_the_corpus_is_as_large_as_it_says() -> None:
    assert sum(bool(sentence.spans) for sentence in sentences()) >= 5_000
    assert len({sentence.text for sentence in sentences() if not sentence.spans}) >= 2_000
    assert all(tally["true"] >= 250 for tally in counts().values())


def test_redacted_sentences_stay_as_they_are() -> None:
    for sentence in sentences():
        once = redact(sentence.text)
        assert redact(once) == once


def test_no_identifier_reaches_a_file(tmp_path: Path) -> None:
    """Through prompts, answers, comments, corrections and reasons, into store and snapshot."""
    drawn = sentences()[:1_500]
    texts = [sentence.text for sentence in drawn]
    clear = tmp_path / "clear"
    clear.mkdir()
    (clear / "as written.txt").write_text("\n".join(texts), encoding="utf-8")
    planted = [
        sentence.text[start:end]
        for sentence in drawn
        for start, end, kind in sentence.spans
        if kind in CHECKED
    ]
    written = all_files(clear)
    assert len(set(identifiers_in(written))) >= 200  # the scan finds what is there
    assert len(list(planted_in(written, planted))) >= 300

    kept = tmp_path / "kept"
    with Store.open(kept / "store.db") as store:
        _fill(store, texts)
        manifest = build_snapshot(store, kept / "snapshots", SnapshotRules(held_out=0.2))
        assert manifest.files["kto.jsonl"].rows and manifest.files["dpo.jsonl"].rows
        files = all_files(kept)  # while it is open: its write-ahead log is among them
        assert any(path.name.endswith("-wal") for path in files)
        assert list(identifiers_in(files)) == []
        assert list(planted_in(files, planted)) == []
    assert list(identifiers_in(all_files(kept))) == []


def _fill(store: Store, texts: list[str]) -> None:
    rows, votes = [], []
    for place, text in enumerate(texts):
        other = texts[-place - 1]
        id, plain = f"i{place}", f"Answer {place}."
        prompt = (Message(role="system", content=other), Message(role="user", content=text))
        answer = plain if place % 2 else other
        rows.append(Interaction(id=id, messages=prompt, response=answer))
        voted = {"id": f"v{place}", "interaction": id, "voter": f"ann{place % 7}"}
        votes.append(
            Feedback.model_validate(
                voted | {"kind": "thumb", "value": 1.0 - 2.0 * (place % 3 == 0), "reasons": (text,)}
            )
        )
        written = {"kind": "correction" if place % 2 else "comment", "text": f"{place}: {other}"}
        votes.append(Feedback.model_validate(voted | {"id": f"w{place}"} | written))
    store.append(interactions=rows, feedback=votes)
