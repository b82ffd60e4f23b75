"""The files that pages load: named by what is in them, so that browsers may keep them for good."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Final

from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

FOLDER: Final = Path(__file__).parent / "static"


@cache
def version() -> str:
    """A hash of all files: another one after an upgrade."""
    digest = hashlib.sha256()
    for path in sorted(FOLDER.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(FOLDER).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:12]


class Static:
    """`/static/<version>/<file>`; an older version's name still gets the file of now."""

    def __init__(self) -> None:
        self._files = StaticFiles(directory=FOLDER)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "")
        given, _, path = scope["path"].removeprefix(root).lstrip("/").partition("/")

        async def kept(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start" and message["status"] == 200:
                fresh = b"public, max-age=31536000, immutable"
                told = fresh if given == version() else b"no-cache"
                headers = message["headers"]
                assert isinstance(headers, list)
                message = {**message, "headers": [*headers, (b"cache-control", told)]}
            await send(message)

        inner = {**scope, "path": f"{root}/{path}"}
        await self._files(inner, receive, kept)  # type: ignore[arg-type]
