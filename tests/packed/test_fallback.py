"""Where packing, or a faster layer, does not stand in; and that both stand in only as they should.

The oracles are the model's own forward, one row at a time, and the layers' own.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_of_packing import VOCABULARY, alike, alone, gradients, with_lora
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTJConfig,
    GPTJForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
)

from rlhf.errors import PolicyError
from rlhf.packed import Engine, Group
from rlhf.packed.attention import _rule, attend, dense_mask
from rlhf.packed.kernels import fused
from rlhf.packed.layout import Layout, Piece, common_start, row_of

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")

SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
GPT: dict[str, Any] = {"vocab_size": VOCABULARY, "n_embd": 48, "n_layer": 2, "n_head": 4}
ASKED = [
    Group([5, 9, 2], [[7, 7, 1, 30], [4]]),
    Group([11], [[3, 8, 60]]),
    Group([6, 1, 6, 1, 6, 1], [[2, 2], [9, 10, 11, 12], [0]]),
]


def llama(dtype: torch.dtype = torch.float32, **more: Any) -> Any:
    torch.manual_seed(3)
    return LlamaForCausalLM(LlamaConfig(**SIZES, **more)).to(dtype)


def scored(model: Any, engine: Engine, asked: list[Group]) -> tuple[Tensor, dict[str, Tensor]]:
    """Log-probabilities and the gradient of their differently weighted sum."""
    with engine.on():
        logprobs = engine.score(asked).logprobs
        found = gradients(model, (logprobs * torch.linspace(-1, 2, len(logprobs))).sum())
    return logprobs.detach(), found


def assert_as_alone(model: Any, engine: Engine, asked: list[Group]) -> None:
    expected = alone(model, asked)
    wanted = gradients(model, (expected * torch.linspace(-1, 2, len(expected))).sum())
    logprobs, found = scored(model, engine, asked)
    assert torch.allclose(logprobs, expected, atol=1e-4)
    assert wanted.keys() == found.keys() != set()
    for name, grad in wanted.items():
        assert float((found[name] - grad).norm()) <= 1e-3 * float(grad.norm()) + 1e-6, name


# Families


def gemma2() -> Any:
    """Soft-capped attention scores, and a soft-capped head."""
    caps = {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0, "head_dim": 12}
    more = {"sliding_window": 5, "attn_implementation": "eager"}
    return with_lora(Gemma2ForCausalLM(Gemma2Config(**SIZES, **caps, **more)), ["q_proj"])


def bloom() -> Any:
    """ALiBi instead of positions, and attention of its own."""
    config = BloomConfig(vocab_size=VOCABULARY, hidden_size=48, n_layer=2, n_head=4)
    return with_lora(BloomForCausalLM(config), ["query_key_value"])


def gptj() -> Any:
    """Attention of its own, and a head with a bias."""
    config = GPTJConfig(**GPT, rotary_dim=4, n_positions=128)
    model = GPTJForCausalLM(config)
    torch.nn.init.normal_(model.lm_head.bias)
    return with_lora(model, ["q_proj"])


@pytest.mark.parametrize("build", [gemma2, bloom, gptj])
def test_a_family_that_cannot_be_packed_is_padded_with_one_warning(
    build: Callable[[], Any],
) -> None:
    torch.manual_seed(3)
    model = build().eval()
    with pytest.warns(UserWarning, match="cannot be packed; its rows are padded") as told:
        engine = Engine(model)
        assert not engine.packs
        assert_as_alone(model, engine, ASKED)
        with engine.on(), torch.no_grad():
            expected = alone(model, ASKED)
            rows = engine.rows(ASKED, budget=8)
            ends = engine.last_states(ASKED)
    assert len(told) == 1
    assert torch.allclose(torch.cat([r for group in rows for r in group]), expected, atol=1e-4)
    last = engine.causal.base_model(input_ids=torch.tensor([[11, 3, 8, 60]])).last_hidden_state
    assert torch.allclose(ends[2], last[0, -1], atol=1e-4)


def test_attention_dropout_is_found_out_before_training() -> None:
    """It works in training only, so a look at the model in evaluation mode would not see it."""
    torch.manual_seed(3)
    noisy = GPT2LMHeadModel(GPT2Config(**GPT, attn_pdrop=0.1, resid_pdrop=0.0, embd_pdrop=0.0))
    with pytest.warns(UserWarning, match="cannot be packed"):
        engine = Engine(noisy)
    noisy.train()
    with engine.on():
        assert torch.isfinite(engine.score(ASKED).logprobs).all()
    still = GPT2LMHeadModel(GPT2Config(**GPT, attn_pdrop=0.0, resid_pdrop=0.0, embd_pdrop=0.0))
    engine = Engine(still)
    assert engine.packs
    assert_as_alone(still, engine, ASKED)


def test_a_look_at_the_model_takes_no_random_numbers() -> None:
    """A resumed run looks too, and must draw the dropout that an undisturbed one would have."""
    model = with_lora(llama(), ["q_proj", "v_proj"], dropout=0.4).train()
    state = torch.random.get_rng_state()
    assert Engine(model).packs
    assert torch.random.get_rng_state().equal(state)
    assert model.training


class Sharpened(LlamaForCausalLM):  # type: ignore[misc]
    """Its logits are made in a way that no setting tells."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        out = super().forward(*args, **kwargs)
        out.logits = 1.5 * out.logits
        return out


def test_a_head_that_is_not_known_is_refused() -> None:
    torch.manual_seed(3)
    with pytest.raises(PolicyError, match="Sharpened computes its logits in a way"):
        Engine(Sharpened(LlamaConfig(**SIZES)))


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_changes_no_gradient(reentrant: bool) -> None:
    model = with_lora(llama(), ["q_proj", "v_proj"]).train()
    engine = Engine(model)
    logprobs, wanted = scored(model, engine, ASKED)
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    model.enable_input_require_grads()
    again, found = scored(model, engine, ASKED)
    assert torch.allclose(again, logprobs, atol=1e-6)
    for name, grad in wanted.items():
        assert torch.allclose(found[name], grad, atol=1e-6, rtol=1e-5), name


# Layers


def layers(model: Any) -> dict[str, Any]:
    """The modules that a kernel should stand in for, one of each kind."""
    kinds = {"q_proj": "lora", "input_layernorm": "norm", "mlp": "mlp"}
    found = {}
    for name, module in model.named_modules():
        kind = kinds.get(name.rsplit(".", 1)[-1])
        if kind and kind not in found:
            found[kind] = module
    assert isinstance(found["lora"], LoraLinear)
    return found


def replaced(model: Any) -> set[str]:
    return {type(m).__name__ for m in model.modules() if "forward" in m.__dict__}


def test_kernels_stand_in_and_are_taken_out_again() -> None:
    model = with_lora(llama(), ["q_proj", "v_proj"])
    count = sum(isinstance(m, LoraLinear) for m in model.modules())
    with fused(model):
        assert replaced(model) == {"Linear", "LlamaRMSNorm", "LlamaMLP"}
        changed = [m for m in model.modules() if "forward" in m.__dict__]
        assert sum(isinstance(m, LoraLinear) for m in changed) == count
        assert (
            len(changed) == count + 2 + 5
        )  # two layers: an MLP each; two norms each, and the last
    assert replaced(model) == set()
    with pytest.raises(ZeroDivisionError), fused(model):
        raise ZeroDivisionError
    assert replaced(model) == set()
    engine = Engine(model)
    assert replaced(model) == set()
    with pytest.raises(ZeroDivisionError), engine.on():
        assert replaced(model) == {"Linear", "LlamaRMSNorm", "LlamaMLP"}
        raise ZeroDivisionError
    assert replaced(model) == set()
    assert engine.causal.config._attn_implementation != "rlhf_packed"


def test_what_somebody_else_has_replaced_stays() -> None:
    model = llama()
    theirs = model.model.norm.forward
    model.model.norm.forward = theirs
    model.model.layers[0].mlp.requires_grad_(True)
    model.model.layers[1].mlp.requires_grad_(False)
    with fused(model):
        assert model.model.norm.forward is theirs
        assert "forward" not in model.model.layers[0].mlp.__dict__
        assert "forward" in model.model.layers[1].mlp.__dict__
    assert model.model.norm.forward is theirs


def ran(model: Any, kind: str, dtype: torch.dtype, with_kernel: bool) -> dict[str, Tensor]:
    """A layer's output and gradients for an input like those in a model, as float32."""
    module = layers(model)[kind]
    generator = torch.Generator().manual_seed(7)
    # Most inputs are rounded to bfloat16 here, so that every format starts from the same numbers.
    given = torch.randn(1, 40, 48, generator=generator).bfloat16().to(dtype).requires_grad_()
    arrived = torch.randn(1, 40, 48, generator=generator).bfloat16().to(dtype)
    model.zero_grad()
    if with_kernel:
        with fused(model):
            assert "forward" in module.__dict__
            out = module(given)
            out.backward(arrived)
    else:
        out = module(given)
        out.backward(arrived)
    assert out.dtype == dtype and given.grad is not None
    found = {"output": out.detach().float(), "input": given.grad.float()}
    return found | {
        n: p.grad.float().clone() for n, p in module.named_parameters() if p.grad is not None
    }


def gemma3(dtype: torch.dtype) -> Any:
    torch.manual_seed(3)
    return Gemma3ForCausalLM(Gemma3TextConfig(**SIZES, head_dim=12, sliding_window=5)).to(dtype)


FAMILIES: dict[str, Callable[[torch.dtype], Any]] = {"llama": llama, "gemma3": gemma3}


@pytest.mark.parametrize("kind", ["lora", "norm", "mlp"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_kernel_gives_the_layers_own_result(family: str, kind: str) -> None:
    model = with_lora(FAMILIES[family](torch.float32), ["q_proj"])
    expected = ran(model, kind, torch.float32, with_kernel=False)
    found = ran(model, kind, torch.float32, with_kernel=True)
    assert expected.keys() == found.keys()
    assert len(expected) == (4 if kind == "lora" else 2)
    for name, value in expected.items():
        assert float((found[name] - value).norm()) <= 1e-5 * float(value.norm()), name


def in_bfloat16(family: str) -> Any:
    """With an update of ordinary size: as large as what it is added to would be a long training."""
    model = with_lora(FAMILIES[family](torch.bfloat16), ["q_proj", "v_proj"])
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.mul_(0.2)
    return model


@pytest.mark.parametrize("kind", ["lora", "norm", "mlp"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_kernel_rounds_no_worse_than_the_layer_in_bfloat16(family: str, kind: str) -> None:
    model = in_bfloat16(family)
    exact = ran(copy.deepcopy(model).float(), kind, torch.float32, with_kernel=False)
    own = ran(model, kind, torch.bfloat16, with_kernel=False)
    found = ran(model, kind, torch.bfloat16, with_kernel=True)
    for name, value in exact.items():
        error, allowed = (float((other[name] - value).norm()) for other in (found, own))
        if "lora" in name:  # PEFT's is exact for these inputs; the kernel's is rounded once
            assert 0 == allowed < error <= 2**-8 * float(value.norm()), name
        else:
            assert 0 < error <= 1.5 * allowed, (name, error, allowed)


@pytest.mark.parametrize("family", FAMILIES)
def test_rounding_of_kernels_is_lost_in_the_models_own(family: str) -> None:
    """In bfloat16, a whole model's gradient is as near to float32's with kernels as without."""
    model = in_bfloat16(family)
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(VOCABULARY, (80,), generator=generator).tolist()
    asked = [Group(ids[:10], [ids[10:40]]), Group(ids[40:50], [ids[50:80]])]

    def gradient(policy: Any) -> Tensor:
        logprobs = alone(policy, asked).float()
        found = gradients(policy, (logprobs * torch.linspace(-1, 2, len(logprobs))).sum())
        return torch.cat([grad.float().flatten() for grad in found.values()])

    exact, own = gradient(copy.deepcopy(model).float()), gradient(model)
    with fused(model):
        found = gradient(model)
    error, allowed = (float((other - exact).norm()) for other in (found, own))
    assert 0 < error <= 1.5 * allowed < 0.1 * float(exact.norm())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_lora_kernel_draws_the_same_dropout(dtype: torch.dtype) -> None:
    model = with_lora(llama(dtype), ["q_proj"], dropout=0.4).train()
    results = []
    for with_kernel in (False, True):
        torch.manual_seed(11)
        results.append(ran(model, "lora", dtype, with_kernel))
    expected, found = results
    close = 1e-5 if dtype == torch.float32 else 2e-2
    for name, value in expected.items():
        assert float((found[name] - value).norm()) <= close * float(value.norm()), name
    torch.manual_seed(12)
    other = ran(model, "lora", dtype, with_kernel=True)
    assert float((other["output"] - found["output"]).norm()) > 0.05 * float(found["output"].norm())


def test_the_lora_kernel_is_silent_where_adapters_are_disabled() -> None:
    model = with_lora(llama(), ["q_proj"])
    module = layers(model)["lora"]
    given = torch.randn(3, 48)
    plain = module.get_base_layer()(given)
    with fused(model):
        moved = module(given)
        with model.disable_adapter():
            assert module(given).equal(plain)
        assert module(given).equal(moved)
    assert not torch.allclose(moved, plain, atol=1e-3)
    engine = Engine(model)
    with engine.on(), torch.no_grad(), model.disable_adapter():
        found = engine.score(ASKED).logprobs
    with torch.no_grad(), model.disable_adapter():
        assert torch.allclose(found, alone(model, ASKED), atol=1e-4)


# The rule of attention


def seen_by_hand(asked: list[Group], window: int | None) -> Tensor:
    """[T, T]: a token sees the earlier tokens of the row that it would stand in alone."""
    common = common_start(asked)
    total = sum(group.tokens for group in asked) - common * (len(asked) - 1)
    seen = torch.zeros(total, total, dtype=torch.bool)
    start, above = common, list(range(common))
    for group in asked:
        prompt = above + list(range(start, start + len(group.prompt) - common))
        at = start + len(prompt) - common
        for completion in group.completions or [[]]:
            row = prompt + list(range(at, at + len(completion)))
            at += len(completion)
            for i, query in enumerate(row):
                for j, key in enumerate(row[: i + 1]):
                    seen[query, key] |= window is None or i - j < window
        start = at
    return seen


tokens = st.lists(st.integers(0, VOCABULARY - 1), min_size=1, max_size=9)
groups = alike(
    st.lists(
        st.builds(Group, tokens, st.lists(st.one_of(tokens, st.just([])), max_size=4)),
        min_size=1,
        max_size=4,
    )
)
windows = st.one_of(st.none(), st.integers(1, 8))


@settings(max_examples=60)
@given(asked=groups, window=windows)
def test_masks_say_who_sees_whom(asked: list[Group], window: int | None) -> None:
    layout = row_of(asked, torch.device("cpu")).layout
    expected = seen_by_hand(asked, window)
    mask = dense_mask(layout, window, torch.device("cpu"))
    assert mask.equal(expected)
    query, key, value = (torch.randn(1, heads, len(mask), 8) for heads in (4, 2, 2))
    dense = scaled_dot_product_attention(query, key, value, attn_mask=mask, enable_gqa=True)
    packed, _ = attend(None, query, key, value, sliding_window=window, layout=layout)
    assert torch.allclose(packed, dense.transpose(1, 2), atol=1e-5)


def test_a_common_beginning_stands_in_a_row_once() -> None:
    asked = [Group([1, 2, 3, 4], [[5], [6, 7]]), Group([1, 2, 3, 8], [[9]]), Group([1, 2, 3], [])]
    row = row_of(asked, torch.device("cpu"))
    # The third prompt keeps its 3, and with it so does each of the others.
    assert row.ids.tolist() == [[1, 2, 3, 4, 5, 6, 7, 3, 8, 9, 3]]
    assert row.positions.tolist() == [[0, 1, 2, 3, 4, 4, 5, 2, 3, 4, 2]]
    assert row.predictors.tolist() == [3, 3, 5, 8]
    assert row.last.tolist() == [4, 6, 9]
    assert common_start([Group([1, 2, 3], [[4] * 100]), Group([1, 2, 5], [[4] * 100])]) == 0


@pytest.mark.parametrize("window", [None, 40])
def test_flex_attention_takes_the_same_rule(window: int | None) -> None:
    """On a GPU it is what attends; here it runs uncompiled, forward only, over several blocks."""
    flex = pytest.importorskip("torch.nn.attention.flex_attention")
    asked = [
        Group([9] * 20 + [1] * 70, [[2] * 70, [3] * 60, [4] * 20]),
        Group([9] * 20 + [5] * 10, [[6] * 40]),
    ]
    layout = row_of(asked, torch.device("cpu")).layout
    total = layout.pieces[-1].stop
    query, key, value = (torch.randn(1, heads, total, 16) for heads in (4, 2, 2))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is not compiled
            rule = _rule(layout, window, torch.device("cpu"))
            mask = flex.create_block_mask(rule, None, None, total, total, device="cpu")
            found = flex.flex_attention(query, key, value, block_mask=mask, enable_gqa=True)
    except NotImplementedError as error:
        pytest.skip(f"this torch has no FlexAttention on a processor: {error}")
    packed, _ = attend(None, query, key, value, sliding_window=window, layout=layout)
    assert torch.allclose(found.transpose(1, 2), packed, atol=1e-5)


@pytest.mark.parametrize(
    "asked",
    [{"dropout": 0.1}, {"softcap": 5.0}, {"s_aux": torch.zeros(4)}, {"layout": None}],
)
def test_what_packed_attention_does_not_compute_is_refused(asked: dict[str, Any]) -> None:
    states = torch.randn(1, 4, 6, 8)
    with pytest.raises(NotImplementedError, match="packed attention"):
        attend(None, states, states, states, **{"layout": Layout((Piece(0, 6),)), **asked})
