"""DPO and KTO as they run here against losses written out from the papers, row by row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from examples_of import pair, vote
from torch.nn.functional import logsigmoid

from rlhf.models import ModelSettings, load_tokenizer
from rlhf.policies import Policy, base_policy, load_policy
from rlhf.training.dpo import PackedDPOTrainer, dpo_arguments, dpo_rows
from rlhf.training.kto import PackedKTOTrainer, kto_arguments, kto_rows
from rlhf.training.settings import DpoSettings, KtoSettings
from rlhf.training.stage import StageInputs, assemble, starting_model

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


def log_probability(model: Any, prompt: list[int], completion: list[int]) -> torch.Tensor:
    """log p(completion | prompt), unbatched and unpadded."""
    ids = torch.tensor([prompt + completion])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0].double().log_softmax(-1)
    picked = [logits[len(prompt) + i - 1, token] for i, token in enumerate(completion)]
    return torch.stack(picked).sum()


def moved_trainer(kind: type, arguments: Any, stage: Any, inputs: StageInputs) -> Any:
    """A trainer as a stage builds it, whose policy has since moved away from its reference."""
    tokenizer = load_tokenizer(inputs.model)
    model = starting_model(inputs, stage)
    trainer = assemble(kind, model, tokenizer, arguments, inputs, stage)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter) * 0.05)
    trainer.model.eval()
    return trainer


def dpo_trainer(start: Policy, settings: ModelSettings, folder: Path, **stage: Any) -> Any:
    rows = dpo_rows([pair(n) for n in range(8)])
    dpo = DpoSettings(tracking="none", beta=0.3, **stage)
    inputs = StageInputs(settings, start, rows, rows[:2], {})
    return moved_trainer(PackedDPOTrainer, dpo_arguments(dpo, folder), dpo, inputs)


@pytest.mark.parametrize("of", ["sft", "base"])
def test_the_reference_is_the_policy_that_the_stage_starts_from(
    of: str, sft_policy: Policy, settings: ModelSettings, tmp_path: Path
) -> None:
    base = base_policy(settings.base_model)
    start, other = (sft_policy, base) if of == "sft" else (base, sft_policy)
    trainer = dpo_trainer(start, settings, tmp_path)
    reference, wrong = load_policy(settings, start), load_policy(settings, other)
    for row in trainer.train_dataset:
        for answer in ("chosen", "rejected"):
            expected = log_probability(reference, row["prompt_ids"], row[f"{answer}_ids"])
            kept = row[f"ref_{answer}_logps"]
            assert kept == pytest.approx(float(expected), rel=1e-5, abs=1e-5)
            not_this = log_probability(wrong, row["prompt_ids"], row[f"{answer}_ids"])
            assert abs(kept - float(not_this)) > 1e-2


@pytest.mark.parametrize("loss_type", ["sigmoid", "ipo", "hinge", "robust"])
def test_dpo_equals_the_written_out_loss(
    loss_type: str, sft_policy: Policy, settings: ModelSettings, tmp_path: Path
) -> None:
    smoothing = 0.1 if loss_type == "robust" else 0.0
    trainer = dpo_trainer(
        sft_policy, settings, tmp_path, loss_type=loss_type, label_smoothing=smoothing
    )
    rows = list(trainer.train_dataset)
    batch = trainer.data_collator(rows)
    loss = float(trainer.compute_loss(trainer.model, batch))
    reference = load_policy(settings, sft_policy)
    losses = []
    for row in rows:
        logratios = []
        for answer in ("chosen", "rejected"):
            prompt, ids = row["prompt_ids"], row[f"{answer}_ids"]
            ratio = log_probability(trainer.model, prompt, ids)
            logratios.append(ratio - log_probability(reference, prompt, ids))
        losses.append(pair_loss(loss_type, logratios, rows=row, beta=0.3, smoothing=smoothing))
    assert loss == pytest.approx(float(torch.stack(losses).mean()), abs=1e-5)


def pair_loss(
    kind: str, logratios: list[torch.Tensor], rows: Any, beta: float, smoothing: float
) -> torch.Tensor:
    chosen, rejected = logratios
    h = chosen - rejected
    if kind == "sigmoid":  # Rafailov et al. 2023, eq. 7
        return -logsigmoid(beta * h)
    if kind == "hinge":  # Zhao et al. 2023 (SLiC)
        return torch.relu(1 - beta * h)
    if kind == "robust":  # Chowdhury et al. 2024, eq. 12
        wrong = -logsigmoid(-beta * h) * smoothing
        return (-logsigmoid(beta * h) * (1 - smoothing) - wrong) / (1 - 2 * smoothing)
    # Azar et al. 2023, eq. 17, with lengths averaged as TRL does
    h = chosen / len(rows["chosen_ids"]) - rejected / len(rows["rejected_ids"])
    return (h - 1 / (2 * beta)) ** 2


def test_kto_equals_the_written_out_loss(
    sft_policy: Policy, settings: ModelSettings, tmp_path: Path
) -> None:
    rows = kto_rows([vote(n) for n in range(9)], seed=0)
    wanted, unwanted = 0.5, 1.0  # six liked, three disliked
    stage = KtoSettings(tracking="none", beta=0.4, batch_size=9)
    inputs = StageInputs(settings, sft_policy, rows, rows[:3], {})
    trainer = moved_trainer(PackedKTOTrainer, kto_arguments(stage, rows, tmp_path), stage, inputs)
    rows = list(trainer.train_dataset)
    loss = float(trainer.compute_loss(trainer.model, trainer.data_collator(rows)))
    reference = load_policy(settings, sft_policy)

    def ratio(row: dict[str, Any], key: str) -> torch.Tensor:
        policy = log_probability(trainer.model, row["prompt_ids"], row[key])
        return policy - log_probability(reference, row["prompt_ids"], row[key])

    # Ethayarajh et al. 2024, eq. 8: z0 from each prompt with another prompt's answer.
    z0 = torch.stack([ratio(r, "KL_completion_ids") for r in rows]).mean().clamp(min=0)
    losses = []
    for row in rows:
        value = ratio(row, "completion_ids")
        if row["label"]:
            losses.append(wanted * (1 - torch.sigmoid(0.4 * (value - z0))))
        else:
            losses.append(unwanted * (1 - torch.sigmoid(0.4 * (z0 - value))))
    assert loss == pytest.approx(float(torch.stack(losses).mean()), abs=1e-5)
