"""Token buckets: how many requests a minute, for each of many clients.

A client that was quiet may send a minute's worth at once, and then as the minute gives them back.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict
from dataclasses import dataclass

CLIENTS = 10_000


@dataclass
class _Bucket:
    tokens: float
    at: float


class Buckets:
    """One rate for all clients; of those seen longest ago, no more than `CLIENTS` are kept."""

    def __init__(self, per_minute: int) -> None:
        self._rate = per_minute / 60.0
        self._burst = float(per_minute)
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, client: str, now: float) -> float:
        """Seconds to wait until the next request; 0 lets this one pass. `now` is in seconds."""
        client = network(client)
        with self._lock:
            bucket = self._buckets.setdefault(client, _Bucket(self._burst, now))
            self._buckets.move_to_end(client)
            if len(self._buckets) > CLIENTS:
                self._buckets.popitem(last=False)
            passed = max(0.0, now - bucket.at)  # a clock that was set back gives nothing
            bucket.tokens = min(self._burst, bucket.tokens + passed * self._rate)
            bucket.at = now
            if bucket.tokens < 1.0:
                return (1.0 - bucket.tokens) / self._rate
            bucket.tokens -= 1.0
            return 0.0


def network(client: str) -> str:
    """An IPv6 address as its /64, since a household has all of those; anything else as it is."""
    if ":" not in client:
        return client
    try:
        address = ipaddress.IPv6Address(client.partition("%")[0])
    except ValueError:
        return client
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))
