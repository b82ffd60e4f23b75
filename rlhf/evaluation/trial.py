"""A candidate against the champion: both answer the held-out prompts, and the gate decides.

The models are loaded here, one at a time; what is measured and decided stands in `evaluate.py`
and `gate.py`. A trial is a run: asked for again with the same inputs, its stored measurements
come back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from feedback_store import Decision, Store
from rewards import find
from rlhf.data.records import Record, take
from rlhf.errors import StepFailed
from rlhf.evaluation.agreement import agreements
from rlhf.evaluation.evaluate import Case, Evaluation, EvaluationSettings, Sample, Side, measure
from rlhf.evaluation.gate import GateDecision, GateSettings, decide
from rlhf.evaluation.judges import (
    RewardJudgeSettings,
    StoredVerdicts,
    VotesJudgeSettings,
    stored_verdicts,
)
from rlhf.evaluation.likelihood import (
    answer_ids,
    kl_to_reference,
    logprobs_of_several,
    perplexity_of,
)
from rlhf.evaluation.measurements import Measurements
from rlhf.evaluation.report import ReportData, write_report
from rlhf.files import content_id, write_json
from rlhf.models import ModelSettings, load_tokenizer
from rlhf.policies import Policy, load_policy
from rlhf.progress import progress
from rlhf.runs import Run, discard, now, open_run
from rlhf.sampling import Completion, LocalSampler, Prompt


@dataclass(frozen=True)
class Contest:
    """Who meets whom, on what."""

    model: ModelSettings
    candidate: Policy
    champion: Policy
    reference: Policy
    """What the candidate's KL is measured to: the policy that its stage started from."""
    records: tuple[Record, ...]
    base: Path
    store: Store | None = None
    project: str = "default"
    votes: tuple[Record, ...] = ()
    """Held-out votes of the snapshot that trained the candidate."""
    watermark: int = 0
    """Votes up to here trained the candidate; a judge of votes reads later ones."""


@dataclass(frozen=True)
class Trial:
    """A finished contest."""

    run: Run
    measurements: Measurements
    samples: list[Sample]
    shown: int
    """Samples that a report shows."""
    kept: bool

    def headline(self) -> str:
        """The win rate with its interval."""
        win = self.measurements.win_rate()
        if win is None:
            return "unknown (no verdicts)"
        return f"{win.rate:.3f} [{win.low:.3f}, {win.high:.3f}] on {win.n} prompts"


def run_trial(root: Path, settings: EvaluationSettings, contest: Contest) -> Trial:
    """Answer, measure and judge, in a run folder below `root`."""
    records = take(list(contest.records), settings.prompts, settings.seed)
    votes = _votes(settings, contest)
    inputs = {
        "candidate": contest.candidate.label,
        "champion": contest.champion.label,
        "reference": contest.reference.label,
        "model": contest.model.model_dump(mode="json"),
        "settings": settings.model_dump(mode="json"),
        "rewards": _reward_versions(settings, contest.base),
        "records": content_id([[r.prompt, r.completion, r.style] for r in records]),
        "held_out_votes": content_id([[r.prompt, r.chosen, r.completion] for r in contest.votes]),
        "votes": None if votes is None else content_id([votes.outcomes, votes.conversations]),
    }
    run = open_run(root, "evaluate", inputs, settings.model_dump(mode="json"))
    if run.finished():
        return _kept(run, settings.samples)
    if run.manifest is not None:
        discard(run)
    evaluation = _with_agreements(contest, _evaluate(settings, contest, records, votes))
    write_json(run.folder / "measurements.json", evaluation.measurements.model_dump(mode="json"))
    run.write_samples(s.model_dump(mode="json") for s in evaluation.samples)
    run.finish(
        {"candidate": contest.candidate.label, "champion": contest.champion.label},
        ["measurements.json", "samples.jsonl"],
    )
    return Trial(run, evaluation.measurements, evaluation.samples, settings.samples, kept=False)


def _reward_versions(settings: EvaluationSettings, base: Path) -> list[list[str]]:
    """A reward that was edited measures something else under the same name."""
    judge = settings.judge
    judging = judge.rewards if isinstance(judge, RewardJudgeSettings) else ()
    return [[c.name, find(c, base).version] for c in (*settings.rewards, *judging)]


def _kept(run: Run, shown: int) -> Trial:
    text = (run.folder / "measurements.json").read_text(encoding="utf-8")
    lines = (run.folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    samples = [Sample.model_validate_json(line) for line in lines]
    return Trial(run, Measurements.model_validate_json(text), samples, shown, kept=True)


def _votes(settings: EvaluationSettings, contest: Contest) -> StoredVerdicts | None:
    if not isinstance(settings.judge, VotesJudgeSettings):
        return None
    if contest.store is None:
        raise StepFailed("evaluation.judge: kind `votes` reads a feedback store; name `store`")
    return stored_verdicts(
        contest.store,
        contest.candidate.label,
        contest.champion.label,
        after=contest.watermark,
        project=settings.judge.project or contest.project,
    )


def _evaluate(
    settings: EvaluationSettings,
    contest: Contest,
    records: Sequence[Record],
    votes: StoredVerdicts | None,
) -> Evaluation:
    prompts = [Prompt(r.prompt, r.style) for r in records]
    references = [r.chosen if r.shape == "preference" else r.completion for r in records]
    cases = [
        Case(p, reference, r.conversation, {"intent": r.intent, **r.columns})
        for p, reference, r in zip(prompts, references, records, strict=True)
    ]
    tokenizer = load_tokenizer(contest.model)
    expected = _expected(tokenizer, prompts, references)
    model = load_policy(contest.model, contest.candidate)
    answers = _answers(settings, contest.candidate, model, tokenizer, prompts)
    drawn = [answer.token_ids for answer in answers]
    known, own = _logprobs(model, tokenizer, prompts, expected, drawn)
    model = load_policy(contest.model, contest.champion)
    theirs = _answers(settings, contest.champion, model, tokenizer, prompts)
    said = [answer.token_ids for answer in theirs]
    champion_known, before, before_said = _logprobs(
        model, tokenizer, prompts, expected, drawn, said
    )
    if contest.reference.id != contest.champion.id:
        model = load_policy(contest.model, contest.reference)
        before, before_said = _logprobs(model, tokenizer, prompts, drawn, said)
    # KL(candidate ‖ reference) on the candidate's own answers.
    kl = kl_to_reference(own, before)
    candidate = Side(
        contest.candidate.label, answers, perplexity_of(known), kl, perplexity_of(before)
    )
    champion = Side(
        contest.champion.label,
        theirs,
        perplexity_of(champion_known),
        None,
        perplexity_of(before_said),
    )
    return measure(candidate, champion, cases, settings, judge=votes, base=contest.base)


def _expected(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    references: Sequence[str | None],
) -> list[list[int]]:
    """The answers on record as tokens; empty ones unless every prompt has its answer."""
    known = [reference for reference in references if reference is not None]
    if len(known) < len(prompts):
        return [[] for _ in prompts]
    return [answer_ids(tokenizer, p, answer) for p, answer in zip(prompts, known, strict=True)]


def _logprobs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *answers: Sequence[Sequence[int]],
) -> list[list[Tensor]]:
    """Of several answers to each prompt in one pass: a list for each of `answers`."""
    rows = logprobs_of_several(model, tokenizer, prompts, list(zip(*answers, strict=True)))
    return [list(column) for column in zip(*rows, strict=True)]


def _with_agreements(contest: Contest, evaluation: Evaluation) -> Evaluation:
    """Add how the candidate's implicit reward stands to the held-out votes."""
    if not contest.votes:
        return evaluation
    found = agreements(contest.model, contest.reference, contest.candidate, contest.votes)
    numbers: dict[str, int] = {}
    own = {
        "agreements": [a.outcome for a in found],
        "agreement_clusters": [numbers.setdefault(a.conversation, len(numbers)) for a in found],
    }
    return replace(evaluation, measurements=evaluation.measurements.model_copy(update=own))


def _answers(
    settings: EvaluationSettings,
    policy: Policy,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
) -> list[Completion]:
    with progress(f"answers of {policy.label[:16]}", total=len(prompts)) as advance:
        sampler = LocalSampler(model, tokenizer, advance)
        return sampler.sample(prompts, settings.sampling, seed=settings.seed)


def decide_trial(
    trial: Trial,
    settings: GateSettings,
    store: Store | None,
    candidate: Policy,
    champion: Policy,
    project: str = "default",
) -> GateDecision:
    """The gate's word; it goes to the run folder and the store."""
    decision = decide(trial.measurements, settings)
    report = decision.model_dump(mode="json")
    write_json(trial.run.folder / "decision.json", report)
    if store is not None and candidate.id is not None:
        key = content_id(
            [project, candidate.id, champion.label, trial.run.id, settings.model_dump(mode="json")],
            24,
        )
        store.add_decision(
            Decision(
                id=key,
                project=project,
                candidate=candidate.id,
                champion=champion.id,
                promote=decision.promote,
                reasons=decision.lines(),
                report=report,
                run=trial.run.folder.name,
            )
        )
    return decision


def write_trial_report(
    trial: Trial,
    decision: GateDecision,
    *,
    curves: Sequence[Mapping[str, Any]] = (),
    lineage: Sequence[Mapping[str, Any]] = (),
    title: str = "",
    name: str = "report",
    simulated: bool = False,
    withheld: str | None = None,
) -> Path:
    """`<name>.html` in the trial's run folder; `withheld` tells why what passed isn't released."""
    path = trial.run.folder / f"{name}.html"
    write_report(
        path,
        ReportData(
            title=title,
            measurements=trial.measurements,
            decision=decision,
            samples=trial.samples,
            curves=list(curves),
            lineage=list(lineage),
            simulated=simulated,
            withheld=withheld,
            created_at=now(),
            most_samples=trial.shown,
        ),
    )
    return path
