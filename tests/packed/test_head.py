"""Log-probabilities from hidden states: every kind of head, in chunks, with its gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from transformers import LlamaConfig, LlamaForCausalLM

from rlhf.packed import head
from rlhf.packed.head import token_entropies, token_logprobs

VOCABULARY = 50


def model_with(frozen: bool = True, **config: Any) -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **sizes, **heads, **config))
    model.requires_grad_(not frozen)
    return model


def plainly(model: Any, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The whole vocabulary at once, as a causal model's forward would."""
    logits = hidden @ model.lm_head.weight.t() * getattr(model.config, "logit_scale", 1.0)
    cap = getattr(model.config, "final_logit_softcapping", None)
    logits = logits if cap is None else torch.tanh(logits / cap) * cap
    return logits.log_softmax(-1).gather(-1, targets[:, None]).squeeze(-1)


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
    for way in (plainly, token_logprobs):
        given = hidden.clone().requires_grad_()
        model.zero_grad()
        logprobs = way(model, given, targets)
        (logprobs * torch.linspace(-1, 2, 10)).sum().backward()
        grads.append((logprobs.detach(), given.grad, model.lm_head.weight.grad))
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
        token_logprobs(model, torch.randn(30, 16, requires_grad=True), torch.arange(30))
    assert sizes.rows and max(sizes.rows) <= 4


def test_entropies_are_the_distributions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "_LOGITS_AT_ONCE", 3 * VOCABULARY)
    model = model_with()
    hidden = torch.randn(7, 16)
    expected = torch.distributions.Categorical(logits=model.lm_head(hidden)).entropy()
    assert torch.allclose(token_entropies(model, hidden), expected, atol=1e-5)
    assert token_entropies(model, hidden[:0]).shape == (0,)
