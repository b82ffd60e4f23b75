"""Passports and the permits that stand in for one at China's borders."""

import re
from collections.abc import Iterator

# Mainland ordinary passports (G until 2012, E and then EA to EZ, without I and O) and those for
# service and diplomats carry enough shape to be known alone.
_MAINLAND = re.compile(
    r"(?<![A-Za-z\d-])(?:[EG]\d{8}|E[A-HJ-NP-Z]\d{7}|[DPS]E\d{7})(?![A-Za-z\d-])"
)

# What others print on theirs is a passport only where the text calls it one.
_ANY = re.compile(
    r"(?<![A-Za-z\d])(?=[A-Za-z\d])(?:[A-Za-z]{1,2}[ -]?)?\d(?:[ -]?\d){6,8}(?![A-Za-z\d-])"
)
_CALLED = re.compile(r"护照|通行证|旅行证|回乡证|(?i:\bpassport)|(?i:\btravel document)", re.ASCII)
# Between the word and its number: no other noun, nothing that begins another clause.
_LINK = re.compile(
    r"(?:\s|[:：#=(（是为]|号码?|证件?|本|(?i:\b(?:number|no|num|is|was|with|of|are|has|the)\b)\.?|"
    r"[EGHKMC]字头|已?更新|换成|改成|(?i:\b(?:details|id)\b)){0,8}"
)
_OTHER = re.compile(
    r"(?:订单|单号|编号|型号|货号|款号|批号|序列号|发票|快递|运单|工单|流水|代码|版本|错误|料号|"
    r"(?i:\b(?:order|invoice|tracking|serial|model|part|sku|ref|reference|ticket|case|code|error|"
    r"batch|lot|item|build|version|coupon)))[^,，。;；!！?？\n]{0,12}$"
)
_LOOK_BACK = 32


def passports(text: str) -> Iterator[tuple[int, int]]:
    """Numbers shaped like a mainland passport, and any number that is called a passport's."""
    for match in _MAINLAND.finditer(text):
        if not _OTHER.search(text, max(0, match.start() - _LOOK_BACK), match.start()):
            yield match.span()
    for called in _CALLED.finditer(text):
        link = _LINK.match(text, called.end(), called.end() + _LOOK_BACK)
        number = _ANY.match(text, link.end() if link else called.end())
        if number:
            yield number.span()
