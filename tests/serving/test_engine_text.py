"""Pieces of an answer: whole characters, up to a stop text, adding up to the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from rlhf.serving.engines.text import Answer


@pytest.fixture(scope="module")
def by_bytes(tiny_model: Path) -> Any:
    """One token a byte."""
    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture(scope="module")
def by_pieces() -> Any:
    """As SentencePiece writes: `▁` for a space, and bytes for what is in no piece."""
    pieces = ["<unk>", "▁hello", "▁", "lo", "▁world", "!", *(f"<0x{b:02X}>" for b in range(256))]
    core = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=[]))
    core.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")


def pieces(tokenizer: Any, ids: list[int], stop: tuple[str, ...] = ()) -> list[str]:
    answer, found = Answer(tokenizer, stop), []
    for token in ids:
        found.append(answer.add(token))
        if answer.stopped:
            break
    return [*found, answer.end()]


def whole(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True)).strip()


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


@given(ids=st.lists(st.integers(0, 258), max_size=40))
def test_any_bytes_add_up_to_the_whole_text(by_bytes: Any, ids: list[int]) -> None:
    assert "".join(pieces(by_bytes, ids)) == whole(by_bytes, ids)


@given(text=st.text(st.sampled_from("你好 ab\n🙂é�"), max_size=30))
def test_no_piece_holds_half_a_character(by_bytes: Any, text: str) -> None:
    found = pieces(by_bytes, ids_of(by_bytes, text))
    assert "".join(found) == text.strip()
    for size in range(len(found)):
        assert text.strip().startswith("".join(found[:size]))


@given(ids=st.lists(st.integers(1, 5), max_size=20))
def test_pieces_that_join_differently_alone_add_up(by_pieces: Any, ids: list[int]) -> None:
    assert "".join(pieces(by_pieces, ids)) == whole(by_pieces, ids)


def test_characters_written_as_bytes_wait_until_they_are_whole(by_pieces: Any) -> None:
    ids = [1, *(6 + b for b in "你好".encode()), 5]
    assert pieces(by_pieces, ids) == ["hello", "", "", "你", "", "", "好", "!", ""]


@given(
    text=st.text(st.sampled_from("abc \n"), max_size=30),
    stop=st.lists(st.text(st.sampled_from("abc \n"), min_size=1, max_size=4), max_size=3),
)
def test_an_answer_ends_before_the_first_stop_text(
    by_bytes: Any, text: str, stop: list[str]
) -> None:
    """Held against reading one token more each time, without holding anything back."""
    expected = text
    for until in range(len(text) + 1):
        found = [at for at in (text[:until].find(s) for s in stop) if at >= 0]
        if found:
            expected = text[: min(found)]
            break
    found_pieces = pieces(by_bytes, ids_of(by_bytes, text), tuple(stop))
    assert "".join(found_pieces) == expected.strip()


def test_what_cannot_be_a_stop_text_is_shown_at_once(by_bytes: Any) -> None:
    assert pieces(by_bytes, ids_of(by_bytes, "a b##c"), ("###",)) == [
        "a",
        "",
        " b",
        "",
        "",
        "##c",
        "",
    ]
