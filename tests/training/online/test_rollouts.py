"""Which prompts a round asks: every one once a turn, by the seed alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from rlhf.chat import Message, render
from rlhf.data.records import Record
from rlhf.errors import DataError
from rlhf.models import ModelSettings, load_tokenizer
from rlhf.training.online.rollouts import chosen, prompt_rows, questions, seed_of


def user(text: str) -> tuple[Message, ...]:
    return ({"role": "user", "content": text},)


# Prompts


def test_a_prompt_counts_once_whatever_was_voted_on_it() -> None:
    rows = prompt_rows(
        [
            Record("preference", user("tea"), chosen="green", rejected="cold"),
            Record("unpaired", user("tea"), completion="black", label=True),
            Record("sft", user("tea"), completion="white"),
            Record("sft", user("tea"), completion="a leaf", style="formal"),
            Record("sft", user("tea?"), completion="yes", intent="drinks"),
        ]
    )
    asked = [(row["prompt"][0]["content"], row["style"], row["intent"]) for row in rows]
    assert asked == [("tea", None, None), ("tea", "formal", None), ("tea?", None, "drinks")]


@pytest.mark.parametrize(
    ("record", "reference"),
    [
        (Record("sft", user("a"), completion="known"), "known"),
        (Record("preference", user("a"), chosen="better", rejected="worse"), "better"),
        (Record("unpaired", user("a"), completion="liked", label=True), "liked"),
        (Record("unpaired", user("a"), completion="disliked", label=False), None),
        (Record("prompt", user("a")), None),
    ],
)
def test_rewards_may_read_an_answer_that_is_known_to_be_good(
    record: Record, reference: str | None
) -> None:
    (row,) = prompt_rows([record])
    assert row["reference"] == reference


def test_no_prompt_is_an_error() -> None:
    with pytest.raises(DataError, match="needs prompts to answer"):
        prompt_rows([])


# Questions


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(ModelSettings(base_model=str(tiny_model), dtype="float32"))


def rows_of(*texts: str, style: str | None = None) -> list[dict[str, Any]]:
    return prompt_rows([Record("prompt", user(t), style=style, intent=f"of {t}") for t in texts])


def test_a_question_is_the_prompt_as_the_policy_will_see_it(
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    (question,) = questions(rows_of("tea", style="formal"), tokenizer, 100)
    assert question.ids == render(tokenizer, user("tea"), "formal")
    assert tokenizer.decode(question.ids).count("[STYLE:formal]") == 1
    assert question.prompt.messages == user("tea") and question.prompt.style == "formal"
    assert question.columns == {"style": "formal", "intent": "of tea", "reference": None}


def test_prompts_that_are_too_long_are_left_out_and_told(
    tokenizer: PreTrainedTokenizerBase, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["rain", "rain" * 3, "sun"]
    longest = len(render(tokenizer, user("rain"), None))
    asked = questions(rows_of(*texts), tokenizer, longest)
    assert [q.prompt.messages[0]["content"] for q in asked] == ["rain", "sun"]
    assert f"left out 1 prompts of more than {longest} tokens" in capsys.readouterr().err
    assert len(questions(rows_of(*texts), tokenizer, 10 * longest)) == 3
    assert capsys.readouterr().err == ""


def test_prompts_that_are_all_too_long_are_an_error(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(DataError, match="all 2 prompts are longer than 3 tokens"):
        questions(rows_of("rain", "sun"), tokenizer, 3)
    assert questions([], tokenizer, 3) == []  # no held-out prompts are no mistake


# Turns


@given(count=st.integers(1, 12), size=st.integers(1, 9), seed=st.integers(0, 99))
def test_every_prompt_is_asked_once_a_turn(count: int, size: int, seed: int) -> None:
    turns = 3
    rounds = -(-turns * count // size)
    asked = [place for update in range(rounds) for place in chosen(count, size, update, seed)]
    for turn in range(turns):
        assert sorted(asked[turn * count : (turn + 1) * count]) == list(range(count))


@given(size=st.integers(1, 9), other=st.integers(1, 9), seed=st.integers(0, 99))
def test_the_order_is_the_same_in_rounds_of_any_size(size: int, other: int, seed: int) -> None:
    first, second = (
        [place for update in range(30) for place in chosen(7, n, update, seed)][:30]
        for n in (size, other)
    )
    assert first == second


def test_what_a_round_asks_depends_on_the_seed_alone() -> None:
    """A run that goes on in another process has none of the first one's generators."""
    torch.manual_seed(0)
    state = torch.random.get_rng_state()
    late = chosen(50, 8, update=4, seed=1)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    assert [chosen(50, 8, update, seed=1) for update in range(5)][4] == late
    assert chosen(50, 8, update=4, seed=2) != late


def test_every_turn_has_its_own_order() -> None:
    first, second = (chosen(50, 50, update, seed=1) for update in range(2))
    assert sorted(first) == sorted(second) and first != second != list(range(50))


def test_seeds_differ_by_purpose_and_round() -> None:
    parts = [(s, p, u) for s in (0, 1) for p in ("answers", "minibatches") for u in range(50)]
    seeds = {seed_of(*part) for part in parts}
    assert len(seeds) == len(parts)
    torch.Generator().manual_seed(max(seeds))  # all of a size that torch takes
    assert seed_of(0, "answers", 1) == seed_of(0, "answers", 1)
