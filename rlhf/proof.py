"""What a stage alone has achieved, measured on held-out rows by the weights before and after.

Perplexity of the answers for SFT; for DPO and KTO how often the policy, seen against its reference,
prefers what people preferred; for a reward model how often its scores do. A policy that learned
from rewards meets its start on held-out prompts, as candidates of the loop meet the champion.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import stdev
from typing import Any

from rlhf.chat import styled
from rlhf.data.records import Record
from rlhf.errors import DataError
from rlhf.evaluation.agreement import Agreement, agreements
from rlhf.evaluation.evaluate import EvaluationSettings
from rlhf.evaluation.gate import GateSettings, decide
from rlhf.evaluation.judges import RewardJudgeSettings
from rlhf.evaluation.likelihood import perplexity
from rlhf.evaluation.report import ReportData, write_report
from rlhf.evaluation.trial import Contest, Trial, run_trial
from rlhf.evaluation.winrate import win_rate
from rlhf.files import write_json
from rlhf.models import ModelSettings, load_tokenizer
from rlhf.policies import Policy, load_policy
from rlhf.progress import progress
from rlhf.runs import Run, now
from rlhf.sampling import Prompt
from rlhf.scoring import open_reward_model
from rlhf.training.online.settings import PpoSettings

Proof = Mapping[str, Any]

# What a report of rewards tells beside each of them, where it was measured.
_TOLD = ("kl", "compliance", "reference_nll", "repetition", "term_density", "length", "finished")


def once(run: Run, prove: Callable[[], Proof]) -> Proof:
    """The proof kept in the run's folder, measured where it is not there yet."""
    path = run.folder / "proof.json"
    if path.exists():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return kept
    proof = prove()
    write_json(path, proof)
    return proof


def prove_rewards(
    run: Run,
    settings: PpoSettings,
    model: ModelSettings,
    start: Policy,
    policy: Policy,
    held_out: Sequence[Record],
    gate: GateSettings,
    base: Path,
) -> dict[str, Any]:
    """The policy against its start on held-out prompts; `report.html` beside the run's figures."""
    if not held_out:
        return {}
    measured = EvaluationSettings(
        sampling=settings.sampling,
        seed=settings.seed,
        rewards=settings.rewards,
        judge=RewardJudgeSettings(rewards=settings.rewards),
    )
    contest = Contest(
        model=model,
        candidate=policy,
        champion=start,
        reference=start,
        records=tuple(held_out),
        base=base,
    )
    trial = run_trial(run.folder.parent, measured, contest)
    decision = decide(trial.measurements, gate)
    report = ReportData(
        title=f"{settings.stage} on held-out prompts",
        measurements=trial.measurements,
        decision=decision,
        samples=trial.samples,
        curves=run.metrics(),
        created_at=now(),
    )
    write_report(run.folder / "report.html", report)
    gains: dict[str, Any] = dict(_gains(trial))
    return {**gains, "bounds": list(decision.lines()), "report": str(run.folder / "report.html")}


def report_stopped(run: Run, settings: PpoSettings, why: str) -> None:
    """`report.html` with the curves of a run that has no policy."""
    rows = run.metrics()
    if rows:
        data = ReportData(title=f"{settings.stage}: {why}", curves=rows, created_at=now())
        write_report(run.folder / "report.html", data)


def _gains(trial: Trial) -> dict[str, Any]:
    """Means before and after; of the whole reward also the rise in deviations of its start."""
    before, after = trial.measurements.champion, trial.measurements.candidate
    n = trial.measurements.prompts
    names = ["total", *(name for name in after.means if name.startswith("reward/")), *_TOLD]
    gains: dict[str, Any] = {}
    for name in names:
        if name in after.means:
            told = {"after": after.means[name].mean, "n": n}
            if name in before.means:
                told["before"] = before.means[name].mean
            gains[name] = told
    totals = [v for v in before.values("total") if v is not None]
    if "total" in gains and len(totals) > 1:
        deviation = stdev(totals)
        gains["total"]["deviation"] = deviation
        rise = gains["total"]["after"] - gains["total"]["before"]
        gains["total"]["rise"] = rise / deviation if deviation else math.nan
    return gains


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
