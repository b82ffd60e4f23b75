"""China's provinces, prefectures and counties, by code and by name (python-stdnum's table)."""

import re
from functools import cache, lru_cache
from typing import Any, Final

from stdnum import numdb

PROVINCES: Final = (
    "北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|"
    "广东|海南|四川|贵州|云南|陕西|甘肃|青海|台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门"
)
_PERIOD = re.compile(r"\[\d*-\d*\]")
_SUFFIXES: Final = ("市", "区", "县", "旗", "州", "盟")


@lru_cache(maxsize=4096)
def known_digits(code: str) -> int:
    """How many leading digits of a county code are known: 6 a county, 2 a province, 0 neither."""
    found = numdb.get("cn/loc").info(code)
    return sum(len(part) for part, properties in found if properties)


@cache
def region_names() -> frozenset[str]:
    """Full names, today's and former ones, and those of cities without their last character."""
    full = {name for name in _names(numdb.get("cn/loc").prefixes) if name.endswith(_SUFFIXES)}
    full -= {"市辖区", "县", "市", "区", "郊区", "城区", "矿区"}
    return frozenset(full | {name[:-1] for name in full if name[-1] == "市" and len(name) > 2})


@cache
def region_heads() -> frozenset[str]:
    """The first two characters of all regions: what begins otherwise need not be looked up."""
    return frozenset(name[:2] for name in (*region_names(), *PROVINCES.split("|")))


def _names(prefixes: list[Any]) -> set[str]:
    names: set[str] = set()
    for _, _, _, properties, children in prefixes:
        for value in properties.values():
            names.update(_PERIOD.sub("", name) for name in value.split(","))
        names |= _names(children)
    return names
