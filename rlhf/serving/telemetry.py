"""What operators watch: Prometheus figures, on a registry of each service's own.

Labels are of few values (routes as patterns, roles, not policies' or users' names), so that no
client can make the figures grow.
"""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Telemetry:
    """One service's figures."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"rlhf_{name}", about, labels, registry=self.registry)

        def histogram(name: str, about: str, *labels: str) -> Histogram:
            return Histogram(
                f"rlhf_{name}", about, labels, registry=self.registry, buckets=_SECONDS
            )

        self._requests = counter("requests", "Requests answered", "route", "method", "status")
        self._seconds = histogram("request_seconds", "Until the whole answer was sent", "route")
        self._answers = counter("answers", "Answers recorded", "role", "finish_reason")
        self._blocked = counter("answers_blocked", "Answers that the screen replaced", "role")
        self._first_token = histogram("first_token_seconds", "Time to first token", "role")
        self._tokens = counter("tokens", "Tokens read and drawn", "kind")
        self._votes = counter("votes", "Votes that are on disk", "kind")
        self._closed = counter("connections_closed", "Connections that limits ended", "reason")
        self._news = counter("policy_changes", "Champions and canaries that came or went")
        self.under_way = Gauge(
            "rlhf_answers_under_way", "Answers being drawn or waiting", registry=self.registry
        )
        self.engine_up = Gauge(
            "rlhf_engine_up", "Whether the engine answers", registry=self.registry
        )

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request came to its end."""
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answered(
        self,
        role: str,
        finish_reason: str,
        *,
        blocked: bool = False,
        first_token_ms: float | None = None,
        prompt_tokens: int | None = None,
        completion_tokens: int | None = None,
    ) -> None:
        """An answer was recorded, whole or broken off."""
        self._answers.labels(role, finish_reason).inc()
        if blocked:
            self._blocked.labels(role).inc()
        if first_token_ms is not None:
            self._first_token.labels(role).observe(first_token_ms / 1000.0)
        for kind, count in (("prompt", prompt_tokens), ("completion", completion_tokens)):
            if count:
                self._tokens.labels(kind).inc(count)

    def voted(self, kind: str, count: int = 1) -> None:
        """Votes were committed: feedback's kind, `comparison` or `withdrawal`."""
        self._votes.labels(kind).inc(count)

    def closed(self, reason: str) -> None:
        """A connection was ended before its client wanted it."""
        self._closed.labels(reason).inc()

    def policy_changed(self) -> None:
        """Another policy answers, or a canary went back."""
        self._news.inc()

    def render(self) -> bytes:
        """All figures, in the text format that `CONTENT_TYPE` names."""
        return generate_latest(self.registry)
