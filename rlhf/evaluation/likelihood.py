"""What a policy thinks of given tokens: log-probabilities, perplexity, distance to a reference."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf.chat import Message, render, styled
from rlhf.errors import UsageError
from rlhf.evaluation.estimate import Estimate, mean_estimate, ratio_estimate
from rlhf.sampling import Prompt

# Float32 logits held at once: 64 MiB, whatever the batch and the vocabulary.
_LOGITS_AT_ONCE = 1 << 24


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
    batch_size: int = 8,
) -> list[Tensor]:
    """log p of each completion token given the prompt: float32 `[len(completion)]` a row, on CPU.

    Full-vocabulary logits exist at completion positions only, a bounded number of rows at a time.
    """
    contexts = [render(tokenizer, p.messages, p.style) for p in prompts]
    rows = list(zip(contexts, map(list, completions), strict=True))
    return _score(model, rows, batch_size)


def perplexity(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    answers: Sequence[str],
    batch_size: int = 8,
) -> Perplexity | None:
    """How expected the answers are, with the end of turn that the template closes them with.

    None when there is not one token to score.
    """
    rows = [
        (render(tokenizer, p.messages, p.style), answer_ids(tokenizer, p, answer))
        for p, answer in zip(prompts, answers, strict=True)
    ]
    logprobs = [row.double() for row in _score(model, rows, batch_size)]
    mean = ratio_estimate([-float(r.sum()) for r in logprobs], [len(r) for r in logprobs])
    if mean is None:
        return None
    low, high = (None if end is None else _exp(end) for end in (mean.low, mean.high))
    nll = tuple(-float(r.mean()) if len(r) else None for r in logprobs)
    return Perplexity(_exp(mean.mean), low, high, sum(map(len, logprobs)), nll)


def _exp(x: float) -> float:
    return math.exp(min(x, 700.0))  # a float ends near exp(709)


def answer_ids(tokenizer: PreTrainedTokenizerBase, prompt: Prompt, answer: str) -> list[int]:
    """An answer's tokens as the template writes them after the prompt, to the end of the turn.

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
    ids = tokenizer.encode(whole[len(before) :].rstrip(), add_special_tokens=False)
    return [int(i) for i in ids]


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


def _score(
    model: PreTrainedModel, rows: Sequence[tuple[list[int], list[int]]], batch_size: int
) -> list[Tensor]:
    """Rows of like length share a batch; the result is in the rows' order."""
    order = sorted(range(len(rows)), key=lambda i: (sum(map(len, rows[i])), i))
    scored: dict[int, Tensor] = {}
    with _as_scorer(model):
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            logprobs = _score_batch(model, [rows[i] for i in batch])
            scored.update(zip(batch, logprobs, strict=True))
    return [scored[i] for i in range(len(rows))]


@contextmanager
def _as_scorer(model: PreTrainedModel) -> Iterator[None]:
    """No dropout and no gradient; the model's mode is put back."""
    was_training = model.training
    model.train(False)
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def _score_batch(
    model: PreTrainedModel, rows: Sequence[tuple[list[int], list[int]]]
) -> list[Tensor]:
    """Padded on the right, where a causal model never looks back from, so no mask is needed."""
    # PEFT puts its LoRA layers into the model that it wraps: the inner one is the whole policy.
    causal: Any = model.get_base_model() if isinstance(model, PeftModel) else model
    width = max(len(p) + len(c) for p, c in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    for row, (prompt, completion) in enumerate(rows):
        ids[row, : len(prompt) + len(completion)] = torch.tensor(prompt + completion)
    hidden = causal.base_model(input_ids=ids.to(causal.device), use_cache=False).last_hidden_state
    # The state at position t predicts the token at t + 1.
    before = torch.cat(
        [hidden[i, len(p) - 1 : len(p) + len(c) - 1] for i, (p, c) in enumerate(rows)]
    )
    targets = torch.tensor([token for _, c in rows for token in c], device=before.device)
    picked = _picked_logprobs(
        _head(causal), before, targets, causal.config.get_text_config().vocab_size
    )
    return list(torch.split(picked.cpu(), [len(c) for _, c in rows]))


def _picked_logprobs(
    head: Callable[[Tensor], Tensor], hidden: Tensor, targets: Tensor, vocabulary: int
) -> Tensor:
    """log softmax of each row's logits at its target, in float32 chunks: `[len(targets)]`."""
    step = max(1, _LOGITS_AT_ONCE // vocabulary)
    picked = [hidden.new_empty(0, dtype=torch.float32)]
    for start in range(0, len(targets), step):
        logits = head(hidden[start : start + step])
        target = targets[start : start + step, None]
        picked.append(logits.gather(-1, target).squeeze(-1) - logits.logsumexp(-1))
    return torch.cat(picked)


def _head(model: Any) -> Callable[[Tensor], Tensor]:
    """Hidden states to float32 logits, with what Gemma, Cohere and Granite do after the matrix."""
    config = model.config.get_text_config()
    scale = getattr(config, "logit_scale", None) or 1.0
    scale /= getattr(config, "logits_scaling", None) or 1.0
    cap = getattr(config, "final_logit_softcapping", None)
    matrix = model.get_output_embeddings()

    def logits(hidden: Tensor) -> Tensor:
        values: Tensor = matrix(hidden).float() * scale
        return values if cap is None else torch.tanh(values / cap) * cap

    return logits
