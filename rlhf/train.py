"""`rlhf train CONFIG`: one stage alone, from a file of dialogues or a snapshot, with its proof.

The proof is measured on held-out rows by the weights before and after: perplexity of the answers
for SFT, for DPO and KTO how often the policy, seen against its reference, prefers what people
preferred, and for a reward model how often its scores do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field

from feedback_store import Store, load_snapshot
from rlhf.chat import styled
from rlhf.config import Settings, existing_path, validate
from rlhf.data.records import Record, read_records, split, take
from rlhf.errors import DataError, UsageError
from rlhf.evaluation.agreement import Agreement, agreements
from rlhf.evaluation.likelihood import perplexity
from rlhf.evaluation.winrate import win_rate
from rlhf.files import sha256_file, write_json
from rlhf.models import ModelSettings, load_tokenizer
from rlhf.policies import Policy, base_policy, load_policy, read_policy, verify_policy
from rlhf.progress import progress
from rlhf.release import find, register
from rlhf.runs import Run, trainer_lock
from rlhf.sampling import Prompt
from rlhf.scoring import open_reward_model
from rlhf.training.rows import snapshot_records, training_rows, unpaired
from rlhf.training.settings import (
    AnyStage,
    DpoSettings,
    KtoSettings,
    RewardModelSettings,
    SftSettings,
)
from rlhf.training.stage import StageInputs
from rlhf.training.stages import stage_run, train_stage


class DataSettings(Settings):
    """Which rows a stage learns from."""

    path: Path
    """A JSON or JSONL file, or a snapshot's folder."""
    limit: int | None = Field(default=None, ge=1)
    """Rows used, drawn by seed; all when left out."""
    held_out: float = Field(default=0.1, ge=0, lt=1)
    """Share of the conversations kept for validation; a snapshot brings its own."""


class _TrainInputs(ModelSettings):
    """What every `rlhf train` needs beside the stage's own settings."""

    data: DataSettings
    """Which rows."""
    policy: str | None = None
    """The policy to start from: a folder, or an id in `store`; the base model when left out."""
    runs: Path = Path("runs")
    """Where run folders go."""
    store: str | None = None
    """A feedback store in which the new policy is registered."""


class SftConfig(SftSettings, _TrainInputs):
    """`stage: sft`"""


class DpoConfig(DpoSettings, _TrainInputs):
    """`stage: dpo`"""


class KtoConfig(KtoSettings, _TrainInputs):
    """`stage: kto`"""


class RewardModelConfig(RewardModelSettings, _TrainInputs):
    """`stage: reward_model`"""


TrainConfig = SftConfig | DpoConfig | KtoConfig | RewardModelConfig
_CONFIGS: dict[str, type[TrainConfig]] = {
    "sft": SftConfig,
    "dpo": DpoConfig,
    "kto": KtoConfig,
    "reward_model": RewardModelConfig,
}


@dataclass(frozen=True)
class Trained:
    """The new policy and what it was measured to do."""

    policy: Policy
    run: Run
    proof: Mapping[str, Any]


def parse_train_config(values: Mapping[str, Any], where: str) -> TrainConfig:
    """The settings of the stage that `stage:` names."""
    stage = values.get("stage")
    if stage not in _CONFIGS:
        known = ", ".join(_CONFIGS)
        raise UsageError(f"{where}: `stage` must be one of {known}, found {stage!r}")
    return validate(_CONFIGS[stage], values, where)


def stage_settings(config: TrainConfig) -> AnyStage:
    """The stage's own part of a configuration."""
    kinds: dict[str, type[AnyStage]] = {
        "sft": SftSettings,
        "dpo": DpoSettings,
        "kto": KtoSettings,
        "reward_model": RewardModelSettings,
    }
    kind = kinds[config.stage]
    return kind(**{key: getattr(config, key) for key in kind.model_fields})


def train(config: TrainConfig, base: Path) -> Trained:
    """Run one stage to its end; `base` is the folder of the configuration file."""
    settings = stage_settings(config)
    model = ModelSettings(**{k: getattr(config, k) for k in ModelSettings.model_fields})
    path = existing_path(config.data.path, base)
    records, held_out, snapshot = _load(path, config)
    rows, validation = training_rows(settings, records)
    start = _start(config, base)
    data = snapshot or sha256_file(path)
    about = {"parent": start.id, "snapshot": snapshot, "data": data}
    inputs = StageInputs(model, start, rows, validation, about, group="train")
    with trainer_lock(config.runs):
        run = stage_run(config.runs, settings, inputs)
        policy = train_stage(run, settings, inputs)
        proof = _proof_once(run, model, start, policy, held_out)
    if config.store is not None:
        with Store.open(config.store) as store:
            register(store, start)
            register(store, policy)
    return Trained(policy, run, proof)


def _load(path: Path, config: TrainConfig) -> tuple[list[Record], list[Record], str | None]:
    """Records to train on and to prove it on, and the snapshot that they come from."""
    if path.is_dir():
        manifest = load_snapshot(path)
        name = f"{'dpo' if config.stage == 'reward_model' else config.stage}.jsonl"  # both: pairs
        return snapshot_records(path, name), snapshot_records(path, f"heldout_{name}"), manifest.id
    records = take(read_records(path), config.data.limit, config.seed)
    if config.stage == "kto":
        records = unpaired(records)
    train_records, held_out = split(records, config.data.held_out)
    return train_records, held_out, None


def _start(config: TrainConfig, base: Path) -> Policy:
    if config.policy is None:
        return base_policy(config.base_model)
    folder = Path(config.policy)
    found = next((p for p in (base / folder, folder) if (p / "policy.json").exists()), None)
    if found is not None:
        policy = read_policy(found)
    elif config.store is not None:
        with Store.open(config.store) as store:
            policy = find(store, config.policy)
    else:
        raise UsageError(f"policy: {config.policy} is no policy's folder; for an id name `store`")
    if policy.base_model != config.base_model:
        raise UsageError(
            f"policy: {policy.id} was trained on {policy.base_model}, not on {config.base_model}"
        )
    verify_policy(policy)
    return policy


# The proof


def _proof_once(
    run: Run, model: ModelSettings, start: Policy, policy: Policy, held_out: Sequence[Record]
) -> Mapping[str, Any]:
    path = run.folder / "proof.json"
    if path.exists():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    proof = prove(model, start, policy, held_out)
    write_json(path, proof)
    return proof


def prove(
    model: ModelSettings, start: Policy, policy: Policy, held_out: Sequence[Record]
) -> dict[str, Any]:
    """Held-out figures before and after training; empty without held-out rows."""
    if policy.kind == "reward":
        pairs = [r for r in held_out if r.shape == "preference"]
        return {"preference_accuracy": _rate(_by_scores(model, policy, pairs))} if pairs else {}
    answered = [r for r in held_out if r.shape == "sft"]
    proof: dict[str, Any] = {}
    if answered:
        proof["perplexity"] = _perplexities(model, start, policy, answered)
    shapes = {"preference_accuracy": "preference", "vote_accuracy": "unpaired"}
    for name, shape in shapes.items():
        votes = [r for r in held_out if r.shape == shape]
        if votes:
            proof[name] = _rate(agreements(model, start, policy, votes))
    return proof


def _by_scores(model: ModelSettings, policy: Policy, pairs: Sequence[Record]) -> list[Agreement]:
    """Whether the chosen answer's score is the higher one, pair by pair."""
    prompts = [styled(r.prompt, r.style) for r in pairs for _ in range(2)]
    answers = [text for r in pairs for text in (str(r.chosen), str(r.rejected))]
    scores = open_reward_model(model, policy).scores(prompts, answers)
    return [
        Agreement(0.5 if chosen == rejected else float(chosen > rejected), r.conversation)
        for r, chosen, rejected in zip(pairs, scores[::2], scores[1::2], strict=True)
    ]


def _rate(votes: Sequence[Agreement]) -> dict[str, Any]:
    rate = win_rate([v.outcome for v in votes], [v.conversation for v in votes])
    if rate is None:
        raise DataError("no held-out row to measure on")
    return {"rate": rate.rate, "low": rate.low, "high": rate.high, "n": rate.n}


def _perplexities(
    model: ModelSettings, start: Policy, policy: Policy, records: Sequence[Record]
) -> dict[str, Any]:
    tokenizer = load_tokenizer(model)
    prompts = [Prompt(r.prompt, r.style) for r in records]
    answers = [str(r.completion) for r in records]
    values: dict[str, Any] = {"n": len(records)}
    with progress("held-out perplexity", total=2) as advance:
        for name, which in (("before", start), ("after", policy)):
            measured = perplexity(load_policy(model, which), tokenizer, prompts, answers)
            values[name] = math.nan if measured is None else measured.value
            values["tokens"] = 0 if measured is None else measured.tokens
            advance()
    return values
