"""Chinese names: a surname and one or two characters, after 我叫 or 姓名, or before 先生."""

import re
from collections.abc import Iterator
from typing import Final

from feedback_store.detectors.name_lexicon import (
    AFTER_NAME,
    COMMON_SURNAMES,
    COMPOUND_SURNAMES,
    GIVEN,
    NOT_GIVEN,
    PUBLIC,
    SURNAMES,
    TITLES,
    WORDS,
)

# After these there is a name; after the weaker ones only what is a name by all its characters.
# In one branch for each first character: so the search leaves most places after one comparison.
_ROLES: Final = (
    *("联系人", "收件人", "收货人", "寄件人", "持卡人", "申请人", "投保人", "被保险人", "经办人"),
    *("签收人", "预约人", "预订人", "预定人", "就诊人", "报案人", "投诉人", "收款人", "付款人"),
    *("开户人", "乘车人", "乘机人", "户主", "户名", "开户名", "署名", "落款"),
)


def _strong_cues() -> list[str]:
    role = r"(?:姓名)?(?:叫|是|为|填|写)?"
    ends = {
        "我": ["叫做?"],
        "名": ["字(?:叫做?|是|为|:|：)", "叫"],
        "姓": ["名(?:叫|是|为|填|写)?"],
    }
    for word in _ROLES:
        ends.setdefault(word[0], []).append(word[1:] + role)
    return [f"{first}(?:{'|'.join(rest)})" for first, rest in ends.items()]


STRONG_CUES: Final = tuple(_strong_cues())
WEAK_CUES: Final = ("我是", "本人", "这里是", "患者", "病人", "叫做?", "名为")
_CUE = re.compile(rf"(?:{'|'.join(STRONG_CUES)})[\s:：]{{0,3}}")
_WEAK_CUE = re.compile(rf"(?:{'|'.join(WEAK_CUES)})[\s:：]{{0,2}}")
# 张医生 is anyone; only with a whole name before it one person is meant.
CALLINGS: Final = ("医生", "大夫", "老师", "经理", "阿姨", "师傅")
TITLES_ALONE: Final = ("先生", "女士", "小姐", "太太")
_TITLE = re.compile("|".join(TITLES_ALONE + CALLINGS))
_HAN = re.compile(r"[一-鿿]")
_MINORITY = re.compile(r"[一-鿿]{2,6}[·•][一-鿿]{2,8}")
_LONGEST: Final = 4
# Surnames that begin few words: with these, one character and a stop make a name.
_ONLY_SURNAMES: Final = frozenset(
    "王李张刘陈杨赵周吴徐孙胡朱郭林罗梁宋郑谢韩唐冯董萧曹袁邓许傅沈曾彭吕卢蒋蔡贾丁魏薛叶阎潘杜田任颜陆姚姜范谭廖邹"
    "熊孔崔邱秦史顾侯邵孟段汤尹黎龚庞樊殷施陶洪翟倪石"
)
_STOP = re.compile(r"[ ,，.。;；!！?？、\n)）]|$")


def chinese_names(text: str) -> Iterator[tuple[int, int]]:
    """Names after a cue and before a form of address."""
    if text.isascii():
        return
    for cue in _CUE.finditer(text):
        if end := _name_end(text, cue.end(), sure=True):
            yield cue.end(), end
    for cue in _WEAK_CUE.finditer(text):
        if end := _name_end(text, cue.end(), sure=False):
            yield cue.end(), end
    for title in _TITLE.finditer(text):
        start = _name_start(text, title.start())
        if start is not None and text[start : title.start()] not in PUBLIC:
            yield start, title.start()


def _name_end(text: str, start: int, *, sure: bool) -> int:
    """Where the name ends that begins here; 0 if none does."""
    minority = _MINORITY.match(text, start) if sure else None
    if minority:
        return minority.end()
    given = start + _surname(text, start)
    if given == start or not _begins_given(text, given):
        return 0
    if not sure:
        return _weak_end(text, start, given)
    second = given + 1
    if _stands_in_name(text, second) and (text[second] in GIVEN or _ends(text, second + 1)):
        return 0 if text[start : second + 1] in PUBLIC else second + 1
    if text[given] in GIVEN or _ends(text, second):
        return second
    return 0


def _weak_end(text: str, start: int, given: int) -> int:
    """A common surname with characters of given names, after which something else begins."""
    end = given + 2
    if (
        (text[start] in _ONLY_SURNAMES or given - start == 2)
        and text[given] in GIVEN
        and _STOP.match(text, given + 1)
    ):
        end = given + 1
    characters = text[given:end]
    whole = bool(characters) and GIVEN.issuperset(characters)
    common = text[start] in COMMON_SURNAMES or given - start == 2
    if common and whole and _ends(text, end) and text[start:end] not in PUBLIC:
        return end
    return 0


def _surname(text: str, start: int) -> int:
    if text[start : start + 2] in COMPOUND_SURNAMES:
        return 2
    return 1 if text[start : start + 1] in SURNAMES else 0


def _begins_given(text: str, at: int) -> bool:
    return _stands_in_name(text, at) and text[at : at + 2] not in TITLES


def _stands_in_name(text: str, at: int) -> bool:
    """Whether the character here can belong to a name: Chinese, and not the next word's first."""
    character = text[at : at + 1]
    return (
        bool(_HAN.match(character))
        and (character not in NOT_GIVEN or _STOP.match(text, at + 1) is not None)
        and text[at : at + 2] not in AFTER_NAME
        and text[at : at + 2] not in TITLES
    )


def _ends(text: str, at: int) -> bool:
    """Whether no name goes on here."""
    character = text[at : at + 1]
    return (
        not _HAN.match(character)
        or character in NOT_GIVEN
        or text[at : at + 2] in AFTER_NAME
        or text[at : at + 2] in TITLES
    )


def _name_start(text: str, title: int) -> int | None:
    """Where the name begins that stands before 先生 or 女士; the longest wins."""
    for size in range(_LONGEST, 1, -1):
        start = title - size
        if start < 0:
            continue
        surname = _surname(text, start)
        given = text[start + surname : title]
        shortest = 2 if text[title : title + 2] in CALLINGS else 1
        fits = surname and shortest <= len(given) <= 2 and GIVEN.issuperset(given)
        if fits and text[start - 1 : start + 1] not in WORDS and not _is_word(text, title):
            return start
    alone = title - 1
    if text[title : title + 2] in CALLINGS:
        return None
    if alone >= 0 and text[alone] in COMMON_SURNAMES and not _is_word(text, title):
        return alone
    return None


def _is_word(text: str, end: int) -> bool:
    return text[max(0, end - 2) : end] in WORDS
