"""A visitor plays the arena: asks, reads both, chooses blind, learns who was who, goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from duelling import CANARY, fill
from http_service import Served, config_of, serving
from pages.conftest import PHONE
from pages.test_accessibility import assert_nothing_is_cut, faults
from playwright.sync_api import Page, expect
from reciting import Reciting

from feedback_store import Comparison


@pytest.fixture
def site(tiny_model: Path, tmp_path: Path) -> Iterator[Served]:
    fill(tmp_path, tiny_model)
    with serving(
        config_of(tiny_model, tmp_path, poll_seconds=0.2, **CANARY), Reciting(), tmp_path
    ) as served:
        yield served


@pytest.fixture
def page(site: Served, visit: Callable[..., Page]) -> Page:
    return visit(f"{site.url}/arena")


def ask(page: Page, text: str) -> None:
    page.get_by_label("Ask both something").fill(text)
    page.keyboard.press("Enter")


def choices(site: Served) -> list[Comparison]:
    return list(site.store.comparisons())


def test_a_round_from_the_question_to_the_next_one(site: Served, page: Page) -> None:
    ask(page, "slowly It comes on **Friday**. " + "More words follow here. " * 4)
    expect(page.locator(".columns .answer.under-way").first).to_be_visible()
    expect(page.locator(".vote")).to_have_count(0)
    expect(page.locator(".vote")).to_have_count(4)
    expect(page.locator(".columns .answer strong")).to_have_text(["Friday", "Friday"])
    expect(page.locator(".columns .tag")).to_have_count(0)
    assert not choices(site)
    expect(page.get_by_role("button", name="Ask both")).to_be_disabled()

    page.get_by_role("button", name="B is better").click()
    expect(page.locator(".result")).to_contain_text("Your choice: B is better.")
    expect(page.locator(".result")).to_contain_text("not changed")
    expect(page.locator(".vote")).to_have_count(0)
    [choice] = choices(site)
    assert (choice.choice, choice.shown_first, choice.reason) == ("b", "a", "arena")
    tags = page.locator(".columns .tag")
    expect(tags).to_have_count(2)
    for tag, answer in zip(tags.all(), (choice.a, choice.b), strict=True):
        policy = str(site.store.interaction(answer).policy)
        assert tag.get_attribute("data-policy") == policy
        assert policy in str(tag.text_content())
    expect(page.locator(".standings tbody tr")).to_have_count(2)

    ask(page, "say And then?")
    expect(page.locator(".vote")).to_have_count(4)
    expect(page.locator(".arena-past .answer")).to_contain_text("It comes on Friday.")
    rows = site.recorded(4)
    assert {row.conversation for row in rows} == {rows[0].conversation}
    said = [message.content for message in rows[-1].messages]
    assert said[1] == site.store.interaction(choice.b).response and said[2] == "say And then?"
    assert rows[-1].turn == rows[-2].turn == 1


def test_the_keys_choose(site: Served, page: Page) -> None:
    for number, (key, choice) in enumerate(
        [("1", "a"), ("2", "b"), ("3", "tie"), ("4", "both_bad"), ("ArrowLeft", "a")], start=1
    ):
        ask(page, f"say Round {number}.")
        expect(page.locator(".vote")).to_have_count(4)
        expect(page.locator(".votes")).to_be_focused()
        page.keyboard.press(key)
        expect(page.locator(".result")).to_be_focused()
        assert [one.choice for one in choices(site)][-1] == choice
        assert len(choices(site)) == number
        # A digit that is typed is a digit.
        page.get_by_label("Ask both something").press("2")
        assert len(choices(site)) == number


def test_a_choice_is_taken_back_and_none_takes_its_place(site: Served, page: Page) -> None:
    ask(page, "say One.")
    page.get_by_role("button", name="Equally good").click()
    page.get_by_role("button", name="Take the choice back").click()
    expect(page.locator(".result")).to_contain_text("It counts no more.")
    assert choices(site) == []
    expect(page.locator(".vote")).to_have_count(0)
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator(".columns")).to_have_count(0)
    ask(page, "say Another.")
    expect(page.locator(".vote")).to_have_count(4)
    assert len({row.conversation for row in site.recorded(4)}) == 2


def test_a_reload_keeps_the_round_and_who_was_who(site: Served, page: Page) -> None:
    ask(page, "say Kept.")
    expect(page.locator(".vote")).to_have_count(4)
    page.reload()
    expect(page.locator(".columns .answer")).to_have_text(["Kept.", "Kept."])
    page.get_by_role("button", name="A is better").click()
    expect(page.locator(".columns .tag")).to_have_count(2)
    page.reload()
    expect(page.locator(".columns .tag")).to_have_count(2)
    assert [one.choice for one in choices(site)] == ["a"]


def test_stopping_gives_the_question_back(site: Served, page: Page) -> None:
    ask(page, "forever word")
    expect(page.locator(".columns .answer.under-way")).to_have_count(2)
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text("You stopped the answers.")).to_be_visible()
    expect(page.get_by_label("Ask both something")).to_have_value("forever word")
    expect(page.locator(".vote")).to_have_count(0)
    assert {row.finish_reason for row in site.recorded(2)} == {"cancelled"}


def test_answers_that_break_off_can_be_asked_for_again(site: Served, page: Page) -> None:
    ask(page, "break One. Two. Three.")
    expect(page.locator("#round .failed")).to_be_visible()
    expect(page.get_by_label("Ask both something")).to_have_value("break One. Two. Three.")
    page.get_by_label("Ask both something").fill("say Well again.")
    page.get_by_role("button", name="Ask both").click()
    expect(page.locator(".vote")).to_have_count(4)


def test_a_server_that_restarts_loses_neither_answers_nor_what_was_typed(
    tiny_model: Path, tmp_path: Path, visit: Callable[..., Page]
) -> None:
    fill(tmp_path, tiny_model)
    config = config_of(tiny_model, tmp_path, poll_seconds=0.2, **CANARY)
    with serving(config, Reciting(), tmp_path) as site:
        port = int(site.url.rpartition(":")[2])
        page = visit(f"{site.url}/arena")
        ask(page, "say Finished.")
        expect(page.locator(".vote")).to_have_count(4)
        page.get_by_label("Ask both something").fill("the next question")
    page.get_by_role("button", name="A is better").click()
    expect(page.locator("#notice")).to_be_visible()
    expect(page.locator("#round .failed")).to_be_visible()
    expect(page.locator(".columns .answer")).to_have_text(["Finished.", "Finished."])
    with serving(config.model_copy(update={"port": port}), Reciting(), tmp_path) as site:
        expect(page.locator("#notice")).to_be_hidden(timeout=15_000)
        expect(page.get_by_label("Ask both something")).to_have_value("the next question")
        page.get_by_role("button", name="A is better").click()
        expect(page.locator(".columns .tag")).to_have_count(2)
        assert [one.choice for one in choices(site)] == ["a"]


def test_a_guest_plays_and_sees_no_leaderboard(
    tiny_model: Path, tmp_path: Path, visit: Callable[..., Page]
) -> None:
    config = config_of(tiny_model, tmp_path, guests=True)
    with serving(config, Reciting(), tmp_path, open_without_keys=False) as site:
        site.key("admin")
        page = visit(f"{site.url}/arena")
        expect(page.locator("#leaderboard")).to_be_hidden()
        ask(page, "say For all.")
        page.get_by_role("button", name="Both are bad").click()
        expect(page.locator(".result")).to_contain_text("Both answers are of the same policy")
        assert [one.choice for one in choices(site)] == ["both_bad"]


def test_two_answers_with_hard_texts_on_a_phone(site: Served, visit: Callable[..., Page]) -> None:
    page = visit(f"{site.url}/arena", language="zh-CN", dark=True, viewport=PHONE)
    page.get_by_label("请输入要同时提问的问题").fill(
        "say <img src=x onerror=alert(1)> " + "长" * 300 + "\n\n| a | b |\n|--|--|\n| " + "w" * 200
    )
    page.keyboard.press("Enter")
    expect(page.locator(".vote")).to_have_count(4)
    left, right = (page.locator(".side-by-side").nth(n).bounding_box() for n in (0, 1))
    assert left and right and left["y"] + left["height"] <= right["y"]
    assert faults(page) == []
    assert_nothing_is_cut(page)
    page.get_by_role("button", name="A 更好").click()
    expect(page.locator(".standings")).to_be_visible()
    assert faults(page) == []
    assert_nothing_is_cut(page)
