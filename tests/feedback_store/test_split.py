from hypothesis import given
from hypothesis import strategies as st

from feedback_store import Message, is_held_out, prompt_hash


def test_the_fraction_is_met_and_only_grows() -> None:
    ids = [f"conversation-{n}" for n in range(20_000)]
    tenth = {id for id in ids if is_held_out(id, 0.1)}
    fifth = {id for id in ids if is_held_out(id, 0.2)}
    assert tenth < fifth
    assert abs(len(tenth) - 2_000) < 200
    assert tenth != {id for id in ids if is_held_out(id, 0.1, salt="other")}
    assert not any(is_held_out(id, 0.0) for id in ids)


def test_the_split_is_the_same_on_every_machine() -> None:
    held_out = [n for n in range(40) if is_held_out(str(n), 0.1)]
    assert held_out == [11, 13, 18, 25, 27]


def said(*contents: str) -> list[Message]:
    return [Message(role="user", content=content) for content in contents]


def test_trivial_variants_of_a_prompt_are_the_same() -> None:
    assert prompt_hash(said("Hello  World")) == prompt_hash(said(" hello\nworld"))
    assert prompt_hash(said("ＡＢＣ１")) == prompt_hash(said("abc1"))
    assert prompt_hash(said("a", "b")) != prompt_hash(said("a b"))
    assert prompt_hash(said("a")) != prompt_hash([Message(role="system", content="a")])


@given(st.text(alphabet="ab 中", max_size=5), st.text(alphabet="ab 中", max_size=5))
def test_different_words_are_different_prompts(a: str, b: str) -> None:
    same = a.split() == b.split()
    assert (prompt_hash(said(a)) == prompt_hash(said(b))) == same
