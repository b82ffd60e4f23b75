"""Log-probabilities from hidden states: every kind of head, in chunks, with its gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from transformers import LlamaConfig, LlamaForCausalLM

from rlhf.packed import head
from rlhf.packed.head import token_scores

VOCABULARY = 50


def model_with(frozen: bool = True, **config: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **sizes, **heads, **config))
    model.requires_grad_(not frozen)
    return model


TEMPERATURE = 0.7


def plainly(model: Any, hidden: torch.Tensor, targets: torch.Tensor) -> list[torch.Tensor]:
    """The whole vocabulary at once, as a causal model's forward would, and torch's entropy."""
    logits = hidden @ model.lm_head.weight.t() * getattr(model.config, "logit_scale", 1.0)
    cap = getattr(model.config, "final_logit_softcapping", None)
    logits = logits if cap is None else torch.tanh(logits / cap) * cap
    drawn = torch.distributions.Categorical(logits=logits / TEMPERATURE)
    return [drawn.log_prob(targets), drawn.entropy()]


def in_chunks(model: Any, hidden: torch.Tensor, targets: torch.Tensor) -> list[torch.Tensor]:
    found = token_scores(model, hidden, targets, temperature=TEMPERATURE, entropy="learned")
    return [part for part in found if part is not None]


KINDS: dict[str, dict[str, Any]] = {
    "frozen": {},
    "trained": {"frozen": False},
    "scaled": {"logit_scale": 0.5},
    "capped": {"final_logit_softcapping": 0.3},
}


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_whole_vocabulary_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "_LOGITS_AT_ONCE", 3 * VOCABULARY)
    model = model_with(**KINDS[kind])
    targets = torch.randint(VOCABULARY, (10,))
    hidden = torch.randn(10, 16)
    grads = []
    for way in (plainly, in_chunks):
        given = hidden.clone().requires_grad_()
        model.zero_grad()
        logprobs, entropies = way(model, given, targets)
        weights = torch.linspace(-1, 2, 10)
        (logprobs * weights + entropies * weights.flip(0)).sum().backward()
        told = logprobs.detach(), entropies.detach()
        grads.append((*told, given.grad, model.lm_head.weight.grad))
    for expected, found in zip(*grads, strict=True):
        assert (expected is None) == (found is None)
        assert expected is None or torch.allclose(expected, found, atol=1e-5)


class _Sizes(TorchFunctionMode):
    """Every result with the vocabulary in its last place."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        wide = isinstance(result, torch.Tensor) and result.shape[-1:] == (VOCABULARY,)
        if wide and func is not torch.Tensor.t:  # `t` is for the head's own weights
            self.rows.append(result.shape[0])
        return result


@pytest.mark.parametrize("kind", KINDS)
def test_no_tensor_of_the_vocabulary_is_larger_than_a_chunk(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head, "_LOGITS_AT_ONCE", 4 * VOCABULARY)
    model = model_with(**KINDS[kind])
    with _Sizes() as sizes:
        token_scores(model, torch.randn(30, 16, requires_grad=True), torch.arange(30))
    assert sizes.rows and max(sizes.rows) <= 4


@pytest.mark.parametrize("kind", KINDS)
def test_an_entropy_that_is_only_told_moves_nothing(kind: str) -> None:
    model = model_with(**KINDS[kind])
    hidden, targets = torch.randn(7, 16, requires_grad=True), torch.arange(7)
    logprobs, entropies = token_scores(model, hidden, targets, entropy="told")
    assert entropies is not None and not entropies.requires_grad and logprobs.requires_grad
    assert token_scores(model, hidden, targets)[1] is None
    assert token_scores(model, hidden[:0], targets[:0], entropy="told")[1].shape == (0,)
