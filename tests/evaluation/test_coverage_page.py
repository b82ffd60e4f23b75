"""The coverage page tells what the document holds, and lets nothing of it act."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

from balanced_dialogues import balanced

from rlhf.data.coverage import Coverage
from rlhf.evaluation.coverage_page import coverage_page

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def document(rows: list[dict[str, Any]], **told: Any) -> dict[str, Any]:
    coverage = Coverage()
    for row in rows:
        coverage.add([row])
    # As a script reads it: what goes through JSON is what the page is made of.
    read: dict[str, Any] = json.loads(json.dumps(coverage.document(**told)))
    return read


def parsed(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    return tags


def test_the_page_tells_the_document() -> None:
    rows = [
        {**row, "user": "loud" if at % 3 == 0 else "u"} for at, row in enumerate(balanced(0, 300))
    ]
    html = coverage_page(document(rows, redaction={"PHONE": 41}), "客服 <对话>")
    text = " ".join("".join(parsed(html).text).split())
    for part in (
        "客服 <对话>",
        "症状咨询",
        "专业且关怀",
        "counter-question",
        "PHONE 41",
        "the user u",
    ):
        assert part in text


def test_hostile_strings_stay_text() -> None:
    rows = [
        {
            "prompt": [{"role": "user", "content": EVIL}],
            "completion": f"{EVIL} 稳赚不赔的股票",
            "intent": EVIL,
            "style": EVIL,
            "user": EVIL,
            "language": EVIL,
            "source": EVIL,
            "synthetic": {"by": EVIL, "of": EVIL},
        }
        for _ in range(60)
    ]
    told: dict[str, Any] = {name: {EVIL: 3} for name in ("duplicates", "redaction", "rejected")}
    tokenizer = (EVIL, lambda texts: [1 for _ in texts])
    html = coverage_page(document(rows, **told, tokenizer=tokenizer), EVIL)
    tags = parsed(html)
    assert not {"script", "img", "iframe", "link", "object"} & {tag for tag, _ in tags.found}
    assert not [name for _, attrs in tags.found for name, _ in attrs if name.startswith("on")]
    assert "<script" not in html and "onerror=alert(1)>" not in html
    assert "{{ 7*7 }}" in "".join(tags.text)


def test_a_table_of_many_intents_ends() -> None:
    rows = [{**row, "intent": f"intent {at}"} for at, row in enumerate(balanced(0, 200))]
    html = coverage_page(document(rows))
    assert html.count('<th scope="row" dir="auto">intent ') == 50
    assert "the 50 largest of 200" in html


def test_it_loads_nothing() -> None:
    html = coverage_page(document(balanced(0, 50)))
    assert not re.search(r"https?://|@import|url\(", html)
    assert "default-src 'none'" in html


def test_empty_and_odd_documents_have_pages() -> None:
    assert "no rows" in coverage_page(document([]))
    bare = {"prompt": [{"role": "user", "content": "\ud800"}], "chosen": "a", "rejected": "b"}
    assert coverage_page(document([bare])).encode()
    judged = {"prompt": [], "completion": "", "label": True}
    assert "judged" in coverage_page(document([judged]))
