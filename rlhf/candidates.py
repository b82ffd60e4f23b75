"""How a cycle comes to its candidate: stages on a snapshot, each found again by its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rewards import Component
from rlhf.cycle import Cycle, say, version
from rlhf.cycle_settings import LoopConfig
from rlhf.data.records import Record, drop_prompts
from rlhf.files import content_id
from rlhf.policies import Policy, base_policy
from rlhf.release import champion, promote, register
from rlhf.training.online.settings import PpoSettings
from rlhf.training.rows import snapshot_records, training_rows
from rlhf.training.settings import AnyStage
from rlhf.training.stage import StageInputs, finished_policy
from rlhf.training.stages import stage_run, train_stage


def first_champion(cycle: Cycle) -> Policy:
    """The champion as of now; before there is one, an SFT policy becomes it."""
    config = cycle.config
    current = champion(cycle.store, config.project)
    if current is None:
        current = _train(cycle, config.sft, base_policy(config.base_model), cycle.train, cycle.data)
        promote(cycle.store, version(current), "first policy: SFT on dialogues", config.project)
    return current


def learners(config: LoopConfig) -> list[AnyStage]:
    """All that a cycle trains on a snapshot."""
    online = any(isinstance(stage, PpoSettings) for stage in config.stages)
    learned = [config.reward_model] if online and config.reward_model is not None else []
    return [*config.stages, *learned]


def vote_records(cycle: Cycle, snapshot: Path, settings: AnyStage) -> list[Record]:
    """A snapshot's rows for a stage, without any prompt that the candidate is judged on."""
    return drop_prompts(snapshot_records(snapshot, settings.stage), cycle.held_out)


def starting_policy(cycle: Cycle, current: Policy, snapshot: Path) -> Policy:
    """The champion, or an SFT policy built anew from the dialogues and the snapshot's answers."""
    config = cycle.config
    if config.start == "champion":
        return current
    records = [*cycle.train, *vote_records(cycle, snapshot, config.sft)]
    data = content_id([cycle.data, snapshot.name])
    return _train(cycle, config.sft, base_policy(config.base_model), records, data, snapshot.name)


def policy_stages(cycle: Cycle, start: Policy, snapshot: Path) -> Policy:
    """Each stage starts from the policy before it, which is also its reference."""
    policy = start
    for settings in cycle.config.stages:
        if isinstance(settings, PpoSettings):
            settings = _with_learned_reward(cycle, settings, policy, snapshot)
        records = vote_records(cycle, snapshot, settings)
        policy = _train(cycle, settings, policy, records, snapshot.name, snapshot.name)
    return policy


def _with_learned_reward(
    cycle: Cycle, settings: PpoSettings, start: Policy, snapshot: Path
) -> PpoSettings:
    """The stage with one more reward: what the snapshot's pairs teach a model of the votes."""
    config = cycle.config
    if config.reward_model is None:
        return settings
    records = vote_records(cycle, snapshot, config.reward_model)
    name = snapshot.name
    learned = _train(cycle, config.reward_model, start, records, name, name)
    component = Component(
        name="reward_model",
        weight=config.reward_model_weight,
        params={"path": str(learned.folder)},
    )
    return settings.model_copy(update={"rewards": (*settings.rewards, component)})


def _train(
    cycle: Cycle,
    settings: AnyStage,
    start: Policy,
    records: Sequence[Record],
    data: str,
    snapshot: str | None = None,
) -> Policy:
    config = cycle.config
    rows, validation = training_rows(settings, records)
    about = {"parent": start.id, "snapshot": snapshot, "data": data}
    model = config.model_settings()
    inputs = StageInputs(model, start, rows, validation, about, config.name, cycle.base)
    run = stage_run(config.runs, settings, inputs)
    kept = finished_policy(run) is not None
    policy = train_stage(run, settings, inputs)
    if policy.kind != "reward":  # it answers nothing, so nothing is ever released of it
        register(cycle.store, policy)
    say(settings.stage, f"policy {policy.id} from {start.label}, {len(rows)} rows", kept=kept)
    return policy
