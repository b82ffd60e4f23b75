"""E-mail addresses."""

import re
from collections.abc import Iterator

_LOCAL = re.compile(r"[A-Za-z0-9._%+-]{1,64}$")
_DOMAIN = re.compile(r"@(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])")


def emails(text: str) -> Iterator[tuple[int, int]]:
    """Addresses; looked for around each @, which keeps long runs of letters cheap."""
    at = text.find("@")
    while at >= 0:
        local = _LOCAL.search(text, max(0, at - 64), at)
        domain = _DOMAIN.match(text, at)
        if local and domain:
            yield local.start(), domain.end()
        at = text.find("@", at + 1)
