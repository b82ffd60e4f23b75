import math

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaForCausalLM

from rlhf.chat import PLAIN_TEMPLATE, render
from rlhf.errors import UsageError
from rlhf.evaluation.likelihood import (
    answer_ids,
    completion_logprobs,
    kl_to_reference,
    perplexity,
)
from rlhf.sampling import Prompt

ANSWERS = [
    "Hello there!",
    "请多休息，多喝水。",
    "It leaves today.",
    "",
    "Send it back within 30 days.",
]


HELLO = Prompt(({"role": "user", "content": "Hi"},))


def one_by_one(model, contexts, completions):
    """The oracle: one row at a time, the model's own logits, a plain float32 log-softmax."""
    rows = []
    with torch.no_grad():
        for context, completion in zip(contexts, completions, strict=True):
            logits = model(input_ids=torch.tensor([[*context, *completion]])).logits[0].float()
            logprobs = logits.log_softmax(-1)
            positions = range(len(context) - 1, len(context) + len(completion) - 1)
            rows.append([float(logprobs[p, t]) for p, t in zip(positions, completion, strict=True)])
    return rows


def assert_same(scored, expected):
    assert [len(row) for row in scored] == [len(row) for row in expected]
    for row, oracle in zip(scored, expected, strict=True):
        assert row.dtype == torch.float32
        assert row.tolist() == pytest.approx(oracle, abs=5e-5)


def test_scores_equal_one_row_at_a_time(model, tokenizer, prompts):
    completions = [tokenizer.encode(a) for a in ANSWERS]
    contexts = [render(tokenizer, p.messages, p.style) for p in prompts]
    scored = completion_logprobs(model, tokenizer, prompts, completions)
    assert_same(scored, one_by_one(model, contexts, completions))


def test_soft_capped_logits_and_sliding_windows(tokenizer, prompts):
    torch.manual_seed(1)
    gemma = Gemma3ForCausalLM(
        Gemma3TextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            sliding_window=8,
            layer_types=["sliding_attention", "full_attention"],
            final_logit_softcapping=2.0,
            initializer_range=0.5,
        )
    ).eval()
    completions = [tokenizer.encode(a) for a in ANSWERS]
    contexts = [render(tokenizer, p.messages, p.style) for p in prompts]
    assert_same(
        completion_logprobs(gemma, tokenizer, prompts, completions),
        one_by_one(gemma, contexts, completions),
    )


# PEFT 0.21 reads a property that transformers 5.23 renames.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_an_adapter_is_scored_without_dropout_and_the_mode_put_back(model, tokenizer, prompts):
    torch.manual_seed(2)
    base = LlamaForCausalLM(model.config)
    base.load_state_dict(model.state_dict())
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], lora_dropout=0.5)
    policy = get_peft_model(base, config)
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight)
    completions = [tokenizer.encode(a) for a in ANSWERS]
    contexts = [render(tokenizer, p.messages, p.style) for p in prompts]
    policy.train()
    scored = completion_logprobs(policy, tokenizer, prompts, completions)
    assert policy.training
    policy.eval()
    assert_same(scored, one_by_one(policy, contexts, completions))
    plain = completion_logprobs(model, tokenizer, prompts, completions)
    assert not torch.allclose(scored[0], plain[0], atol=1e-2)


def test_perplexity_weighs_tokens_and_counts_the_end_of_turn(model, tokenizer, prompts):
    end = tokenizer.eos_token_id
    completions = [[*tokenizer.encode(a), end] for a in ANSWERS]
    contexts = [render(tokenizer, p.messages, p.style) for p in prompts]
    oracle = one_by_one(model, contexts, completions)
    result = perplexity(model, tokenizer, prompts, ANSWERS)
    assert result is not None
    flat = [value for row in oracle for value in row]
    assert result.tokens == len(flat)
    assert result.value == pytest.approx(math.exp(-sum(flat) / len(flat)), rel=1e-4)
    assert result.nll == pytest.approx([-sum(r) / len(r) for r in oracle], abs=1e-5)


def test_perplexity_of_nothing_is_none(model, tokenizer):
    assert perplexity(model, tokenizer, [], []) is None


def test_the_plain_template_closes_with_eos_and_keeps_no_newline(byte_tokenizer):
    plain = byte_tokenizer(PLAIN_TEMPLATE)
    assert answer_ids(plain, HELLO, "Yes") == [*plain.encode("Yes"), plain.eos_token_id]


def test_a_template_that_rewrites_the_prompt_is_refused(byte_tokenizer):
    counting = "{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}"
    rewriting = byte_tokenizer(counting)
    with pytest.raises(UsageError, match="template"):
        answer_ids(rewriting, HELLO, "Yes")


def test_kl_of_a_policy_with_itself_is_zero_and_with_another_is_the_sum():
    policy = [torch.tensor([-1.0, -2.0]), torch.tensor([-0.5])]
    same = kl_to_reference(policy, policy)
    assert same.per_sequence is not None and same.per_sequence.mean == 0.0
    reference = [torch.tensor([-1.5, -2.5]), torch.tensor([-0.25])]
    kl = kl_to_reference(policy, reference)
    assert kl.rows == pytest.approx([1.0, -0.25])
    assert kl.per_sequence.mean == pytest.approx(0.375)
    assert kl.per_token.mean == pytest.approx(0.75 / 3)
    k3 = [math.exp(d) - 1 - d for d in (-0.5, -0.5, 0.25)]
    assert kl.k3_per_token.mean == pytest.approx(sum(k3) / 3)


def test_both_kl_estimates_reach_the_exact_divergence():
    torch.manual_seed(3)
    p = torch.randn(12).log_softmax(0)
    q = (p + 0.3 * torch.randn(12)).log_softmax(0)
    exact = float((p.exp() * (p - q)).sum())
    drawn = torch.multinomial(p.exp(), 40_000, replacement=True)
    kl = kl_to_reference(list(p[drawn].split(4)), list(q[drawn].split(4)))
    for estimate in (kl.per_token, kl.k3_per_token):
        assert estimate.low < exact < estimate.high
    assert kl.per_sequence.mean == pytest.approx(4 * exact, rel=0.15)
    spread = [e.high - e.low for e in (kl.per_token, kl.k3_per_token)]
    assert spread[1] < spread[0] / 2


def test_no_samples_no_estimate():
    kl = kl_to_reference([], [])
    assert kl.per_sequence is None and kl.per_token is None and kl.rows == ()
