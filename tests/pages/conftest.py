"""A real browser before a running service."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from http_service import Served, config_of, serving
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from reciting import Reciting

from rlhf.serving.engines import Engine

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
# Without the latter ones it calls its maker's hosts at every start.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
UNSCREENED: dict[str, Any] = {"screen": {"enabled": False}}
"""Two processes less, which start for longer than most of these tests run."""
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")  # while it is open, its event loop is in the way of others'
def browser() -> Iterator[Browser]:
    if CHROMIUM is None and "CI" not in os.environ:
        pytest.skip("no Chromium here; install it, or name one in CHROMIUM")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """A visitor with a browser of their own: `visit(url, language?, dark?, viewport?)`.

    A script's error fails the test: a page that only looks right isn't.
    """
    contexts: list[BrowserContext] = []
    errors: list[str] = []

    def open_page(
        url: str,
        *,
        language: str = "en-GB",
        dark: bool = False,
        viewport: dict[str, int] = DESKTOP,
        **options: Any,
    ) -> Page:
        context = browser.new_context(
            locale=language,
            color_scheme="dark" if dark else "light",
            viewport=viewport,  # type: ignore[arg-type]
            permissions=["clipboard-read", "clipboard-write"],
            **options,
        )
        context.set_default_timeout(10_000)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if _is_wrong(line) else None)
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors


def _is_wrong(line: Any) -> bool:
    """What the policy of the page refused, too.

    Not so answers other than 2xx, which are the page's to show, and what a run's report may not do.
    """
    expected = ("Failed to load resource", "the document's frame is sandboxed")
    return line.type == "error" and not any(text in line.text for text in expected)


@pytest.fixture
def site(tiny_model: Path, tmp_path: Path) -> Iterator[Served]:
    """A service of the test's own, without keys, whose engine says what it is told to."""
    config = config_of(tiny_model, tmp_path, style="auto", **UNSCREENED)
    with serving(config, Reciting(), tmp_path) as served:
        yield served


@pytest.fixture
def serve(tiny_model: Path, tmp_path: Path) -> Callable[..., AbstractContextManager[Served]]:
    """A service with other settings: `with serve(engine?, keys=True, **settings) as served`."""

    def start(
        engine: Engine | None = None, *, keys: bool = False, **values: Any
    ) -> AbstractContextManager[Served]:
        config = config_of(tiny_model, tmp_path, **{**UNSCREENED, **values})
        return serving(config, engine or Reciting(), tmp_path, open_without_keys=not keys)

    return start


@pytest.fixture
def page(site: Served, visit: Callable[..., Page]) -> Page:
    """The chat, as a first-time visitor sees it."""
    return visit(site.url)
