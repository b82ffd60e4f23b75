"""JSON bodies, read after the caller is known and in one pass.

FastAPI reads and parses a body before any dependency runs, so that a stranger's mistakes would be
told before he is denied; and it parses into dictionaries first, which costs a vote half its time.
"""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic.json_schema import models_json_schema

from rlhf.serving.problems import Problem

REFS = "#/components/schemas/{model}"


class Body(BaseModel):
    """What a client sends: values of the right JSON type, no unknown names, no NaN."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


def _as_int(value: Any) -> Any:
    """JSON has one kind of number: 1.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_as_int)  # the last of an int's annotations, or its bounds miss the page

Wanted = TypeVar("Wanted", bound=BaseModel)
_sent: list[type[BaseModel]] = []


async def read_body(request: Request, wanted: type[Wanted]) -> Wanted:
    """The request's body; raises `Problem` 415 and pydantic's `ValidationError`.

    Only `application/json`: a browser sends that to another origin after asking (CORS) alone, so
    that no foreign page can speak to a service on loopback.
    """
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "send the body as Content-Type: application/json", code="not_json")
    return wanted.model_validate_json(await request.body())


def takes(*models: type[BaseModel], **examples: Any) -> dict[str, Any]:
    """For a route's `openapi_extra`: that its body is one of these, with examples by name."""
    _sent.extend(model for model in models if model not in _sent)
    refs = [{"$ref": REFS.format(model=model.__name__)} for model in models]
    content: dict[str, Any] = {"schema": refs[0] if len(refs) == 1 else {"anyOf": refs}}
    if examples:
        content["examples"] = {name: {"value": value} for name, value in examples.items()}
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def describe(app: FastAPI, about: str) -> None:
    """Make the OpenAPI page of an app: FastAPI's, with the bodies above."""

    def page() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, description=about, routes=app.routes
            )
            _, found = models_json_schema(
                [(model, "validation") for model in _sent], ref_template=REFS
            )
            parts = schema.setdefault("components", {})
            parts.setdefault("schemas", {}).update(found.get("$defs", {}))
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = page  # type: ignore[method-assign]
