"""Words in both languages, sessions, the policy of the pages, files that browsers keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from http_service import Served
from playwright.sync_api import Page, expect

from rlhf.serving.sessions import COOKIE
from rlhf.serving.web.pages import LANGUAGES, MENU, POLICY, words


def keys(found: dict[str, Any], before: str = "") -> Iterator[str]:
    for key, value in found.items():
        if isinstance(value, dict):
            yield from keys(value, f"{before}{key}.")
        else:
            yield f"{before}{key}"


def test_every_word_is_there_in_every_language() -> None:
    first, *others = [set(keys(words(language))) for language in LANGUAGES]
    assert first and all(other == first for other in others)
    for language in LANGUAGES:
        wrong = [key for key in first if not isinstance(_word(language, key), str)]
        assert not wrong, "YAML took these for something else than text"


def _word(language: str, key: str) -> Any:
    found: Any = words(language)
    for part in key.split("."):
        found = found[part]
    return found


@pytest.mark.parametrize("path", [path for path, _, _ in MENU])
def test_a_page_runs_nothing_but_its_own_files(site: Served, path: str) -> None:
    answer = httpx.get(site.url + path)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY and "http" not in POLICY
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie


def test_files_are_kept_by_their_version_alone(site: Served) -> None:
    html = httpx.get(site.url).text
    path = html.partition('href="/static/')[2].partition('"')[0]
    kept = httpx.get(f"{site.url}/static/{path}")
    assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
    older = httpx.get(f"{site.url}/static/older/app.css")
    assert older.status_code == 200 and older.headers["cache-control"] == "no-cache"
    for outside in ("..%2f..%2fpages.py", "../pages.py", "%2e%2e/pages.py", "x/../../pages.py"):
        link = httpx.Client(base_url=site.url)
        assert link.get(f"/static/v/{outside}").status_code in (404, 405)
        link.close()


@pytest.mark.parametrize(
    ("asked", "language"),
    [("zh-TW,zh;q=0.9,en;q=0.8", "zh-CN"), ("fr, en;q=0.5", "en"), ("", "en"), ("de", "en")],
)
def test_the_language_is_the_browsers(site: Served, asked: str, language: str) -> None:
    html = httpx.get(site.url, headers={"accept-language": asked}).text
    assert f'<html lang="{language}">' in html


def test_signing_in_and_out(
    serve: Callable[..., AbstractContextManager[Served]], visit: Callable[..., Page]
) -> None:
    with serve(keys=True) as site:
        secret = site.key("review")
        page = visit(f"{site.url}/")
        dialog = page.get_by_role("dialog")
        expect(dialog).to_be_visible()
        dialog.get_by_label("Key").fill("rk_wrong")
        dialog.get_by_role("button", name="Sign in").click()
        expect(dialog.get_by_role("alert")).to_contain_text("not a key of this service")
        dialog.get_by_label("Key").fill(secret)
        dialog.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("link", name="Dashboard")).to_be_visible()
        expect(page.get_by_role("link", name="Arena")).to_be_hidden()
        cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
        assert cookies[COOKIE]["httpOnly"] and secret not in str(cookies)
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("dialog")).to_be_visible()


def test_another_sites_page_can_do_nothing(
    serve: Callable[..., AbstractContextManager[Served]],
) -> None:
    with serve(keys=True) as site:
        secret = site.key("chat")
        with httpx.Client(base_url=site.url) as browser:
            html = browser.get("/").text
            token = html.partition('"csrf": "')[2].partition('"')[0]
            assert len(token) == 40
            body = {"key": secret}
            assert browser.post("/web/session", json=body).status_code == 403
            forged = browser.post("/web/session", json=body, headers={"X-CSRF-Token": "x" * 40})
            assert forged.status_code == 403
            signed = browser.post("/web/session", json=body, headers={"X-CSRF-Token": token})
            fresh = {"X-CSRF-Token": signed.json()["csrf"]}
            said = {"model": "champion", "messages": [{"role": "user", "content": "say hello"}]}
            assert browser.post("/v1/chat/completions", json=said).status_code == 403
            old = browser.post("/v1/chat/completions", json=said, headers={"X-CSRF-Token": token})
            assert old.status_code == 403
            own = browser.post("/v1/chat/completions", json=said, headers=fresh)
            assert own.status_code == 200
            assert browser.get("/web/conversations").json()["conversations"]
            [key] = site.store.api_keys()
            site.store.revoke_api_key(key.id)
            site.key("admin")
            assert browser.get("/web/conversations").status_code == 401


def test_a_cookie_of_somebody_elses_making_is_none(site: Served) -> None:
    for cookie in ("", "x", "a:b:9999999999.00", "a:b.c", "é", "a" * 5_000, "::.", ". ."):
        with httpx.Client(
            base_url=site.url, headers={"cookie": f"{COOKIE}={cookie}".encode()}
        ) as b:
            assert b.get("/").status_code == 200
            assert b.get("/web/conversations").status_code == 403


def test_guests_may_chat_where_that_is_wanted(
    serve: Callable[..., AbstractContextManager[Served]], visit: Callable[..., Page]
) -> None:
    with serve(keys=True, guests=True) as site:
        site.key("admin")
        page = visit(site.url)
        page.get_by_label("Ask something").fill("say Welcome.")
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Good answer")).to_be_visible()
        assert httpx.get(f"{site.url}/web/conversations").status_code == 401
        assert httpx.post(f"{site.url}/v1/chat/completions", json={}).status_code == 401
