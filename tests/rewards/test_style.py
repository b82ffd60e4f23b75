import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards.style import caring, concise, formal, parse_style, style

REFUND_ZH = (
    "您的退款申请已经受理，款项将在三个工作日内退回原支付账户。如未到账，请您提供订单号核实。"
)
REFUND_EN = (
    "Your refund request has been accepted, and the amount will be returned to your account within "
    "three business days. If it does not arrive, please provide your order number."
)


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("formal", ("formal",)),
        ("正式", ("formal",)),
        ("专业且关怀", ("formal", "caring")),
        ("简洁", ("concise",)),
        ("formal, concise", ("formal", "concise")),
        ("Caring", ("caring",)),
        ("informal", ()),
        ("pirate", ()),
        ("", ()),
        (None, ()),
    ],
)
def test_parse_style(wanted, names):
    assert parse_style(wanted) == names


def test_a_row_without_a_style_is_none_and_target_fills_in():
    rows = ["?"] * 2, [REFUND_EN] * 2
    assert style(*rows) == [None, None]
    assert style(*rows, style=["formal", None])[1] is None
    both = style(*rows, style=["formal", None], target="caring")
    assert both == [formal(REFUND_EN), caring(REFUND_EN)]


def test_mixed_styles_are_averaged():
    (score,) = style(["?"], [REFUND_ZH], style=["专业且关怀"])
    assert score == pytest.approx((formal(REFUND_ZH) + caring(REFUND_ZH)) / 2)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (REFUND_ZH, "亲们哈哈，退款搞定啦 yyds"),
        (REFUND_EN, "yeah ur refund is gonna come lol"),
        (REFUND_EN, REFUND_EN + " 😀😀"),
        (REFUND_ZH, "退款 订单 账户 发票 物流 售后 建议 研究 因此 方案 评估 诊断 公式。" * 3),
        (REFUND_EN, "Refund order account invoice warranty research therefore. " * 5),
    ],
)
def test_formal_prefers(better, worse):
    assert formal(better) > formal(worse) + 0.2


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("先重启路由器，再重新连接。", "先重启路由器，再重新连接。" * 4),
        ("Restart the router, then connect again.", "Well, as I was saying before, " * 30),
    ],
)
def test_concise_prefers(better, worse):
    assert concise(better) > concise(worse) + 0.5


@pytest.mark.parametrize(
    ("full", "half", "none"),
    [
        (
            "我理解您的担心，这种情况确实让人难受。需要我教您放松的方法吗？",
            "我理解您的担心，这种情况确实让人难受，早点睡觉就好。",
            "失眠由压力或作息不规律引起，睡前一小时远离电子设备。",
        ),
        (
            "I understand that this is hard, and poor sleep wears you out. Shall I show you a way?",
            "I understand that this is hard, and poor sleep wears you out after a few days.",
            "Insomnia comes from stress or an irregular routine; keep away from screens at night.",
        ),
    ],
)
def test_caring_wants_both_to_see_and_to_offer(full, half, none):
    assert caring(full) == 1.0 and caring(half) == 0.5 and caring(none) == 0.0
    assert caring("我理解。") < 0.2  # kind words alone are no answer


def test_parallel_answers_score_about_the_same(pairs):
    for score in (formal, concise, caring):
        gaps = [abs(score(zh) - score(en)) for zh, en in pairs]
        assert max(gaps) <= 0.3 and sum(gaps) / len(gaps) <= 0.1, score.__name__


def test_terms_extend_the_formal_words():
    text = "本合同自双方签字之日起生效，违约方承担赔偿责任。"
    own = {"legal": ["合同", "违约*", "赔偿"]}
    (plain,) = style(["?"], [text], target="formal")
    (extended,) = style(["?"], [text], target="formal", terms=own)
    assert extended > plain + 0.3


@given(st.text(), st.sampled_from(["formal", "concise", "caring", "专业且关怀"]))
def test_bounded_and_deterministic(text, wanted):
    (score,) = style(["?"], [text], style=[wanted])
    assert 0 <= score <= 1 and style(["?"], [text], style=[wanted]) == [score]
