"""Does the candidate prefer what held-out voters preferred? A check that it learned *from them*.

Training moves a policy even when the votes are noise, and the way it drifts can please a judge by
chance. A policy that learned nothing from its votes agrees with held-out ones half of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from transformers import PreTrainedTokenizerBase

from rlhf.data.records import Record
from rlhf.evaluation.likelihood import answer_ids, logprobs_of_several
from rlhf.models import ModelSettings, load_tokenizer
from rlhf.policies import Policy, load_policy
from rlhf.progress import progress
from rlhf.sampling import Prompt


@dataclass(frozen=True)
class Agreement:
    """One held-out vote: 1 where the policy agrees, 0 where not, ½ where it sees no difference."""

    outcome: float
    conversation: str


def agreements(
    model: ModelSettings, start: Policy, policy: Policy, votes: Sequence[Record]
) -> list[Agreement]:
    """Each vote against the policy's implicit reward, log p(policy) - log p(start).

    A pair agrees when the chosen answer gained more than the rejected one (Rafailov et al. 2023);
    a single vote, when a liked answer gained more than the median of all single votes, or a
    disliked one less.
    """
    pairs = [r for r in votes if r.shape == "preference"]
    single = [r for r in votes if r.shape == "unpaired"]
    names = {"preference": ("chosen", "rejected"), "unpaired": ("completion",)}
    gains = _gains(model, start, policy, [(r, names[r.shape]) for r in (*pairs, *single)])
    both, rest = gains[: len(pairs)], [gain for (gain,) in gains[len(pairs) :]]
    found = [
        Agreement(_outcome(chosen - rejected), r.conversation)
        for r, (chosen, rejected) in zip(pairs, both, strict=True)
    ]
    middle = median(rest) if rest else 0.0
    found += [
        Agreement(_outcome(gain - middle if r.label else middle - gain), r.conversation)
        for r, gain in zip(single, rest, strict=True)
    ]
    return found


def _outcome(difference: float) -> float:
    return 0.5 if difference == 0 else float(difference > 0)


def _gains(
    model: ModelSettings,
    start: Policy,
    policy: Policy,
    rows: Sequence[tuple[Record, Sequence[str]]],
) -> list[list[float]]:
    """What the log-probability of each of a record's named answers gained, over its tokens."""
    if not rows:
        return []
    tokenizer = load_tokenizer(model)
    prompts = [Prompt(record.prompt, record.style) for record, _ in rows]
    ids = [
        [_ids(tokenizer, prompt, record, name) for name in names]
        for prompt, (record, names) in zip(prompts, rows, strict=True)
    ]
    sums = []
    with progress("held-out votes", total=2) as advance:
        for which in (start, policy):
            found = logprobs_of_several(load_policy(model, which), tokenizer, prompts, ids)
            sums.append([[float(row.double().sum()) for row in answers] for answers in found])
            advance()
    return [
        [after - before for before, after in zip(*pair, strict=True)]
        for pair in zip(*sums, strict=True)
    ]


def _ids(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, record: Record, name: str
) -> list[int]:
    text, finished = str(getattr(record, name)), name not in record.unfinished
    return answer_ids(tokenizer, prompt, text, finished=finished)
