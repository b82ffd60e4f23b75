"""A visitor, a reviewer and an admin, each with a browser and a key; then the store is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from http_service import Served
from playwright.sync_api import Page, expect

from feedback_store import Decision
from rlhf.policies import Policy
from rlhf.release import promote, register

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def policies(make_policy: Callable[..., Policy]) -> tuple[str, str, list[Policy]]:
    made = [make_policy(1), make_policy(2)]
    return made[0].label, made[1].label, made


@pytest.fixture
def site(
    serve: Callable[..., AbstractContextManager[Served]],
    policies: tuple[str, str, list[Policy]],
) -> Iterator[Served]:
    review = {"gold": 0.0, "twice": 0.0}
    first, second, made = policies
    with serve(keys=True, poll_seconds=0.05, review=review, style="auto") as served:
        for policy in made:
            register(served.store, policy)
        promote(served.store, first, "the first", "default")
        served.store.add_decision(Decision(candidate=second, promote=True, reasons=("better",)))
        yield served


def signed_in(visit: Callable[..., Page], site: Served, path: str, scope: str) -> Page:
    secret = site.key(scope)
    page = visit(site.url + path)
    page.get_by_label("Key", exact=True).fill(secret)
    page.get_by_role("dialog").get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    return page


def test_what_three_people_did_is_what_the_store_holds(
    site: Served, visit: Callable[..., Page], policies: tuple[str, str, list[Policy]]
) -> None:
    store = site.store
    first, second, _ = policies
    visitor = signed_in(visit, site, "/", "chat")
    _chats(visitor)
    answer = site.recorded(1)[0]
    assert (answer.policy, answer.style_used) == (first, "caring")
    visitor.goto(f"{site.url}/arena")
    visitor.get_by_label("Ask both something").fill("say Which of these?")
    visitor.keyboard.press("Enter")
    expect(visitor.locator(".vote")).to_have_count(4)
    visitor.get_by_role("button", name="A is better").click()
    expect(visitor.locator(".result")).to_contain_text("Your choice: A is better.")

    reviewer = signed_in(visit, site, "/review", "review")
    for _ in range(3):  # the chat's answer and both of the arena's
        expect(reviewer.locator("[data-item]")).to_be_visible()
        before = reviewer.locator("[data-item]").get_attribute("data-item")
        reviewer.keyboard.press("a")
        expect(reviewer.locator(f'[data-item="{before}"]')).to_have_count(0)
    expect(reviewer.get_by_text("Nothing waits for review.")).to_be_visible()

    admin = signed_in(visit, site, "/dashboard", "admin")
    _decides(admin, second)

    said = Counter((word.kind, word.value, word.text) for word in store.feedback())
    assert said == {("correction", None, "It comes on Monday."): 1, ("thumb", 1.0, None): 3}
    of_chat = [w for w in store.feedback(live=False) if w.interaction == answer.id]
    own = store.pseudonym(f"web:{_guest(site, visitor)}")
    history = [(w.kind, w.value, w.withdrawn) for w in of_chat if w.voter == own]
    assert history == [
        ("thumb", 1.0, False),
        ("thumb", -1.0, False),
        ("thumb", None, True),
        ("correction", None, False),
    ]
    [choice] = list(store.comparisons())
    assert (choice.choice, choice.reason, choice.shown_first) == ("a", "arena", "a")
    assert choice.voter == own
    assert len(list(store.interactions())) == 3
    moves = [(release.action, release.policy) for release in store.releases()]
    assert moves == [("promote", first), ("promote", second), ("rollback", first)]
    assert [release.reason for release in store.releases()][1:] == [
        "tried by hand (admin)",
        "people complain (admin)",
    ]
    frozen: Any = store.frozen("default")
    assert frozen.reason == "until Monday (admin)"


def _chats(page: Page) -> None:
    page.get_by_label("Style").select_option("caring")
    page.get_by_label("Ask something").fill("say It comes on Friday.")
    page.keyboard.press("Enter")
    ballot = page.locator(".ballot")
    for button, state in (
        ("Good answer", "saved"),
        ("Bad answer", "saved"),
        ("Take back", "withdrawn"),
    ):
        with page.expect_response("**/feedback/thumb"):
            page.get_by_role("button", name=button).click()
        expect(ballot).to_have_attribute("data-state", state)
    page.get_by_role("button", name="Correct it").click()
    page.get_by_label("The answer as it should have been").fill("It comes on Monday.")
    page.get_by_role("button", name="Save").click()
    expect(ballot).to_have_attribute("data-state", "saved")


def _decides(page: Page, candidate: str) -> None:
    """What people did is on the dashboard; then a release, back again, and a freeze."""
    tiles = page.locator("#tiles")
    expect(tiles).to_contain_text("3 up", timeout=20_000)
    expect(page.locator("canvas").first).to_be_visible()
    for button, reason in (
        ("Promote", "tried by hand"),
        ("Roll back", "people complain"),
        ("Freeze", "until Monday"),
    ):
        page.get_by_role("button", name=button).first.click()
        page.get_by_label("Why?").fill(reason)
        page.keyboard.press("Enter")
        expect(page.get_by_text(f"{reason} (admin)").first).to_be_visible()


def _guest(site: Served, page: Page) -> str:
    [cookie] = [c for c in page.context.cookies() if c["name"] == "rlhf_session"]
    session = site.service.access.sessions.read(cookie["value"])
    assert session is not None
    return session.guest
