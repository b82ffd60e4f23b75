"""axe-core on each page, in both languages, on a phone and a desktop, light and dark."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from http_service import Served
from pages.conftest import DESKTOP, PHONE
from playwright.sync_api import Page, expect

from rlhf.serving.web.pages import MENU


def faults(page: Page) -> list[str]:
    """What axe finds serious or critical, with the places."""
    found = Axe().run(page).response["violations"]
    return [
        f"{fault['id']}: {node['target']} {node['html'][:120]}"
        for fault in found
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]


def assert_nothing_is_cut(page: Page) -> None:
    """The page is no wider than the screen; what is wide scrolls within its own box."""
    width, seen = page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
    assert width <= seen


@pytest.mark.parametrize("path", [path for path, _, _ in MENU])
@pytest.mark.parametrize(
    ("language", "dark", "viewport"),
    [
        ("en-GB", False, DESKTOP),
        pytest.param("zh-CN", True, PHONE, marks=pytest.mark.slow),
    ],
    ids=["desktop", "phone"],
)
def test_an_empty_page_has_no_serious_fault(
    site: Served,
    visit: Callable[..., Page],
    path: str,
    language: str,
    dark: bool,
    viewport: dict[str, int],
) -> None:
    page = visit(site.url + path, language=language, dark=dark, viewport=viewport)
    page.wait_for_load_state("networkidle")
    assert faults(page) == []
    assert_nothing_is_cut(page)


def test_a_conversation_has_no_serious_fault(page: Page) -> None:
    page.get_by_label("Ask something").fill(
        "say # Title\n\n* one\n* `two`\n\n| a | b |\n|--|--|\n| 1 | 2 |"
    )
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Bad answer").click()
    page.get_by_role("button", name="Correct it").click()
    expect(page.get_by_label("The answer as it should have been")).to_be_visible()
    assert faults(page) == []
    assert_nothing_is_cut(page)
