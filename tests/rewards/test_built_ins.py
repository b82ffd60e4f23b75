"""What holds for every built-in reward: bounds, peace with any text, and time that grows evenly."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewards import bind, list_rewards

RANGES = {
    "citation": (-1, 1),
    "compliance": (-1, 0),
    "empathy": (0, 1),
    "format": (0, 1),
    "length": (0, 1),
    "question": (0, 1),
    "readability": (0, 1),
    "relevance": (0, 1),
    "repetition": (-1, 0),
    "style": (0, 1),
    "terminology": (-1, 1),
    "toxicity": (-1, 0),
}
RULES = {spec.name: bind(spec) for spec in list_rewards() if spec.name in RANGES}
ASKED = "我很担心退款，I'm so worried: 请分点列出步骤 and cite sources"
# What nests, repeats or never closes: where a careless pattern takes a square of time.
PIECES = [
    "你好。",
    "ok. ",
    "```\n",
    "`a",
    "[1-2][",
    "（来源：",
    "“",
    "http://a.b/",
    "# a\n",
    "\n \n",
]
PIECES += ["- a\n", "<think>", "{", "白痴，", "不要", "退款", "a", "😀", "a'b", "**|", "g. o. "]


def test_every_rule_is_here():
    without = {"http", "judge", "reward_model"}  # they ask a model
    assert {spec.name for spec in list_rewards() if spec.shipped} - without == set(RANGES)


@given(st.text(), st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
@settings(max_examples=60)
def test_any_text_is_scored_within_bounds(prompt, answer):
    rows = {"prompts": [prompt, ASKED], "completions": [answer, prompt]}
    columns = {"style": ["专业且关怀", None], "sources": [["a"], None], "mood": ["焦虑", None]}
    for name, fn in RULES.items():
        low, high = RANGES[name]
        scores = fn(**rows, **columns)
        assert all(score is None or low <= score <= high for score in scores), name
        assert scores == fn(**rows, **columns), name


@pytest.mark.parametrize(
    ("size", "most_s"), [(10_000, 0.5), pytest.param(100_000, 5.0, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", sorted(RANGES.keys() - {"compliance"}))
def test_a_long_answer_takes_time_in_proportion(name, size, most_s):
    """So many characters of each piece, far below what a square of their number would take."""
    for piece in PIECES:
        answer = (piece * (size // len(piece) + 1))[:size]
        start = time.process_time()
        RULES[name](prompts=[ASKED], completions=[answer], sources=[["a"]], style=["formal"])
        assert time.process_time() - start < most_s, piece
