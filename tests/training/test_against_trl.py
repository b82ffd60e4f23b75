"""The packed trainers against TRL's own, padded ones: losses, gradients and an epoch's adapter."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from examples_of import dialogue, pair, vote
from torch.nn.functional import logsigmoid
from torch.utils.data import SequentialSampler
from trl import DPOTrainer, KTOTrainer, SFTConfig, SFTTrainer

from rlhf.models import ModelSettings, load_tokenizer
from rlhf.policies import LoraSettings, Policy, base_policy
from rlhf.training.arguments import library_arguments
from rlhf.training.dpo import PackedDPOTrainer, dpo_arguments, dpo_rows
from rlhf.training.kto import PackedKTOTrainer, kto_arguments, kto_rows
from rlhf.training.settings import AnyStage, DpoSettings, KtoSettings, SftSettings
from rlhf.training.sft import PackedSFTTrainer, sft_rows
from rlhf.training.stage import Row, StageInputs, assemble, starting_model
from rlhf.training.trainer import PackedTrainer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

KINDS = ["sft", "dpo", "kto"]
ROWS = {
    "sft": sft_rows([dialogue(n) for n in range(16)]),
    "dpo": dpo_rows([pair(n) for n in range(16)]),
    "kto": kto_rows([vote(n) for n in range(16)], 0),
}
OURS = {"sft": PackedSFTTrainer, "dpo": PackedDPOTrainer, "kto": PackedKTOTrainer}
THEIRS = {"sft": SFTTrainer, "dpo": DPOTrainer, "kto": KTOTrainer}


def stage_of(kind: str, **own: Any) -> AnyStage:
    common = {"tracking": "none", "epochs": 1, "batch_size": 4, "learning_rate": 1e-2, **own}
    if kind == "sft":  # elsewhere dropout is off; here its draws would differ
        return SftSettings(**common, lora=LoraSettings(dropout=0.0))
    return DpoSettings(**common) if kind == "dpo" else KtoSettings(**common)


def arguments_of(stage: AnyStage, rows: list[Row], folder: Path) -> Any:
    if isinstance(stage, SftSettings):
        own = {"packing": False, "completion_only_loss": True}
        return library_arguments(SFTConfig, stage, own, folder)
    if isinstance(stage, DpoSettings):
        return dpo_arguments(stage, folder)
    return kto_arguments(stage, rows, folder)


def start_of(kind: str, settings: ModelSettings, sft_policy: Policy) -> Policy:
    return base_policy(settings.base_model) if kind == "sft" else sft_policy


def packed_trainer(
    kind: str, settings: ModelSettings, start: Policy, folder: Path, **own: Any
) -> Any:
    stage = stage_of(kind, **own)
    inputs = StageInputs(settings, start, ROWS[kind], [], {})
    model = starting_model(inputs, stage)
    arguments = arguments_of(stage, ROWS[kind], folder)
    return assemble(OURS[kind], model, load_tokenizer(settings), arguments, inputs, stage)


def trl_trainer(kind: str, settings: ModelSettings, start: Policy, folder: Path, **own: Any) -> Any:
    """Its reference is a frozen copy of the adapter that it asks again at every step."""
    stage = stage_of(kind, **own)
    arguments = arguments_of(stage, ROWS[kind], folder)
    arguments.precompute_ref_log_probs = False
    arguments.load_best_model_at_end = False
    arguments.eval_strategy = arguments.save_strategy = "no"
    arguments.train_sampling_strategy = "sequential"
    return THEIRS[kind](
        model=starting_model(StageInputs(settings, start, [], [], {}), stage),
        args=arguments,
        train_dataset=datasets.Dataset.from_list(ROWS[kind]),
        processing_class=load_tokenizer(settings),
    )


def trained(model: Any) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def move(ours: Any, theirs: Any) -> None:
    """Some steps towards half of the answers, and TRL's model to the same place.

    So nothing is what it was at the start, and KTO's reference point is above zero.
    """
    groups = [ours.group(row) for row in ours.train_dataset]
    optimizer = torch.optim.Adam([p for p in ours.model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(8):
        optimizer.zero_grad()
        with ours.engine.on():
            (-ours.engine.score(groups).sums()[::2].mean()).backward()
        optimizer.step()
    optimizer.zero_grad()
    for name, parameter in trained(ours.model).items():
        theirs.model.get_parameter(name).data.copy_(parameter)


def both(
    kind: str, settings: ModelSettings, sft_policy: Policy, folder: Path, **own: Any
) -> tuple[Any, Any]:
    """Ours and TRL's, moved away from their start."""
    start = start_of(kind, settings, sft_policy)
    ours = packed_trainer(kind, settings, start, folder / "ours", **own)
    theirs = trl_trainer(kind, settings, start, folder / "theirs", **own)
    move(ours, theirs)
    return ours, theirs


def losses(ours: Any, theirs: Any) -> tuple[float, float]:
    """Of all rows as one batch, each trainer with its own collator."""
    found = []
    for trainer in (ours, theirs):
        trainer.model.eval()
        with torch.no_grad():
            batch = trainer.data_collator(list(trainer.train_dataset))
            found.append(float(trainer.compute_loss(trainer.model, batch)))
    return found[0], found[1]


@pytest.fixture(scope="module")
def dpo_trainers(
    settings: ModelSettings, sft_policy: Policy, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Any]:
    return both("dpo", settings, sft_policy, tmp_path_factory.mktemp("dpo"), beta=0.3)


@pytest.mark.parametrize(
    "loss_type",
    [
        "sigmoid",
        "robust",
        "hinge",
        "ipo",
        "sigmoid_norm",
        "exo_pair",
        "nca_pair",
        "sppo_hard",
        "apo_zero",
        "apo_down",
    ],
)
def test_pair_losses_are_trls(loss_type: str, dpo_trainers: tuple[Any, Any]) -> None:
    for trainer in dpo_trainers:
        trainer.loss_types = [loss_type]
        trainer.label_smoothing = 0.1 if loss_type in ("robust", "exo_pair") else 0.0
    ours, theirs = losses(*dpo_trainers)
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4)


def test_cdpo_is_the_two_labels_expectation(dpo_trainers: tuple[Any, Any]) -> None:
    """Mitchell 2023: the label is right with probability 1 - ε. TRL has it no more."""
    ours, theirs = dpo_trainers
    ours.loss_types, ours.label_smoothing = ["cdpo"], 0.2
    rows = list(theirs.train_dataset)
    batch = theirs.data_collator(rows)
    with torch.no_grad():
        reference = theirs.compute_ref_log_probs(theirs.model, batch)
        theirs.model.set_adapter("default")
        labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
        logits = theirs.model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits[:, :-1]
        picked = logits.log_softmax(-1).gather(-1, labels[:, 1:, None].clamp(min=0)).squeeze(-1)
        sums = (picked * (labels[:, 1:] != -100)).sum(-1)
        chosen, rejected = (now - then for now, then in zip(sums.chunk(2), reference, strict=True))
        h = 0.3 * (chosen - rejected)
        expected = (-0.8 * logsigmoid(h) - 0.2 * logsigmoid(-h)).mean()
        found = float(ours.compute_loss(ours.model, ours.data_collator(list(ours.train_dataset))))
    assert found == pytest.approx(float(expected), abs=1e-4)


@pytest.mark.parametrize("loss_type", ["kto", "apo_zero_unpaired"])
def test_vote_losses_are_trls(
    loss_type: str, settings: ModelSettings, sft_policy: Policy, tmp_path: Path
) -> None:
    trainers = both("kto", settings, sft_policy, tmp_path, loss_type=loss_type, beta=0.4)
    ours, theirs = losses(*trainers)
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4)
    (baseline,) = trainers[0]._metrics["eval"]["kl"]
    assert baseline > 0.1 if loss_type == "kto" else baseline == 0


def test_the_answers_loss_is_trls(
    settings: ModelSettings, sft_policy: Policy, tmp_path: Path
) -> None:
    ours, theirs = losses(*both("sft", settings, sft_policy, tmp_path))
    assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_trls(
    kind: str, settings: ModelSettings, sft_policy: Policy, tmp_path: Path
) -> None:
    ours, theirs = both(kind, settings, sft_policy, tmp_path)
    ours.training_step(ours.model, ours.data_collator(list(ours.train_dataset)))
    batch = theirs.data_collator(list(theirs.train_dataset))
    theirs.compute_loss(theirs.model.train(), batch).backward()
    for name in trained(ours.model):
        expected = theirs.model.get_parameter(name).grad
        found = ours.model.get_parameter(name).grad
        assert float(expected.norm()) > 0
        assert float((found - expected).norm()) <= 1e-3 * float(expected.norm()), name


@pytest.fixture
def in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows as they stand, where the stage would group them by length."""

    def sampler(self: Any, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)

    monkeypatch.setattr(PackedTrainer, "_get_train_sampler", sampler)


def far_from(
    found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], scale: Any
) -> float:
    """The largest distance of a weight matrix, in parts of that matrix's `scale`."""
    assert found.keys() == expected.keys()
    return max(float((found[n] - expected[n]).norm() / scale[n].norm()) for n in expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("in_order")
def test_an_epoch_gives_trls_adapter(
    kind: str, settings: ModelSettings, sft_policy: Policy, tmp_path: Path
) -> None:
    ours, theirs = both(kind, settings, sft_policy, tmp_path)
    before = trained(ours.model)
    for trainer in (ours, theirs):
        trainer.train()
        assert trainer.state.global_step == 4
    after, expected = trained(ours.model), trained(theirs.model)
    moved = {name: expected[name] - before[name] for name in before}
    assert min(float(m.norm() / before[n].norm()) for n, m in moved.items()) > 0.01
    assert far_from(after, expected, moved) < 1e-3


CUTS = [(8, 1, 2048), (4, 2, 64), (2, 4, 1)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_is_the_same_however_it_is_cut(
    kind: str, settings: ModelSettings, sft_policy: Policy, tmp_path: Path
) -> None:
    start = start_of(kind, settings, sft_policy)
    adapters = []
    for batch_size, accumulation, tokens in CUTS:
        folder = tmp_path / f"{batch_size}-{tokens}"
        cut = {"batch_size": batch_size, "gradient_accumulation": accumulation}
        trainer = packed_trainer(kind, settings, start, folder, tokens_at_once=tokens, **cut)
        trainer.train()
        assert trainer.state.global_step == 2
        adapters.append(trained(trainer.model))
    for other in adapters[1:]:
        assert far_from(other, adapters[0], adapters[0]) < 1e-5


def batches(trainer: Any) -> Iterable[list[Any]]:
    return (batch["rows"] for batch in trainer.get_train_dataloader())


def test_a_step_of_votes_has_both_classes_and_its_own_answers_for_the_baseline(
    settings: ModelSettings, sft_policy: Policy, tmp_path: Path
) -> None:
    trainer = packed_trainer("kto", settings, sft_policy, tmp_path)
    for rows in batches(trainer):
        assert {row["label"] for row in rows} == {True, False}
        own = sorted(row["completion_ids"] for row in rows)
        assert own == sorted(row["KL_completion_ids"] for row in rows)
