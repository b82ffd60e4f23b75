"""The HTTP application over one service.

Whoever makes the service starts and closes its store, engine and traffic; the application owns its
threads at the store, the screen's processes and the answers under way, and lets those come to
their end when it stops.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse

import rlhf
from rlhf.chat import template_hash
from rlhf.models import load_tokenizer
from rlhf.serving import (
    chat_routes,
    comparison_routes,
    feedback_routes,
    interaction_routes,
    operator_routes,
)
from rlhf.serving.answering import Answers
from rlhf.serving.bodies import describe
from rlhf.serving.figures import keep_counting
from rlhf.serving.problems import add_handlers
from rlhf.serving.service import Service
from rlhf.serving.settings import LocalEngine
from rlhf.serving.storage import Storage
from rlhf.serving.web import PAGES
from rlhf.serving.web.assets import Static

log = logging.getLogger(__name__)

DRAIN_S = 20.0
ABOUT = """
Answers in OpenAI's protocol, and votes on them that policies learn from.

Ask with any OpenAI client; the completion's `id` is the interaction that votes name. Vote with the
token that comes with the answer (`X-Vote-Token`), or with an API key of scope `vote`. A 2xx on a
vote means that it is on disk.
"""


def make_app(service: Service) -> FastAPI:
    """The routes over a service whose engine and traffic are started."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        storage = Storage(service.store)
        app.state.storage = storage
        app.state.answers = Answers(service, storage, await asyncio.to_thread(_base_hash, service))
        config = service.config
        counting = asyncio.create_task(keep_counting(storage, config.project, config.poll_seconds))
        try:
            await service.screen.start()
            yield
        finally:
            counting.cancel()
            with suppress(asyncio.CancelledError):
                await counting
            await app.state.answers.drain(DRAIN_S)
            await service.screen.close()
            await asyncio.to_thread(storage.close)

    app = FastAPI(
        title="rlhf",
        version=rlhf.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    app.state.began = int(time.time())
    app.state.readiness = (-1e9, [])
    app.include_router(feedback_routes.votes)  # first, as most requests are votes
    for routes in (
        chat_routes,
        feedback_routes,
        comparison_routes,
        interaction_routes,
        operator_routes,
    ):
        app.include_router(routes.router)
    for page in PAGES:
        app.include_router(page)
    app.mount("/static", Static())
    app.add_api_route("/docs", _docs, include_in_schema=False)
    add_handlers(app)
    describe(app, ABOUT)
    return app


async def _docs() -> HTMLResponse:
    """The OpenAPI page for people; alone in that it may load scripts, of one host."""
    page = get_swagger_ui_html(openapi_url="/openapi.json", title="rlhf")
    page.headers["Content-Security-Policy"] = (
        "default-src 'none'; connect-src 'self'; img-src data: https://fastapi.tiangolo.com; "
        "script-src 'unsafe-inline' https://cdn.jsdelivr.net; "
        "style-src 'unsafe-inline' https://cdn.jsdelivr.net; frame-ancestors 'none'"
    )
    return page


def _base_hash(service: Service) -> str | None:
    """The chat template of the base model, which a policy without a manifest is asked by.

    None where an upstream server has the model and this machine hasn't.
    """
    try:
        return template_hash(load_tokenizer(service.config.model_settings()))
    except Exception as error:
        if isinstance(service.config.engine, LocalEngine):
            raise
        log.warning("the base model's chat template is unknown here: %s", type(error).__name__)
        return None
