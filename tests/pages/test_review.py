"""Reviewers clear the queue: by keyboard, two at once, over a lost server or reservation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from http_service import Served, config_of, serving
from pages.test_accessibility import assert_nothing_is_cut, faults
from pages.tricks import MARKDOWN, MARKUP
from playwright.sync_api import Page, expect
from reciting import Reciting
from sqlalchemy import update

from feedback_store import Feedback, Interaction, Message
from feedback_store.storage.tables import reservations
from feedback_store.store import utc_now

PLAIN = {"twice": 0.0, "gold": 0.0}


def asked(id: str, **fields: Any) -> Interaction:
    fields.setdefault("response", f"It is **{id}**.")
    messages = (Message(role="user", content=f"What is {id}?"),)
    return Interaction(id=id, messages=messages, **fields)


@pytest.fixture
def queue(serve: Callable[..., AbstractContextManager[Served]]) -> Iterator[Served]:
    with serve(review=PLAIN) as served:
        yield served


def shown(page: Page) -> str:
    """The answer that is on the screen."""
    node = page.locator("[data-item]")
    expect(node).to_be_visible()
    return str(node.get_attribute("data-item"))


def press(page: Page, key: str) -> str:
    """Press a key that ends an answer's review, and wait for the next or the end."""
    before = shown(page)
    page.keyboard.press(key)
    page.wait_for_function(
        "before => document.querySelector('.empty') || ("
        "document.querySelector('[data-item]')?.dataset.item ?? before) !== before",
        arg=before,
    )
    return before


def test_the_queue_is_cleared_by_keyboard(queue: Served, visit: Callable[..., Page]) -> None:
    queue.store.append(interactions=[asked(f"a{n}") for n in range(4)])
    page = visit(f"{queue.url}/review")
    good = press(page, "a")
    mended = shown(page)
    page.keyboard.press("c")
    page.get_by_label("The answer as it should have been").fill("It is the fourth.")
    press(page, "Control+Enter")
    bad = shown(page)
    page.keyboard.press("r")
    page.keyboard.press("1")
    page.keyboard.press("3")
    press(page, "Enter")
    left = press(page, "s")
    expect(page.get_by_text("Nothing waits for review.")).to_be_visible()
    said = {(w.interaction, w.kind): w.value if w.text is None else w.text
            for w in queue.store.feedback()}  # fmt: skip
    assert said == {
        (good, "thumb"): 1.0,
        (mended, "correction"): "It is the fourth.",
        (mended, "thumb"): -1.0,
        (bad, "thumb"): -1.0,
    }
    [word] = [w for w in queue.store.feedback() if w.interaction == bad]
    assert word.reasons == ("wrong", "unsafe")
    verdicts = {id: [one.verdict for one in queue.store.reviews_of(id)]
                for id in (good, mended, bad, left)}  # fmt: skip
    assert list(verdicts.values()) == [["accept"], ["correct"], ["reject"], ["skip"]]
    row = page.get_by_role("row", name="Random")
    expect(row).to_contain_text("3")


def test_typing_is_no_verdict(queue: Served, visit: Callable[..., Page]) -> None:
    queue.store.append(interactions=[asked("a"), asked("b")])
    page = visit(f"{queue.url}/review")
    first = shown(page)
    page.keyboard.press("c")
    field = page.get_by_label("The answer as it should have been")
    expect(field).to_have_value(f"It is **{first}**.")
    field.fill("")
    page.keyboard.type("scar")
    expect(field).to_have_value("scar")
    page.keyboard.press("Escape")
    expect(field).to_have_count(0)
    page.keyboard.press("r")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("Give a reason.")).to_be_visible()
    page.get_by_label("Another reason").fill("as rude as can be")
    press(page, "Enter")
    assert [w.reasons for w in queue.store.feedback()] == [("as rude as can be",)]
    assert [w.interaction for w in queue.store.feedback()] == [first]


def test_two_reviewers_never_have_the_same(queue: Served, visit: Callable[..., Page]) -> None:
    queue.store.append(interactions=[asked("a"), asked("b")])
    one, two = (visit(f"{queue.url}/review") for _ in range(2))
    assert shown(one) != shown(two)
    third = visit(f"{queue.url}/review")
    expect(third.get_by_text("Nothing waits for review.")).to_be_visible()
    mine = shown(one)
    one.reload()
    assert shown(one) == mine


def test_what_was_typed_outlives_the_server(
    tiny_model: Path, tmp_path: Path, visit: Callable[..., Page]
) -> None:
    config = config_of(tiny_model, tmp_path, review=PLAIN)
    with serving(config, Reciting(), tmp_path) as site:
        site.store.append(interactions=[asked("a")])
        port = int(site.url.rpartition(":")[2])
        page = visit(f"{site.url}/review")
        shown(page)
        page.keyboard.press("c")
        page.get_by_label("The answer as it should have been").fill("It is typed.")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("#notice")).to_be_visible()
    expect(page.get_by_label("The answer as it should have been")).to_have_value("It is typed.")
    again = config.model_copy(update={"port": port})
    with serving(again, Reciting(), tmp_path) as site:
        expect(page.get_by_text("Nothing waits for review.")).to_be_visible(timeout=15_000)
        assert [w.text for w in site.store.feedback() if w.text] == ["It is typed."]
        site.store.append(interactions=[asked("b")])
        page.get_by_role("button", name="Look again").click()
        shown(page)
        page.keyboard.press("c")
        page.get_by_label("The answer as it should have been").fill("Half a word")
        page.reload()
        field = page.get_by_label("The answer as it should have been")
        expect(field).to_have_value("Half a word")


def test_a_lost_reservation_is_told(queue: Served, visit: Callable[..., Page]) -> None:
    queue.store.append(interactions=[asked("a")])
    page = visit(f"{queue.url}/review")
    shown(page)
    late = update(reservations).values(expires_at=utc_now() - timedelta(minutes=1))
    with queue.store._database.write() as connection:
        connection.execute(late)
    other = visit(f"{queue.url}/review")
    assert shown(other) == "a"
    page.keyboard.press("a")
    expect(page.get_by_text("Another reviewer has this answer by now.")).to_be_visible()
    page.get_by_role("button", name="Next answer").click()
    expect(page.get_by_text("Nothing waits for review.")).to_be_visible()
    press(other, "a")
    assert len(list(queue.store.feedback())) == 1


def test_an_expired_one_can_be_had_again(queue: Served, visit: Callable[..., Page]) -> None:
    queue.store.append(interactions=[asked("a")])
    page = visit("about:blank")
    page.clock.install()
    page.goto(f"{queue.url}/review")
    shown(page)
    page.keyboard.press("c")
    page.get_by_label("The answer as it should have been").fill("Slowly typed.")
    page.clock.fast_forward(11 * 60 * 1000)
    expect(page.get_by_text("Your time for this answer has passed")).to_be_visible()
    page.clock.set_system_time(utc_now())
    page.get_by_role("button", name="Go on with it").click()
    expect(page.get_by_text("Your time for this answer has passed")).to_be_hidden()
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("Nothing waits for review.")).to_be_visible()
    assert [w.text for w in queue.store.feedback() if w.text] == ["Slowly typed."]


def test_votes_are_held_and_let_go(queue: Served, visit: Callable[..., Page]) -> None:
    said = [
        Feedback(interaction="a", voter="u1", kind="thumb", value=1.0),
        Feedback(interaction="a", voter="u2", kind="thumb", value=-1.0, reasons=("wrong",)),
    ]
    queue.store.append(interactions=[asked("a")], feedback=said)
    page = visit(f"{queue.url}/review")
    shown(page)
    page.get_by_text("What users said (2)").click()
    if not page.get_by_role("button", name="Hold these votes back").is_visible():
        page.get_by_text("What users said (2)").click()
    page.get_by_role("button", name="Hold these votes back").click()
    page.get_by_label("Why?").fill("one of them is paid for")
    page.get_by_role("button", name="Do it").click()
    expect(page.get_by_text("Held back: one of them is paid for").first).to_be_visible()
    assert len(queue.store.quarantined()) == 2
    page.get_by_role("button", name="Let them count").click()
    page.get_by_label("Why?").fill("they aren't")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Hold these votes back")).to_be_visible()
    assert queue.store.quarantined() == []


def test_hostile_texts_stay_texts(queue: Served, visit: Callable[..., Page]) -> None:
    tricks = [*MARKUP, *MARKDOWN]
    rows = []
    words = []
    for n, trick in enumerate(tricks[::4]):
        messages = (Message(role="user", content=trick),)
        rows.append(Interaction(id=f"t{n}", messages=messages, response=trick, style_used=None))
        words.append(Feedback(interaction=f"t{n}", voter="u", kind="comment", text=trick))
        words.append(
            Feedback(
                interaction=f"t{n}", voter="u", kind="thumb", value=1.0, reasons=(trick[:900],)
            )
        )
    queue.store.append(interactions=rows, feedback=words)
    page = visit(f"{queue.url}/review")
    for _ in rows:
        shown(page)
        page.locator("details.card summary").first.click()
        assert page.evaluate("window.pwned") is None
        assert_nothing_is_cut(page)
        assert page.locator("main").count() == 1
        press(page, "s")


@pytest.mark.parametrize(
    ("language", "dark", "viewport"),
    [
        ("en-GB", False, {"width": 1280, "height": 800}),
        ("zh-CN", True, {"width": 390, "height": 844}),
    ],
    ids=["desktop", "phone"],
)
def test_an_item_has_no_serious_fault(
    queue: Served,
    visit: Callable[..., Page],
    language: str,
    dark: bool,
    viewport: dict[str, int],
) -> None:
    said = [
        Feedback(interaction="a", voter="u1", kind="thumb", value=1.0),
        Feedback(interaction="a", voter="u2", kind="thumb", value=-1.0, reasons=("wrong",)),
    ]
    queue.store.append(interactions=[asked("a")], feedback=said)
    page = visit(f"{queue.url}/review", language=language, dark=dark, viewport=viewport)
    shown(page)
    page.keyboard.press("r")
    assert faults(page) == []
    assert_nothing_is_cut(page)
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    assert faults(page) == []
    assert_nothing_is_cut(page)
