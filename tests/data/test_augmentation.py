import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rlhf.config import validate
from rlhf.data.augmentation import AugmentSettings, augmented, prompt_key
from rlhf.data.paraphrase import is_paraphrase, reworder
from rlhf.data.records import parse_record
from rlhf.errors import UsageError
from rlhf.sampling import Completion, Prompt, Sampling

CONFIGS = Path(__file__).parents[2] / "configs"
ZH = CONFIGS / "augment_zh.yaml"


def row(number: int, intent: str | None = None, question: str = "") -> dict[str, Any]:
    asked = question or f"我头痛{number}天了。为什么？严重吗？该怎么处理？"
    made = {
        "prompt": [{"role": "user", "content": asked}],
        "completion": f"休息{number}天。",
        "source": f"a.jsonl:{number}",
    }
    return made if intent is None else {**made, "intent": intent}


ROWS = [row(n) for n in range(200)]


def settings(**values: Any) -> AugmentSettings:
    return validate(AugmentSettings, {"templates": ZH, **values}, "x.yaml")


def test_variants_are_marked_capped_and_new() -> None:
    made = list(augmented(ROWS, settings(per_row=3, most_synthetic=0.25), seed=0))
    assert len(made) == 66  # 66 of 266 are a quarter; one more would be over
    sources = {r["source"]: r for r in ROWS}
    for variant in made:
        source = sources[variant["synthetic"]["of"]]
        assert variant["synthetic"]["by"] == "template"
        assert variant["completion"] == source["completion"]
        assert prompt_key(variant) != prompt_key(source)
    keys = [prompt_key(r) for r in (*ROWS, *made)]
    assert len(keys) == len(set(keys))


def test_the_seed_decides() -> None:
    first, again, other = (list(augmented(ROWS, settings(), seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_sources_are_left_as_they_are_and_synthetic_rows_are_no_sources() -> None:
    rows = [row(1), {**row(2), "synthetic": {"by": "template", "of": "a.jsonl:1"}}]
    before = repr(rows)
    made = list(augmented(rows, settings(per_row=9, most_synthetic=0.9), seed=0))
    assert {variant["synthetic"]["of"] for variant in made} == {"a.jsonl:1"}
    assert repr(rows) == before


def test_nothing_asks_what_a_held_out_row_asks() -> None:
    made = list(augmented(ROWS, settings(), seed=0))
    held_out = made[:10]
    again = list(augmented(ROWS, settings(), seed=0, held_out=held_out))
    assert not {prompt_key(r) for r in held_out} & {prompt_key(r) for r in again}


def test_a_variant_stays_with_its_source_in_a_later_split() -> None:
    for variant in augmented(ROWS[:20], settings(), seed=0):
        source = next(r for r in ROWS if r["source"] == variant["synthetic"]["of"])
        assert parse_record(variant, "x").conversation == parse_record(source, "x").conversation


def test_rare_intents_reach_their_share() -> None:
    rows = [row(n, "common") for n in range(180)]
    rows += [row(n + 180, "rare") for n in range(8)] + [row(n + 190, "scarce") for n in range(12)]
    balance = {"least_share": 0.1, "most_per_row": 9}
    made = list(augmented(rows, settings(balance=balance), seed=0))
    counts = Counter(r["intent"] for r in (*rows, *made))
    assert counts["common"] == 180
    for intent in ("rare", "scarce"):
        assert 0.1 <= counts[intent] / counts.total() < 0.105
    per_source = Counter(variant["synthetic"]["of"] for variant in made)
    assert max(per_source.values()) <= 9


def test_balance_is_bounded_per_row() -> None:
    rows = [row(n, "common") for n in range(100)] + [row(100, "rare")]
    made = list(augmented(rows, settings(balance={"least_share": 0.4, "most_per_row": 3}), seed=0))
    assert 1 <= len(made) <= 3


class Echo:
    """Stands in for a model: rewords by rule, and every third time does something wrong."""

    def sample(self, prompts: list[Prompt], sampling: Sampling, *, seed: int) -> list[Completion]:
        said = []
        for number, prompt in enumerate(prompts):
            question = prompt.messages[0]["content"].split("\n\n")[1]
            wrong = ("头痛9999天", "Take a rest and drink", question)[number % 3]
            text = wrong if number % 2 else question.replace("该怎么处理", "如何是好")
            said.append(Completion(text, (), "stop" if number % 5 else "length"))
        return said


def test_paraphrases_by_a_model_are_checked() -> None:
    asked = settings(templates=None, paraphrase={"per_row": 2, "batch_size": 16})
    assert asked.paraphrase is not None
    made = list(augmented(ROWS, asked, seed=0, reworder=reworder(Echo(), asked.paraphrase)))
    assert made
    for variant in made:
        assert variant["synthetic"]["by"] == "paraphrase"
        assert "如何是好" in variant["prompt"][-1]["content"]


@pytest.mark.parametrize(
    ("question", "wording", "fits"),
    [
        ("我头痛3天了，怎么办？", "头痛已经3天，如何处理？", True),
        ("我头痛3天了，怎么办？", "头痛已经5天，如何处理？", False),
        ("我头痛3天了，怎么办？", "头痛？", False),
        ("我头痛3天了，怎么办？", "My head hurts for 3 days", False),
        ("我头痛3天了，怎么办？", "我头痛3天了 怎么办", False),
        ("Call <PHONE> now?", "Should I ring <PHONE> today?", True),
        ("Call <PHONE> now?", "Should I ring 555 today?", False),
    ],
)
def test_what_may_be_a_paraphrase(question: str, wording: str, fits: bool) -> None:
    assert is_paraphrase(question, wording) is fits


def test_english_words_are_whole_and_keep_their_capital() -> None:
    rows = [row(1, question="How do I buy a buyer's guide?")]
    asked = settings(templates=CONFIGS / "augment_en.yaml", per_row=20, most_synthetic=0.99)
    said = [r["prompt"][0]["content"] for r in augmented(rows, asked, seed=0)]
    assert any("How can I purchase a buyer's guide?" in text for text in said)
    assert not any("purchaser" in text or re.search("how (do|can)", text) for text in said)


def test_a_question_may_come_before_its_circumstances() -> None:
    rows = [row(1, question="头痛三天了。睡不着？"), row(2, question="我去过了。然后呢？")]
    said = {r["prompt"][0]["content"] for r in augmented(rows, settings(per_row=20), seed=0)}
    many = list(augmented(rows, settings(per_row=20, most_synthetic=0.95), seed=0))
    said |= {r["prompt"][0]["content"] for r in many}
    assert any("睡不着？头痛三天了。" in text for text in said)
    assert not any("然后呢？我去过了。" in text for text in said)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("frames: ['{greeting} hello']", "needs `{question}` once"),
        ("frames: ['{greeting} {question}']", "no slot `greeting`"),
        ("synonyms: [[one]]", "at least 2 items"),
        ("slots: {a: [b]}", "no wordings"),
        ("frame: ['{question}']", "did you mean `frames`"),
    ],
)
def test_templates_that_cannot_be_used(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=told) as refused:
        list(augmented(ROWS, settings(templates=path), seed=0))
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)
