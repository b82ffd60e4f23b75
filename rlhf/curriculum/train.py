"""`stage: staged`: general → domain → style, and after each stage a look at all that was learned.

Every stage is an SFT run of its own, found again by the hash of its inputs, and so is what was
measured after it: a curriculum that died goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from feedback_store import Store
from rlhf.curriculum.rows import Sets, Taught, curriculum_rows
from rlhf.curriculum.settings import StagedConfig
from rlhf.evaluation.forgetting import HeldOut, Progress, likelihoods, terminal_table
from rlhf.evaluation.report import ReportData, write_report
from rlhf.files import content_id, write_json
from rlhf.models import ModelSettings
from rlhf.policies import Policy
from rlhf.progress import console
from rlhf.release import register
from rlhf.runs import Run, now, trainer_lock
from rlhf.train_inputs import RunInputs, starting_policy
from rlhf.training.sft import sft_rows
from rlhf.training.stage import StageInputs, finished_policy
from rlhf.training.stages import stage_run, train_stage


@dataclass(frozen=True)
class Done:
    """A stage that is trained, and what its policy thinks of every stage's held-out rows."""

    taught: Taught
    run: Run
    policy: Policy
    progress: list[Progress]

    def document(self) -> dict[str, Any]:
        """For a script."""
        return {
            "name": self.taught.lesson.name,
            "policy": self.policy.id,
            "run": str(self.run.folder),
            "rows": len(self.taught.own),
            "replayed": len(self.taught.replay),
            "held_out": [each.document() for each in self.progress],
        }


def train_curriculum(config: StagedConfig, base: Path) -> tuple[Policy, Run, dict[str, Any]]:
    """Train stage after stage; the last policy, its run, and what each stage gained and forgot."""
    lessons, held_out = curriculum_rows(config, base)
    start = starting_policy(config, base)
    done: list[Done] = []
    with trainer_lock(config.runs):
        for taught in lessons:
            before = done[-1].policy if done else start
            run, policy = _train(config, taught, before, base)
            seen = _seen(config.model_settings(), run, start, policy, held_out, done)
            done.append(Done(taught, run, policy, seen))
            if seen:
                console.print(terminal_table(taught.lesson.name, seen))
    _register(config, [start, *(d.policy for d in done)])
    last = done[-1]
    report = last.run.folder / "report.html"
    write_report(report, _report(start, done))
    proof = {"stages": [d.document() for d in done], "report": str(report)}
    write_json(last.run.folder / "proof.json", proof)
    return last.policy, last.run, proof


# A stage


def _train(config: StagedConfig, taught: Taught, before: Policy, base: Path) -> tuple[Run, Policy]:
    about = {
        "parent": before.id,
        "snapshot": taught.snapshot,
        "data": taught.data,
        "curriculum_stage": taught.lesson.name,
    }
    rows = [*taught.own, *taught.replay]
    model = config.model_settings()
    inputs = StageInputs(model, before, rows, taught.validation, about, "train", base)
    settings = taught.lesson.sft()
    run = stage_run(config.runs, settings, inputs)
    mark = "[green]done[/green]" if finished_policy(run) is None else "[dim]kept[/dim]"
    policy = train_stage(run, settings, inputs)
    told = f"policy {policy.id} from {before.label}, {len(taught.own)} rows"
    told += f" and {len(taught.replay)} of earlier stages" if taught.replay else ""
    console.print(f"{mark} {taught.lesson.name}: {told}", soft_wrap=True)
    return run, policy


def _register(config: RunInputs, policies: Sequence[Policy]) -> None:
    if config.store is not None:
        with Store.open(config.store) as store:
            for policy in policies:
                register(store, policy)


# What was gained and what was forgotten


def _seen(
    model: ModelSettings,
    run: Run,
    start: Policy,
    policy: Policy,
    held_out: Sets,
    done: Sequence[Done],
) -> list[Progress]:
    """Every stage's held-out rows as the start, the stages done and this policy see them."""
    if not held_out:
        return []
    if done:
        before = {each.name: each.seen for each in done[-1].progress}
    else:
        first = _measured(model, run, "start", start, held_out)
        before = {name: (seen,) for name, seen in first.items()}
    after = _measured(model, run, "held_out", policy, held_out)
    return [Progress(name, (*before[name], seen)) for name, seen in after.items()]


def _measured(
    model: ModelSettings, run: Run, name: str, policy: Policy, held_out: Sets
) -> dict[str, HeldOut]:
    """Kept in the run's folder under the hash of the rows and of the policy."""
    rows = {name: sft_rows(records) for name, records in held_out.items()}
    key = content_id({"rows": rows, "policy": policy.label, "model": model.model_dump(mode="json")})
    path = run.folder / f"{name}-{key}.json"
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {name: _held_out(kept[name]) for name in held_out}
    found = likelihoods(model, policy, held_out)
    write_json(path, {name: asdict(seen) for name, seen in found.items()})
    return found


def _held_out(kept: Mapping[str, Any]) -> HeldOut:
    return HeldOut(kept["rows"], tuple(kept["nll"]), tuple(kept["tokens"]))


def _report(start: Policy, done: Sequence[Done]) -> ReportData:
    lineage: list[dict[str, Any]] = [{"kind": "start", "id": start.label}]
    curves: list[dict[str, Any]] = []
    for each in done:
        name = each.taught.lesson.name
        rows = {"rows": len(each.taught.own), "replayed": len(each.taught.replay) or None}
        lineage.append({"kind": name, "id": str(each.policy.id), **rows})
        curves += [{**row, "stage": name} for row in each.run.metrics()]
    return ReportData(
        title=" → ".join(each.taught.lesson.name for each in done),
        stages=[each.taught.lesson.name for each in done],
        progress=done[-1].progress,
        lineage=lineage,
        curves=curves,
        created_at=now(),
    )
