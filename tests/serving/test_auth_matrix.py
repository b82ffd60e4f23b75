"""Every route × {no, bad, expired, revoked, wrong-scope key or token}: denied."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_service import Served, config_of, serving
from reciting import Reciting

from rlhf.serving.vote_tokens import VoteTokens

# Who may call: everybody, or a key of this scope (and, where it says so, an answer's token).
OPEN = {("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/openapi.json"), ("GET", "/docs")}
SCOPES = {
    ("POST", "/v1/chat/completions"): "chat",
    ("GET", "/v1/models"): "chat",
    ("PUT", "/v1/interactions/{id}/feedback/{metric}"): "vote",
    ("GET", "/v1/interactions/{id}/feedback/{metric}"): "vote",
    ("DELETE", "/v1/interactions/{id}/feedback/{metric}"): "vote",
    ("POST", "/v1/feedback:batch"): "vote",
    ("POST", "/v1/comparisons"): "vote",
    ("DELETE", "/v1/comparisons"): "vote",
    ("POST", "/v1/interactions"): "vote",
    ("GET", "/metrics"): "review",
}
BY_TOKEN = {route for route in SCOPES if "feedback/" in route[1] or "comparisons" in route[1]}


@pytest.fixture(scope="module")
def locked(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that asks for keys."""
    folder = tmp_path_factory.mktemp("locked")
    with serving(config_of(tiny_model, folder), Reciting(), folder) as served:
        for scope in ("chat", "vote", "review", "admin"):
            served.key(scope)
        yield served


@pytest.fixture(scope="module")
def answer(locked: Served) -> Any:
    return locked.ask("say x", user="asker").json()


def send(
    served: Served, route: tuple[str, str], answer: Any, headers: dict[str, str]
) -> httpx.Response:
    """A request that is in order but for who sends it."""
    method, path = route
    path = path.replace("{id}", answer["id"]).replace("{metric}", "thumb")
    body: Any = None
    if "chat" in path:
        body = {"model": "champion", "messages": [{"role": "user", "content": "say x"}]}
    elif "batch" in path:
        body = {"votes": [{"interaction": answer["id"], "value": 1, "voter": "u"}]}
    elif path == "/v1/interactions":
        body = {"messages": [{"role": "user", "content": "x"}], "response": "y"}
    elif route == ("POST", "/v1/comparisons"):
        body = {"a": answer["id"], "b": "other", "choice": "a", "voter": "u"}
    elif method == "PUT":
        body = {"value": 1, "voter": "u"}
    query = {"voter": "u"} if method in ("GET", "DELETE") else {}
    if route == ("DELETE", "/v1/comparisons"):
        query |= {"a": answer["id"], "b": "other"}
    with httpx.Client(base_url=served.url, timeout=30) as client:
        return client.request(method, path, json=body, params=query, headers=headers)


def test_every_route_is_in_this_matrix(locked: Served) -> None:
    paths = locked.app.openapi()["paths"]
    found = {(method.upper(), path) for path, item in paths.items() for method in item}
    assert found == set(SCOPES) | {route for route in OPEN if route[1] in ("/healthz", "/readyz")}
    hidden = {r.path for r in locked.app.routes if hasattr(r, "path")} - set(paths)
    assert hidden <= {"/openapi.json", "/docs", "/static"}


@pytest.mark.parametrize("route", sorted(SCOPES), ids=" ".join)
def test_strangers_are_denied(locked: Served, answer: Any, route: tuple[str, str]) -> None:
    store, right = locked.store, SCOPES[route]
    _, expired = store.create_api_key([right], "expired", timedelta(microseconds=1))
    revoked_key, revoked = store.create_api_key([right], "revoked")
    store.revoke_api_key(revoked_key.id)
    strangers = {
        "none": {},
        "empty": {"Authorization": ""},
        "bad": {"Authorization": "Bearer rk_" + "x" * 43},
        "other scheme": {"Authorization": f"Basic {locked.key(right)}"},
        "expired": {"Authorization": f"Bearer {expired}"},
        "revoked": {"Authorization": f"Bearer {revoked}"},
        "odd bytes": {"Authorization": "Bearer \xff.\xfe"},
        "bad token": {"X-Vote-Token": "abc.def"},
    }
    before = store.watermark()
    for name, headers in strangers.items():
        raw = {key: value.encode("latin-1") for key, value in headers.items()}
        denied = send(locked, route, answer, raw)  # type: ignore[arg-type]
        assert denied.status_code == 401, name
        assert denied.json()["error"]["type"] == "authentication_error"
        assert denied.headers["WWW-Authenticate"]
    for scope in {"chat", "vote", "review"} - {right}:
        wrong = send(locked, route, answer, {"Authorization": f"Bearer {locked.key(scope)}"})
        assert wrong.status_code == 403, scope
    assert store.watermark() == before


@pytest.mark.parametrize("route", sorted(SCOPES), ids=" ".join)
def test_tokens_open_nothing_but_their_answer(
    locked: Served, answer: Any, route: tuple[str, str]
) -> None:
    store = locked.store
    old = VoteTokens(store, 1.0, clock=lambda: datetime.now(UTC) - timedelta(hours=2))
    late = old.make(answer["id"], "asker")
    other = locked.ask("say y", user="asker").json()["feedback"]["token"]
    good = answer["feedback"]["token"]
    before = store.watermark()
    pair = "comparisons" in route[1]
    for token, status in ((late, 401), (f"{good}x", 401), (other, 403), (good[1:], 401)):
        for headers in ({"X-Vote-Token": token}, {"Authorization": f"Bearer {token}"}):
            denied = send(locked, route, answer, headers)
            assert denied.status_code == (status if route in BY_TOKEN else 401)
    if route not in BY_TOKEN or pair:
        denied = send(locked, route, answer, {"X-Vote-Token": good})
        assert denied.status_code == (403 if pair else 401)
    assert store.watermark() == before


@pytest.mark.parametrize("route", sorted(SCOPES), ids=" ".join)
def test_the_right_key_and_an_admins_pass(
    locked: Served, answer: Any, route: tuple[str, str]
) -> None:
    for scope in (SCOPES[route], "admin"):
        passed = send(locked, route, answer, {"Authorization": f"Bearer {locked.key(scope)}"})
        assert passed.status_code not in (401, 403), passed.text


@pytest.mark.parametrize("route", sorted(SCOPES), ids=" ".join)
def test_a_stranger_is_denied_before_his_body_is_read(
    locked: Served, answer: Any, route: tuple[str, str]
) -> None:
    method, path = route
    path = path.replace("{id}", answer["id"]).replace("{metric}", "thumb")
    with httpx.Client(base_url=locked.url, timeout=30) as client:
        for headers in ({}, {"X-Vote-Token": "abc.def"}):
            denied = client.request(
                method, path, content=b"{", headers={"Content-Type": "application/json", **headers}
            )
            assert denied.status_code == 401


def test_open_routes_tell_nothing_but_themselves(locked: Served) -> None:
    with httpx.Client(base_url=locked.url, timeout=30) as client:
        for method, path in sorted(OPEN):
            assert client.request(method, path).status_code == 200
        assert client.get("/readyz").json() == {"ready": True, "reasons": []}


def test_tricks_in_paths_reach_nothing_outside(locked: Served) -> None:
    key = {"Authorization": f"Bearer {locked.key('admin')}"}
    with httpx.Client(base_url=locked.url, timeout=30, headers=key) as client:
        for id in ("..%2f..%2fetc%2fpasswd", "a%00b", "a b", "x" * 200, "%F0%9F%98%80"):
            path = f"/v1/interactions/{id}/feedback/thumb"
            for method in ("PUT", "GET", "DELETE"):
                body = {"json": {"value": 1, "voter": "u"}} if method == "PUT" else {}
                answer = client.request(method, path, params={"voter": "u"}, **body)
                assert answer.status_code in (400, 404), (id, method)
                assert "passwd" not in answer.text
