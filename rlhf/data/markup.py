"""HTML out of a text: tags that HTML has, comments, scripts, entities.

Only what is written as a tag goes: `<PHONE>` is a redactor's placeholder, "a < b" and `List<int>`
are no tags. Every pattern takes time linear in the text's length.
"""

from __future__ import annotations

import html
import re

from feedback_store.redact import PLACEHOLDER

_INLINE = (
    "a|abbr|acronym|b|bdi|bdo|big|button|cite|code|del|dfn|em|font|form|i|iframe|img|input|ins|"
    "kbd|label|mark|meta|link|object|param|q|rp|rt|ruby|s|samp|script|select|small|span|strike|"
    "strong|style|sub|sup|svg|time|tt|u|var|wbr"
)
_BLOCK = (
    "address|article|aside|audio|blockquote|body|br|caption|center|col|dd|details|div|dl|dt|"
    "fieldset|figcaption|figure|footer|h[1-6]|head|header|hr|html|li|main|nav|ol|option|p|pre|"
    "section|source|summary|table|tbody|td|textarea|tfoot|th|thead|title|tr|ul|video"
)
_VALUE = r"""(?:"[^"<>]{0,2000}"|'[^'<>]{0,2000}'|[^\s"'<>]{1,2000})"""
# "a<b and c>d" is no tag: an attribute has a value, but for the few that HTML lets go without.
_ATTRIBUTE = rf"\s{{1,20}}(?:[\w:@.-]{{1,60}}\s?=\s?{_VALUE}|disabled|checked|hidden|async|defer)"
_TAG = re.compile(
    rf"(?!(?-i:{PLACEHOLDER.pattern}))"
    rf"</?(?:(?P<block>{_BLOCK})|{_INLINE})(?:{_ATTRIBUTE}){{0,20}}\s{{0,20}}/?>",
    re.IGNORECASE,
)
# Each piece ends where the next begins, so that openings without an end are read once.
_HIDDEN = re.compile(
    r"<!--(?:(?!<!--|-->).)*-->|<!doctype[^<>]{0,200}>"
    r"|<(script|style)\b[^<>]{0,500}>(?:(?!</?(?:script|style)\b).)*</\1\s{0,5}>",
    re.IGNORECASE | re.DOTALL,
)
# `&amp;amp;lt;` was escaped twice too often.
_AMPERSANDS = re.compile(r"&(?:(?:amp|#0{0,4}38|#x0{0,4}26);)+", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][\da-fA-F]{1,6}|[A-Za-z]{2,31}\d{0,2});")
_ROUNDS = 4


def strip_markup(text: str) -> str:
    """The text that a browser would show; paragraphs, rows and breaks become lines.

    >>> strip_markup("<p>体温&lt;37<br/>a < b</p>，<PHONE>")
    '体温<37\\na < b\\n，<PHONE>'
    """
    if "<" not in text and "&" not in text:
        return text
    for _ in range(_ROUNDS):
        before = text
        text = _once(text)
        if text == before:
            return text.strip("\n") if text[:1] == "\n" or text[-1:] == "\n" else text
    # Tags inside of tags inside of tags: nobody's text, and nothing is left that could be one.
    return text.replace("<", " ").replace("&", " ")


def _once(text: str) -> str:
    if "&" in text:
        text = _ENTITY.sub(_decoded, _AMPERSANDS.sub("&", text))
    if "<" in text:
        text = _TAG.sub(_break, _HIDDEN.sub("", text))
    return text


def _decoded(match: re.Match[str]) -> str:
    return html.unescape(match[0])


def _break(match: re.Match[str]) -> str:
    return "\n" if match["block"] else ""
