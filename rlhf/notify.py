"""Tell a webhook how a cycle ended. A deaf webhook never fails a cycle."""

from __future__ import annotations

from typing import Any, Literal

import httpx

from rlhf.progress import console
from rlhf.runs import now

Event = Literal["promotion", "refusal", "failure"]


def notify(url: str | None, event: Event, **details: Any) -> bool:
    """POST `{"event", "time", ...}`; three tries, five seconds each. True when it was taken."""
    if url is None:
        return False
    body = {"event": event, "time": now(), **details}
    transport = httpx.HTTPTransport(retries=2)
    try:
        with httpx.Client(transport=transport, timeout=5.0) as client:
            client.post(url, json=body).raise_for_status()
    except httpx.HTTPError as error:
        console.print(f"[yellow]webhook[/yellow]: not told of the {event}: {type(error).__name__}")
        return False
    return True
