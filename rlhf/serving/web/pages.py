"""The shells of the pages: what a script needs to begin, in the reader's language.

Their routes are plain functions, which FastAPI runs in threads: they may read keys of the store.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import rlhf
from rlhf.serving.access import Access, address_of
from rlhf.serving.service import Service
from rlhf.serving.sessions import Session, session_of, set_cookie
from rlhf.serving.web.assets import version

router = APIRouter(include_in_schema=False)

LANGUAGES: Final = ("en", "zh")
LANGUAGE_COOKIE: Final = "rlhf_language"
_WORDS: Final = Path(__file__).parent / "words"

# In the order of the menu: path, name, and the scope that it takes.
MENU: Final = (
    ("/", "chat", "chat"),
    ("/arena", "arena", "chat"),
    ("/review", "review", "review"),
    ("/dashboard", "dashboard", "review"),
    ("/lineage", "lineage", "review"),
    ("/runs", "runs", "review"),
)

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; font-src 'self'; frame-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


@router.get("/")
def chat(request: Request) -> HTMLResponse:
    """Ask, and say what you think of the answer."""
    return shell(request, "chat")


def shell(request: Request, name: str, **more: Any) -> HTMLResponse:
    """A page's HTML; whoever comes for the first time gets a session."""
    service: Service = request.app.state.service
    session = session_of(request) or service.access.sessions.make()
    language = language_of(request)
    page = _templates().get_template(f"{name}.html.jinja")
    html = page.render(
        page=name,
        language=language,
        words=words(language),
        menu=MENU,
        start=_start(service.access, session, language, address_of(request)),
        static=f"/static/{version()}",
        product=rlhf.__version__,
        **more,
    )
    answer = HTMLResponse(html, headers={"Content-Security-Policy": POLICY, "Vary": "Cookie"})
    set_cookie(request, answer, session)
    return answer


def language_of(request: Request) -> str:
    """What the reader chose, else the first of the browser's languages that we speak."""
    if (chosen := request.cookies.get(LANGUAGE_COOKIE)) in LANGUAGES:
        return str(chosen)
    for wanted in request.headers.get("accept-language", "")[:200].split(","):
        tag = wanted.partition(";")[0].strip().lower().partition("-")[0]
        if tag in LANGUAGES:
            return tag
    return "en"


@cache
def words(language: str) -> dict[str, Any]:
    """All texts of the pages in a language, by page and key."""
    found: dict[str, Any] = yaml.safe_load(
        (_WORDS / f"{language}.yaml").read_text(encoding="utf-8")
    )
    return found


def _start(access: Access, session: Session, language: str, address: str) -> Markup:
    """JSON for the script: an inert block, so that no text in it can end it."""
    told = {
        "csrf": access.sessions.csrf(session),
        "scopes": sorted(access.scopes(session, address)),
        "open": access.open,
        "signedIn": session.key is not None,
        "language": language,
        "words": words(language),
    }
    text = json.dumps(told, ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace("\u2028", "\\u2028"))


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader("rlhf.serving.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment
