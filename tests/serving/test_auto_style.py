import json
import random
from collections import Counter
from pathlib import Path
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving.utterances import fresh_utterances, half_of, utterances

from feedback_store.schema import Interaction
from rlhf.errors import UsageError
from rlhf.serving.auto_style import choose

FILE = Path(__file__).with_name("utterances.jsonl")


def user(*turns):
    return [{"role": "user", "content": turn} for turn in turns]


def style_of(*turns):
    return choose(user(*turns)).style


def share_right(rows):
    return sum(style_of(row.text) == row.style for row in rows) / len(rows)


def test_unseen_utterances_get_the_right_style():
    rows = utterances("unseen")
    assert len(rows) >= 100
    assert share_right(rows) >= 0.85
    for chinese in (True, False):
        assert share_right([row for row in rows if is_zh(row.text) == chinese]) >= 0.85


def test_turns_that_do_not_name_what_they_mean_are_read_no_worse_than_told():
    """Far below the unseen half, and meant to stay visible: see utterances.md."""
    assert share_right(fresh_utterances()) >= 0.4


def test_no_single_style_carries_the_accuracy():
    rows = utterances("unseen")
    for style in {row.style for row in rows}:
        assert share_right([row for row in rows if row.style == style]) >= 0.7, style


def test_the_halves_are_balanced_and_each_line_stands_once():
    lines = [json.loads(line) for line in FILE.read_text(encoding="utf-8").splitlines()]
    assert len(lines) >= 260 and len({line["text"] for line in lines}) == len(lines)
    halves = Counter(half_of(line["text"]) for line in lines)
    assert min(halves.values()) >= 0.4 * len(lines)
    assert 0.4 < sum(is_zh(line["text"]) for line in lines) / len(lines) < 0.6


def is_zh(text):
    return any("\u4e00" <= c <= "\u9fff" for c in text)


@pytest.mark.parametrize(
    ("text", "style"),
    [
        ("I am happy with the delivery", None),
        ("I am not happy with the delivery", "concise+caring"),
        ("I am not angry, how do I pay?", "concise"),
        ("我对配送很满意", None),
        ("我对配送不满意", "concise+caring"),
        ("我没生气，怎么付款？", "concise"),
        ('How do you say "angry" in Welsh?', "concise"),
        ("“气死”用英语怎么说？", "concise"),
        ("ＷＨＥＲＥ ＩＳ ＭＹ ＯＲＤＥＲ", "concise+caring"),
        ("where is my order", "concise"),
        ("where is my order????", "concise"),
        ("Is it in the manger?", "concise"),  # no anger inside a word
        ("受\u200b够了", "concise+caring"),
    ],
)
def test_negation_mention_emphasis_and_word_borders(text, style):
    assert style_of(text) == style


def test_an_earlier_turns_mood_lasts_and_fades():
    calm = "订单号是20391"
    assert style_of(calm) is None or style_of(calm) == "concise"
    assert style_of("都第三次了，怎么还没发货！受够了", calm) == "concise+caring"
    assert style_of("都第三次了，怎么还没发货！受够了", "好的", "谢谢", calm) == style_of(calm)


def test_asking_the_same_again_is_impatience():
    asked = "How do I pay?"
    assert style_of(asked) == "concise"
    assert style_of(asked, asked) == "concise+caring"


def test_only_the_users_turns_are_read():
    angry = {"role": "assistant", "content": "I am fed up with this garbage"}
    system = {"role": "system", "content": "Everyone here is furious"}
    assert choose(
        [system, *user("How do I pay?"), angry, *user("How do I pay by card?")]
    ).style == ("concise")
    assert choose([system]).style is None
    assert choose([]).intent == "small talk"


def test_ones_own_words_and_table_are_added(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("words:\n  frustrated:\n    3: [gosh darn~it]\n")
    assert choose(user("gosh darn all of it")).style is None
    assert choose(user("gosh darn all of it"), path).style == "concise+caring"
    assert choose(user("how do I pay?"), path).style == "concise"
    path.write_text("styles:\n  how-to: {cheerful: caring}\n")
    assert choose(user("how do I pay?"), path).style == "concise"
    assert choose(user("Thanks a lot! How do I pay?"), path).style == "caring"


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("words: {frustated: {3: [x]}}", ["frustated"]),
        ("words: {frustrated: {lots: [x]}}", ["lots"]),
        ("words: {frustrated: {99: [x]}}", ["10"]),
        ("words: {frustrated: {3: ['!~']}}", ["'!~'"]),
        ("words: {frustrated: {3: [abc*]}}", ["abc*", "4 letters"]),
        ("styles: {how-to: {calm: sternly}}", ["sternly"]),
        ("word: {}", ["words"]),
        ("a: [", ["not valid YAML"]),
    ],
)
def test_a_bad_file_of_words_is_one_clear_line(tmp_path, written, parts):
    path = tmp_path / "mine.yaml"
    path.write_text(written)
    with pytest.raises(UsageError) as raised:
        choose(user("hi"), path)
    assert all(part in str(raised.value) for part in [str(path), *parts])
    assert "\n" not in str(raised.value)
    with pytest.raises(UsageError, match=r"nowhere\.yaml"):
        choose(user("hi"), tmp_path / "nowhere.yaml")


@given(st.text(max_size=300), st.lists(st.text(max_size=50), max_size=3))
def test_any_text_gets_a_choice_that_the_store_takes(text, before):
    choice = choose(user(*before, text))
    assert choice == choose(user(*before, text))
    Interaction(
        messages=({"role": "user", "content": "?"},),
        response="!",
        intent=choice.intent,
        style_used=choice.style,
    )


def best_ms(text, repeats=15):
    turns = user(text)
    choose(turns)
    times = []
    for _ in range(repeats):
        start = perf_counter()
        choose(turns)
        times.append(perf_counter() - start)
    return 1e3 * min(times)


@pytest.mark.slow  # a busy machine is no fault
def test_two_thousand_characters_take_under_a_millisecond():
    rows = [row.text for row in utterances("tuning")]
    for chinese in (True, False):
        texts = [text for text in rows if is_zh(text) == chinese]
        random.Random(0).shuffle(texts)
        assert best_ms("\n".join(texts * 2)[:2_000], repeats=50) < 1


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "not ",
        "怎么还",
        "我i",
        '"',
        "“不",
        "!?",
        "\ufdfa",
        "A A ",
        "\u0301",
        "tried ",
        " ",
        "\n",
    ],
)
def test_hostile_text_takes_no_longer_the_longer_it_is(piece):
    assert best_ms((piece * 400_000)[:400_000]) < 10
