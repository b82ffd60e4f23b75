"""What a policy thinks of given tokens: log-probabilities, perplexity, distance to a reference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf.chat import Message, render, styled
from rlhf.errors import UsageError
from rlhf.evaluation.estimate import Estimate, mean_estimate, ratio_estimate
from rlhf.packed import Engine, Group
from rlhf.sampling import Prompt


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean negative log-likelihood over all answer tokens, and each row's own mean."""

    value: float
    low: float | None
    high: float | None
    tokens: int
    nll: tuple[float | None, ...]


@dataclass(frozen=True)
class KL:
    """KL(policy ‖ reference) in nats, estimated on the policy's own samples.

    `per_sequence` and `per_token` are k1, unbiased; `k3_per_token` is unbiased too, never negative
    and of far lower variance when the two are close. `rows` is k1 a sequence, in the order given.
    """

    per_sequence: Estimate | None
    per_token: Estimate | None
    k3_per_token: Estimate | None
    rows: tuple[float, ...]


def completion_logprobs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[int]],
) -> list[Tensor]:
    """log p of each completion token given the prompt: float32 `[len(completion)]` a row."""
    several = logprobs_of_several(model, tokenizer, prompts, [[c] for c in completions])
    return [row for (row,) in several]


def logprobs_of_several(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    completions: Sequence[Sequence[Sequence[int]]],
) -> list[tuple[Tensor, ...]]:
    """As `completion_logprobs` for several completions of each prompt, which is run once."""
    groups = [
        Group(render(tokenizer, p.messages, p.style), c)
        for p, c in zip(prompts, completions, strict=True)
    ]
    was_training = model.training
    model.train(False)
    try:
        engine = Engine(model)
        with engine.on():
            rows = engine.rows(groups)
    finally:
        model.train(was_training)
    return [tuple(row.cpu() for row in group) for group in rows]


def perplexity(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    answers: Sequence[str],
) -> Perplexity | None:
    """How expected the answers are, with the end of turn that the template closes them with.

    None when there is not one token to score.
    """
    ids = [answer_ids(tokenizer, p, answer) for p, answer in zip(prompts, answers, strict=True)]
    return perplexity_of(completion_logprobs(model, tokenizer, prompts, ids))


def perplexity_of(rows: Sequence[Tensor]) -> Perplexity | None:
    """The same from the answers' token log-probabilities."""
    logprobs = [row.double() for row in rows]
    mean = ratio_estimate([-float(r.sum()) for r in logprobs], [len(r) for r in logprobs])
    if mean is None:
        return None
    low, high = (None if end is None else _exp(end) for end in (mean.low, mean.high))
    nll = tuple(-float(r.mean()) if len(r) else None for r in logprobs)
    return Perplexity(_exp(mean.mean), low, high, sum(map(len, logprobs)), nll)


def _exp(x: float) -> float:
    return math.exp(min(x, 700.0))  # a float ends near exp(709)


def answer_ids(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, answer: str, *, finished: bool = True
) -> list[int]:
    """An answer's tokens as the template writes them after the prompt, to the end of the turn.

    One that was not finished has no end of turn.

    The cut is made in the text, not in the tokens: after a prompt that ends in a space a tokenizer
    would merge across the border, and the policy never meets that merge when it generates.
    Blanks after the turn's end are the template's, not the answer's, and are left out.
    """
    asked = styled(prompt.messages, prompt.style)
    reply: Message = {"role": "assistant", "content": answer}
    before = _template(tokenizer, asked, open_turn=True)
    whole = _template(tokenizer, [*asked, reply], open_turn=False)
    if not whole.startswith(before):
        raise UsageError(
            "the chat template writes a prompt differently once it is answered, so that the "
            "answer's tokens cannot be told apart; use a template that only appends"
        )
    text = whole[len(before) :].rstrip()
    ids = [int(i) for i in tokenizer.encode(text, add_special_tokens=False)]
    if not finished and tokenizer.eos_token_id in ids:
        ids = ids[: len(ids) - 1 - ids[::-1].index(tokenizer.eos_token_id)]
    return ids


def _template(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, open_turn: bool
) -> str:
    turns = [{"role": str(m["role"]), "content": m["content"]} for m in messages]
    text = tokenizer.apply_chat_template(turns, add_generation_prompt=open_turn, tokenize=False)
    return str(text)


def kl_to_reference(policy: Sequence[Tensor], reference: Sequence[Tensor]) -> KL:
    """KL from per-token log-probabilities of the same completions, which the policy drew.

    With log r = log p_reference - log p_policy, k1 is -log r and k3 is (r - 1) - log r.
    Schulman 2020, "Approximating KL divergence", http://joschu.net/blog/kl-approx.html
    """
    ratios = [(r - p).double() for p, r in zip(policy, reference, strict=True)]
    sizes = [len(r) for r in ratios]
    k1 = [-float(r.sum()) for r in ratios]
    k3 = [float((r.expm1() - r).sum()) for r in ratios]
    return KL(
        per_sequence=mean_estimate(k1),
        per_token=ratio_estimate(k1, sizes),
        k3_per_token=ratio_estimate(k3, sizes),
        rows=tuple(k1),
    )
