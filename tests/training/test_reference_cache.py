"""The reference's log-probabilities on disk: computed once, checked, never another policy's."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from examples_of import pair, vote

from rlhf.models import ModelSettings, load_tokenizer
from rlhf.packed import Engine
from rlhf.policies import Policy, base_policy
from rlhf.training.dpo import PackedDPOTrainer, dpo_arguments, dpo_rows
from rlhf.training.kto import PackedKTOTrainer, kto_arguments, kto_rows
from rlhf.training.settings import DpoSettings, KtoSettings
from rlhf.training.stage import Row, StageInputs, assemble, starting_model

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

ROWS = dpo_rows([pair(n) for n in range(6)])
Columns = dict[str, list[float]]


def columns(trainer: Any) -> Columns:
    table = trainer.train_dataset
    return {name: list(table[name]) for name in table.column_names if name.startswith("ref_")}


def of_pairs(settings: ModelSettings, start: Policy, runs: Path, rows: list[Row]) -> Columns:
    stage = DpoSettings(tracking="none")
    inputs = StageInputs(settings, start, rows, [], {})
    arguments = dpo_arguments(stage, runs / "dpo")
    model, tokenizer = starting_model(inputs, stage), load_tokenizer(settings)
    return columns(assemble(PackedDPOTrainer, model, tokenizer, arguments, inputs, stage))


def of_votes(settings: ModelSettings, start: Policy, runs: Path, rows: list[Row]) -> Columns:
    stage = KtoSettings(tracking="none")
    inputs = StageInputs(settings, start, rows, [], {})
    arguments = kto_arguments(stage, rows, runs / "kto")
    model, tokenizer = starting_model(inputs, stage), load_tokenizer(settings)
    return columns(assemble(PackedKTOTrainer, model, tokenizer, arguments, inputs, stage))


class Asked(Exception):
    """The model was."""


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def rows(*_: Any, **__: Any) -> None:
        raise Asked

    monkeypatch.setattr(Engine, "rows", rows)


def kept(runs: Path) -> list[Path]:
    return sorted((runs / "reference").iterdir())


@pytest.mark.parametrize(
    ("found", "rows", "names"),
    [
        (of_pairs, ROWS, {"ref_chosen_logps", "ref_rejected_logps"}),
        (of_votes, kto_rows([vote(n) for n in range(6)], 0), {"ref_logps", "ref_KL_logps"}),
    ],
)
def test_a_stage_asks_its_reference_once(
    found: Callable[..., Columns],
    rows: list[Row],
    names: set[str],
    settings: ModelSettings,
    sft_policy: Policy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = found(settings, sft_policy, tmp_path, rows)
    assert set(first) == names and len(kept(tmp_path)) == 1
    written = kept(tmp_path)[0].stat().st_mtime_ns
    forbid(monkeypatch)
    assert found(settings, sft_policy, tmp_path, rows) == first
    assert kept(tmp_path)[0].stat().st_mtime_ns == written


def alter_a_number(text: str) -> str:
    kept = json.loads(text)
    kept["sums"][0][0] += 1.0
    return json.dumps(kept)


def leave_out_a_row(text: str) -> str:
    kept = json.loads(text)
    kept["sums"].pop()
    return json.dumps(kept)


@pytest.mark.parametrize(
    "damage", [alter_a_number, leave_out_a_row, lambda text: text[:-20], lambda text: "[]"]
)
def test_a_damaged_file_is_computed_again(
    damage: Callable[[str], str],
    settings: ModelSettings,
    sft_policy: Policy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = of_pairs(settings, sft_policy, tmp_path, ROWS)
    (path,) = kept(tmp_path)
    whole = path.read_text()
    path.write_text(damage(whole))
    with monkeypatch.context() as patch:
        forbid(patch)
        with pytest.raises(Asked):
            of_pairs(settings, sft_policy, tmp_path, ROWS)
    assert of_pairs(settings, sft_policy, tmp_path, ROWS) == first
    assert path.read_text() == whole


def test_another_policy_format_or_row_has_a_file_of_its_own(
    settings: ModelSettings, sft_policy: Policy, tmp_path: Path
) -> None:
    base = base_policy(settings.base_model)
    coarse = settings.model_copy(update={"dtype": "bfloat16"})
    longer = dpo_rows([pair(n) for n in range(7)])
    asked = [
        (settings, sft_policy, ROWS),
        (settings, base, ROWS),
        (coarse, sft_policy, ROWS),
        (settings, sft_policy, longer),
        (settings, sft_policy, ROWS[::-1]),
    ]
    found = []
    for number, (model, start, rows) in enumerate(asked, 1):
        found.append(of_pairs(model, start, tmp_path, rows)["ref_chosen_logps"])
        assert len(kept(tmp_path)) == number
    first, of_base, of_coarse, of_longer, of_reversed = found
    assert min(abs(a - b) for a, b in zip(first, of_base, strict=True)) > 1e-2
    assert 0 < max(abs(a - b) for a, b in zip(first, of_coarse, strict=True)) < 0.5
    assert of_longer[:6] == pytest.approx(first, abs=1e-4)
    assert of_reversed[::-1] == pytest.approx(first, abs=1e-4)
