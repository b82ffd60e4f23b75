"""What a row's weight does: nothing at 0, twice as much at 2; only proportions count."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from examples_of import dialogue, pair, vote
from trl import SFTConfig

from rlhf.data.records import read_records
from rlhf.models import ModelSettings, load_tokenizer
from rlhf.policies import LoraSettings, Policy, base_policy
from rlhf.runs import open_run
from rlhf.training.arguments import library_arguments
from rlhf.training.dpo import PackedDPOTrainer, dpo_arguments, dpo_rows, train_dpo
from rlhf.training.kto import PackedKTOTrainer, kto_arguments, kto_rows, train_kto
from rlhf.training.settings import AnyStage, DpoSettings, KtoSettings, SftSettings
from rlhf.training.sft import PackedSFTTrainer, sft_rows, train_sft
from rlhf.training.stage import Row, StageInputs, assemble, starting_model

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

KINDS = ["sft", "dpo", "kto"]
ROWS = {
    "sft": sft_rows([dialogue(n) for n in range(8)]),
    "dpo": dpo_rows([pair(n) for n in range(8)]),
    "kto": kto_rows([vote(n) for n in range(8)], 0),
}
Grads = dict[str, torch.Tensor]


def stage_of(kind: str) -> AnyStage:
    common = {"tracking": "none", "epochs": 1, "batch_size": 4, "learning_rate": 1e-2}
    if kind == "sft":
        return SftSettings(**common, lora=LoraSettings(dropout=0.0))
    return DpoSettings(**common) if kind == "dpo" else KtoSettings(**common)


def trainer_of(
    kind: str, settings: ModelSettings, sft_policy: Policy, folder: Path
) -> tuple[Any, list[Any]]:
    """A trainer whose policy has moved from its start, and its rows as it sees them."""
    stage = stage_of(kind)
    start = base_policy(settings.base_model) if kind == "sft" else sft_policy
    inputs = StageInputs(settings, start, ROWS[kind], [], {})
    if isinstance(stage, SftSettings):
        own = {"packing": False, "completion_only_loss": True}
        make, arguments = PackedSFTTrainer, library_arguments(SFTConfig, stage, own, folder)
    elif isinstance(stage, DpoSettings):
        make, arguments = PackedDPOTrainer, dpo_arguments(stage, folder)
    else:
        make, arguments = PackedKTOTrainer, kto_arguments(stage, ROWS[kind], folder)
    model = starting_model(inputs, stage)
    trainer = assemble(make, model, load_tokenizer(settings), arguments, inputs, stage)
    move(trainer)
    return trainer, list(trainer.train_dataset)


def move(trainer: Any) -> None:
    """Some steps towards half of the answers, so that KTO's reference point is above zero."""
    groups = [trainer.group(row) for row in trainer.train_dataset]
    optimizer = torch.optim.Adam([p for p in trainer.model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(8):
        optimizer.zero_grad()
        with trainer.engine.on():
            (-trainer.engine.score(groups).sums()[::2].mean()).backward()
        optimizer.step()


def gradients(trainer: Any, rows: list[Any]) -> Grads:
    trainer.model.zero_grad()
    loss = trainer.training_step(trainer.model, trainer.data_collator(rows))
    assert torch.isfinite(loss)
    found = {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.requires_grad}
    assert all(torch.isfinite(grad).all() for grad in found.values())
    # KTO's reference point takes part.
    assert trainer._metrics["train"].get("kl", [1.0])[-1] > 0 or not any(r["weight"] for r in rows)
    return found


def weighted(rows: list[Any], *weights: float) -> list[Any]:
    return [{**row, "weight": weight} for row, weight in zip(rows, weights, strict=True)]


def distance(found: Grads, expected: Grads) -> float:
    """The largest, in parts of the expected gradient."""
    return max(float((found[n] - g).norm() / g.norm()) for n, g in expected.items())


@pytest.mark.parametrize("kind", KINDS)
def test_two_is_twice_and_only_the_proportions_count(
    kind: str, settings: ModelSettings, sft_policy: Policy, tmp_path: Path
) -> None:
    trainer, rows = trainer_of(kind, settings, sft_policy, tmp_path)
    one, other = rows[:2]
    found = gradients(trainer, weighted([one, other], 2.0, 1.0))
    repeated = gradients(trainer, weighted([one, one, other], 1.0, 1.0, 1.0))
    assert distance(found, repeated) < 1e-5
    assert distance(gradients(trainer, weighted([one, other], 4.0, 2.0)), found) < 1e-5
    assert distance(gradients(trainer, weighted([one, other], 1.0, 1.0)), found) > 1e-2


# Columns of token ids that a stage learns from, and those of the reference beside them.
ANSWERS = {
    "sft": (["input_ids", "labels"], []),
    "dpo": (["chosen_ids", "rejected_ids"], ["ref_chosen_logps", "ref_rejected_logps"]),
    "kto": (["completion_ids", "KL_completion_ids"], ["ref_logps", "ref_KL_logps"]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_zero_is_as_if_the_row_were_not_there(
    kind: str, settings: ModelSettings, sft_policy: Policy, tmp_path: Path
) -> None:
    trainer, rows = trainer_of(kind, settings, sft_policy, tmp_path)
    ids, references = ANSWERS[kind]
    without = gradients(trainer, weighted(rows[1:4], 1.0, 0.5, 2.0))
    other = {**rows[0], **{n: rows[0][n][:-2] + rows[0][n][:1] for n in ids}}
    other |= {name: rows[0][name] - 3.0 for name in references}
    for row in (rows[0], other):
        found = gradients(trainer, weighted([row, *rows[1:4]], 0.0, 1.0, 0.5, 2.0))
        assert distance(found, without) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_zeros_learns_nothing(
    kind: str, settings: ModelSettings, sft_policy: Policy, tmp_path: Path
) -> None:
    trainer, rows = trainer_of(kind, settings, sft_policy, tmp_path)
    found = gradients(trainer, weighted(rows[:2], 0.0, 0.0))
    assert all(not grad.any() for grad in found.values())


@pytest.mark.parametrize("label", [True, False])
def test_a_step_that_lacks_a_class_learns_from_the_other(
    label: bool, settings: ModelSettings, sft_policy: Policy, tmp_path: Path
) -> None:
    trainer, rows = trainer_of("kto", settings, sft_policy, tmp_path)
    found = gradients(trainer, [row for row in rows if row["label"] is label])
    assert all(grad.any() for grad in found.values())


def trained(kind: str, rows: list[Row], inputs: StageInputs, folder: Path) -> Policy:
    run, stage = open_run(folder, kind, {}, {}), stage_of(kind)
    inputs = replace(inputs, train=rows)
    if isinstance(stage, SftSettings):
        return train_sft(run, stage, inputs)
    if isinstance(stage, DpoSettings):
        return train_dpo(run, stage, inputs)
    return train_kto(run, stage, inputs)


def with_other_answers(row: Row) -> Row:
    """Of the same length, so that a trainer's order of rows stays the same."""
    changed = {
        name: [{**turn, "content": turn["content"][::-1]} for turn in row[name]]
        for name in ("completion", "chosen", "rejected")
        if name in row
    }
    assert changed != {name: row[name] for name in changed}
    return {**row, **changed}


@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=() if k == "kto" else pytest.mark.slow) for k in KINDS]
)
def test_weights_reach_the_adapter_of_a_whole_stage(
    kind: str, settings: ModelSettings, sft_policy: Policy, tmp_path: Path
) -> None:
    """TRL drops the columns that it does not know."""
    start = base_policy(settings.base_model) if kind == "sft" else sft_policy
    inputs = StageInputs(settings, start, [], [], {})
    plain = trained(kind, ROWS[kind], inputs, tmp_path / "plain").id
    doubled = weighted(ROWS[kind], *[2.0] * 8)
    assert trained(kind, doubled, inputs, tmp_path / "doubled").id == plain
    uneven = weighted(ROWS[kind], 0.1, 1.0, 10.0, 0.0, 0.1, 1.0, 10.0, 0.1)
    learned = trained(kind, uneven, inputs, tmp_path / "uneven").id
    assert learned != plain
    if kind != "kto":  # there the silent row's answer is still another row's for the KL term
        silent = [with_other_answers(row) if row["weight"] == 0 else row for row in uneven]
        assert trained(kind, silent, inputs, tmp_path / "silent").id == learned


def test_weights_come_from_the_file(tmp_path: Path) -> None:
    dialogues = {"context": "User: hello", "response": "Assistant: hi"}
    pairs = {"prompt": "hello", "chosen": "hi", "rejected": "no"}
    votes = {"prompt": "hello", "completion": "hi"}
    shapes = {
        "sft": (sft_rows, [{**dialogues, "weight": 0.25}, dialogues]),
        "dpo": (dpo_rows, [{**pairs, "weight": 0.25}, pairs]),
        "kto": (
            lambda records: kto_rows(records, 0),
            [{**votes, "label": True, "weight": 0.25}, {**votes, "label": False}],
        ),
    }
    for name, (rows_of, lines) in shapes.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)))
        assert sorted(row["weight"] for row in rows_of(read_records(path))) == [0.25, 1.0], name
