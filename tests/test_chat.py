from hypothesis import given
from hypothesis import strategies as st

from rlhf.chat import Message, parse_style, styled, turns


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
