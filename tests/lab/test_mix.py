"""Totals of kept scores are those that training would have given."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from rewards import Component, RewardSet
from rewards.totals import Normalise
from rlhf.data.records import Record
from rlhf.errors import UsageError
from rlhf.lab.mix import Mix, answers_of, names_of, pooled, read_mix, score_batch, scored

FILE = '''
def sometimes(prompts, completions, **columns):
    """A number, None or a failure, by the answer's length."""
    texts = [c[0]["content"] for c in completions]
    return [(None, float("nan"), 0.7, -0.4)[len(t) % 4] for t in texts]
'''


def records() -> list[Record]:
    draw = random.Random(3)
    answers = [" ".join(["please wait"] * draw.randint(1, 60)) + "." * i for i in range(40)]
    prompt = ({"role": "user", "content": "Where is it?"},)
    return [
        Record("preference", prompt, chosen=a, rejected=b, style=draw.choice(["formal", None]))
        for a, b in zip(answers[::2], answers[1::2], strict=True)
    ]


@pytest.mark.parametrize("normalise", ["sum", "mean", "zscore"])
def test_totals_are_those_of_training(tmp_path: Path, normalise: Normalise) -> None:
    (tmp_path / "own.py").write_text(FILE, encoding="utf-8")
    components = [
        Component(name="length", weight=0.3),
        Component(name="style", weight=-2.0),
        Component(name="repetition", veto=True),
        Component(name="own.py:sometimes", weight=0.5),
    ]
    rows = records()
    answers = answers_of(rows)
    with RewardSet(components, base=tmp_path, normalise=normalise, max_invalid=1.0) as rewards:
        expected = [row.total for row in score_batch(rewards, answers, names_of(answers))]
    found = scored(rows, components, tmp_path).totals(normalise)
    assert None in expected
    np.testing.assert_allclose(found, np.array(expected, dtype=float), atol=1e-12)


def test_a_training_configuration_is_a_mix(tmp_path: Path) -> None:
    path = tmp_path / "ppo.yaml"
    path.write_text("stage: ppo\nupdates: 3\nrewards: [{name: length, weight: 2}]\n", "utf-8")
    assert [c.weight for c in read_mix(path).rewards] == [2.0]


def test_a_misspelt_key_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mix.yaml"
    path.write_text("rewards: [{name: length}]\nnormalize: mean\n", encoding="utf-8")
    with pytest.raises(UsageError, match="normalise"):
        read_mix(path)


def test_a_mix_of_a_pool_keeps_its_own_weights(tmp_path: Path) -> None:
    rows = records()
    by = {"column": "style", "weights": {"formal": 3.0, "default": 0.5}}
    first = Mix(rewards=(Component(name="length"), Component(name="repetition", weight=2.0)))
    second = Mix(
        rewards=(
            Component(name="length", weights_by=by),  # type: ignore[arg-type]
            Component(name="length", params={"high": 20}),
        )
    )
    pool = pooled([first, second])
    assert len(pool) == 3
    found = scored(rows, pool).of(second, pool, answers_of(rows)).totals()
    np.testing.assert_allclose(found, scored(rows, second.rewards).totals())


def test_a_strangers_file_is_not_run_to_be_read(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("raise SystemExit('run')\n", encoding="utf-8")
    (tmp_path / "words.txt").write_text("tea", encoding="utf-8")
    path = tmp_path / "mix.yaml"
    entry = "{name: 'own.py:first', sandbox: {read: [words.txt]}, params: {words: words.txt}}"
    path.write_text(f"rewards: [{entry}]", encoding="utf-8")
    (component,) = read_mix(path).rewards
    words = str(tmp_path.resolve() / "words.txt")
    assert component.name == f"{tmp_path.resolve()}/own.py:first"
    assert component.params == {"words": words}
    assert [str(p) for p in component.sandbox.read] == [words]  # type: ignore[union-attr]
