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
    ("GET", "/arena"),
    ("POST", "/web/session"),
    ("DELETE", "/web/session"),
}
SCOPES = {
    ("GET", "/web/conversations"): "chat",
    ("GET", "/web/conversations/{id}"): "chat",
    ("POST", "/web/arena"): "chat",
    ("GET", "/web/arena/reveal"): "chat",
    ("GET", "/web/arena/leaderboard"): "review",
}
FILLED = {"{id}": "a1", "{name}": "a1", "{chart}": "votes"}


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
    assert found == OPEN | set(SCOPES)


@pytest.mark.parametrize("route", sorted(SCOPES), ids=" ".join)
def test_it_takes_its_scope(locked: Served, route: tuple[str, str]) -> None:
    method, path = route
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
