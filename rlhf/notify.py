"""Tell a webhook how a cycle ended, or a canary. A deaf webhook never fails a cycle."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any, Literal

import httpx

from rlhf.progress import console
from rlhf.runs import now

Event = Literal["promotion", "refusal", "failure", "guardrail"]

_TRIES = 3


def notify(url: str | None, event: Event, *, pause_s: float = 1.0, **details: Any) -> bool:
    """POST `{"event", "time", ...}`; True when it was taken.

    Three tries of five seconds with a pause between them; an address that is refused (4xx) or
    wrong is not tried again.
    """
    if url is None:
        return False
    body = {"event": event, "time": now(), **details}
    for attempt in range(_TRIES):
        time.sleep(pause_s * attempt)
        failure, again = _post(url, body)
        if not again:
            break
    if failure:
        # The address may hold a secret: neither it nor an error that quotes it is shown.
        console.print(f"[yellow]webhook[/yellow]: not told of the {event}: {failure}")
    return not failure


def _post(url: str, body: Mapping[str, Any]) -> tuple[str, bool]:
    """What went wrong (nothing: an empty string) and whether another try may help."""
    try:
        content = json.dumps(body, default=str)
        with httpx.Client(transport=httpx.HTTPTransport(), timeout=5.0) as client:
            headers = {"Content-Type": "application/json"}
            answer = client.post(url, content=content, headers=headers)
    except httpx.TransportError as error:
        return type(error).__name__, not isinstance(error, httpx.UnsupportedProtocol)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        return type(error).__name__, False
    return "" if answer.is_success else f"status {answer.status_code}", answer.is_server_error
