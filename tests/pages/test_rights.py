"""Every route of the pages: who may, who may not, and that no other site's page can."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from fastapi.routing import APIRoute
from http_service import Served

from rlhf.serving.web import PAGES

# Shells and signing in are for everybody; nothing of the store is in them.
OPEN = {
    ("GET", "/"),
    ("GET", "/answer"),
    ("GET", "/arena"),
    ("GET", "/review"),
    ("GET", "/dashboard"),
    ("GET", "/lineage"),
    ("GET", "/runs"),
    ("POST", "/web/session"),
    ("DELETE", "/web/session"),
}
# By the token of an answer: see the tests of these pages.
BY_TOKEN = {("GET", "/web/answer/{id}")}
SCOPES = {
    ("GET", "/web/conversations"): "chat",
    ("GET", "/web/conversations/{id}"): "chat",
    ("POST", "/web/arena"): "chat",
    ("GET", "/web/arena/reveal"): "chat",
    ("GET", "/web/arena/leaderboard"): "review",
    ("POST", "/web/review/next"): "review",
    ("POST", "/web/review/{id}"): "review",
    ("POST", "/web/review/{id}/renew"): "review",
    ("DELETE", "/web/review/{id}"): "review",
    ("POST", "/web/review/{id}/votes"): "review",
    ("GET", "/web/review/progress"): "review",
    ("GET", "/web/dashboard"): "review",
    ("GET", "/web/dashboard/{name}.csv"): "review",
    ("GET", "/web/releases"): "review",
    ("POST", "/web/releases/promote"): "admin",
    ("POST", "/web/releases/rollback"): "admin",
    ("POST", "/web/releases/freeze"): "admin",
    ("POST", "/web/releases/thaw"): "admin",
    ("GET", "/web/lineage"): "review",
    ("GET", "/web/lineage/votes"): "review",
    ("GET", "/web/runs"): "review",
    ("GET", "/web/runs/{name}"): "review",
    ("GET", "/web/runs/{name}/samples"): "review",
    ("GET", "/web/runs/{name}/report"): "review",
}
ASKED = {"/web/arena/reveal": "?a=a1&b=a2"}
FILLED = {"{id}": "a1", "{name}": "a1"}


@pytest.fixture(scope="module")
def locked(tiny_model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    from http_service import config_of, serving
    from reciting import Reciting

    folder = tmp_path_factory.mktemp("locked")
    config = config_of(tiny_model, folder)
    with serving(config, Reciting(), folder, open_without_keys=False) as served:
        served.key("admin")
        yield served


def test_every_route_is_in_this_matrix() -> None:
    found = {
        (method, route.path)
        for router in PAGES
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in route.methods
    }
    assert found == OPEN | BY_TOKEN | set(SCOPES)


@pytest.mark.parametrize("route", sorted(SCOPES), ids=" ".join)
def test_it_takes_its_scope(locked: Served, route: tuple[str, str]) -> None:
    method, path = route
    path += ASKED.get(path, "")
    for name, value in FILLED.items():
        path = path.replace(name, value)
    url = locked.url + path
    assert httpx.request(method, url).status_code == 401
    others = {"chat", "vote", "review"} - {SCOPES[route]}
    for scope in others:
        headers = {"Authorization": f"Bearer {locked.key(scope)}"}
        assert httpx.request(method, url, headers=headers).status_code == 403
    for scope in (SCOPES[route], "admin"):
        headers = {"Authorization": f"Bearer {locked.key(scope)}"}
        assert httpx.request(method, url, headers=headers).status_code not in (401, 500)
    keys = {key.label: key.id for key in locked.store.api_keys()}
    session = locked.service.access.sessions.make(key=keys[SCOPES[route]])
    cookies = {"rlhf_session": session.cookie}
    alone = httpx.request(method, url, cookies=cookies)
    if method == "GET":
        assert alone.status_code not in (401, 500)
        return
    assert (alone.status_code, alone.json()["error"]["code"]) == (403, "invalid_csrf_token")
    token = locked.service.access.sessions.csrf(session)
    own = httpx.request(method, url, cookies=cookies, headers={"X-CSRF-Token": token})
    assert own.json()["error"]["code"] != "invalid_csrf_token" if own.status_code == 403 else True
