"""Commands that train, measure and vote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path, typer.Argument(help="A YAML file.", metavar="CONFIG")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="key=value, deep keys with dots.", metavar="[KEY=VALUE]")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


def train(config: Config, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Run one training stage: SFT, DPO, KTO, a reward model, PPO, RLOO, GRPO or REINFORCE++;
    or `staged`, several of SFT with a look after each at what was gained and what was forgotten.

    Example: `rlhf train configs/sft_medical_zh.yaml epochs=2 lora.r=8`
    """
    from rlhf.config import load
    from rlhf.train import parse_train_config
    from rlhf.train import train as run_training

    settings = parse_train_config(load(config, overrides or ()), str(config))
    trained = run_training(settings, config.resolve().parent)
    result = {
        "policy": trained.policy.id,
        "folder": str(trained.policy.folder),
        "run": str(trained.run.folder),
        **trained.proof,
    }
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False))
        return
    typer.echo(f"policy {trained.policy.id} in {trained.policy.folder}")
    for name, figures in trained.proof.items():
        if isinstance(figures, Mapping):
            typer.echo(f"  held-out {name.replace('_', ' ')}: {_figures(figures)}")
    for line in trained.proof.get("bounds", ()):
        typer.echo(f"  {line}")
    if "report" in trained.proof:
        typer.echo(f"report {trained.proof['report']}")


def _figures(figures: Mapping[str, float]) -> str:
    if "rate" in figures:
        low, high = figures["low"], figures["high"]
        return f"{figures['rate']:.3f} [{low:.3f}, {high:.3f}] on {figures['n']:.0f}"
    before = f"{figures['before']:.3g} before, " if "before" in figures else ""
    rise = f", a rise of {figures['rise']:.2f} deviations" if "rise" in figures else ""
    return f"{before}{figures['after']:.3g} after, {figures['n']:.0f} rows{rise}"


def loop(
    config: Config,
    overrides: Overrides = None,
    cycles: Annotated[
        int | None,
        typer.Option(min=1, help="Cycles of this loop in all; those done are not repeated."),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Wait for votes, cycle after cycle, until stopped.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run the loop: votes, snapshot, training, evaluation, gate, release.

    Example: `rlhf loop configs/quickstart.yaml --cycles 2`
    """
    from rlhf.config import load, validate
    from rlhf.cycle_settings import LoopConfig
    from rlhf.rounds import run_loop

    settings = validate(LoopConfig, load(config, overrides or ()), str(config))
    base = config.resolve().parent
    outcomes = run_loop(settings, base, cycles=cycles or (None if watch else 1), watch=watch)
    if as_json:
        typer.echo(json.dumps([asdict(o) for o in outcomes], default=str, ensure_ascii=False))
    elif not outcomes:
        typer.echo(f"{cycles or 1} cycles of {settings.name} are done; ask for more with --cycles")


def evaluate(
    config: Config,
    overrides: Overrides = None,
    candidate: Annotated[
        str | None, typer.Option(help="A policy's id; the champion when left out.")
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="A policy's id, or `base`; the champion's SFT ancestor when left out."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure one policy against another on a loop's held-out prompts.

    Example: `rlhf evaluate configs/quickstart.yaml --candidate 3f2a --against base`
    """
    from rlhf.commands.contest import contest_of
    from rlhf.commands.show import print_json, print_trial
    from rlhf.evaluation.gate import decide
    from rlhf.evaluation.trial import run_trial, write_trial_report

    with contest_of(config, overrides or (), candidate, against) as (settings, contest):
        trial = run_trial(settings.runs, settings.evaluation, contest)
        decision = decide(trial.measurements, settings.gate)
        report = write_trial_report(trial, decision, title="evaluation", name="evaluation")
    if as_json:
        print_json(trial, decision, report)
    else:
        print_trial(trial, decision, report)


def gate(
    config: Config,
    overrides: Overrides = None,
    candidate: Annotated[
        str | None, typer.Option(help="A policy's id; the newest when left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Ask whether a candidate may replace the champion; exit 0 yes, 1 no.

    Example: `rlhf gate configs/quickstart.yaml --candidate 3f2a`
    """
    from rlhf.commands.contest import contest_of
    from rlhf.commands.show import print_json, print_trial
    from rlhf.evaluation.trial import decide_trial, run_trial, write_trial_report

    with contest_of(config, overrides or (), candidate, "champion") as (settings, contest):
        trial = run_trial(settings.runs, settings.evaluation, contest)
        decision = decide_trial(
            trial,
            settings.gate,
            contest.store,
            contest.candidate,
            contest.champion,
            contest.project,
        )
        report = write_trial_report(trial, decision, title="gate", name="gate")
    if as_json:
        print_json(trial, decision, report)
    else:
        print_trial(trial, decision, report)
    if not decision.promote:
        raise typer.Exit(1)


def simulate(config: Config, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Let stand-in users ask the champion and vote; their votes are marked as simulated.

    Example: `rlhf simulate configs/quickstart.yaml simulate.prompts=50`
    """
    from feedback_store import Store
    from rlhf.config import load, validate
    from rlhf.cycle_settings import LoopConfig
    from rlhf.errors import UsageError
    from rlhf.release import champion
    from rlhf.stand_ins import ask_simulated_users

    settings = validate(LoopConfig, load(config, overrides or ()), str(config))
    if settings.simulate is None:
        raise UsageError(f"{config}: has no `simulate:` part; add a taste to simulate")
    with Store.open(settings.store) as store:
        policy = champion(store, settings.project)
        tag = f"{settings.project}/by-hand/{store.watermark()}"
        votes = ask_simulated_users(settings, config.resolve().parent, store, policy, tag)
    if as_json:
        typer.echo(json.dumps({"votes": votes, "simulated": True}))
    else:
        typer.echo(f"{votes} simulated votes stored in {settings.store}")


def chat(
    config: Config,
    overrides: Overrides = None,
    policy: Annotated[
        str | None, typer.Option(help="A policy's id; the champion when left out.")
    ] = None,
    style: Annotated[
        str | None, typer.Option(help="formal, concise or caring; /style changes it.")
    ] = None,
) -> None:
    """Talk to a policy on the terminal.

    Example: `rlhf chat configs/quickstart.yaml --style caring`
    """
    from rlhf.commands.talk import talk

    talk(config, overrides or (), policy, style)
