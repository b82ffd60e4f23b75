from pathlib import Path
from typing import Any

import pytest
import torch

from rlhf.models import ModelSettings, load_base, load_tokenizer
from rlhf.sampling import LocalSampler, Prompt, Sampling, draw

TEXTS = ["hello", "a much longer question than the first one", "q", "why is the sky blue?"]
PROMPTS = [Prompt(({"role": "user", "content": t},)) for t in TEXTS]


@pytest.fixture(scope="module")
def sampler(tiny_model: Path) -> LocalSampler:
    settings = ModelSettings(base_model=str(tiny_model), dtype="float32")
    model = load_base(settings)
    torch.manual_seed(3)
    for parameter in model.parameters():  # a random model's greedy path is one token for ever
        parameter.data += 0.2 * torch.randn_like(parameter)
    return LocalSampler(model, load_tokenizer(settings))


def reference(sampler: LocalSampler, prompt: Prompt, count: int) -> list[int]:
    """Greedy decoding with transformers' own `generate`, one prompt at a time."""
    ids: Any = sampler.tokenizer.apply_chat_template(
        [dict(m) for m in prompt.messages], add_generation_prompt=True, return_dict=False
    )
    output: Any = sampler.model.generate(
        torch.tensor([ids]), max_new_tokens=count, do_sample=False, pad_token_id=0
    )
    return [int(t) for t in output[0, len(ids) :]]


def test_greedy_batches_equal_generate_row_by_row(sampler: LocalSampler) -> None:
    drawn = sampler.sample(PROMPTS, Sampling(20, temperature=0, batch_size=3), seed=0)
    for prompt, completion in zip(PROMPTS, drawn, strict=True):
        assert list(completion.token_ids) == reference(sampler, prompt, 20)


def test_a_prompt_asked_several_times_runs_once(
    sampler: LocalSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    own = sampler.model.forward

    def counted(**asked: Any) -> Any:
        rows.append(len(asked["input_ids"]))
        return own(**asked)

    monkeypatch.setattr(sampler.model, "forward", counted)
    asked = [prompt for prompt in PROMPTS for _ in range(3)]
    drawn = sampler.sample(asked, Sampling(6, temperature=0, batch_size=12), seed=0)
    assert rows[0] == 4 and max(rows) == 12
    monkeypatch.undo()
    for prompt, completion in zip(asked, drawn, strict=True):
        assert list(completion.token_ids) == reference(sampler, prompt, 6)


def test_rows_end_at_eos_and_leave_the_others_alone(sampler: LocalSampler) -> None:
    drawn = sampler.sample(PROMPTS * 8, Sampling(200, batch_size=16), seed=1)
    reasons = {c.finish_reason for c in drawn}
    assert reasons == {"stop", "length"} or reasons == {"stop"}
    for completion in drawn:
        assert 1 not in completion.token_ids[:-1]
        assert (completion.token_ids[-1] == 1) == (completion.finish_reason == "stop")
        assert "<eos>" not in completion.text


def test_the_seed_decides(sampler: LocalSampler) -> None:
    sampling = Sampling(12, top_p=0.9)
    first = sampler.sample(PROMPTS, sampling, seed=5)
    assert first == sampler.sample(PROMPTS, sampling, seed=5)
    assert first != sampler.sample(PROMPTS, sampling, seed=6)


@pytest.mark.parametrize("top_p", [1.0, 0.7])
@pytest.mark.parametrize("vocabulary", [40, 900])
def test_draws_follow_the_distribution(top_p: float, vocabulary: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(vocabulary) * 2
    sampling = Sampling(1, temperature=0.8, top_p=top_p)
    n = 200_000 // vocabulary * 40
    drawn = draw(logits.expand(n, -1), sampling, torch.rand(n))
    seen = torch.bincount(drawn, minlength=vocabulary).double() / n
    expected = (logits.double() / 0.8).softmax(-1)
    if top_p < 1:
        ordered, index = expected.sort(descending=True)
        kept = index[(ordered.cumsum(-1) - ordered) < top_p]
        nucleus = torch.zeros_like(expected)
        nucleus[kept] = expected[kept]
        expected = nucleus / nucleus.sum()
    assert (seen[expected == 0] == 0).all()
    often = expected * n > 50  # where the normal approximation holds
    sigma = (expected * (1 - expected) / n).sqrt()
    assert often.sum() > 3
    assert ((seen - expected).abs() / sigma)[often].max() < 5


def test_a_nucleus_larger_than_the_shortcut_is_whole() -> None:
    logits = torch.zeros(8_000, 1_000)  # flat: 700 tokens make 0.7
    drawn = draw(logits, Sampling(1, top_p=0.7), torch.rand(8_000))
    assert 650 < len(drawn.unique()) <= 701


def test_rows_with_wide_and_narrow_nuclei_share_a_batch() -> None:
    sharp = torch.full((1, 1_000), -20.0)
    sharp[0, 7] = 20.0
    logits = torch.cat([sharp, torch.zeros(1, 1_000), sharp])
    drawn = draw(logits, Sampling(1, top_p=0.9), torch.tensor([0.5, 0.5, 0.9]))
    assert drawn[[0, 2]].tolist() == [7, 7] and 0 <= int(drawn[1]) < 1_000


def test_the_ends_of_the_uniform_give_tokens_of_the_distribution() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 1.0, -torch.inf]]).expand(2, -1)
    drawn = draw(logits, Sampling(1), torch.tensor([0.0, 1.0 - 2**-24]))
    assert drawn.tolist() == [1, 3]
