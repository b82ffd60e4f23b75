"""`http`: scores from a service of your own, wherever it runs and in whatever it is written.

It is posted `{"prompts": [...], "completions": [...], "columns": {...}}` and answers
`{"scores": [...]}`: a number for each row, null where it does not apply. Texts are strings. Only
the columns that are named leave this machine.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rewards.errors import BadParameter, RewardError, nearest
from rewards.registry import reward
from rewards.running.outcome import LARGEST, Failed
from rewards.texts.text import Turn, completion_text, prompt_text


@reward()
def http(
    url: str,
    *,
    columns: tuple[str, ...] = (),
    batch_size: int = 64,
    api_key_env: str | None = None,
    timeout_s: float = 30.0,
    retries: int = 3,
    backoff_s: float = 0.5,
    concurrency: int = 4,
    per_second: float | None = None,
    max_bytes: int = 1_000_000,
) -> Callable[..., list[float | None]]:
    """Score by a service at `url`; a row without a usable answer is invalid, never 0.

    Rows go in batches of `batch_size` with the `columns` named, `concurrency` batches at once and
    `per_second` requests at most. A request may take `timeout_s`; broken or busy services are asked
    `retries` more times, after `backoff_s` seconds, doubled each time. The key, if any, is read
    from the environment variable `api_key_env`. Replies of more than `max_bytes` are refused.

    >>> score = http("http://localhost:9000/score")
    >>> score(prompts=["Open?"], completions=["From nine."])  # doctest: +SKIP
    [0.7]
    """
    # Here, not above: to list the rewards takes no HTTP client.
    from rewards.services.remote import Endpoint, ask_all

    if batch_size < 1:
        raise BadParameter(f"http needs batch_size >= 1, not {batch_size}")
    endpoint = Endpoint(
        url, api_key_env, timeout_s, retries, backoff_s, concurrency, per_second, max_bytes
    )

    def score(
        prompts: Sequence[Turn], completions: Sequence[Turn], **given: Any
    ) -> list[float | None]:
        bodies = list(_bodies(prompts, completions, _chosen(columns, given), batch_size))
        replies = ask_all(endpoint, bodies)
        scores = [
            value
            for body, reply in zip(bodies, replies, strict=True)
            for value in read_scores(reply, len(body["prompts"]))
        ]
        return scores

    score.__name__ = "http"  # what TRL logs it by
    return score


def _chosen(names: Sequence[str], given: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    for name in names:
        if name not in given:
            raise RewardError(f"http: no column {name!r} to send; {nearest(name, given)}")
    return {name: given[name] for name in names}


def _bodies(
    prompts: Sequence[Turn],
    completions: Sequence[Turn],
    columns: Mapping[str, Sequence[Any]],
    size: int,
) -> Iterator[dict[str, Any]]:
    for start in range(0, len(completions), size):
        rows = slice(start, start + size)
        yield {
            "prompts": [prompt_text(prompt) for prompt in prompts[rows]],
            "completions": [completion_text(completion) for completion in completions[rows]],
            "columns": {name: list(values[rows]) for name, values in columns.items()},
        }


def read_scores(reply: object, rows: int) -> list[float | None]:
    """Read one reply; rows that it does not score as agreed are failed, each with the reason.

    >>> read_scores({"scores": [1, None]}, 2), read_scores({"scores": [1]}, 2)[0].reason
    ([1.0, None], 'http: its reply has 1 scores for 2 rows')
    """
    match reply:
        case {"scores": list(scores)} if len(scores) == rows:
            return [_read(score) for score in scores]
        case {"scores": list(scores)}:
            reason = f"its reply has {len(scores)} scores for {rows} rows"
        case Exception():
            reason = str(reply)
        case _:
            reason = 'its reply has no list "scores"'
    return [Failed(f"http: {reason}")] * rows


def _read(score: object) -> float | None:
    if score is None:
        return None
    if isinstance(score, bool) or not isinstance(score, int | float):
        return Failed(f"http: a score is a {type(score).__name__}, not a number")
    if not -LARGEST <= score <= LARGEST:
        return Failed("http: a score is too large")
    return float(score)
