"""Chinese addresses: found at their door (12号3栋501室), then read leftward up to their region."""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from feedback_store.detectors.regions import PROVINCES, region_heads, region_names

_NUMBER: Final = r"(?:\d{1,5}(?:-\d{1,5}){0,2}|[一二三四五六七八九十百]{1,4}|[A-Za-z]\d{0,2})"
_UNIT: Final = r"(?:号楼|号院|号门|号|弄|栋|幢|座|单元|楼|层|室|户)"
_PART: Final = rf"[甲乙丙]?{_NUMBER} ?{_UNIT}"
_INSIDE: Final = r"(?:附\d{1,4}号|[一-鿿]{2,8}(?=\d{1,4} ?(?:号楼|栋|幢|座|单元|室)|[A-Za-z]座))"
_DOOR = re.compile(
    rf"(?:{_PART}|(?<=[一-鿿])\d{{1,3}}-\d{{1,2}}-\d{{2,4}}(?!\d))"
    rf"(?: ?(?:{_PART}|{_INSIDE})){{0,5}}(?: ?-?(?<!\d)\d{{3,4}}(?![\d年月日元天度个号点岁.%]))?"
    r"(?!线|文|令|病|汤|台风|选手|方案|字|机型|出|开|上午|下午|晚|之前|前|后)"
)
# What has none of these in it has no door: most texts are done here.
_MAYBE = re.compile("[号弄栋幢座室户单村屯社]")
_DASHED = re.compile(r"(?<=[一-鿿])\d{1,3}-\d{1,2}-\d")
_VILLAGE = re.compile(
    r"(?:[镇乡]|街道)[一-鿿]{1,6}?(?:村|屯|社区)(?:第?[一二三四五六七八九十\d]{1,3} ?[组队社])?"
)
_POSTCODE = re.compile(r"[ ,，]{0,2}[(（]?(?:邮编[:： ]?)?\d{6}[)）]?(?![\d.])")

# What a street or an estate is called by its last characters.
_PLACE = re.compile(
    r"(?:路|街|道|巷|弄|里|村|屯|庄|园|苑|区|镇|乡|寓|大厦|广场|中心|城|府|庭|湾|院|楼|坊|社|[组队]|段|"
    r"胡同|期|营|堡|[东西南北中]|桥|门|口|舍|居|阁|轩|郡|都|墅|邸|座)$"
)
_ROAD = re.compile(r"[一-鿿]{2,4}?(?:路|街|大道|巷|胡同|弄|小区|花园|苑|公寓)$")
_HOME = re.compile(r"号楼|栋|幢|单元|室|户|座|-\d{1,2}-")
_PROVINCE = re.compile(
    rf"(?:{PROVINCES})(?:省|市|(?:壮族|回族|维吾尔)?自治区|(?:特别)?行政区)?"
)  # fmt: skip
_CUE = re.compile(
    r"(?:地址|住址|家住|住在|住|寄到|寄往|寄给|送到|送至|送往|寄至|快递到|邮寄到|搬到|搬去|位于|户籍|户口)"
    r"(?:在|是|为|填|写)?[:： ]{0,2}"
)
# Characters that no place has in its name: they belong to the sentence before it.
_PROSE = re.compile(r"[的了是在我你您他她它吗呢吧很们这那把被让给请从到问去说]")
_LEFT = re.compile(r"[一-鿿A-Za-z\d ·-]{0,60}$")
_LOOK_BACK: Final = 60
_LONGEST_NAME: Final = 12
_MAX_STREET: Final = 26


def chinese_addresses(text: str) -> Iterator[tuple[int, int]]:
    """From a region, a word like 住在 or a street's name to the door, with a post code if any."""
    if not _MAYBE.search(text) and not ("-" in text and _DASHED.search(text)):
        return
    done = 0
    for match in _DOOR.finditer(text):
        start = _start(text, done, match.start(), match[0])
        if start is not None:
            done = _end(text, match.end())
            yield start, done
    for match in _VILLAGE.finditer(text):
        left = _left(text, 0, match.start())
        region = _region(left)
        # Only with its county it is one village of the country's half million.
        if region and region.end - region.start >= 3 and not _PROSE.search(match[0]):
            yield match.start() - len(left) + region.start, match.end()


def _start(text: str, done: int, door: int, found: str) -> int | None:
    """Where the address begins that has this door, if it has one."""
    left = _left(text, done, door)
    if not left:
        return None
    begin = door - len(left)
    home = bool(_HOME.search(found))
    region = _region(left)
    if region:
        street = left[region.end :]
        if len(street) <= _MAX_STREET and (_PLACE.search(street) or home) and len(street) > 1:
            return begin + region.start
    if (cue := _after_cue(text, begin, left)) is not None:
        street = left[cue:]
        if len(street) > 1 and (_PLACE.search(street) or home) and not _PROSE.search(street):
            return begin + cue
    road = _ROAD.search(left)
    if road and home and not _PROSE.search(road[0]):
        return begin + road.start()
    return None


def _end(text: str, end: int) -> int:
    postcode = _POSTCODE.match(text, end)
    return postcode.end() if postcode else end


def _left(text: str, done: int, end: int) -> str:
    """What stands before a door without a stop."""
    found = _LEFT.search(text, max(done, end - _LOOK_BACK), end)
    return found[0].lstrip() if found else ""


class _Region(NamedTuple):
    """Where in a text a chain of provinces, cities and counties lies."""

    start: int
    end: int


def _region(left: str) -> _Region | None:
    """The first chain of regions that no prose separates from the text's end."""
    prose = [match.end() for match in _PROSE.finditer(left)]
    heads = region_heads()
    for at in range(prose[-1] if prose else 0, len(left)):
        if left[at : at + 2] in heads and (end := _chain(left, at)) > at:
            return _Region(at, end)
    return None


def _chain(left: str, start: int) -> int:
    """Where the regions end that follow one another from here on."""
    province = _PROVINCE.match(left, start)
    end = province.end() if province else start
    names = region_names()
    while True:
        # Two characters stay for the street: 合肥路 is no city.
        longest = min(_LONGEST_NAME, len(left) - end - 2)
        size = next((n for n in range(longest, 1, -1) if left[end : end + n] in names), 0)
        if not size:
            return end
        end += size


def _after_cue(text: str, begin: int, left: str) -> int | None:
    """Where in `left` the address begins that a word like 地址 or 住在 announces."""
    cues = list(_CUE.finditer(left))
    if cues:
        return cues[-1].end()
    before = text[max(0, begin - 10) : begin]
    announced = re.search(r"(?:地址|住址|收货地)(?:是|为|在)?[:： ]{0,3}$", before)
    return 0 if announced else None
