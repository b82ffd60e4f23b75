"""Voters over HTTP, each on a connection of their own, at a set pace or as fast as they are served.

A bare client: a full one would take as much of the processor as the server that is measured.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any


async def call(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, method: str, path: str, body: Any
) -> tuple[int, Any]:
    """One request of JSON on an open connection: status and answer."""
    data = json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    answer = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(answer.split(b"content-length:")[1].split(b"\r\n")[0])
    return int(answer[9:12]), json.loads(await reader.readexactly(length))


async def answers_to_vote_on(host: str, port: int, count: int) -> list[str]:
    """Ids of answers that were given elsewhere, a thousand to a request."""
    reader, writer = await asyncio.open_connection(host, port)
    row = {"messages": [{"role": "user", "content": "When will it come?"}], "response": "Today."}
    ids: list[str] = []
    while len(ids) < count:
        rows = [row] * min(1_000, count - len(ids))
        status, said = await call(
            reader, writer, "POST", "/v1/interactions", {"interactions": rows}
        )
        if status != 201:
            raise SystemExit(f"serve: answers were refused ({status})")
        ids += [one["id"] for one in said["interactions"]]
    writer.close()
    await writer.wait_closed()
    return ids


async def vote(
    host: str, port: int, ids: Sequence[str], *, voters: int, rate: float, seconds: float
) -> list[float]:
    """Seconds that each vote took, all of them acknowledged; `rate` is of all voters a second."""
    taken: list[float] = []
    until = time.perf_counter() + seconds

    async def voter(number: int) -> None:
        reader, writer = await asyncio.open_connection(host, port)
        due, turn = time.perf_counter() + number / rate, 0
        while due < until:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            began = time.perf_counter()
            id = ids[(number + turn * voters) % len(ids)]
            path = f"/v1/interactions/{id}/feedback/thumb"
            body = {"value": 1, "voter": f"v{number}-{turn}"}
            status, _ = await call(reader, writer, "PUT", path, body)
            if status != 200:
                raise SystemExit(f"serve: a vote was refused ({status})")
            # From when it was due, so that a server that halts is not asked less.
            taken.append(time.perf_counter() - min(began, due))
            due, turn = due + voters / rate, turn + 1
        writer.close()

    await asyncio.gather(*(voter(number) for number in range(voters)))
    return taken
