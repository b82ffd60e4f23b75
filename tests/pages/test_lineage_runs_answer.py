"""Walking a lineage, a run while it trains, and one answer by its link."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from http_service import Served
from lineage_world import fill
from pages.conftest import DESKTOP, PHONE
from pages.test_accessibility import assert_nothing_is_cut, faults
from playwright.sync_api import Page, expect

from feedback_store import Interaction, Message

Serve = Callable[..., AbstractContextManager[Served]]
VIEWS = pytest.mark.parametrize(
    ("language", "dark", "viewport"),
    [("en-GB", False, DESKTOP), ("zh-CN", True, PHONE)],
    ids=["desktop", "phone"],
)


@pytest.fixture
def world(serve: Serve, tmp_path: Path) -> Iterator[Served]:
    with serve(runs=str(tmp_path / "runs")) as site:
        fill(site.store, tmp_path / "runs")
        yield site


def test_a_walk_from_the_champion_to_a_vote_and_back(
    world: Served, visit: Callable[..., Page]
) -> None:
    page = visit(f"{world.url}/lineage")
    expect(page.locator(".thing").first).to_be_visible()
    for kind in ("policy", "snapshot", "run", "release"):
        expect(page.locator(f".kind-{kind}").first).to_be_visible()
    page.locator(".kind-snapshot").first.click()
    page.wait_for_url("**/lineage?id=*")
    page.locator("#facts button.main").click()
    expect(page.locator("#votes")).to_contain_text("question")
    page.go_back()
    expect(page.locator(".kind-release").first).to_be_visible()
    page.locator("#id").fill("t1")
    page.keyboard.press("Enter")
    expect(page.locator(".kind-feedback").first).to_be_visible()
    page.locator("#id").fill("nothing-of-this-name")
    page.keyboard.press("Enter")
    expect(page.locator("#main .empty, #main .failed").first).to_be_visible()


@VIEWS
@pytest.mark.parametrize("path", ["/lineage", "/lineage?id=t1", "/runs"])
def test_full_pages_have_no_serious_fault(
    world: Served,
    visit: Callable[..., Page],
    path: str,
    language: str,
    dark: bool,
    viewport: dict[str, int],
) -> None:
    page = visit(world.url + path, language=language, dark=dark, viewport=viewport)
    page.wait_for_load_state("networkidle")
    expect(page.locator(".thing, .run").first).to_be_visible()
    assert faults(page) == []
    assert_nothing_is_cut(page)


def test_curves_grow_while_a_run_trains(
    world: Served, visit: Callable[..., Page], tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "sft-20261124T050000Z-0123456789ab"
    run.mkdir()
    (run / "config.yaml").write_text("stage: sft\n")
    row = '{"step": %d, "loss": 1.5}\n'
    (run / "metrics.jsonl").write_text("".join(row % n for n in range(1, 5)))
    page = visit(f"{world.url}/runs?run={run.name}")
    expect(page.locator("canvas").first).to_be_visible()
    with (
        page.expect_response(lambda answer: "after=" in answer.url, timeout=15_000) as found,
        (run / "metrics.jsonl").open("a") as file,
    ):
        file.write(row % 5)
    assert found.value.ok
    (run / "report.html").write_text("<h1>The report</h1>")
    (run / "manifest.json").write_text(json.dumps({"files": {}, "finished": "2026-11-24"}))
    page.reload()
    frame = page.frame_locator("iframe")
    expect(frame.get_by_text("The report")).to_be_visible()


@VIEWS
def test_a_vote_by_a_link(
    serve: Serve,
    visit: Callable[..., Page],
    language: str,
    dark: bool,
    viewport: dict[str, int],
) -> None:
    with serve(keys=True) as site:
        site.key("admin")
        said = (Message(role="user", content="When does it come?"),)
        answer = Interaction(id="a1", messages=said, response="On **Friday**.", user="ann")
        site.store.append(interactions=[answer])
        token = site.service.tokens.make("a1", "ann")
        page = visit(f"{site.url}/answer#a1:{token}", language=language, dark=dark,
                     viewport=viewport)  # fmt: skip
        expect(page.locator("strong")).to_have_text("Friday")
        page.locator(".ballot-up").click()
        expect(page.locator(".ballot")).to_have_attribute("data-state", "saved")
        [word] = list(site.store.feedback())
        assert (word.value, word.voter) == (1.0, site.store.pseudonym("ann"))
        assert faults(page) == []
        assert_nothing_is_cut(page)
        page.reload()
        expect(page.locator(".ballot-up")).to_have_attribute("aria-pressed", "true")
