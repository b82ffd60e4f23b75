"""One cycle: interaction → vote → snapshot → training → evaluation → gate → release.

Every step is found again by the hash of its inputs: a step whose verified output is there is
skipped, so a loop that died goes on where it stopped and ends with the same champion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from feedback_store import EmptySnapshot, Store, build_snapshot, load_snapshot
from rewards import Component
from rlhf.cycle_settings import LoopConfig
from rlhf.data.records import Record, drop_prompts, read_records
from rlhf.errors import DataError, NotReady, PolicyError
from rlhf.evaluation.compare import terminal_table
from rlhf.evaluation.gate import GateDecision
from rlhf.evaluation.trial import Contest, Trial, decide_trial, run_trial, write_trial_report
from rlhf.files import content_id
from rlhf.journal import Journal
from rlhf.lineage import curves, steps
from rlhf.models import load_tokenizer
from rlhf.notify import notify
from rlhf.policies import Policy, base_policy, load_policy
from rlhf.progress import console
from rlhf.release import champion, find, promote, register
from rlhf.sampling import LocalSampler
from rlhf.simulate import Session, simulate
from rlhf.training.online.settings import PpoSettings
from rlhf.training.rows import held_out_votes, snapshot_records, stage_rows, training_rows
from rlhf.training.settings import AnyStage
from rlhf.training.stage import StageInputs, finished_policy
from rlhf.training.stages import stage_run, train_stage
from rlhf.watch import votes_missing


@dataclass(frozen=True)
class Cycle:
    """One turn of the loop and what it stands on."""

    config: LoopConfig
    base: Path
    store: Store
    journal: Journal
    train: tuple[Record, ...]
    held_out: tuple[Record, ...]
    data: str
    """Hash of the dialogue files."""


@dataclass(frozen=True)
class Outcome:
    """How a cycle ended."""

    cycle: int
    candidate: str
    champion: str
    promoted: bool
    reasons: tuple[str, ...]
    report: Path


def run_cycle(cycle: Cycle, waited: bool = False) -> Outcome:
    """The loop's line, top to bottom; `waited` when votes were already waited for."""
    console.rule(f"cycle {cycle.journal.number} · {cycle.config.name}")
    current = _champion(cycle)
    watermark = _collect(cycle, current, waited)
    snapshot = _snapshot(cycle, watermark)
    start = _start(cycle, current, snapshot)
    candidate = _policy_stages(cycle, start, snapshot)
    trial = _evaluate(cycle, candidate, current, start, snapshot, watermark)
    decision = _gate(cycle, trial, candidate, current)
    promoted = _release(cycle, decision, candidate, current)
    return _report(cycle, trial, decision, candidate, promoted)


# The steps


def first_champion(cycle: Cycle) -> Policy:
    """The champion as of now; before there is one, an SFT policy becomes it."""
    config = cycle.config
    current = champion(cycle.store, config.project)
    if current is None:
        current = _train(cycle, config.sft, base_policy(config.base_model), cycle.train, cycle.data)
        promote(cycle.store, version(current), "first policy: SFT on dialogues", config.project)
    return current


def _champion(cycle: Cycle) -> Policy:
    """Who is champion as the cycle begins; a cycle that goes on after a crash keeps to it."""
    known = cycle.journal.facts().get("champion")
    if known is not None:
        return find(cycle.store, known)
    current = first_champion(cycle)
    cycle.journal.remember(champion=current.id)
    return current


def _collect(cycle: Cycle, current: Policy, waited: bool) -> int:
    """Let simulated users vote, or count what people voted; returns the watermark."""
    config, journal = cycle.config, cycle.journal
    known = journal.facts().get("watermark")
    if known is not None:
        say("collect", f"votes up to {known}", kept=True)
        return int(known)
    if config.simulate is not None:
        tag = f"{config.project}/{config.name}/{journal.number}"
        ask_simulated_users(config, cycle.base, cycle.store, current, tag)
    missing = votes_missing(config, cycle.store, journal)
    if missing > 0 and not (waited and missing < config.min_votes):
        raise NotReady(
            f"collect: cycle {journal.number} needs {missing} more votes "
            f"(min_votes: {config.min_votes}); collect them, or wait with --watch"
        )
    watermark = cycle.store.watermark()
    say("collect", f"votes up to {watermark}{' (simulated users)' if config.simulate else ''}")
    return watermark


def _snapshot(cycle: Cycle, watermark: int) -> Path:
    """Votes up to the watermark as a data set that every stage can learn from.

    Only then are watermark and snapshot written down: a cycle whose votes do not suffice reads
    newer ones when it is run again.
    """
    folder = cycle.config.runs / "snapshots"
    known = cycle.journal.facts().get("snapshot")
    if known is not None and (folder / known).exists():
        load_snapshot(folder / known)
        say("snapshot", known, kept=True)
        return folder / str(known)
    try:
        manifest = build_snapshot(cycle.store, folder, cycle.config.snapshot_rules(), watermark)
        for settings in _learners(cycle.config):
            stage_rows(settings, _vote_records(cycle, folder / manifest.id, settings))
    except (EmptySnapshot, DataError) as error:
        raise NotReady(str(error)) from error
    cycle.journal.remember(watermark=watermark, snapshot=manifest.id)
    say("snapshot", manifest.id)
    return folder / manifest.id


def _learners(config: LoopConfig) -> list[AnyStage]:
    """All that a cycle trains on a snapshot."""
    online = any(isinstance(stage, PpoSettings) for stage in config.stages)
    learned = [config.reward_model] if online and config.reward_model is not None else []
    return [*config.stages, *learned]


def _vote_records(cycle: Cycle, snapshot: Path, settings: AnyStage) -> list[Record]:
    """A snapshot's rows for a stage, without any prompt that the candidate is judged on."""
    return drop_prompts(snapshot_records(snapshot, settings.stage), cycle.held_out)


def _start(cycle: Cycle, current: Policy, snapshot: Path) -> Policy:
    """The champion, or an SFT policy built anew from the dialogues and the snapshot's answers."""
    config = cycle.config
    if config.start == "champion":
        return current
    records = [*cycle.train, *_vote_records(cycle, snapshot, config.sft)]
    data = content_id([cycle.data, snapshot.name])
    return _train(cycle, config.sft, base_policy(config.base_model), records, data, snapshot.name)


def _policy_stages(cycle: Cycle, start: Policy, snapshot: Path) -> Policy:
    """Each stage starts from the policy before it, which is also its reference."""
    policy = start
    for settings in cycle.config.stages:
        if isinstance(settings, PpoSettings):
            settings = _with_learned_reward(cycle, settings, policy, snapshot)
        records = _vote_records(cycle, snapshot, settings)
        policy = _train(cycle, settings, policy, records, snapshot.name, snapshot.name)
    return policy


def _with_learned_reward(
    cycle: Cycle, settings: PpoSettings, start: Policy, snapshot: Path
) -> PpoSettings:
    """The stage with one more reward: what the snapshot's pairs teach a model of the votes."""
    config = cycle.config
    if config.reward_model is None:
        return settings
    records = _vote_records(cycle, snapshot, config.reward_model)
    name = snapshot.name
    learned = _train(cycle, config.reward_model, start, records, name, name)
    component = Component(
        name="reward_model",
        weight=config.reward_model_weight,
        params={"path": str(learned.folder)},
    )
    return settings.model_copy(update={"rewards": (*settings.rewards, component)})


def _evaluate(
    cycle: Cycle,
    candidate: Policy,
    current: Policy,
    start: Policy,
    snapshot: Path,
    watermark: int,
) -> Trial:
    """The candidate against the champion on the held-out prompts, and on the held-out votes."""
    votes = []
    if cycle.config.gate.agreement is not None:
        votes = held_out_votes(snapshot, cycle.config.stages)
    contest = Contest(
        model=cycle.config.model_settings(),
        candidate=candidate,
        champion=current,
        reference=start,
        records=cycle.held_out,
        base=cycle.base,
        store=cycle.store,
        project=cycle.config.project,
        votes=tuple(votes),
        watermark=watermark,
    )
    trial = run_trial(cycle.config.runs, cycle.config.evaluation, contest)
    say("evaluate", f"win rate {trial.headline()}", kept=trial.kept)
    return trial


def _gate(cycle: Cycle, trial: Trial, candidate: Policy, current: Policy) -> GateDecision:
    """The decision, kept in the run folder and the store."""
    config = cycle.config
    decision = decide_trial(trial, config.gate, cycle.store, candidate, current, config.project)
    console.print(terminal_table(decision, trial.measurements))
    for line in (*decision.lines(), *(f"note: {w}" for w in decision.warnings)):
        console.print(f"     {line}", markup=False)
    say("gate", "promote" if decision.promote else "refuse")
    return decision


def _release(cycle: Cycle, decision: GateDecision, candidate: Policy, current: Policy) -> bool:
    """Move the pointer, if the gate says so, promotions are not frozen, and nobody else did."""
    config = cycle.config
    reason = f"{config.name}, cycle {cycle.journal.number}: the gate passed"
    if any(
        release.policy == candidate.id and release.reason == reason
        for release in cycle.store.releases(config.project)
    ):
        say("release", f"{candidate.id} was promoted", kept=True)
        return True
    now = champion(cycle.store, config.project)
    why = None
    if not decision.promote:
        why = "the gate refused"
    elif config.frozen:
        why = "promotions are frozen"
    elif now is None or now.id != current.id:
        why = f"the champion is no longer {current.id}, which the candidate was measured against"
    if why is not None:
        say("release", f"champion stays {current.id if now is None else now.id}: {why}")
        return False
    promote(cycle.store, version(candidate), reason, config.project)
    say("release", f"champion is {candidate.id}")
    return True


def _report(
    cycle: Cycle, trial: Trial, decision: GateDecision, candidate: Policy, promoted: bool
) -> Outcome:
    """Write the report, tell the webhook, and close the cycle."""
    number = cycle.journal.number
    current = champion(cycle.store, cycle.config.project)
    report = write_trial_report(
        trial,
        decision,
        curves=curves(cycle.store, cycle.config.runs, version(candidate)),
        lineage=steps(cycle.store, version(candidate)),
        title=f"{cycle.config.name}, cycle {number}",
        simulated=cycle.config.simulate is not None,
    )
    outcome = Outcome(
        cycle=number,
        candidate=version(candidate),
        champion="" if current is None else version(current),
        promoted=promoted,
        reasons=decision.lines(),
        report=report,
    )
    notify(
        cycle.config.webhook,
        "promotion" if promoted else "refusal",
        cycle=number,
        candidate=outcome.candidate,
        champion=outcome.champion,
        reasons=list(outcome.reasons),
    )
    cycle.journal.remember(done=True, promoted=promoted, candidate=outcome.candidate)
    say("report", str(report))
    return outcome


# What the steps share


def ask_simulated_users(
    config: LoopConfig, base: Path, store: Store, policy: Policy | None, tag: str
) -> int:
    """Stand-in users ask the policy and vote; returns the votes cast."""
    if config.simulate is None:
        return 0
    asked = policy or base_policy(config.base_model)
    model = config.model_settings()
    records = [r for path in config.dialogue_paths(base) for r in read_records(path)]
    session = Session(
        store=store,
        sampler=LocalSampler(load_policy(model, asked), load_tokenizer(model)),
        policy=asked.id,
        template_hash=asked.manifest.get("template_hash"),
        project=config.project,
        tag=tag,
        base=base,
    )
    return simulate(session, config.simulate, records)


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


def version(policy: Policy) -> str:
    """The policy's id; raises `PolicyError` for a bare base model."""
    if policy.id is None:
        raise PolicyError("a bare base model has no version; train a policy from it first")
    return policy.id


def say(step: str, what: str, kept: bool = False) -> None:
    """One line a step; `kept` when its output was there already."""
    mark = "[dim]kept[/dim]" if kept else "[green]done[/green]"
    console.print(f"{mark} {step}: {what}", soft_wrap=True)
