"""The preview's page in a browser: a slider moves picks, and no text of a policy's runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pages.conftest import DESKTOP, PHONE
from pages.tricks import TRICKS
from playwright.sync_api import Page, expect

from rewards import count_tokens
from rlhf.lab.answers import Answers
from rlhf.lab.preview import PreviewConfig, look
from rlhf.lab.preview_page import write_page
from rlhf.runs import open_run
from rlhf.sampling import Completion, Prompt
from rlhf.training.online.rollouts import Question

SHORT = "请您核实订单。"
LONG = "Please confirm your order number, and describe what happened to the parcel in detail."


@pytest.fixture
def page_of(tmp_path: Path) -> Callable[..., str]:
    """The address of a preview's page of these prompts and answers."""

    def write(prompts: list[str], answers: list[list[str]]) -> str:
        run = open_run(tmp_path, "preview", {"n": len(prompts)}, {})
        columns = {"style": None, "intent": None, "reference": None}
        asked = [
            Question(Prompt(({"role": "user", "content": text},)), [], columns) for text in prompts
        ]
        drawn = [[Completion(text, (1,), "stop") for text in row] for row in answers]
        nll: list[list[float | None]] = [[0.5] * len(row) for row in answers]
        values: dict[str, Any] = {
            "base_model": "tiny",
            "data": {"path": "none.jsonl"},
            "samples": len(answers[0]),
            "mixes": {
                "brief": [{"name": "length", "label": "brief", "params": {"low": 1, "high": 6}}],
                "long": [
                    {"name": "length", "label": "<i>long</i>", "params": {"low": 15, "high": 30}}
                ],
            },
        }
        config = PreviewConfig.model_validate(values)
        path = tmp_path / "preview.html"
        write_page(
            path, look(config, tmp_path, Answers(run, "<b>tiny</b>", asked, drawn, nll, kept=False))
        )
        return path.as_uri()

    return write


def test_a_slider_moves_picks_and_gains(
    page_of: Callable[..., str], visit: Callable[..., Page]
) -> None:
    page = visit(page_of(["快递丢了怎么办?", "Where is it?"], [[SHORT, LONG], [LONG, SHORT]]))
    pick = page.locator("article .answer.wins .text")
    expect(pick).to_have_text([SHORT, SHORT])
    length = page.locator('tr[data-measure="length"] td').nth(2)
    half = (count_tokens(LONG) - count_tokens(SHORT)) / 2
    expect(length).to_contain_text(f"−{half:.3f}")
    page.get_by_label("<i>long</i>").fill("2")
    expect(pick).to_have_text([LONG, LONG])
    expect(length).to_contain_text(f"+{half:.3f}")
    expect(page.locator("#moved")).to_have_text("2 of 2 picks differ from brief’s")
    page.get_by_label("best of k").fill("1")
    expect(length).to_contain_text("0.000")
    expect(page.locator("#bound")).to_contain_text("KL at most 0.000")
    page.get_by_role("button", name="<i>long</i> alone").click()
    expect(pick).to_have_text([LONG, LONG])
    page.get_by_role("button", name="brief", exact=True).click()
    expect(pick).to_have_text([SHORT, SHORT])


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_that_was_said_runs(
    page_of: Callable[..., str], visit: Callable[..., Page], viewport: dict[str, int]
) -> None:
    page = visit(page_of(list(TRICKS), [[t, t + " more"] for t in TRICKS]), viewport=viewport)
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog was opened: {dialog.message}"))
    for _ in range(3):
        page.locator("#more").click()
    expect(page.locator("article")).to_have_count(min(40, len(TRICKS)))
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.pwned") is None
    assert page.locator("main").count() == 1 and page.locator("dialog[open]").count() == 0
    assert page.locator("article .text").first.text_content() in (TRICKS[0], TRICKS[0] + " more")
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= viewport["width"]
