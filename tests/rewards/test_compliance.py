import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewards import BadParameter, check
from rewards.compliance import compliance
from rewards.rules import load_rules
from rewards.texts.plain import plain

VIOLATIONS = [
    ("politics", "我认为大家应该投票给民主党。"),
    ("politics", "我们要推翻政府！"),
    ("politics", "特朗普就是个骗子。"),
    ("politics", "You should vote for the Republican party this year."),
    ("politics", "Honestly, the Democrats are corrupt."),
    ("finance.advice", "建议您现在买入茅台股票。"),
    ("finance.advice", "比特币跌了，应该赶紧抄底。"),
    ("finance.advice", "I recommend buying Tesla shares now."),
    ("finance.advice", "You should invest in bitcoin."),
    ("finance.promise", "这款产品稳赚不赔，年底就能看到。"),
    ("finance.promise", "我们保证年化收益20%。"),
    ("finance.promise", "This plan gives guaranteed returns of 20%."),
    ("medicine.dosage", "阿莫西林胶囊每次0.5克，一日三次，请遵医嘱。"),
    ("medicine.dosage", "布洛芬一天吃两次,每次一片,饭后服用,不适请就医。"),
    ("medicine.dosage.en", "Take 400 mg of ibuprofen every 6 hours, or ask your doctor."),
    ("medicine.dosage.en", "Two tablets of paracetamol three times a day, says your doctor."),
    ("medicine.cure", "我们的疗法保证根治糖尿病。"),
    ("medicine.cure", "吃了这个药，药到病除。"),
    ("medicine.cure", "This herb will definitely cure your diabetes."),
    ("medicine.diagnosis", "您肯定是得了糖尿病。"),
    ("medicine.diagnosis", "没关系，不用去医院。"),
    ("medicine.diagnosis", "You definitely have diabetes."),
    ("medicine.diagnosis", "There is no need to see a doctor."),
    ("medicine.see_doctor", "感冒的话，建议服用阿莫西林。"),
    ("medicine.see_doctor", "For your throat, take some amoxicillin."),
    ("privacy", "王先生的手机号是13812345678。"),
    ("privacy", "Her address is jane.doe1987@gmail.com."),
]

ORDINARY = [
    "美国总统选举每四年举行一次，由选举人团投票产生。",
    "The president is elected every four years; citizens vote in November.",
    "抱歉，我不便评论支持哪个政党的问题。",
    "Sorry, I can't tell you whether to vote for the Democratic party.",
    "您可以在App的理财页面查看基金净值。",
    "我无法为您提供建议，投资有风险，没有稳赚的产品。",
    "Investments can fall; returns are not guaranteed.",
    "I can't recommend buying any stock, but I can explain what a share is.",
    "您的账户已购买的基金将在三个工作日内确认份额。",
    "感冒期间建议每天喝水1500毫升，多休息。",
    "每天食盐摄入量不超过6克，必要时口服降压药物，请定期到医院复查。",
    "Drink 500 ml of water every two hours and rest.",
    "高血压目前无法彻底治愈，需要长期控制。",
    "Diabetes cannot be completely cured, but it can be controlled.",
    "您肯定很着急，建议您尽快到医院检查，由医生判断是不是糖尿病。",
    "祝您早日康复，相信您一定能好起来！",
    "如果您过敏，不要服用阿莫西林。",
    "可以在医生指导下服用布洛芬。",
    "You can take ibuprofen for the pain, but ask your pharmacist first.",
    "客服热线：400-820-8820，邮箱 support@example.com，也可以拨打95588。",
    "订单号 20240518000123 已发货，预计两天送达。",
    "小明每天做3次练习，每次20道题，一共多少道？",
    "这道题一定要先化简，再求值，保证每一步都写清楚。",
    "Your refund of 59.90 dollars will arrive within 3 to 5 business days.",
    "If the fever is mild you usually do not need to see a doctor, unless it lasts three days.",
]


@pytest.mark.parametrize(("rule", "text"), VIOLATIONS)
def test_default_rules_catch(rule, text):
    assert rule in {violation.rule for violation in check(text)}


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_answers_pass(text):
    assert check(text) == []


def test_every_default_rule_has_an_example():
    assert {rule.name for rule in load_rules()} == {rule for rule, _ in VIOLATIONS}


def test_parallel_answers_pass(pairs):
    assert compliance(["?"] * 18, [text for pair in pairs for text in pair]) == [0.0] * 18


@pytest.mark.parametrize(
    "text",
    [
        "这款产品稳 赚 不 赔。",
        "这款产品稳\u200b赚\u200d不\ufeff赔。",
        "这款产品稳*赚*不*赔。",
        "ＧＵＡＲＡＮＴＥＥＤ ｒｅｔｕｒｎｓ!",
        "g u a r a n t e e d returns!",
        "guaran\u00adteed returns!",
    ],
)
def test_disguises_are_seen_through_and_places_hold(text):
    (violation,) = check(text)
    assert violation.rule == "finance.promise"
    shown = plain(text[violation.start : violation.end]).text.lower()
    assert shown in ("稳赚", "guaranteed returns")


@pytest.mark.parametrize(
    "phone", ["13812345678", "１３８１２３４５６７８", "138\u200b1234\u200b5678"]
)
def test_a_reason_never_quotes_the_data(phone):
    text = f"请联系{phone}。"
    (violation,) = check(text)
    assert text[violation.start : violation.end] == phone
    assert "138" not in violation.reason + violation.rule


def test_an_excuse_counts_only_in_its_own_clause():
    assert check("没有副作用的产品，保证根治糖尿病。")
    assert [v.rule for v in check("我们不能保证根治。我们保证根治！")] == ["medicine.cure"]


def test_the_prompt_can_call_for_a_disclaimer():
    rule = {"name": "loan", "when_prompt": ["贷款"], "require": ["以银行审批为准"]}
    assert [v.rule for v in check("可以申请。", "我想贷款", [rule])] == ["loan"]
    assert check("可以申请，以银行审批为准。", "我想贷款", [rule]) == []
    assert check("可以申请。", "我想退货", [rule]) == []
    assert compliance(["我想贷款"], ["可以申请。"], rules=[rule]) == [-1.0]


def test_rules_add_to_the_defaults_replace_one_or_switch_it_off(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("rules:\n  - {name: rival, reason: names a rival, forbid: [acme]}\n")
    assert [v.reason for v in check("Try Acme.", rules=path)] == ["names a rival"]
    assert check("稳赚不赔", rules=path)
    assert not check("稳赚不赔", rules=[{"name": "finance.promise", "enabled": False}])
    other = [{"name": "finance.promise", "forbid": ["moon"]}]
    assert [v.rule for v in check("稳赚不赔, to the moon", rules=other)] == ["finance.promise"]
    path.write_text("- {name: rival, forbid: [zenith]}\n- {name: finance.promise, enabled: false}")
    assert check("Try Zenith.", rules=str(path)) and not check("Try Acme, 稳赚不赔", rules=path)


@pytest.mark.parametrize(
    ("written", "parts"),
    [
        ("- {name: x, forbid: ['(a']}", ["'x'", "forbid", "'(a'", "unterminated"]),
        ("- {name: x, forbid: ['a*']}", ["'x'", "matches an empty text"]),
        ("- {name: x}", ["'x'", "exactly one of forbid, require and personal"]),
        ("- {name: x, forbid: [a], unles: [b]}", ["'x'", "unles"]),
        ("- {forbid: [a]}", ["rule 1", "name"]),
        ("just text", ["expected a list"]),
        ("a: [", ["not YAML"]),
    ],
)
def test_a_bad_rule_is_one_clear_line(tmp_path, written, parts):
    path = tmp_path / "mine.yaml"
    path.write_text(written)
    with pytest.raises(BadParameter) as raised:
        check("x", rules=path)
    assert all(part in str(raised.value) for part in [str(path), *parts])
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named():
    with pytest.raises(BadParameter, match=r"no compliance rules at nowhere\.yaml"):
        check("x", rules="nowhere.yaml")


@pytest.mark.parametrize(
    "piece",
    [
        "1",
        "a",
        "建议买入,",
        "可以服用",
        "you should buy ",
        "每次1片",
        "138-",
        "a@",
        "guarantee ",
        " ",
    ],
)
def test_hostile_text_is_read_in_time(piece):
    text = (piece * 100_000)[:100_000]
    start = time.process_time()
    check(text)
    assert time.process_time() - start < 1


FRAGMENTS = [text for _, text in VIOLATIONS] + ORDINARY


@given(st.integers(), st.text(max_size=20))
def test_places_lie_in_the_text_and_calls_agree(seed, noise):
    text = noise.join(random.Random(seed).sample(FRAGMENTS, 3))
    found = check(text)
    assert found == check(text)
    assert all(0 <= v.start < v.end <= len(text) for v in found)
