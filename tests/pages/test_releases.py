"""An admin promotes, freezes, thaws and rolls back in a browser; each change asks why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from http_service import Served
from pages.conftest import DESKTOP, PHONE
from pages.test_accessibility import assert_nothing_is_cut, faults
from playwright.sync_api import Page, expect

from feedback_store import Decision
from rlhf.models import ModelSettings, load_base, load_tokenizer
from rlhf.policies import LoraSettings, Policy, add_lora, save_policy
from rlhf.release import promote, register

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
HOSTILE = "<img src=x onerror='window.pwned=1'> refused: too short"


@pytest.fixture(scope="module")
def policies(tiny_model, tmp_path_factory: pytest.TempPathFactory) -> list[Policy]:
    settings = ModelSettings(base_model=str(tiny_model), dtype="float32")
    tokenizer = load_tokenizer(settings)
    made = []
    for seed in (1, 2):
        lora = LoraSettings(r=2 + seed, alpha=8, target_modules=("q_proj",))
        model = add_lora(load_base(settings), lora, seed)
        folder = tmp_path_factory.mktemp("policies") / f"p{seed}"
        made.append(save_policy(model, tokenizer, folder, base_model=str(tiny_model), about={}))
    return made


@pytest.fixture
def site(
    serve: Callable[..., AbstractContextManager[Served]], policies: list[Policy]
) -> Iterator[Served]:
    with serve(poll_seconds=0.05) as served:
        for policy in policies:
            register(served.store, policy)
        promote(served.store, policies[0].label, "the first", "default")
        for policy, passed in zip(policies, (True, False), strict=True):
            served.store.add_decision(
                Decision(candidate=policy.label, promote=passed, reasons=(HOSTILE,))
            )
        yield served


def mounted(visit: Callable[..., Page], site: Served, **options: Any) -> Page:
    """The dashboard, where the list is."""
    page = visit(f"{site.url}/dashboard", **options)
    expect(page.locator(".releases-list").first).to_be_visible()
    return page


def give_reason(page: Page, reason: str) -> None:
    page.get_by_label("Why?").fill(reason)
    page.keyboard.press("Enter")
    expect(page.locator("dialog[open]")).to_have_count(0)


def test_every_change_asks_and_is_done(
    site: Served, policies: list[Policy], visit: Callable[..., Page]
) -> None:
    first, second = (policy.label for policy in policies)
    page = mounted(visit, site)
    page.get_by_role("button", name="Promote").click()
    expect(page.get_by_text("The gate refused it.", exact=False).last).to_be_visible()
    page.keyboard.press("Escape")
    assert site.store.champion().id == first
    page.get_by_role("button", name="Promote").click()
    give_reason(page, "looked at by hand")
    expect(page.locator(".toast")).to_contain_text("Promoted")
    assert site.store.releases()[-1].reason == "looked at by hand (open)"
    page.get_by_role("button", name="Freeze").click()
    give_reason(page, "exam week")
    expect(page.get_by_text("exam week (open)")).to_be_visible()
    expect(page.get_by_role("button", name="Promote")).to_be_disabled()
    page.get_by_role("button", name="Roll back").click()
    give_reason(page, "worse")
    expect(page.get_by_text("worse (open)")).to_be_visible()
    assert site.store.champion().id == first
    page.get_by_role("button", name="Thaw").click()
    give_reason(page, "over")
    expect(page.get_by_role("button", name="Freeze")).to_be_visible()
    assert [r.policy for r in site.store.releases()] == [first, second, first]
    assert site.store.frozen("default") is None
    assert page.evaluate("window.pwned") is None


def test_what_goes_wrong_is_told_in_the_dialog(
    site: Served, policies: list[Policy], visit: Callable[..., Page]
) -> None:
    page = mounted(visit, site)
    site.store.freeze("default", "by another admin")
    page.get_by_role("button", name="Promote").click()
    page.get_by_label("Why?").fill("now")
    page.keyboard.press("Enter")
    expect(page.locator("dialog[open] .wrong")).to_contain_text("frozen (by another admin)")
    assert site.store.champion().id == policies[0].label


@pytest.mark.parametrize("language, dark, viewport",
                         [("en-GB", False, DESKTOP), ("zh-CN", True, PHONE)])  # fmt: skip
def test_the_list_has_no_serious_fault(
    site: Served, visit: Callable[..., Page], language: str, dark: bool, viewport: dict[str, int]
) -> None:
    page = mounted(visit, site, language=language, dark=dark, viewport=viewport)
    page.locator(".releases summary").first.click()
    assert faults(page) == []
    assert_nothing_is_cut(page)
    page.locator(".releases button.danger").focus()
    page.get_by_role("button", name="Freeze" if language == "en-GB" else "冻结").click()
    assert faults(page) == []


def test_a_reviewer_sees_and_changes_nothing(
    serve: Callable[..., AbstractContextManager[Served]],
    policies: list[Policy],
    visit: Callable[..., Page],
) -> None:
    with serve(keys=True) as served:
        register(served.store, policies[0])
        promote(served.store, policies[0].label, "the first", "default")
        secret = served.key("review")
        page = visit(f"{served.url}/dashboard")
        page.get_by_label("Key").fill(secret)
        page.keyboard.press("Enter")
        expect(page.locator(".releases")).to_contain_text("the first")
        assert page.locator(".releases button").count() == 0
