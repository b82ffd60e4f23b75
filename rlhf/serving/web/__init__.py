"""The pages that people use: chat, arena, review, dashboard, lineage, runs.

    browser ── GET / ─────────▶ pages.py      a shell with words, scopes and a CSRF token
            ── /static/… ─────▶ assets.py     modules, the style sheet, vendored libraries
            ── /web/… ────────▶ one module a page: JSON for its script
            ── /v1/… ─────────▶ the API that everybody uses: answers, votes

A page is `templates/<page>.html.jinja`, `static/<page>.js` and its words in `words/*.yaml`. No
build step, no host but this one, nothing inline: the policy in `pages.py` forbids it.
"""

from fastapi import APIRouter

from rlhf.serving.web import (
    answer,
    arena,
    conversations,
    dashboard,
    lineage,
    pages,
    releases,
    review,
    runs,
    signing_in,
    standings,
)

PAGES: tuple[APIRouter, ...] = (
    pages.router,
    signing_in.router,
    conversations.router,
    answer.router,
    arena.router,
    standings.router,
    review.router,
    dashboard.page,
    dashboard.router,
    releases.router,
    lineage.router,
    runs.router,
)
"""In the order in which they are asked."""
