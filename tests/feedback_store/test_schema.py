import json
import math

import pytest
from pydantic import ValidationError

from feedback_store import Comparison, Feedback, Interaction, Message, Policy, printable

HELLO = [{"role": "user", "content": "Hello"}]


def test_defaults_follow_from_what_is_given() -> None:
    made = Interaction(messages=(Message(role="user", content="Hi"),), response="Hello")
    assert made.conversation == made.id and len(made.id) == 32
    assert Feedback(interaction="i", voter="v", kind="thumb", value=1).metric == "thumb"
    assert Interaction(messages=HELLO, response="", style_asked="short").style == "short"


def test_records_are_frozen_and_survive_json() -> None:
    made = Interaction(
        messages=HELLO, response="你好", response_token_ids=(1, 2), sampling={"t": 0}
    )
    with pytest.raises(ValidationError):
        made.response = "else"
    assert Interaction.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": []},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"response": "nul \x00"},
        {"response": "surrogate \ud800"},
        {"response": "x" * 200_001},
        {"id": "../../etc/passwd"},
        {"id": "line\n"},
        {"project": "a\nb"},
        {"project": ""},
        {"style_used": "x" * 65},
        {"sampling": {"temperature": math.nan}},
        {"sampling": {"stop": "\x00"}},
        {"sampling": {f"k{i}": i for i in range(65)}},
        {"assignment_probability": 0.0},
        {"assignment_probability": 1.5},
        {"response_token_ids": [-1]},
        {"response_token_ids": [2**31]},
        {"latency_ms": math.inf},
        {"consent": "yes"},
        {"turn": True},
        {"created_at": "2026-01-01T00:00:00"},
        {"unknown": 1},
    ],
)
def test_hostile_interactions_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Interaction.model_validate({"messages": HELLO, "response": "ok"} | fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "thumb", "value": 0.5},
        {"kind": "thumb", "value": True},
        {"kind": "thumb"},
        {"kind": "thumb", "value": 1, "text": "good"},
        {"kind": "rating"},
        {"kind": "rating", "value": math.nan},
        {"kind": "implicit", "value": math.inf},
        {"kind": "implicit"},
        {"kind": "comment"},
        {"kind": "comment", "text": "  "},
        {"kind": "correction", "text": "better", "value": 1},
        {"kind": "thumb", "value": 1, "withdrawn": True},
        {"kind": "comparison", "value": 1},
        {"kind": "thumb", "value": 1, "metric": "a\x00"},
        {"kind": "thumb", "value": 1, "policy": "p1"},
        {"kind": "thumb", "value": 1, "sampling": {"temperature": 0}},
    ],
)
def test_feedback_must_fit_its_kind(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Feedback.model_validate({"interaction": "i", "voter": "v"} | fields)


def test_a_comparison_kind_names_its_own_record() -> None:
    with pytest.raises(ValidationError, match="send a Comparison"):
        Feedback(interaction="i", voter="v", kind="comparison", value=1)
    with pytest.raises(ValidationError, match="with itself"):
        Comparison(a="i", b="i", voter="v", choice="a")


def test_manifests_are_plain_json() -> None:
    fields = {"id": "p", "kind": "lora", "base_model": "b", "path": "p"}
    with pytest.raises(ValidationError):
        Policy.model_validate(fields | {"manifest": {"loss": math.nan}})
    with pytest.raises(ValidationError):
        Policy.model_validate(fields | {"manifest": {"text": "\x00"}})
    kept = {"pattern": "\\u0000", "n": [1, None, {"x": "é"}]}
    assert json.loads(Policy.model_validate(fields | {"manifest": kept}).model_dump_json())


def test_printable_makes_any_text_storable() -> None:
    text = printable("a\x00b\ud800\x1b\n")
    assert text == "ab\n"
    assert Message(role="assistant", content=text)
