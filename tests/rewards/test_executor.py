"""Whatever a user's reward does, its rows become invalid: never 0, never a crash of ours."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rewards import BadParameter, InProcess, OwnProcess, RewardError, resolve

FILE = Path(__file__).with_name("user_rewards.py")
PROMPTS = ["?", "?"]
ANSWERS = ["我的答案", "another answer"]


def spec(name):
    return resolve(f"{FILE}:{name}")


@pytest.fixture(scope="module")
def own():
    with OwnProcess(timeout_s=20) as executor:
        yield executor


@pytest.mark.parametrize("name", ["raises", "exits", "nan", "infinite", "short", "texts"])
def test_a_failed_score_is_invalid_in_process(name):
    outcomes = InProcess().score(spec(name), {}, PROMPTS, ANSWERS, {})
    assert [(o.value, o.status) for o in outcomes] == [(None, "invalid")] * 2
    assert all(o.reason and "我的答案" not in o.reason for o in outcomes)


def test_both_executors_agree(own):
    for name, params in [("good", {"scale": 0.5}), ("mixed", {}), ("raises", {})]:
        here = InProcess().score(spec(name), params, PROMPTS, ANSWERS, {})
        assert own.score(spec(name), params, PROMPTS, ANSWERS, {}) == here


def test_a_process_is_kept_from_batch_to_batch(own):
    first, again = (own.score(spec("pid"), {}, PROMPTS, ANSWERS, {})[0].value for _ in "ab")
    assert first == again != os.getpid()


def test_columns_reach_the_process(own):
    target = own.score(resolve("style"), {}, PROMPTS, ANSWERS, {"style": ["正式", None]})
    assert [o.status for o in target] == ["ok", "none"]


def test_stdin_is_not_the_rewards(own):
    assert own.score(spec("reads_stdin"), {}, PROMPTS, ANSWERS, {})[0].value == 0.0


def test_a_column_that_json_cannot_hold_is_refused(own):
    with pytest.raises(BadParameter, match="column 'image' can't be sent to reward 'good'"):
        own.score(spec("good"), {}, PROMPTS, ANSWERS, {"image": [object(), object()]})


def test_a_mistake_in_the_configuration_is_raised(own):
    with pytest.raises(BadParameter, match="did you mean 'scale'"):
        own.score(spec("good"), {"scael": 1}, PROMPTS, ANSWERS, {})
    with pytest.raises(RewardError, match="should not be positive"):
        factory = resolve("trl.rewards.get_repetition_penalty_reward")
        own.score(factory, {"max_penalty": 1.0}, PROMPTS, ANSWERS, {})


def test_a_hang_is_cut_off_and_the_next_batch_is_scored():
    with OwnProcess(timeout_s=0.3) as executor:
        start = time.monotonic()
        outcomes = executor.score(spec("hangs"), {}, PROMPTS, ["hang", "b"], {})
        assert time.monotonic() - start < 20
        assert [(o.value, o.status, o.reason) for o in outcomes] == [
            (None, "invalid", "timed out after 0.3 s")
        ] * 2
        assert executor.score(spec("hangs"), {}, PROMPTS, ["a", "b"], {})[0].value == 1.0


def test_a_death_is_invalid_and_the_next_batch_is_scored():
    with OwnProcess() as executor:
        outcomes = executor.score(spec("dies"), {}, PROMPTS, ["die", "b"], {})
        assert [o.status for o in outcomes] == ["invalid"] * 2
        assert outcomes[0].reason == "its process died with exit code 3"
        assert executor.score(spec("dies"), {}, PROMPTS, ["a", "b"], {})[0].value == 1.0


def test_a_time_out_kills_what_the_reward_started(tmp_path):
    note = tmp_path / "pids"
    with OwnProcess(timeout_s=1) as executor:
        params = {"note": str(note)}
        executor.score(spec("hangs_with_child"), params, PROMPTS, ANSWERS, {})
    for pid in note.read_text().split():
        _wait(lambda pid=int(pid): _gone(pid))


def test_closing_ends_the_process():
    executor = OwnProcess()
    (worker, _) = executor.score(spec("pid"), {}, PROMPTS, ANSWERS, {})
    executor.close()
    assert worker.value and _gone(int(worker.value))


def test_no_process_outlives_a_killed_parent(tmp_path):
    note = tmp_path / "pids"
    script = (
        "from rewards import OwnProcess, resolve\n"
        f"OwnProcess().score(resolve({f'{FILE}:hangs_with_child'!r}), {{'note': {str(note)!r}}},"
        " ['?'], ['x'], {})"
    )
    parent = subprocess.Popen([sys.executable, "-c", script])
    _wait(lambda: note.exists() and note.read_text().count(" "))
    parent.kill()
    parent.wait()
    worker, child = map(int, note.read_text().split())
    _wait(lambda: _gone(worker))
    os.kill(child, 9)  # only its own parent could have ended it


def _gone(pid):
    """Tell whether a process has ended; a zombie that waits to be collected has."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def _wait(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
