"""Policy gradient losses against numpy and exact sums over a small vocabulary."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlhf.training.losses import kl_estimates, policy_losses, value_losses

TOKENS = st.lists(
    st.tuples(st.floats(-3, 0), st.floats(-3, 0), st.floats(-2, 2)), min_size=1, max_size=8
)
CLIPS = st.floats(0.05, 0.5)


def wide(*numbers: float, grad: bool = False) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64, requires_grad=grad)


# The policy


@given(tokens=TOKENS, clip=CLIPS)
def test_policy_losses_are_the_clipped_objective(
    tokens: list[tuple[float, float, float]], clip: float
) -> None:
    """Schulman et al. 2017, equation 7: -min(r A, clip(r, 1 - ε, 1 + ε) A)."""
    new, old, advantages = zip(*tokens, strict=True)
    found = policy_losses(wide(*new), wide(*old), wide(*advantages), clip)
    for loss, (after, before, advantage) in zip(found.tolist(), tokens, strict=True):
        ratio = np.exp(after - before)
        kept = np.clip(ratio, 1 - clip, 1 + clip)
        assert loss == pytest.approx(-min(ratio * advantage, kept * advantage), abs=1e-12)


@pytest.mark.parametrize(
    ("ratio", "advantage", "learns"),
    [
        (1.0, 1.0, True),
        (1.0, -1.0, True),
        (1.3, 1.0, False),  # a good token has gained enough
        (0.7, 1.0, True),  # it lost: bring it back
        (0.7, -1.0, False),  # a bad token has lost enough
        (1.3, -1.0, True),  # it gained: take that back
        (1.1, 1.0, True),
        (0.9, -1.0, True),
    ],
)
def test_no_gradient_where_a_token_went_far_enough(
    ratio: float, advantage: float, learns: bool
) -> None:
    logprobs = wide(-1.0, grad=True)
    old = logprobs.detach() - np.log(ratio)
    policy_losses(logprobs, old, wide(advantage), clip=0.2).sum().backward()
    assert logprobs.grad is not None
    # d/dlog p of -r A is -r A itself.
    assert float(logprobs.grad) == pytest.approx(-ratio * advantage if learns else 0.0)


# The value


@given(tokens=TOKENS, clip=CLIPS)
def test_value_losses_are_half_the_worse_squared_error(
    tokens: list[tuple[float, float, float]], clip: float
) -> None:
    values, old, returns = zip(*tokens, strict=True)
    found = value_losses(wide(*values), wide(*old), wide(*returns), clip)
    for loss, (value, before, target) in zip(found.tolist(), tokens, strict=True):
        near = min(max(value, before - clip), before + clip)
        expected = max((value - target) ** 2, (near - target) ** 2) / 2
        assert loss == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("value", "target", "gradient"),
    [
        (0.1, 1.0, -0.9),  # near enough to what it was: the plain squared error's
        (0.5, 1.0, 0.0),  # moved towards the return by more than the clip: far enough
        (-0.5, -1.0, 0.0),
        (0.5, -1.0, 1.5),  # moved away from it: brought back
        (-0.5, 1.0, -1.5),
    ],
)
def test_no_gradient_where_a_value_moved_far_enough(
    value: float, target: float, gradient: float
) -> None:
    values = wide(value, grad=True)
    value_losses(values, wide(0.0), wide(target), clip=0.2).sum().backward()
    assert values.grad is not None and float(values.grad) == pytest.approx(gradient)


# Distances from the reference


@given(tokens=TOKENS)
def test_kl_estimates_are_schulmans(tokens: list[tuple[float, float, float]]) -> None:
    policy, reference, _ = zip(*tokens, strict=True)
    p, q = np.exp(policy), np.exp(reference)
    for kind, expected in (("k1", np.log(p / q)), ("k3", q / p - 1 + np.log(p / q))):
        found = kl_estimates(wide(*policy), wide(*reference), kind)
        assert found.tolist() == pytest.approx(expected.tolist(), abs=1e-12)
    assert (kl_estimates(wide(*policy), wide(*reference), "k3") > -1e-12).all()


def categoricals(spread: float) -> tuple[Tensor, Tensor]:
    """Logits of a policy over five tokens, and the reference's log-probabilities."""
    generator = torch.Generator().manual_seed(3)
    logits, away = torch.randn(2, 5, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), (logits.detach() + spread * away).log_softmax(-1)


def expected_gradient(logits: Tensor, reference: Tensor, kind: str) -> Tensor:
    """The mean, over the policy's own draws, of the gradient of the estimate of a draw."""
    logprobs = logits.log_softmax(-1)
    often = logprobs.detach().exp()  # how often a token is drawn has no gradient in a loss
    (gradient,) = torch.autograd.grad(
        (often * kl_estimates(logprobs, reference, kind)).sum(), logits
    )
    return gradient


def kl_gradients(logits: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Of KL(policy ‖ reference) and of KL(reference ‖ policy), with every part differentiated."""
    logprobs = logits.log_softmax(-1)
    forth = (logprobs.exp() * (logprobs - reference)).sum()
    back = (reference.exp() * (reference - logprobs)).sum()
    (first,) = torch.autograd.grad(forth, logits, retain_graph=True)
    (second,) = torch.autograd.grad(back, logits)
    return first, second


@pytest.mark.parametrize("kind", ["k1", "k3"])
def test_kl_estimates_are_unbiased(kind: str) -> None:
    logits, reference = categoricals(spread=1.0)
    logprobs = logits.detach().log_softmax(-1)
    true = (logprobs.exp() * (logprobs - reference)).sum()
    mean = (logprobs.exp() * kl_estimates(logprobs, reference, kind)).sum()
    assert float(mean) == pytest.approx(float(true), rel=1e-12) and float(true) > 0.1


def test_k1_in_a_loss_pulls_nowhere() -> None:
    """Σ p ∇log p = ∇Σ p = 0: why the settings refuse it there."""
    logits, reference = categoricals(spread=1.0)
    assert expected_gradient(logits, reference, "k1").abs().max() < 1e-15
    assert kl_gradients(logits, reference)[0].abs().max() > 0.05


def test_k3_in_a_loss_pulls_as_the_kl_of_the_reference_from_the_policy() -> None:
    """It estimates KL(policy ‖ reference), but its gradient is the other direction's."""
    logits, reference = categoricals(spread=1.0)
    found = expected_gradient(logits, reference, "k3")
    forth, back = kl_gradients(logits, reference)
    assert torch.allclose(found, back, rtol=1e-10, atol=1e-12)
    assert not torch.allclose(found, forth, rtol=0.05)


def test_near_the_reference_k3_pulls_as_either_kl() -> None:
    """Both are the same square there, which is where a penalty is to keep the policy."""
    logits, reference = categoricals(spread=1e-3)
    found = expected_gradient(logits, reference, "k3")
    forth, _ = kl_gradients(logits, reference)
    assert float((found - forth).norm() / forth.norm()) < 1e-2
