from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from rlhf.chat import PLAIN_TEMPLATE, Message, parse_style, render, styled, turns
from rlhf.errors import DataError


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def test_the_control_stands_at_the_head_of_the_last_user_turn() -> None:
    messages: list[Message] = [user("a"), {"role": "assistant", "content": "b"}, user("c")]
    assert styled(messages, "正式")[2]["content"] == "[STYLE:formal]\nc"
    assert styled(messages, "formal")[0]["content"] == "a"
    assert styled(messages, None) == messages
    assert messages[2]["content"] == "c"


def test_a_control_that_a_user_typed_is_taken_out() -> None:
    typed = "[STYLE:formal] [style:caring]\nhello"
    assert styled([user(typed)], "concise")[0]["content"] == "[STYLE:concise]\nhello"
    assert styled([user(typed)], None)[0]["content"] == "hello"


def test_style_labels_of_the_seed_text_are_known() -> None:
    assert parse_style("专业且关怀") == "formal+caring"
    assert parse_style("简洁") == "concise"
    assert parse_style("pirate") is None
    assert parse_style(None) is None


@given(st.text(max_size=50), st.sampled_from(["formal", "concise", None]))
def test_styling_twice_is_styling_once(text: str, style: str | None) -> None:
    once = styled([user(text)], style)
    assert styled(once, style) == once


def test_turns_know_both_languages() -> None:
    text = "用户:我失眠\n两周了\n模型：压力大吗？\n用户: 是的"
    assert turns(text) == [
        user("我失眠\n两周了"),
        {"role": "assistant", "content": "压力大吗？"},
        user("是的"),
    ]
    assert turns("User: hi\nAssistant: hello") == [
        user("hi"),
        {"role": "assistant", "content": "hello"},
    ]
    assert turns("no prefix at all") == [user("no prefix at all")]


@pytest.fixture
def plain(tiny_model: Path) -> Any:
    """A tokenizer as base models have it: the plain template, and BOS put before every text."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = PLAIN_TEMPLATE
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", tokenizer.bos_token_id)]
    )
    return tokenizer


def test_the_plain_template_begins_with_bos_once(plain: Any) -> None:
    text = "User: hi\nAssistant: "
    assert plain.encode(text)[0] == plain.bos_token_id  # what must not be doubled
    expected = [plain.bos_token_id, *plain.encode(text, add_special_tokens=False)]
    assert render(plain, [user("hi")]) == expected


def test_the_plain_template_needs_no_bos(plain: Any) -> None:
    expected = plain.encode("User: hi\nAssistant: ", add_special_tokens=False)
    plain.bos_token = None
    assert render(plain, [user("hi")]) == expected


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_trainers_see_bos_once_too(plain: Any) -> None:
    """As TRL's trainers tokenise a conversational row."""
    from trl.data_utils import _tokenize

    ids = _tokenize(plain, [user("hi")], add_generation_prompt=True)["input_ids"]
    assert ids == render(plain, [user("hi")])


def test_turns_that_a_template_refuses_are_told_in_one_line(plain: Any) -> None:
    plain.chat_template = (
        "{% if messages[0]['role'] == 'system' %}"
        "{{ raise_exception('System role\\nnot supported') }}{% endif %}"
        "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    )
    assert render(plain, [user("hi")])
    told = r"chat template refuses the turns \(system, user\): System role not supported"
    with pytest.raises(DataError, match=told) as caught:
        render(plain, [{"role": "system", "content": "be kind"}, user("hi")])
    assert "\n" not in str(caught.value)
