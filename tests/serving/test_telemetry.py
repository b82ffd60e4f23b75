"""Figures: each service's own, of few labels, in Prometheus's format."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from rlhf.serving.telemetry import Telemetry


def figures(telemetry: Telemetry) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(telemetry.render().decode())
        for sample in family.samples
    }


def test_two_services_in_a_process_count_apart() -> None:
    one, other = Telemetry(), Telemetry()
    one.voted("thumb", 3)
    one.voted("comparison")
    assert figures(one)[("rlhf_votes_total", "thumb")] == 3
    assert ("rlhf_votes_total", "thumb") not in figures(other)


def test_an_answer_is_counted_by_role_and_end() -> None:
    telemetry = Telemetry()
    telemetry.answered("champion", "stop", first_token_ms=30.0, prompt_tokens=9)
    telemetry.answered("canary", "content_filter", blocked=True, completion_tokens=4)
    telemetry.answered("canary", "error")
    found = figures(telemetry)
    assert found[("rlhf_answers_total", "champion", "stop")] == 1
    assert found[("rlhf_answers_total", "canary", "error")] == 1
    assert found[("rlhf_answers_blocked_total", "canary")] == 1
    assert found[("rlhf_first_token_seconds_bucket", "0.05", "champion")] == 1
    assert found[("rlhf_first_token_seconds_bucket", "0.025", "champion")] == 0
    assert found[("rlhf_tokens_total", "prompt")] == 9
    assert found[("rlhf_tokens_total", "completion")] == 4
