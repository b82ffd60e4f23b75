"""The dashboard in a browser: what is drawn and written are the store's own figures."""

from __future__ import annotations

import csv
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from http_service import Served, config_of, serving
from pages.conftest import DESKTOP, PHONE
from pages.test_accessibility import assert_nothing_is_cut, faults
from playwright.sync_api import Locator, Page, expect
from reciting import Reciting

from feedback_store import Feedback, Interaction, Message, Policy, Release, Store

HOSTILE = "=HYPERLINK(1) +cmd"
TEXTS = (
    "According to our records, your order was confirmed. Please verify the address.",
    "Ships today.",
    "I understand that this is annoying. Shall I check the parcel for you?",
    "请您核实订单信息。根据记录，您的订单已经确认。",
)


def fill(store: Store, count: int = 400) -> None:
    """Answers and votes of the last nine days, by three policies."""
    draw, now = random.Random(0), datetime.now(UTC)
    rows, votes = [], []
    for number in range(count):
        policy = draw.choice(["policy-of-spring", "policy-of-summer", None])
        wait = draw.lognormvariate(5.5 if policy else 6.2, 0.5)
        ended = draw.choices(["stop", "length", "error", "cancelled"], [90, 4, 3, 3])[0]
        row = Interaction(
            messages=(Message(role="user", content="When does my parcel come?"),),
            response=draw.choice(TEXTS),
            policy=policy,
            style_used=draw.choice(["formal", "concise", "caring", None]),
            intent=draw.choice(
                ["billing", "delivery", HOSTILE.removeprefix("=").replace("(1)", "")]
            ),
            finish_reason=ended,
            blocked="rule" if draw.random() < 0.02 else None,
            first_token_ms=wait,
            latency_ms=wait + 1000 * draw.lognormvariate(0.8, 0.4),
            prompt_tokens=20,
            completion_tokens=draw.randint(8, 60),
            created_at=now - timedelta(hours=draw.uniform(0, 9 * 24)),
            simulated=draw.random() < 0.1,
        )
        rows.append(row)
        if draw.random() < 0.5:
            up = draw.random() < (0.75 if policy == "policy-of-summer" else 0.5)
            votes.append(
                Feedback(
                    interaction=row.id,
                    voter=f"voter-{number % 50}",
                    kind="thumb",
                    value=1.0 if up else -1.0,
                    created_at=row.created_at,
                    simulated=row.simulated,
                )
            )
    store.append(interactions=rows, feedback=votes)
    store.add_policy(Policy(id="policy-of-summer", kind="base", base_model="b", path="p"))
    store.add_release(Release(policy="policy-of-summer", action="promote"))


@pytest.fixture(scope="module")
def board(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("board")
    with serving(config_of(tiny_model, folder, poll_seconds=0.05), Reciting(), folder) as served:
        fill(served.store)
        until_counted(served.store)
        yield served


def until_counted(store: Store) -> None:
    end = time.monotonic() + 30
    while store.counted("default").upto < store.watermark():
        assert time.monotonic() < end, "not counted in time"
        time.sleep(0.02)


def tile(page: Page, name: str) -> Locator:
    return page.locator(f"#tile-{name} .value")


def test_tiles_charts_and_tables_have_the_stores_figures(
    board: Served, visit: Callable[..., Page]
) -> None:
    page = visit(board.url + "/dashboard?range=all")
    stats = board.store.by_group("policy")
    people = [row for row in board.store.interactions() if not row.simulated]
    expect(tile(page, "answers")).to_have_text(str(len(people)))
    expect(page.locator("#tile-champion .value")).to_have_text("policy-of-summ…")
    expect(page.locator(".plot canvas")).to_have_count(11)
    page.get_by_label("With simulated users").check()
    expect(tile(page, "answers")).to_have_text(str(board.store.stats()["interactions"]))
    ups, downs = sum(s["up"] for s in stats.values()), sum(s["down"] for s in stats.values())
    expect(page.locator("#tile-votes .more")).to_have_text(f"{ups} up, {downs} down")
    lines = page.locator("#by-group-table tbody tr")
    expect(lines).to_have_count(3)
    told = {}
    for row in lines.all():
        cells = [cell.inner_text() for cell in row.locator("th, td").all()]
        told[row.locator("th").get_attribute("title") or ""] = cells[1:4]
    wanted = {n: [str(s["interactions"]), str(s["up"]), str(s["down"])] for n, s in stats.items()}
    assert told == wanted


def test_numbers_are_one_click_away_and_equal_the_csv(
    board: Served, visit: Callable[..., Page], tmp_path: Path
) -> None:
    page = visit(board.url + "/dashboard?range=all&by=style&simulated=1")
    card = page.locator("#chart-votes")
    table = card.get_by_role("region")
    expect(table).to_be_hidden()
    card.get_by_role("button", name="Numbers").click()
    expect(table).to_be_visible()
    rows = table.locator("tbody tr").all()
    shown = [[cell.inner_text() for cell in row.locator("td").all()] for row in rows]
    with page.expect_download() as waiting:
        card.get_by_role("link", name="CSV").click()
    waiting.value.save_as(tmp_path / "votes.csv")
    with (tmp_path / "votes.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    ups = [line["value"] for line in lines if line["series"] == "up"]
    assert [row[0] for row in reversed(shown)] == ups
    stats = board.store.stats()
    assert sum(map(int, ups)) == stats["up"] > 50


def test_what_is_chosen_stands_in_the_address(board: Served, visit: Callable[..., Page]) -> None:
    page = visit(board.url + "/dashboard")
    expect(page.get_by_role("button", name="7 days")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="30 days").click()
    page.get_by_label("By", exact=True).select_option("intent")
    expect(page.locator("#by-group-title")).to_have_text("By Intent")
    page.reload()
    assert "range=30d" in page.url and "by=intent" in page.url
    expect(page.get_by_role("button", name="30 days")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#by-group-table")).to_contain_text("HYPERLINK +cmd")


def test_a_line_can_be_taken_away_by_keyboard(board: Served, visit: Callable[..., Page]) -> None:
    page = visit(board.url + "/dashboard?range=all")
    line = page.locator("#chart-up_rate").get_by_role("button", name="All together")
    expect(line).to_have_attribute("aria-pressed", "true")
    line.focus()
    page.keyboard.press("Enter")
    expect(line).to_have_attribute("aria-pressed", "false")


def test_new_votes_come_without_a_reload(board: Served, visit: Callable[..., Page]) -> None:
    page = visit(board.url)
    page.clock.install()
    page.goto(board.url + "/dashboard?range=all&simulated=1")
    before = board.store.stats()["interactions"]
    expect(tile(page, "answers")).to_have_text(str(before))
    page.evaluate("document.querySelector('#chart-votes canvas').dataset.kept = '1'")
    asked = (Message(role="user", content="x"),)
    board.store.append(interactions=[Interaction(messages=asked, response="y")])
    until_counted(board.store)
    page.clock.fast_forward(10_000)
    expect(tile(page, "answers")).to_have_text(str(before + 1))
    expect(page.locator("#chart-votes canvas[data-kept]")).to_have_count(1)  # drawn on, not anew


def test_nothing_and_not_yet_are_said(site: Served, visit: Callable[..., Page]) -> None:
    page = visit(site.url + "/dashboard?range=24h")
    expect(page.locator("#charts")).to_contain_text("Nothing happened in this range.")
    page.get_by_role("button", name="Show all").click()
    assert "range=all" in page.url
    expect(tile(page, "missing")).to_have_text("–")


def test_counting_is_told(site: Served, visit: Callable[..., Page]) -> None:
    fill(site.store, 20)

    def half(route: Any) -> None:
        answer = route.fetch()
        told = answer.json() | {"counting": {"upto": 4, "watermark": 10, "share": 0.4}}
        route.fulfill(json=told)

    page = visit(site.url + "/lineage")
    page.route("**/web/dashboard?*", half)
    page.goto(site.url + "/dashboard")
    expect(page.locator("#counting")).to_contain_text("40% of what is stored")


def test_who_may_not_is_told(serve: Callable[..., Any], visit: Callable[..., Page]) -> None:
    with serve(keys=True) as served:
        served.key("review")
        page = visit(served.url + "/dashboard")
        expect(page.get_by_role("dialog")).to_be_visible()
        assert page.locator(".plot").count() == 0


@pytest.mark.parametrize(
    ("language", "dark", "viewport"),
    [("en-GB", False, DESKTOP), ("zh-CN", True, PHONE)],
    ids=["desktop", "phone"],
)
def test_a_full_dashboard_has_no_serious_fault(
    board: Served,
    visit: Callable[..., Page],
    language: str,
    dark: bool,
    viewport: dict[str, int],
) -> None:
    page = visit(
        board.url + "/dashboard?range=all", language=language, dark=dark, viewport=viewport
    )
    expect(page.locator(".plot canvas")).to_have_count(11)
    page.locator("#chart-votes button[aria-expanded]").click()
    assert faults(page) == []
    assert_nothing_is_cut(page)
