from pathlib import Path

import pytest
from pydantic import ValidationError

from feedback_store import (
    Feedback,
    Metric,
    Metrics,
    Refused,
    SnapshotRules,
    Store,
    Unavailable,
    build_snapshot,
)

YAML = """
- {name: helpful, kind: thumb}
- {name: harmful, kind: thumb, better: lower}
- {name: score, kind: rating, range: [0, 10]}
- {name: harm, kind: rating, range: [0, 1], better: lower}
- {name: dwell, kind: implicit, range: [0, 3600]}
- {name: fix, kind: correction}
"""


@pytest.fixture
def metrics(tmp_path: Path) -> Metrics:
    (tmp_path / "metrics.yaml").write_text(YAML)
    return Metrics.load(tmp_path / "metrics.yaml")


def word(metric: str, kind: str, value: float | None = 1.0, **fields: object) -> Feedback:
    given = {"interaction": "a", "voter": "ann", "metric": metric, "kind": kind, "value": value}
    return Feedback.model_validate(given | fields)


def test_each_kind_is_a_metric_until_others_are_declared(store: Store, ask) -> None:
    assert [metric.name for metric in store.metrics] == sorted(
        ["thumb", "rating", "comment", "correction", "implicit", "copied", "regenerated"]
    )
    store.append(interactions=[ask("a")], feedback=[word("rating", "rating", 5)])
    for value in (0, 6):
        with pytest.raises(Refused, match="metric rating lies between 1 and 5, not"):
            store.append(feedback=[word("rating", "rating", value)])


def test_undeclared_names_are_refused_with_the_nearest(store: Store, ask) -> None:
    store.append(interactions=[ask("a")])
    for name, nearest in (("thumbs", "thumb"), ("Ratings", "rating"), ("语气", "")):
        with pytest.raises(Refused, match=f"{name} isn't declared; the nearest is {nearest}"):
            store.append(feedback=[word(name, "thumb")])
    assert store.watermark() == 1


def test_a_metric_holds_its_kind_and_range(tmp_path: Path, ask, metrics: Metrics) -> None:
    with Store.open(tmp_path / "s.db", metrics=metrics) as store:
        good = [
            word("helpful", "thumb", -1),
            word("score", "rating", 0),
            word("harm", "rating", 0.25),
            word("dwell", "implicit", 3600),
            word("fix", "correction", None, text="Better."),
        ]
        store.append(interactions=[ask("a")], feedback=good)
        for bad, why in (
            (word("helpful", "rating"), "helpful holds a thumb, not a rating"),
            (word("score", "rating", 10.5), "score lies between 0 and 10, not 10.5"),
            (word("harm", "rating", -0.1), "harm lies between 0 and 1"),
            (word("dwell", "implicit", 3601), "dwell lies between 0 and 3600"),
            (word("thumb", "thumb"), "thumb isn't declared"),
        ):
            with pytest.raises(Refused, match=why):
                store.append(feedback=[bad])
        assert store.watermark() == 6


def test_a_declaration_holds_until_the_next(tmp_path: Path, ask, metrics: Metrics) -> None:
    path = tmp_path / "s.db"
    with Store.open(path, metrics=metrics) as store:
        store.append(interactions=[ask("a")], feedback=[word("score", "rating", 9)])
    with Store.open(path) as store:
        assert set(store.metrics) == set(metrics)
        store.append(feedback=[word("harm", "rating", 1)])
    with Store.open(path, metrics=Metrics([Metric(name="fix", kind="correction")])) as store:
        with pytest.raises(Refused, match="score isn't declared; the nearest is fix"):
            store.append(feedback=[word("score", "rating", 8)])
        assert store.stats()["up"] == 1  # 9 of 10, though no longer asked
        store.withdraw("a", "ann", "score")  # a voter may still take it back
        assert [row.metric for row in store.feedback()] == ["harm"]


def test_a_metric_with_votes_keeps_its_meaning(tmp_path: Path, ask, metrics: Metrics) -> None:
    path = tmp_path / "s.db"
    other = Metrics([Metric(name="score", kind="rating")])
    Store.open(path, metrics=metrics).close()
    Store.open(path, metrics=other).close()
    Store.open(path, metrics=metrics).close()
    with Store.open(path) as store:
        store.append(feedback=[word("score", "rating", 9)], wait=True)
    why = r"score has votes as rating of 0 to 10 \(higher is better\), so it can't become rating of"
    for _ in range(2):
        with pytest.raises(Refused, match=why):
            Store.open(path, metrics=other)
        with Store.open(path) as store:
            store.append(interactions=[ask("a")])
            assert set(store.metrics) == set(metrics)


def test_lower_is_better_turns_votes_round(tmp_path: Path, ask, metrics: Metrics) -> None:
    with Store.open(tmp_path / "s.db", metrics=metrics) as store:
        said = {
            "up1": word("harmful", "thumb", -1),
            "up2": word("score", "rating", 7.5),
            "up3": word("harm", "rating", 0.25),
            "down1": word("harmful", "thumb", 1),
            "down2": word("score", "rating", 2.5),
            "down3": word("harm", "rating", 0.75),
            "none1": word("score", "rating", 5),
            "none2": word("harm", "rating", 0.6),
        }
        store.append(
            interactions=[ask(id, prompt=f"q {id}", response=id) for id in said],
            feedback=[vote.model_copy(update={"interaction": id}) for id, vote in said.items()],
        )
        stats = store.stats()
        assert (stats["up"], stats["down"]) == (3, 3)
        manifest = build_snapshot(store, tmp_path, SnapshotRules(held_out=0.0))
        assert manifest.counts["neutral"] == 2
        lines = (tmp_path / manifest.id / "kto.jsonl").read_text().splitlines()
        assert len(lines) == 6
        for line in lines:
            assert ('"label":true' in line) == ('"content":"up' in line)


def test_scales_turn_back() -> None:
    for metric in (
        Metric(name="m", kind="rating", range=(0, 10)),
        Metric(name="m", kind="rating", range=(-1, 1), better="lower"),
    ):
        for stars in (1.0, 2.0, 4.0, 5.0):
            assert metric.to_scale(metric.from_scale(stars)) == pytest.approx(stars)
    assert Metric(name="m", kind="rating", better="lower").to_scale(5.0) == 1.0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("- {name: a, kind: thumbs}", r"0\.kind: Input should be 'thumb', 'rating'"),
        ("- {name: a, kind: thumb, best: higher}", r"0\.best: Extra inputs are not permitted"),
        ("- {name: a, kind: rating, range: [5, 1]}", r"range \[5.0, 1.0\] is empty"),
        ("- {name: a, kind: thumb, range: [0, 1]}", "a thumb has no range"),
        ("- {name: a, kind: thumb}\n- {name: a, kind: rating}", "metric a is declared twice"),
        ("[]", "no metric is declared"),
        ("metrics: 5", "valid tuple"),
        ("- [", "not YAML"),
        ("- {name: a, kind: rating, range: [.nan, 1]}", "finite number"),
    ],
)
def test_a_wrong_declaration_is_named_in_one_line(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(Refused, match=why) as raised:
        Metrics.load(tmp_path / "m.yaml")
    assert "m.yaml: " in str(raised.value) and "\n" not in str(raised.value)


def test_the_documents_example_is_a_declaration(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "votes.md").read_text()
    (tmp_path / "m.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
    assert [m.better for m in Metrics.load(tmp_path / "m.yaml")] == ["higher", "higher", "lower"]


def test_a_file_that_is_not_there_and_a_key_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"m\.yaml: can't be read"):
        Metrics.load(tmp_path / "m.yaml")
    (tmp_path / "m.yaml").write_text("metrics:\n  - {name: a, kind: thumb}\n")
    assert [metric.name for metric in Metrics.load(tmp_path / "m.yaml")] == ["a"]
    with pytest.raises(ValidationError):
        Metric(name="a", kind="comparison")
