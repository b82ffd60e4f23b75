"""One cycle: interaction → vote → snapshot → training → evaluation → gate → release.

Every step is found again by the hash of its inputs: a step whose verified output is there is
skipped, so a loop that died goes on where it stopped and ends with the same champion.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from feedback_store import EmptySnapshot, build_snapshot, load_snapshot
from rlhf.candidates import first_champion, learners, policy_stages, starting_policy, vote_records
from rlhf.cycle import Cycle, say, version
from rlhf.errors import DataError, NotReady
from rlhf.evaluation.compare import terminal_table
from rlhf.evaluation.gate import GateDecision
from rlhf.evaluation.trial import Contest, Trial, decide_trial, run_trial, write_trial_report
from rlhf.lineage import curves, steps
from rlhf.notify import notify
from rlhf.policies import Policy
from rlhf.progress import console
from rlhf.release import champion, find, promote
from rlhf.stand_ins import ask_simulated_users
from rlhf.training.rows import held_out_votes, stage_rows
from rlhf.watch import votes_missing


@dataclass(frozen=True)
class Outcome:
    """How a cycle ended."""

    cycle: int
    candidate: str
    champion: str
    promoted: bool
    reasons: tuple[str, ...]
    report: Path
    withheld: str | None = None
    """Why the candidate was not released, where it wasn't."""


def run_cycle(cycle: Cycle, waited: bool = False) -> Outcome:
    """The loop's line, top to bottom; `waited` when votes were already waited for."""
    console.rule(f"cycle {cycle.journal.number} · {cycle.config.name}")
    current = _champion(cycle)
    watermark = _collect(cycle, current, waited)
    snapshot = _snapshot(cycle, watermark)
    start = starting_policy(cycle, current, snapshot)
    candidate = policy_stages(cycle, start, snapshot)
    trial = _evaluate(cycle, candidate, current, start, snapshot, watermark)
    decision = _gate(cycle, trial, candidate, current)
    withheld = _release(cycle, decision, candidate, current)
    return _report(cycle, trial, decision, candidate, withheld)


# The steps


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
        for settings in learners(cycle.config):
            stage_rows(settings, vote_records(cycle, folder / manifest.id, settings))
    except (EmptySnapshot, DataError) as error:
        raise NotReady(str(error)) from error
    cycle.journal.remember(watermark=watermark, snapshot=manifest.id)
    say("snapshot", manifest.id)
    return folder / manifest.id


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


def _release(
    cycle: Cycle, decision: GateDecision, candidate: Policy, current: Policy
) -> str | None:
    """Move the pointer, if the gate says so, nothing is frozen, and nobody else did.

    Returns why the champion stays; None where the candidate is released.
    """
    config = cycle.config
    reason = f"{config.name}, cycle {cycle.journal.number}: the gate passed"
    if any(
        release.policy == candidate.id and release.reason == reason
        for release in cycle.store.releases(config.project)
    ):
        say("release", f"{candidate.id} was promoted", kept=True)
        return None
    now = champion(cycle.store, config.project)
    freeze = cycle.store.frozen(config.project)
    why = None
    if not decision.promote:
        why = "the gate refused"
    elif config.frozen:
        why = "frozen: not released (the loop's own `frozen: true`)"
    elif freeze is not None:
        why = f"frozen: not released ({freeze.reason})"
    elif now is None or now.id != current.id:
        why = f"the champion is no longer {current.id}, which the candidate was measured against"
    if why is not None:
        say("release", f"champion stays {current.id if now is None else now.id}: {why}")
        return why
    promote(cycle.store, version(candidate), reason, config.project)
    say("release", f"champion is {candidate.id}")
    return None


def _report(
    cycle: Cycle, trial: Trial, decision: GateDecision, candidate: Policy, withheld: str | None
) -> Outcome:
    """Write the report, tell the webhook, and close the cycle."""
    number = cycle.journal.number
    promoted = withheld is None
    # What the gate refused, its reasons tell.
    note = withheld if decision.promote else None
    current = champion(cycle.store, cycle.config.project)
    report = write_trial_report(
        trial,
        decision,
        curves=curves(cycle.store, cycle.config.runs, version(candidate)),
        lineage=steps(cycle.store, version(candidate)),
        title=f"{cycle.config.name}, cycle {number}",
        simulated=cycle.config.simulate is not None,
        withheld=note,
    )
    outcome = Outcome(
        cycle=number,
        candidate=version(candidate),
        champion="" if current is None else version(current),
        promoted=promoted,
        reasons=decision.lines(),
        report=report,
        withheld=withheld,
    )
    notify(
        cycle.config.webhook,
        "promotion" if promoted else "refusal",
        cycle=number,
        candidate=outcome.candidate,
        champion=outcome.champion,
        reasons=[*outcome.reasons, *([] if note is None else [note])],
    )
    facts = {} if withheld is None else {"withheld": withheld}
    cycle.journal.remember(done=True, promoted=promoted, candidate=outcome.candidate, **facts)
    say("report", str(report))
    return outcome
