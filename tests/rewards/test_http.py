import asyncio
import logging
import math
import time

import pytest
from scoring_server import Reply, scored, scoring

from rewards import BadParameter, Component, TooManyInvalid, bind, combine, resolve
from rewards.http import http, read_scores
from rewards.running.outcome import Failed

QUICK = {"backoff_s": 0.01, "timeout_s": 2.0}


def reasons(scores):
    return [score.reason for score in scores if isinstance(score, Failed)]


def lengths(body, number):
    return scored([len(text) for text in body["completions"]])


def test_rows_go_in_batches_and_come_back_in_order():
    answers = ["x" * size for size in range(10)]
    with scoring(lengths) as (url, asked):
        scores = http(url, batch_size=3, columns=("style",), **QUICK)(
            prompts=["?"] * 10, completions=answers, style=list("abcdefghij"), secret=["s"] * 10
        )
    assert scores == [float(size) for size in range(10)]
    assert sorted(len(a.body["completions"]) for a in asked) == [1, 3, 3, 3]
    assert {key for a in asked for key in a.body["columns"]} == {"style"}


def test_messages_travel_as_text_and_null_does_not_apply():
    prompt = [{"role": "system", "content": "secret"}, {"role": "user", "content": "Open?"}]
    with scoring(lambda body, n: scored([None])) as (url, asked):
        assert http(url, **QUICK)([prompt], [[{"role": "assistant", "content": "Yes."}]]) == [None]
    assert asked[0].body == {"prompts": ["Open?"], "completions": ["Yes."], "columns": {}}


@pytest.mark.parametrize(
    "first",
    [
        Reply(status=500),
        Reply(status=503, headers={"Retry-After": "0"}),
        Reply(status=429),
        Reply(hang_up=True),
        Reply(wait_s=1.0),
    ],
    ids=["500", "503", "429", "hang-up", "slow"],
)
def test_a_broken_or_busy_service_is_asked_again(first):
    with scoring(lambda body, n: first if n == 0 else lengths(body, n)) as (url, asked):
        scores = http(url, backoff_s=0.01, timeout_s=0.4)(["?"], ["four"])
    assert scores == [4.0] and len(asked) == 2


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(status=400), "answered 400 Bad Request"),
        (Reply(status=401), "answered 401 Unauthorized"),
        (Reply(status=302, headers={"Location": "http://127.0.0.1:1/"}), "answered 302 Found"),
        (Reply(status=299), "not JSON"),
        (Reply(b"<html>"), "not JSON"),
        (Reply(b'{"scores": [NaN]}'), "not JSON"),
        (Reply(b"[" * 100_000), "not JSON"),
        (Reply(b"[1.0]"), 'no list "scores"'),
        (Reply(b'{"scores": {"0": 1}}'), 'no list "scores"'),
        (scored([1.0, 2.0]), "2 scores for 1 rows"),
        (scored([]), "0 scores for 1 rows"),
        (scored(["1.0"]), "a score is a str"),
        (scored([True]), "a score is a bool"),
        (Reply(b'{"scores": [1e999]}'), "too large"),
        (Reply(b'{"scores": [1' + b"0" * 400 + b"]}"), "too large"),
        (Reply(b" " * 2_000_000), "longer than 1000000 bytes"),
        (Reply(b"x", headers={"Content-Encoding": "gzip"}), "compressed"),
    ],
)
def test_a_useless_reply_leaves_its_rows_invalid_never_zero(reply, reason):
    with scoring(lambda body, n: reply) as (url, asked):
        scores = http(url, **QUICK)(["?"], ["x"])
    assert math.isnan(scores[0]) and reason in reasons(scores)[0] and len(asked) == 1


def test_the_rows_of_other_batches_keep_their_scores():
    def answer(body, number):
        return Reply(status=400) if "bad" in body["completions"] else lengths(body, number)

    with scoring(answer) as (url, _):
        name, params = "http", {"url": url, "batch_size": 1, **QUICK}
        part = Component(name=name, params=params)
        answers = ["a", "bad", "ccc", "dddd"]
        rows = combine([part], ["?"] * 4, answers, max_invalid=0.25)
        assert [row.total for row in rows] == [1.0, None, 3.0, 4.0]
        assert rows[1].invalid and rows[1].scores[0].reason == "http: answered 400 Bad Request"
        with pytest.raises(TooManyInvalid, match="answered 400"):
            combine([part], ["?"] * 4, answers)


def test_a_reply_that_drips_ends_with_the_time_out():
    start = time.monotonic()
    with scoring(lambda body, n: Reply(b" " * 1000, drip_s=0.05)) as (url, _):
        scores = http(url, timeout_s=0.3, retries=0)(["?"], ["x"])
    assert "no reply in 0.3 s" in reasons(scores)[0] and time.monotonic() - start < 3


def test_a_service_that_is_down_costs_its_patience_once():
    with scoring(lambda body, n: Reply(status=500)) as (url, asked):
        scores = http(url, batch_size=1, concurrency=1, retries=2, backoff_s=0.01)(
            ["?"] * 10, ["x"] * 10
        )
    assert len(reasons(scores)) == 10 and len(asked) == 3 + 9


def test_nothing_listens():
    scores = http("http://127.0.0.1:1/", retries=1, backoff_s=0.01)(["?"], ["x"])
    assert reasons(scores) == ["http: no reply: ConnectError"]


def test_requests_keep_the_rate_from_batch_to_batch():
    with scoring(lengths) as (url, asked):
        fn = http(url, batch_size=1, per_second=20.0)
        for _ in range(2):
            fn(["?"] * 3, ["x"] * 3)
    times = sorted(a.at for a in asked)
    assert times[-1] - times[0] >= 5 / 20.0 - 0.02


def test_no_more_requests_at_once_than_allowed():
    with scoring(lambda body, n: Reply(b'{"scores": [1]}', wait_s=0.05)) as (url, asked):
        http(url, batch_size=1, concurrency=2)(["?"] * 6, ["x"] * 6)
    times = sorted(a.at for a in asked)
    assert times[-1] - times[0] >= 0.09


def test_the_key_comes_from_the_environment_and_shows_nowhere(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("SCORE_KEY", "sk-very-secret")
    with scoring(lambda body, n: Reply(status=401, body=b"sk-very-secret")) as (url, asked):
        scores = http(url, api_key_env="SCORE_KEY", **QUICK)(["?"], ["x"])
    assert asked[0].headers["Authorization"] == "Bearer sk-very-secret"
    assert "sk-very" not in caplog.text + str(reasons(scores))


def test_it_works_where_an_event_loop_runs():
    async def inside(url):
        return http(url, **QUICK)(["?"], ["four"])

    with scoring(lengths) as (url, _):
        assert asyncio.run(inside(url)) == [4.0]


def test_in_a_process_of_its_own():
    with scoring(lengths) as (url, _):
        part = Component(name="http", params={"url": url}, process=True)
        assert [row.total for row in combine([part], ["?"], ["four"])] == [4.0]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({}, "needs the parameter 'url'"),
        ({"url": "ftp://a.example"}, "no http:// or https:// address"),
        ({"url": "http://me:pw@a.example"}, "api_key_env"),
        ({"url": "http://a.example", "api_key_env": "NO_SUCH_KEY"}, "NO_SUCH_KEY holds no key"),
        ({"url": "http://a.example", "timeout_s": 0.0}, "timeout_s can't be 0.0"),
        ({"url": "http://a.example", "retries": -1}, "retries can't be -1"),
        ({"url": "http://a.example", "batch_size": 0}, "batch_size >= 1"),
        ({"url": "http://a.example", "colunms": ["x"]}, "did you mean 'columns'"),
    ],
)
def test_mistakes_are_named(params, message):
    with pytest.raises(BadParameter, match=message) as raised:
        bind(resolve("http"), params)
    assert "pw" not in str(raised.value)


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="no column 'style' to send; did you mean 'styles'"):
        http("http://a.example", columns=("style",))(["?"], ["x"], styles=["formal"])


def test_an_empty_batch_asks_nothing():
    with scoring(lengths) as (url, asked):
        assert http(url)([], []) == [] and asked == []


def test_a_reply_is_read_score_by_score():
    read = read_scores({"scores": [1, None, "x"]}, 3)
    assert read[:2] == [1.0, None] and reasons(read) == ["http: a score is a str, not a number"]
