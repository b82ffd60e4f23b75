import asyncio
import json
import logging
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rewards import check
from rlhf.errors import UsageError
from rlhf.serving.screening import UNCHECKED, Screen, Stream
from rlhf.serving.settings import ScreenSettings

BROKEN = [
    ("finance.promise", "这款产品稳赚不赔，年底就能看到。"),
    ("finance.promise", "This plan gives guaranteed returns of 20%. "),
    ("medicine.dosage", "阿莫西林胶囊每次0.5克，一日三次，请遵医嘱。"),
    ("medicine.dosage.en", "Take 400 mg of ibuprofen every 6 hours, or ask your doctor. "),
    ("medicine.see_doctor", "感冒的话，建议服用阿莫西林。"),
    ("privacy", "王先生的手机号是13812345678。"),
    ("privacy", "Her address is jane.doe1987@gmail.com. "),
]
FINE = [
    "您好！很高兴为您服务。",
    "感冒期间建议多喝水，多休息。",
    "请到医院请医生看一看。",
    "Version 3.5 is out. ",
    "Please wait... then try again; it works. ",
    "- first\n- second\n",
    "投资有风险，没有稳赚的产品。",
    "Drink some water and rest. ",
]
SLOW = "- {name: slow, forbid: ['(a+)+$']}\n- {name: rival, forbid: [acme]}\n"
HOSTILE = "a" * 60 + "b"


@asynccontextmanager
async def screen_of(base, **keys):
    screen = Screen(ScreenSettings(**{"seconds": 5.0, **keys}), base)
    try:
        yield screen
    finally:
        await screen.close()


def run(base, work, **keys):
    async def inside():
        async with screen_of(base, **keys) as screen:
            return await work(screen)

    return asyncio.run(inside())


class Counting:
    """Counts what `Stream` has checked; the checks are the real ones, done here."""

    def __init__(self):
        self.characters = 0

    async def check(self, prompt, answer):
        self.characters += len(answer)
        return tuple(dict.fromkeys(violation.rule for violation in check(answer, prompt)))


async def streamed(screen, pieces, prompt=""):
    """What a user saw, and the rules that the whole broke."""
    stream = Stream(screen, prompt)
    saw = [await stream.feed(piece) for piece in pieces] + [await stream.end()]
    assert "".join(saw) == stream.shown
    assert stream.text == "".join(pieces)
    return stream.shown, stream.broken, saw


def test_answers_are_checked_in_both_languages(tmp_path):
    async def work(screen):
        for rule, text in BROKEN:
            assert rule in await screen.check("", text)
        for text in FINE:
            assert await screen.check("", text) == ()

    run(tmp_path, work)


def test_own_rules_are_read_beside_the_configuration_and_see_the_prompt(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "- {name: loan, when_prompt: [贷款], require: [以银行审批为准]}\n"
    )

    async def work(screen):
        assert await screen.check("我想贷款", "可以申请。") == ("loan",)
        assert await screen.check("我想退货", "可以申请。") == ()

    run(tmp_path, work, rules="mine.yaml")


def test_unusable_rules_are_refused_at_the_start(tmp_path):
    with pytest.raises(UsageError, match="nowhere"):
        Screen(ScreenSettings(rules="nowhere.yaml"), tmp_path)
    (tmp_path / "bad.yaml").write_text("- {name: x, forbid: ['(a']}\n")
    with pytest.raises(UsageError, match="unterminated"):
        Screen(ScreenSettings(rules="bad.yaml"), tmp_path)


def test_switched_off_it_lets_everything_by(tmp_path):
    async def work(screen):
        assert await screen.check("", BROKEN[0][1]) == ()
        stream = screen.stream("")
        assert await stream.feed("stock") == "stock" and await stream.end() == ""

    run(tmp_path, work, enabled=False)


def test_the_refusal_speaks_the_users_language(tmp_path):
    screen = Screen(ScreenSettings(refusal_en="No.", refusal_zh="不行。"), tmp_path)
    turns = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "你好"}]
    assert screen.refusal(turns) == "不行。"
    assert screen.refusal([*turns, {"role": "user", "content": "and in English?"}]) == "No."
    assert screen.refusal([]) == "No."


def test_a_check_that_is_late_blocks_and_the_loop_and_others_go_on(tmp_path, caplog):
    """The user's own rule backtracks for ages; nothing here waits for it."""
    (tmp_path / "slow.yaml").write_text(SLOW)

    async def work(screen):
        await screen.start()
        start = time.perf_counter()
        late = asyncio.create_task(screen.check("", HOSTILE))
        fine = await asyncio.gather(*(screen.check("", "Try Acme.") for _ in range(20)))
        served = time.perf_counter() - start
        assert fine == [("rival",)] * 20
        assert not late.done() and served < 1.0
        assert await late == UNCHECKED
        assert time.perf_counter() - start < 2.5

        # Both checkers at once: all who ask now are blocked in time, and later ones are served.
        start = time.perf_counter()
        hostile = [screen.check("", HOSTILE) for _ in range(6)]
        assert await asyncio.gather(*hostile) == [UNCHECKED] * 6
        assert time.perf_counter() - start < 2.5
        async with asyncio.timeout(60):
            while await screen.check("", "Try Acme.") != ("rival",):
                await asyncio.sleep(0.1)

    with caplog.at_level(logging.WARNING):
        run(tmp_path, work, rules="slow.yaml", seconds=1.5)
    assert HOSTILE not in caplog.text


def test_a_late_check_ends_by_itself_where_no_server_is_left_to_kill_it(tmp_path):
    (tmp_path / "slow.yaml").write_text(SLOW)
    command = [sys.executable, "-m", "rlhf.serving.checker", "0.2", str(tmp_path / "slow.yaml")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as checker:
        assert checker.stdout.readline() == b"[]\n"
        checker.stdin.write(json.dumps(["", HOSTILE]).encode() + b"\n")
        checker.stdin.flush()
        assert checker.wait(timeout=10) == -signal.SIGALRM


def test_a_client_that_goes_away_leaves_its_checker_in_order(tmp_path):
    async def work(screen):
        await screen.start()
        for _ in range(5):
            gone = asyncio.create_task(screen.check("", BROKEN[0][1]))
            await asyncio.sleep(0)
            gone.cancel()
        for _ in range(5):
            assert await screen.check("", "很好。") == ()

    run(tmp_path, work)


def test_a_stream_shows_sentence_by_sentence():
    async def work(screen):
        stream = Stream(screen, "")
        assert await stream.feed("您好") == ""
        assert await stream.feed("！版本3.") == "您好！"
        assert await stream.feed("5很好，请多多休息，多喝水，少熬夜，按时吃饭，") == ""
        assert (await stream.feed("不要过于劳累，也不要太着急，慢慢来就好。再")).endswith("就好。")
        assert await stream.end() == "再"

    asyncio.run(work(Counting()))


def test_what_breaks_a_rule_is_never_shown_and_what_came_before_stays():
    async def work(screen):
        for rule, bad in BROKEN:
            pieces = ["您好！很高兴为您服务。", *bad, "祝您愉快。"]
            shown, broken, _ = await streamed(screen, pieces)
            assert rule in broken
            assert shown == "您好！很高兴为您服务。"

    asyncio.run(work(Counting()))


def test_a_sentence_waits_for_its_disclaimer():
    advice, disclaimer = "感冒的话，建议服用阿莫西林。", "请务必在医生指导下用药。"

    async def work(screen):
        shown, broken, saw = await streamed(screen, [advice, disclaimer])
        assert saw[0] == "" and broken == ()
        assert shown == advice + disclaimer

    asyncio.run(work(Counting()))


def test_a_sentence_without_an_end_is_not_held_for_ever():
    async def work(screen):
        shown, broken, saw = await streamed(screen, ["好的，" * 10] * 60)
        assert broken == () and shown == "好的，" * 600
        assert sum(map(bool, saw)) >= 3
        assert "".join(saw[:-1])

    asyncio.run(work(Counting()))


def test_a_late_check_of_a_stream_shows_nothing(tmp_path):
    (tmp_path / "slow.yaml").write_text(SLOW)

    async def work(screen):
        await screen.start()
        shown, broken, _ = await streamed(screen, ["Good. ", HOSTILE + "! ", HOSTILE])
        assert broken == UNCHECKED
        assert HOSTILE not in shown

    run(tmp_path, work, rules="slow.yaml", seconds=0.5)


@pytest.mark.parametrize("bad", ["", "Take some amoxicillin. "])
def test_work_grows_with_the_length_and_not_its_square(bad):
    def work(length):
        screen = Counting()
        text = bad + ("Drink some water. Rest well. " * length)[:length]
        asyncio.run(streamed(screen, [text[i : i + 8] for i in range(0, len(text), 8)]))
        return screen.characters

    assert work(16_000) < 2.6 * work(8_000)
    assert work(16_000) < 30 * 16_000


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from([text for _, text in BROKEN] + FINE * 2), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_any_cuts_end_in_the_whole_texts_verdict(parts, random):
    text = "".join(parts)
    cuts = sorted(random.sample(range(len(text) + 1), min(len(text), random.randint(0, 60))))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    shown, broken, _ = asyncio.run(streamed(Counting(), pieces))
    assert set(broken) == {violation.rule for violation in check(text)}
    assert shown == text if not broken else text.startswith(shown)
    # Nothing shown breaks a rule by itself: the cut is at a whole sentence that passed.
    assert check(shown) == []
