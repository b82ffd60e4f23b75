"""A reward model is not believed about votes that it has learned; models that have not are."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from examples_of import WORDS, pair

from rewards import Component
from rewards.curve import curved
from rlhf.data.records import Record, read_records, split
from rlhf.errors import DataError, PolicyError, UsageError
from rlhf.files import sha256_file
from rlhf.folds import deal, without
from rlhf.lab.mix import scored
from rlhf.lab.unlearned import hindsight, scored_unlearned
from rlhf.learned import LEARNED, pair_ids, read_learned
from rlhf.policies import POLICY_FILE, read_policy
from rlhf.scoring import RewardModel, reward_model_at
from rlhf.train import parse_train_config, train

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
Call = Callable[..., tuple[int, str, str]]


def settings(tiny_model: Path, folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "stage": "reward_model",
        "base_model": str(tiny_model),
        "dtype": "float32",
        "runs": str(folder / "runs"),
        "data": {"path": "votes.jsonl", "held_out": 0.2},
        "tracking": "none",
        "learning_rate": 3e-2,
        "epochs": 14,
        "eval_steps": 10_000,  # no early weights are taken: all is learned by heart
        "lora": {"r": 16, "alpha": 32, "dropout": 0.0},
        **more,
    }


def learn(tiny_model: Path, folder: Path, **more: Any) -> Path:
    config = parse_train_config(settings(tiny_model, folder, **more), "rm.yaml")
    found = train(config, folder).policy.folder
    assert found is not None
    return found


@pytest.fixture(scope="module")
def votes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Votes that follow nothing, so that a model can only know them by heart."""
    draw = random.Random(5)
    rows = []
    for n in range(60):
        chosen, rejected = (f"{draw.choice(WORDS)} {draw.randrange(10**6)}" for _ in "ab")
        rows.append({"prompt": f"User: {n}?", "chosen": chosen, "rejected": rejected})
    path = tmp_path_factory.mktemp("world") / "votes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def model(votes: Path, tiny_model: Path) -> Path:
    """It has learned four fifths of them, as two others have in part."""
    return learn(tiny_model, votes.parent, folds=2)


def component(folder: Path, **more: Any) -> Component:
    return Component(name="reward_model", params={"path": str(folder)}, **more)


def differences(raw: np.ndarray) -> np.ndarray:
    return np.asarray(raw.reshape(-1, 2) @ [1.0, -1.0])


def scores_by(model: RewardModel, records: Sequence[Record]) -> list[float]:
    prompts = [r.prompt for r in records for _ in range(2)]
    return model.scores(prompts, [str(t) for r in records for t in (r.chosen, r.rejected)])


def test_what_it_knows_by_heart_is_no_evidence(votes: Path, model: Path) -> None:
    learned, aside = split(read_records(votes), 0.2)
    hindsighted = differences(scored(learned, [component(model)]).raw[:, 0])
    honest = differences(scored_unlearned(learned, [component(model)]).raw[:, 0])
    assert (hindsighted > 0).mean() > 0.9 > 0.7 > (honest > 0).mean()
    assert not np.isnan(honest).any()
    others = scored_unlearned(aside, [component(model)]).raw
    assert np.array_equal(others, scored(aside, [component(model)]).raw)


def test_each_score_is_by_the_model_that_has_not_seen_its_pair(votes: Path, model: Path) -> None:
    learned, _ = split(read_records(votes), 0.2)
    known = read_learned(model)
    assert known is not None and set(known) == {i for r in learned for i in pair_ids(r)}
    folds = sorted((model.parent / "folds").glob("reward_model-*/adapter"))
    assert len(folds) == 2
    by_fold = {read_policy(f).manifest["fold"]: reward_model_at(f) for f in folds}
    parts = deal(learned, 2)
    for number, part in enumerate(parts, 1):
        told = [known[i] for r in part for i in pair_ids(r)]
        assert told == pytest.approx(scores_by(by_fold[f"{number} of 2"], part), abs=1e-4)
        rest = without(learned, part)
        own = np.array(scores_by(by_fold[f"{number} of 2"], rest))
        assert len(rest) == len(learned) - len(part) and (differences(own) > 0).mean() > 0.75


def test_the_parts_share_no_conversation_and_no_prompt() -> None:
    said = [pair(n) for n in range(60)]
    records = [Record(**{**vars(r), "conversation": f"c{n % 20}"}) for n, r in enumerate(said)]
    records += [Record(**{**vars(r), "conversation": f"d{n}"}) for n, r in enumerate(said[:20])]
    parts = deal(records, 4)
    assert sorted(map(repr, records)) == sorted(repr(r) for part in parts for r in part)
    for i, part in enumerate(parts):
        others = [r for j, other in enumerate(parts) if j != i for r in other]
        assert {str(r.prompt) for r in part}.isdisjoint(str(r.prompt) for r in others)
        assert without(records, part) and len(part) >= 5
    with pytest.raises(DataError, match="too few for 4 parts; take fewer"):
        deal(said[:3], 4)


def test_a_second_training_finds_all_done(votes: Path, model: Path, tiny_model: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in model.parent.rglob("*") if p.is_file()}
    assert learn(tiny_model, votes.parent, folds=2) == model
    assert learn(tiny_model, votes.parent) == model  # the folds are no other model
    assert {p: p.stat().st_mtime_ns for p in model.parent.rglob("*") if p.is_file()} == before


def test_without_folds_what_it_learned_says_nothing_until_they_are_asked_for(
    votes: Path, tiny_model: Path, here: Path
) -> None:
    shutil.copy(votes, here / "votes.jsonl")
    folder = learn(tiny_model, here, epochs=1)
    records = read_records(here / "votes.jsonl")
    learned, aside = split(records, 0.2)
    raw = scored_unlearned(records, [Component(name="length"), component(folder)]).raw
    silent = np.isnan(raw[:, 1]).reshape(-1, 2).all(axis=1)
    assert [r for r, s in zip(records, silent, strict=True) if s] == learned
    assert not np.isnan(raw[:, 0]).any()
    (note,) = hindsight([component(folder)], str(here / "votes.jsonl"), records)
    assert note.startswith(f"reward_model has learned {len(learned)} of the votes")
    assert f"{len(learned)} of them say nothing" in note and "`folds`" in note
    assert not list(hindsight([component(folder)], str(here / "votes.jsonl"), aside))
    assert learn(tiny_model, here, epochs=1, folds=2) == folder
    (note,) = hindsight([component(folder, label="own")], str(here / "votes.jsonl"), records)
    assert note == f"own has learned {len(learned)} of the votes: its folds answer for it there"


def test_scores_of_others_go_through_the_curve_and_stay_in_their_place(
    votes: Path, model: Path
) -> None:
    records = read_records(votes)
    points = ((-1.0, 0.0), (0.0, 0.5), (3.0, 1.0))
    several = [
        component(model, curve=points, weight=2.0),
        Component(name="length", veto=True),
        component(model, label="plain"),
    ]
    found = scored_unlearned(records, several)
    assert found.labels == ("reward_model", "length", "plain")
    assert found.veto.tolist() == [False, True, False]
    assert np.all(found.weights == [2.0, 1.0, 1.0])
    assert found.raw[:, 0] == pytest.approx(curved(found.raw[:, 2].tolist(), points))
    assert np.array_equal(found.raw[:, 1], scored(records, [several[1]]).raw[:, 0])


def test_a_file_of_another_model_is_not_its_own(votes: Path, model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "adapter")
    assert read_learned(tmp_path / "adapter") is None
    told = json.loads((model.parent / LEARNED).read_text())
    (tmp_path / LEARNED).write_text(json.dumps({**told, "policy": "another"}))
    assert read_learned(tmp_path / "adapter") is None
    (note,) = hindsight([component(tmp_path / "adapter")], str(votes), read_records(votes))
    assert "was trained on" in note and "--unseen" in note
    (tmp_path / "other.jsonl").write_bytes(votes.read_bytes() + b"\n")
    assert not list(hindsight([component(tmp_path / "adapter")], str(tmp_path / "other.jsonl"), []))
    for broken in ("[", "{}", json.dumps({**told, "answers": {"a": "high"}})):
        (tmp_path / LEARNED).write_text(broken)
        with pytest.raises(PolicyError, match=r"learned.json: is not what the training wrote"):
            read_learned(tmp_path / "adapter")


def test_words_are_not_kept(votes: Path, model: Path) -> None:
    text = (model.parent / LEARNED).read_text(encoding="utf-8")
    assert not any(str(r.chosen) in text for r in read_records(votes))
    assert read_policy(model).manifest["data"] == sha256_file(votes)
    assert (model / POLICY_FILE).exists()


def test_fit_is_not_deceived(votes: Path, model: Path, here: Path, rlhf: Call) -> None:
    mix = {"rewards": [{"name": "reward_model", "params": {"path": str(model)}}]}
    (here / "mix.yaml").write_text(json.dumps(mix))
    code, _, err = rlhf("rewards", "fit", "--votes", str(votes), "mix.yaml")
    assert code == 1 and "no component predicts the" in err
    (model.parent / LEARNED).rename(here / LEARNED)
    try:  # without the file it looks nearly perfect
        code, out, _ = rlhf("rewards", "fit", "--votes", str(votes), "mix.yaml", "--json")
    finally:
        (here / LEARNED).rename(model.parent / LEARNED)
    told = json.loads(out)
    assert code == 0 and told["weights"][0]["weight"] > 0 and "--unseen" in told["notes"][0]


@pytest.mark.parametrize("folds", [0, 1, 21, "many"])
def test_a_number_of_folds_that_cannot_be_is_refused(folds: object, tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="folds"):
        parse_train_config(settings(tiny_model, Path(), folds=folds), "rm.yaml")
