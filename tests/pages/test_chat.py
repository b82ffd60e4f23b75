"""A visitor chats, switches the style, votes, changes and withdraws the vote, corrects."""

from __future__ import annotations

import re
from collections.abc import Callable

from http_service import Served
from playwright.sync_api import Page, expect

from feedback_store import Feedback


def ask(page: Page, text: str, answers: int = 1) -> None:
    page.get_by_label("Ask something").fill(text)
    page.keyboard.press("Enter")
    expect(page.locator(".turn.assistant .ballot")).to_have_count(answers)


def live(site: Served) -> list[Feedback]:
    return list(site.store.feedback())


def test_a_visit_from_the_question_to_the_correction(site: Served, page: Page) -> None:
    page.get_by_label("Style").select_option("formal")
    ask(page, "say It arrives on **Friday**.")
    expect(page.locator(".answer strong")).to_have_text("Friday")
    [answer] = site.recorded(1)
    assert (answer.style_asked, answer.style_used) == ("formal", "formal")
    assert answer.user is not None

    page.get_by_role("button", name="Good answer").click()
    expect(page.locator(".ballot")).to_have_attribute("data-state", "saved")
    assert [(w.kind, w.value) for w in live(site)] == [("thumb", 1.0)]

    page.get_by_role("button", name="Bad answer").click()
    page.get_by_role("button", name="Too long").click()
    expect(page.get_by_role("button", name="Too long")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".ballot")).to_have_attribute("data-state", "saved")
    [word] = live(site)
    assert (word.value, word.reasons) == (-1.0, ("too_long",))

    page.get_by_role("button", name="Take back").click()
    expect(page.locator(".ballot")).to_have_attribute("data-state", "withdrawn")
    assert live(site) == []

    page.get_by_role("button", name="Correct it").click()
    page.get_by_label("The answer as it should have been").fill("It arrives on Monday.")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".ballot")).to_have_attribute("data-state", "saved")
    [word] = live(site)
    assert (word.kind, word.text) == ("correction", "It arrives on Monday.")
    assert word.interaction == answer.id


def test_a_second_answer_and_which_is_better(site: Served, page: Page) -> None:
    ask(page, "say One.")
    page.get_by_role("button", name="Another answer").click()
    expect(page.get_by_text("2 of 2")).to_be_visible()
    page.get_by_role("button", name="The one before").click()
    expect(page.get_by_role("button", name="The one before")).to_have_attribute(
        "aria-pressed", "true"
    )
    first, second = site.recorded(2)
    assert first.conversation == second.conversation and first.turn == second.turn == 0
    [choice] = list(site.store.comparisons())
    assert (choice.a, choice.b, choice.choice) == (second.id, first.id, "b")
    assert (choice.reason, choice.shown_first) == ("regenerate", "b")
    [noticed] = [word for word in live(site) if word.kind == "implicit"]
    assert (noticed.metric, noticed.interaction) == ("regenerated", first.id)


def test_copying_says_something(site: Served, page: Page) -> None:
    ask(page, "say Copy me.")
    with page.expect_response("**/feedback/copied"):
        page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_text("Copied.")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "Copy me."
    [word] = live(site)
    assert (word.kind, word.metric, word.value) == ("implicit", "copied", 1.0)


def test_a_conversation_is_found_again_with_its_votes(
    site: Served, page: Page, visit: Callable[..., Page]
) -> None:
    ask(page, "say First.")
    page.get_by_role("button", name="Good answer").click()
    expect(page.locator(".ballot")).to_have_attribute("data-state", "saved")
    ask(page, "say Second.", answers=2)
    page.get_by_role("button", name="New conversation").click()
    ask(page, "say Elsewhere.")
    page.reload()
    page.locator("#conversations").get_by_role("button", name="say First.").click()
    expect(page.locator(".turn.assistant")).to_have_count(2)
    expect(page.get_by_role("button", name="Good answer").first).to_have_attribute(
        "aria-pressed", "true"
    )
    ask(page, "say Third.", answers=3)
    asked = site.recorded(4)[-1]
    assert [m.content for m in asked.messages] == [
        *("say First.", "First.", "say Second.", "Second.", "say Third."),
    ]
    assert asked.turn == 2
    stranger = visit(site.url)
    expect(stranger.get_by_text("Your conversations will be here.")).to_be_visible()
    found = stranger.request.get(f"{site.url}/web/conversations/{asked.conversation}")
    assert found.status == 404


def test_stopping_keeps_what_is_there_and_it_can_be_voted_on(site: Served, page: Page) -> None:
    page.get_by_label("Ask something").fill("forever")
    page.keyboard.press("Enter")
    expect(page.locator(".answer.under-way")).to_contain_text("well")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("You stopped this answer.")).to_be_visible()
    page.get_by_role("button", name="Bad answer").click()
    expect(page.locator(".ballot")).to_have_attribute("data-state", "saved")
    [answer] = site.recorded(1)
    assert answer.finish_reason == "cancelled"
    assert [word.interaction for word in live(site)] == [answer.id]


def test_an_input_method_s_enter_sends_nothing(site: Served, page: Page) -> None:
    box = page.get_by_label("Ask something")
    box.fill("ni hao")
    box.dispatch_event("keydown", {"key": "Enter", "isComposing": True, "bubbles": True})
    expect(page.locator(".turn")).to_have_count(0)
    page.keyboard.press("Shift+Enter")
    expect(box).to_have_value(re.compile("\n"))


def test_the_page_speaks_the_readers_language(site: Served, visit: Callable[..., Page]) -> None:
    page = visit(site.url, language="zh-CN")
    expect(page.get_by_role("button", name="新对话")).to_be_visible()
    page.locator("#language").click()
    expect(page.get_by_role("button", name="New conversation")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "en"
