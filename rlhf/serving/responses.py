"""What the OpenAPI page says of errors."""

from __future__ import annotations

from typing import Any

from rlhf.serving.openai_types import ErrorBody

_MEANINGS = {
    400: "The request isn't what this page says; the text names the field.",
    401: "No API key or token, or one that isn't valid (any longer).",
    403: "A key without the scope, or another answer's token.",
    404: "Unknown.",
    408: "The body came too slowly.",
    409: "The id or the idempotency key is taken by another body.",
    413: "The body is too large.",
    415: "The body isn't sent as JSON.",
    422: "Well-formed, and refused all the same.",
    429: "Too many requests; see Retry-After.",
    500: "The server failed.",
    503: "The engine or the store is away; see Retry-After.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: these may come, all in OpenAI's shape."""
    return {s: {"model": ErrorBody, "description": _MEANINGS[s]} for s in statuses}
