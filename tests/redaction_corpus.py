"""Sentences with personal data in known places, and sentences that only look like it."""

import re
from random import Random
from typing import Final, NamedTuple

from hard_negatives import hard_negative
from personal_data import People

SEED: Final = 20_260_101


class Sentence(NamedTuple):
    """A text and the personal data in it: (start, end, kind), from left to right."""

    text: str
    spans: tuple[tuple[int, int, str], ...] = ()


CHINESE: Final = (
    "我的身份证号是{ID_CARD}，{filler}",
    "身份证：{ID_CARD}。{filler}",
    "{filler}证件号码{ID_CARD}，请核实一下",
    "姓名{NAME}，身份证{ID_CARD}，电话{PHONE}",
    "{filler}{ID_CARD}是我爸的证件",
    "银行卡号{BANK_CARD}，{filler}",
    "请退款到这张卡：{BANK_CARD}",
    "我的卡{BANK_CARD}被吞了，{filler}",
    "工行卡 {BANK_CARD} 开户名 {NAME}",
    "打我电话{PHONE}，{filler}",
    "联系方式：{PHONE}（微信同号）",
    "{filler}手机号{PHONE}收不到验证码",
    "固话{PHONE}，下班后打手机{PHONE}",
    "发到我邮箱{EMAIL}吧，{filler}",
    "邮箱：{EMAIL}，电话：{PHONE}",
    "{filler}请把病历寄到{EMAIL}。",
    "护照号{PASSPORT}，{filler}",
    "本人持护照{PASSPORT}入境，{filler}",
    "{PASSPORT}是我的护照号码",
    "港澳通行证号码：{FOREIGN}，{filler}",
    "车牌{PLATE}，{filler}",
    "我的车是{PLATE}，昨天被拖走了",
    "开{PLATE}去的，{filler}",
    "地址：{ZH_ADDRESS}",
    "我住在{ZH_ADDRESS}，{filler}",
    "快递请送到{ZH_ADDRESS}，收件人{NAME}，{PHONE}",
    "{filler}家在{ZH_ADDRESS}。",
    "我叫{NAME}，今年{age}岁，{filler}",
    "你好，我是{NAME}，{filler}",
    "患者姓名：{NAME}，男，{age}岁",
    "联系人{NAME}，{filler}",
    "{NAME}先生您好，{filler}",
    "请转告{NAME}女士，{filler}",
    "我的名字是{NAME}。{filler}",
)
ENGLISH: Final = (
    "My ID card number is {ID_CARD}. {filler}",
    "Chinese ID {ID_CARD}, passport {PASSPORT}.",
    "Please charge my card {BANK_CARD}. {filler}",
    "Card number: {BANK_CARD}, {filler}",
    "The card {BANK_CARD} was declined twice.",
    "Call me at {PHONE}. {filler}",
    "My number is {PHONE}, {filler}",
    "{filler} Text {PHONE} after 5 pm.",
    "Write to {EMAIL}, please.",
    "My email is {EMAIL}. {filler}",
    "{filler} Reply to <{EMAIL}> or call {PHONE}.",
    "My passport number is {PASSPORT}. {filler}",
    "Passport: {FOREIGN}. {filler}",
    "I live at {EN_ADDRESS}. {filler}",
    "Ship it to {EN_ADDRESS}, please.",
    "My address is {EN_ADDRESS}.",
    "{filler} We moved to {EN_ADDRESS} last year.",
    "My name is {EN_NAME}. {filler}",
    "Hi, my name is {EN_NAME} and I need help.",
    "Dear {EN_NAME}, {small_filler}",
    "Name: {EN_NAME}, phone: {PHONE}",
    "Is Mr. {EN_NAME} in today? {filler}",
    "This is {EN_NAME} speaking. {filler}",
)
_SLOT = re.compile(r"\{(\w+)\}")
_KIND: Final = {
    "FOREIGN": "PASSPORT",
    "ZH_ADDRESS": "ADDRESS",
    "EN_ADDRESS": "ADDRESS",
    "EN_NAME": "NAME",
}


def corpus(positives: int, negatives: int) -> list[Sentence]:
    """So many sentences with personal data, then so many with what only looks like it."""
    people = People(SEED)
    templates = [(text, False) for text in CHINESE] + [(text, True) for text in ENGLISH]
    found = [_filled(*templates[at % len(templates)], people) for at in range(positives)]
    random = Random(SEED + 1)
    return found + [Sentence(hard_negative(people, random, at)) for at in range(negatives)]


def _filled(template: str, english: bool, people: People) -> Sentence:
    text, at = "", 0
    spans = []
    for slot in _SLOT.finditer(template):
        text += template[at : slot.start()]
        at = slot.end()
        value = _value(slot[1], english, people)
        if slot[1].isupper():
            spans.append((len(text), len(text) + len(value), _KIND.get(slot[1], slot[1])))
        text += value
    return Sentence(text + template[at:], tuple(spans))


def _value(slot: str, english: bool, people: People) -> str:
    makers = {
        "ID_CARD": people.id_card,
        "BANK_CARD": people.bank_card,
        "PHONE": people.phone,
        "EMAIL": people.email,
        "PASSPORT": people.passport,
        "FOREIGN": people.foreign_passport,
        "PLATE": people.plate,
        "ZH_ADDRESS": people.chinese_address,
        "EN_ADDRESS": people.english_address,
        "NAME": people.chinese_name,
        "EN_NAME": people.english_name,
        "age": lambda: str(people.random.randint(18, 90)),
        "filler": (people.english if english else people.chinese).sentence,
        "small_filler": lambda: people.english.sentence().lower(),
    }
    return makers[slot]()
