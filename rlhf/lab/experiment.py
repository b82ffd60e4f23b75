"""Train every variant of a grid, ask all of them the same held-out prompts, and compare.

Each variant is an ordinary run of `rlhf train`, found again by what went into it, so an experiment
that was stopped goes on with what is missing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rewards import resolve
from rlhf.config import existing_path
from rlhf.errors import AlarmRaised, UsageError
from rlhf.files import content_id, write_json
from rlhf.lab.grid import ExperimentConfig, Variant, variants
from rlhf.lab.held_out import Exam, as_json, examine, from_json
from rlhf.lab.measures import Combining, parts_of
from rlhf.lab.outcome import Outcome, front, gains_by_mix, outcome_of
from rlhf.policies import Policy
from rlhf.progress import console
from rlhf.runs import Run, open_run
from rlhf.tracking import Tracking, tracked
from rlhf.train import train
from rlhf.train_inputs import data_hash, load_records, starting_policy
from rlhf.training.online.rollouts import prompt_rows


@dataclass(frozen=True)
class Experiment:
    """A grid that was run to its end."""

    config: ExperimentConfig
    run: Run
    prompts: int
    episodes: int
    """Answers that each variant learned from."""
    outcomes: Sequence[Outcome]
    stopped: dict[str, str]
    """Variants that an alarm ended, and why."""
    runs: dict[str, str]
    """Each variant's run folder."""

    def document(self) -> dict[str, Any]:
        """For a script."""
        return {
            "run": str(self.run.folder),
            "yardstick": self.config.yardstick,
            "prompts": self.prompts,
            "episodes": self.episodes,
            "front": front(self.outcomes),
            "mixes": gains_by_mix(self.outcomes),
            "variants": [{**asdict(o), "run": self.runs[o.name]} for o in self.outcomes],
            "stopped": self.stopped,
        }


def run_experiment(config: ExperimentConfig, base: Path, where: str) -> Experiment:
    """Train and examine what is not there yet; `base` is the folder of the configuration."""
    cells = variants(config, where)
    exam, run = _begin(config, cells, base, where)
    start = _examined(run, "start", exam, exam.start)
    found: dict[str, dict[str, Any]] = {}
    for place, cell in enumerate(cells, 1):
        console.print(f"  {place}/{len(cells)} {cell.name}", markup=False)
        found[cell.name] = _cell(run, cell, exam, config.name, base)
    first = cells[0].config
    outcomes = [
        outcome_of(
            name=cell.name,
            mix=cell.mix,
            measured=from_json(found[cell.name]["measured"]),
            start=from_json(start["measured"]),
            parts=exam.parts,
            yardstick=config.yardstick,
            how=Combining(first.normalise, first.veto_score),
            guardrails=config.guardrails,
        )
        for cell in cells
        if "measured" in found[cell.name]
    ]
    experiment = Experiment(
        config=config,
        run=run,
        prompts=len(exam.rows),
        episodes=first.updates * first.prompts * first.samples,
        outcomes=outcomes,
        stopped={name: cell["stopped"] for name, cell in found.items() if "stopped" in cell},
        runs={name: cell["run"] for name, cell in found.items() if "run" in cell},
    )
    _finish(experiment, first.tracking)
    return experiment


def _begin(
    config: ExperimentConfig, cells: Sequence[Variant], base: Path, where: str
) -> tuple[Exam, Run]:
    """What all are asked, and the experiment's own run folder."""
    first = cells[0].config
    parts = parts_of(config.mixes, base, config.measures)
    start = starting_policy(first, base)
    path = existing_path(first.data.path, base)
    _, held_out, snapshot = load_records(path, first.data, first.stage, first.seed)
    if not held_out:
        raise UsageError(f"{where}: no prompt is held out to compare on; raise `data.held_out`")
    exam = Exam(
        model=first.model_settings(),
        start=start,
        rows=prompt_rows(held_out),
        answers=config.answers,
        sampling=first.sampling,
        seed=first.seed,
        parts=parts,
        base=base,
        max_prompt=first.max_prompt,
        timeout_s=first.reward_timeout_s,
    )
    key = {
        "grid": config.model_dump(mode="json", exclude={"guardrails", "yardstick"}),
        "model": exam.model.model_dump(mode="json"),
        "start": start.label,
        "data": snapshot or data_hash(path),
        "rows": list(exam.rows),
        "rewards": [resolve(c.name, base).version for c in parts.components],
    }
    run = open_run(first.runs, "experiment", key, config.model_dump(mode="json"))
    run.begin({"parent": start.id, "data": key["data"], "snapshot": snapshot})
    return exam, run


def _cell(run: Run, cell: Variant, exam: Exam, group: str, base: Path) -> dict[str, Any]:
    """A variant's figures, kept in the experiment's folder once they are known."""
    path = _file(run, cell.name)
    if path.exists():
        return _read(path)
    try:
        trained = train(cell.config, base, group)
    except AlarmRaised as alarm:
        write_json(path, {"name": cell.name, "stopped": str(alarm)})
        return _read(path)
    return _examined(run, cell.name, exam, trained.policy, str(trained.run.folder))


def _examined(
    run: Run, name: str, exam: Exam, policy: Policy, folder: str | None = None
) -> dict[str, Any]:
    path = _file(run, name)
    if not path.exists():
        measured = as_json(examine(exam, policy))
        about = {"name": name, "policy": policy.label, "run": folder}
        write_json(path, {**about, "measured": measured})
    return _read(path)


def _file(run: Run, name: str) -> Path:
    return run.folder / "variants" / f"{content_id(name)}.json"


def _read(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def _finish(experiment: Experiment, tracking: Tracking) -> None:
    """The table to the tracker, beside the variants' own runs, and the run's manifest."""
    run = experiment.run
    if run.finished():
        return
    with tracked(tracking, run.folder, experiment.config.name) as report_to:
        if report_to == ["wandb"]:
            import wandb

            columns = ["variant", "gain", "kl", "guardrail broken"]
            rows = [[o.name, o.gain, o.distance, o.broken] for o in experiment.outcomes]
            with wandb.init(job_type="experiment") as tracker:
                tracker.log({"outcomes": wandb.Table(columns=columns, data=rows)})
    files = [str(p.relative_to(run.folder)) for p in (run.folder / "variants").iterdir()]
    run.finish({"mixes": gains_by_mix(experiment.outcomes)}, files)
