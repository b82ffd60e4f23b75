"""Texts that try to run or to break the layout, in every place that a page shows: none does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from http_service import Served
from lineage_world import fill
from pages.conftest import DESKTOP, PHONE
from pages.test_accessibility import assert_nothing_is_cut
from pages.tricks import TRICKS
from playwright.sync_api import Page, expect

from feedback_store import Decision, Feedback, Interaction, Message, Release, printable
from rlhf.serving.sessions import COOKIE, Session

GUEST = "f" * 32


@pytest.fixture(scope="module")
def haunted(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Served, Session]]:
    """A service whose store has them as prompts, answers, votes, names and reasons."""
    from http_service import config_of, serving
    from pages.conftest import UNSCREENED
    from reciting import Reciting

    folder = tmp_path_factory.mktemp("haunted")
    runs = folder / "runs"
    review = {"twice": 0.0, "gold": 0.0}
    config = config_of(tiny_model, folder, runs=str(runs), review=review, **UNSCREENED)
    with serving(config, Reciting(), folder) as site:
        store = site.store
        session = site.service.access.sessions.make(GUEST)
        texts = [printable(trick) for trick in TRICKS]
        for number, text in enumerate(texts):
            store.append(
                interactions=[
                    Interaction(
                        id=f"trick-{number}",
                        conversation=f"talk-{number // 10}",
                        turn=number % 10,
                        messages=(Message(role="user", content=text),),
                        response=text,
                        user=session.user,
                    )
                ],
                feedback=[
                    Feedback(
                        interaction=f"trick-{number}",
                        voter=session.user,
                        kind="thumb",
                        value=-1.0,
                        reasons=(text[:500],),
                    ),
                    Feedback(
                        interaction=f"trick-{number}", voter="u", kind="comment", text=text[:3_000]
                    ),
                ],
            )
        fill(store, runs)
        for text in texts:
            store.add_decision(
                Decision(candidate="new", promote=False, reasons=(text[:900] or "-",))
            )
            store.add_release(Release(policy="old", previous="new", action="rollback",
                                      reason=text[:900]))  # fmt: skip
        _runs(runs, texts)
        yield site, session


def _runs(runs: Path, texts: list[str]) -> None:
    """A run whose samples, measures and settings are of them."""
    run = next(runs.glob("dpo-*"))
    rows = [{"prompt": text, "completion": text, text[:50]: text} for text in texts]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (run / "samples.jsonl").write_text(lines)
    metrics = [{"step": n, "loss": 1 / (n + 1), text[:40]: n} for n, text in enumerate(texts)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
    (run / "config.yaml").write_text(json.dumps({"stage": "dpo", "notes": texts}))
    (run / "report.html").write_text("<script>parent.window.pwned=1</script>" + texts[0])


def harmless(page: Page) -> None:
    assert page.evaluate("window.pwned") is None
    assert page.locator("main").count() == 1
    assert page.locator("dialog[open]").count() == 0
    assert_nothing_is_cut(page)


PLACES = {
    "/?conversation=talk-0": ".turn.assistant",
    "/?conversation=talk-3": ".turn.assistant",
    "/?conversation=talk-5": ".turn.assistant",
    "/?conversation=talk-7": ".turn.assistant",
    "/arena": "#composer",
    "/review": "[data-item]",
    "/dashboard": ".releases-list",
    "/lineage": ".thing",
    "/lineage?id=trick-1": ".thing",
    "/runs": ".run",
}


@pytest.mark.parametrize(("path", "shown"), PLACES.items(), ids=list(PLACES))
@pytest.mark.parametrize(
    ("language", "viewport"),
    [pytest.param("en-GB", DESKTOP, marks=pytest.mark.slow), ("zh-CN", PHONE)],
    ids=["desktop", "phone"],
)
def test_nothing_runs_and_nothing_breaks(
    haunted: tuple[Served, Session],
    visit: Callable[..., Page],
    path: str,
    shown: str,
    language: str,
    viewport: dict[str, int],
) -> None:
    site, session = haunted
    page = visit("about:blank", language=language, viewport=viewport)
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog was opened: {dialog.message}"))
    page.context.add_cookies([{"name": COOKIE, "value": session.cookie, "url": site.url}])
    page.goto(site.url + path)
    expect(page.locator(shown).first).to_be_visible()
    page.wait_for_load_state("networkidle")
    harmless(page)
    if path == "/runs":
        page.locator(".run a", has_text="dpo").first.click()
        page.wait_for_load_state("networkidle")
        expect(page.get_by_text("__proto__").first).to_be_attached()
        harmless(page)


def test_asked_and_answered(site: Served, page: Page) -> None:
    """As prompts that a visitor types, and as answers that stream."""
    for number, trick in enumerate(TRICKS[::4]):
        page.get_by_label("Ask something").fill("say " + trick)
        page.keyboard.press("Enter")
        expect(page.locator(".turn.assistant")).to_have_count(number + 1)
        expect(page.locator("#send")).to_be_visible()
        harmless(page)
