"""Who says which of two answers is better: a reward, people's stored votes, or a language model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field

from feedback_store import Comparison, Store
from rewards import Component
from rewards.running.executor import Columns
from rlhf.config import Settings
from rlhf.evaluation.llm_judge import LlmJudge, LlmJudgeSettings
from rlhf.evaluation.metrics import score_answers
from rlhf.evaluation.verdict import Verdict
from rlhf.sampling import Prompt


class Judge(Protocol):
    """Compares two answers to each prompt, in the order given."""

    @property
    def name(self) -> str:
        """For the record: who judged."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether the verdicts stand in for people's."""
        ...

    def judge(self, prompts: Sequence[Prompt], a: Sequence[str], b: Sequence[str]) -> list[Verdict]:
        """None is no verdict: it is counted and left out, never taken for a tie."""
        ...


class RewardJudgeSettings(Settings):
    """The answer that a reward scores higher wins."""

    kind: Literal["reward"] = "reward"
    rewards: tuple[Component, ...] = Field(min_length=1)
    """What is scored: better a reward that the candidate was not trained on."""
    margin: float = Field(default=0.0, ge=0.0)
    """Scores no further apart than this are a tie."""
    simulated: bool = False
    """The reward stands in for users: reports say so."""


class VotesJudgeSettings(Settings):
    """People's own comparisons of the two policies' answers, given after the training data."""

    kind: Literal["votes"]
    project: str | None = None
    """Only this project's votes; all when unset."""


JudgeSettings = Annotated[
    RewardJudgeSettings | VotesJudgeSettings | LlmJudgeSettings, Field(discriminator="kind")
]


def build_judge(
    settings: RewardJudgeSettings | LlmJudgeSettings,
    base: Path | None = None,
    columns: Columns | None = None,
) -> Judge:
    """The judge of a configuration; stored votes are read by `stored_verdicts` instead.

    `columns` are what a reward reads beside the texts, one value a prompt.
    """
    if isinstance(settings, LlmJudgeSettings):
        return LlmJudge(settings)
    return RewardJudge(
        settings.rewards,
        base=base,
        margin=settings.margin,
        simulated=settings.simulated,
        columns=columns,
    )


class RewardJudge:
    """The larger total wins, within `margin` it is a tie; a failed score is no verdict."""

    def __init__(
        self,
        rewards: Sequence[Component],
        *,
        base: Path | None = None,
        margin: float = 0.0,
        simulated: bool = False,
        columns: Columns | None = None,
    ) -> None:
        self._rewards, self._base = rewards, base
        self._margin, self._columns = margin, columns
        self.simulated = simulated
        self.name = " + ".join(f"reward {r.label or r.name}" for r in rewards)

    def judge(self, prompts: Sequence[Prompt], a: Sequence[str], b: Sequence[str]) -> list[Verdict]:
        """One verdict a prompt."""
        left, right = (
            score_answers(prompts, answers, self._rewards, columns=self._columns, base=self._base)
            for answers in (a, b)
        )
        return [self._verdict(x.total, y.total) for x, y in zip(left, right, strict=True)]

    def _verdict(self, a: float | None, b: float | None) -> Verdict:
        if a is None or b is None:
            return None
        if abs(a - b) <= self._margin:
            return "tie"
        return "a" if a > b else "b"


@dataclass(frozen=True)
class StoredVerdicts:
    """Outcomes of the candidate against the champion, each with its conversation."""

    outcomes: tuple[float, ...]
    conversations: tuple[str, ...]
    simulated: int
    project: str | None = None


def stored_verdicts(
    store: Store,
    candidate: str,
    champion: str,
    *,
    after: int,
    project: str | None = None,
    trusted: Collection[str] | None = None,
) -> StoredVerdicts:
    """Votes between the two policies' answers that came after the watermark `after`.

    Votes up to it trained the candidate and prove nothing about it. `trusted` keeps only those
    voters. Both-bad is a tie: neither answer was better.
    """
    found: list[tuple[float, str, bool]] = []
    if trusted is not None:
        trusted = {store.pseudonym(voter) for voter in trusted}
    for comparison in store.comparisons(project=project, live=True):
        if (comparison.seq or 0) <= after:
            continue
        if trusted is not None and comparison.voter not in trusted:
            continue
        a, b = store.interaction(comparison.a), store.interaction(comparison.b)
        if {a.policy, b.policy} != {candidate, champion} or a.policy == b.policy:
            continue
        won = _outcome(comparison, candidate_is_a=a.policy == candidate)
        found.append((won, a.conversation, comparison.simulated))
    return StoredVerdicts(
        outcomes=tuple(outcome for outcome, _, _ in found),
        conversations=tuple(conversation for _, conversation, _ in found),
        simulated=sum(simulated for _, _, simulated in found),
        project=project,
    )


def _outcome(comparison: Comparison, *, candidate_is_a: bool) -> float:
    if comparison.choice in ("tie", "both_bad"):
        return 0.5
    return float((comparison.choice == "a") == candidate_is_a)
