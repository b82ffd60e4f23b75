"""A server that stops, or comes back: the page says so, keeps what was typed, and goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from http_service import config_of, serving
from playwright.sync_api import Page, expect
from reciting import Reciting


def test_a_restart_loses_nothing(
    tiny_model: Path, tmp_path: Path, visit: Callable[..., Page]
) -> None:
    config = config_of(tiny_model, tmp_path)
    with serving(config, Reciting(), tmp_path) as site:
        port = int(site.url.rpartition(":")[2])
        page = visit(site.url)
        page.get_by_label("Ask something").fill("say Before.")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Good answer")).to_be_visible()
        page.get_by_label("Ask something").fill("forever here")
        page.keyboard.press("Enter")
        expect(page.locator(".answer.under-way")).to_be_visible()
        # The stream ends with the server: what is there stays, with a way on.
        site.service.engine.alive = False  # type: ignore[misc]
    expect(page.locator(".answer.under-way")).to_have_count(0, timeout=40_000)
    page.get_by_label("Ask something").fill("say After the restart.")
    page.get_by_role("button", name="Good answer").first.click()
    expect(page.locator("#notice")).to_be_visible()
    expect(page.locator("#notice")).to_contain_text("What you typed is kept")
    assert page.get_by_label("Ask something").input_value() == "say After the restart."

    again = config.model_copy(update={"port": port})
    with serving(again, Reciting(), tmp_path) as site:
        expect(page.locator("#notice")).to_be_hidden(timeout=15_000)
        # The vote that could not be sent goes by itself.
        expect(page.locator(".ballot").first).to_have_attribute("data-state", "saved")
        assert [word.value for word in site.store.feedback()] == [1.0]
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".answer").last).to_contain_text("After the restart.")
        page.reload()
        expect(page.locator(".turn.assistant").last).to_contain_text("After the restart.")


def test_a_reload_keeps_what_was_typed(page: Page) -> None:
    page.get_by_label("Ask something").fill("half a question")
    page.reload()
    expect(page.get_by_label("Ask something")).to_have_value("half a question")
