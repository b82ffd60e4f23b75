import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import BadParameter
from rewards.glossary import DEFAULTS, load_glossary
from rewards.terminology import terminology

OWN = [
    {"term": "退款", "also": ["退回款项"], "avoid": ["退钱"], "when": ["把钱"]},
    {"term": "refund*", "avoid": ["money back"]},
    {"term": "invoice*"},
]


def score(asked, answer, **params):
    return terminology([asked], [answer], **{"glossary": OWN, **params})[0]


@pytest.mark.parametrize(
    ("asked", "answer", "expected"),
    [
        ("能把钱还给我吗", "您的退款申请已经提交，三天内到账。", 1.0),
        ("能把钱还给我吗", "我们会在三天内退回款项，请您留意。", 1.0),
        ("能退钱吗", "可以的，三天内处理完毕。", 0.0),
        ("能退钱吗", "可以退钱，三天内处理完毕。", -1.0),
        ("Can I have my money back?", "Yes, refunds reach you within three days.", 1.0),
        ("Can I have my money back?", "Yes, you get your money back soon.", -1.0),
        ("Where is my invoice and refund?", "The refund was sent to your bank.", 0.5),
        ("几点开门？", "早上九点开门。", None),
        ("Opening hours?", "", None),
    ],
)
def test_what_the_question_calls_for_and_what_it_must_not_be_called(asked, answer, expected):
    assert score(asked, answer) == expected


def test_a_list_of_terms_is_no_context():
    assert score("能退钱吗", "退款，退款，退款。") == 0.0
    assert score("Refund?", "Refund refund refund refund.") == 0.0
    stuffed = "退款退款退款退款退款退款退款退款请您留意。"
    assert score("能退钱吗", stuffed) == 0.0
    fair = "您的退款申请已经提交，三天内到账，请您留意。"
    assert score("能退钱吗", fair + stuffed) < score("能退钱吗", fair)


def test_a_term_inside_a_wrong_one_does_not_count():
    glossary = [{"term": "高血压", "avoid": ["高血压病症"]}]
    assert score("血压", "您得的是高血压病症，需要按时复查。", glossary=glossary) == -1.0


def test_code_and_addresses_use_no_terms():
    assert score("hours?", "See `refund` at https://a.example/refund now please.") is None


def test_a_glossary_from_a_file_changes_with_it(tmp_path):
    path = tmp_path / "words.yaml"
    path.write_text("- {term: kettle, avoid: [water thing]}\n")
    answer = "The water thing has a warranty of two years."
    assert score("?", answer, glossary=path) == -1.0
    path.write_text("- {term: kettle, avoid: [hot thing]}\n")
    assert score("kettle?", answer, glossary=path) == 0.0


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{", "not YAML"),
        ("words", "expected a list"),
        ("[]", "expected a list"),
        ("- {trem: x}", "entry 1: term Field required"),
        ("- {term: x}\n- {term: y, avoid: z}", "entry 2: avoid"),
    ],
)
def test_mistakes_in_a_glossary_are_named(tmp_path, written, message):
    path = tmp_path / "words.yaml"
    path.write_text(written)
    with pytest.raises(BadParameter, match=message) as raised:
        load_glossary(path)
    assert "words.yaml" in str(raised.value) and "\n" not in str(raised.value)


def test_other_mistakes(tmp_path):
    with pytest.raises(BadParameter, match="no glossary at"):
        load_glossary(tmp_path / "none.yaml")
    with pytest.raises(BadParameter, match="density"):
        score("?", "x", density=0)


def test_the_default_serves_both_languages():
    text = DEFAULTS.read_text(encoding="utf-8")
    assert text.count("term:") >= 25
    for asked, answer in [
        ("我睡不着怎么办", "失眠可以先从固定作息做起，睡前不看手机。"),
        ("I can't sleep", "Insomnia often gets better with a fixed time to go to bed."),
    ]:
        assert terminology([asked], [answer]) == [1.0]


@given(st.text(st.sampled_from("退款钱请您留意。, refund"), max_size=40), st.text(max_size=20))
def test_bounded(answer, asked):
    value = score(asked, answer)
    assert value is None or -1 <= value <= 1
