"""A sandbox keeps the executors' contract, and refuses where it could not keep its own."""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import ValidationError

from rewards import (
    BadParameter,
    Component,
    InProcess,
    Limits,
    RewardError,
    RewardSet,
    Sandbox,
    TooManyInvalid,
    UnknownReward,
    resolve,
)
from rewards.running.outcome import Outcome
from rewards.sandbox import calls, seccomp, stranger
from rewards.sandbox.channel import Lost
from rewards.sandbox.halves import by_halves, most_tries

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is made of Linux")

FILE = Path(__file__).with_name("user_rewards.py")
HARMLESS = Path(__file__).with_name("hostile") / "at_import.py"
PROMPTS, ANSWERS = ["?", "?"], ["我的答案", "another answer"]


def component(name, **settings):
    return Component(name=f"{FILE}:{name}", sandbox=True, **settings)


@pytest.mark.parametrize(
    "name, params", [("good", {"scale": 0.5}), ("mixed", {}), ("raises", {}), ("texts", {})]
)
def test_it_scores_as_the_other_executors_do(name, params):
    here = InProcess().score(resolve(f"{FILE}:{name}"), params, PROMPTS, ANSWERS, {})
    with Sandbox() as sandbox:
        assert sandbox.score(stranger(f"{FILE}:{name}"), params, PROMPTS, ANSWERS, {}) == here


def test_columns_reach_the_reward_that_takes_them(tmp_path):
    (tmp_path / "r.py").write_text(
        "def style_given(prompts, completions, style):\n"
        "    return [float(s == '正式') for s in style]\n"
    )
    with RewardSet([Component(name="r.py:style_given", sandbox=True)], base=tmp_path) as rewards:
        columns = {"style": ["正式", None], "image": [object(), object()]}  # which it does not
        assert [r.total for r in rewards.score(PROMPTS, ANSWERS, columns)] == [1.0, 0.0]
    with RewardSet([component("good")]) as rewards, pytest.raises(BadParameter, match="'image'"):
        rewards.score(PROMPTS, ANSWERS, {"image": [object(), object()]})


@pytest.mark.parametrize(
    "settings, error, told",
    [
        ({"params": {"scael": 1}}, RewardError, "did you mean 'scale'"),
        ({"params": {"scale": "x"}}, RewardError, "'scale' can't be 'x'"),
        ({"name": f"{FILE}:goood"}, RewardError, "did you mean 'good'"),
        ({"name": "nowhere.py:good"}, UnknownReward, "no file"),
        ({"name": "length"}, BadParameter, "only a file runs in a sandbox"),
    ],
)
def test_a_mistake_in_the_configuration_is_told_at_once(settings, error, told):
    with pytest.raises(error, match=told) as raised:
        RewardSet([Component(**{"name": f"{FILE}:good", "sandbox": True, **settings})])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text, told",
    [("import nothing_of_the_kind", "No module named"), ("import os; os._exit(3)", "exit code 3")],
)
def test_a_file_that_can_not_be_loaded_is_told_at_once(text, told, tmp_path):
    (tmp_path / "r.py").write_text(text)
    with pytest.raises(RewardError, match=told):
        RewardSet([Component(name="r.py:f", sandbox=True)], base=tmp_path)


def test_a_file_that_loads_no_more_costs_its_rows(tmp_path):
    (tmp_path / "mood").write_text("good")
    (tmp_path / "r.py").write_text(
        f"import os\nif open({str(tmp_path / 'mood')!r}).read() != 'good': raise ValueError('no')\n"
        "def f(prompts, completions, **columns):\n    os._exit(3)\n"
    )
    reward = Component(name="r.py:f", sandbox={"read": ["mood"]})
    with RewardSet([reward], base=tmp_path) as rewards:
        with pytest.raises(TooManyInvalid, match="exit code 3"):
            rewards.score(["?"], ["x"])
        (tmp_path / "mood").write_text("bad")
        with pytest.raises(TooManyInvalid, match="ValueError: no"):
            rewards.score(["?"], ["x"])


def test_a_crash_or_hang_costs_its_row_alone():
    with Sandbox(timeout_s=0.5) as sandbox:
        spec = stranger(f"{HARMLESS.with_name('picky.py')}:picky")
        columns = {"expected": [7.0, 8.0, 9.0]}
        outcomes = sandbox.score(spec, {}, ["?"] * 3, ["fine", "die", "hang"], columns)
    assert [(o.value, o.reason) for o in outcomes] == [
        (7.0, None),
        (None, "its process died with exit code 3"),
        (None, "timed out after 0.5 s"),
    ]


@pytest.mark.parametrize("rows", [1, 2, 3, 16, 100])
def test_a_batch_is_given_up_after_few_tries(rows):
    tried = []

    def lost(start, stop):
        tried.append((start, stop))
        raise Lost("died")

    assert [o.reason for o in by_halves(lost, rows)] == ["died"] * rows
    assert len(tried) <= 7


@pytest.mark.parametrize("rows", [1, 2, 3, 16, 100])
def test_one_bad_row_is_found_wherever_it_is(rows):
    for bad in range(rows):
        tried = []

        def score(start, stop, bad=bad, tried=tried):
            tried.append((start, stop))
            if start <= bad < stop:
                raise Lost("died")
            return [Outcome(float(i), "ok") for i in range(start, stop)]

        outcomes = by_halves(score, rows)
        assert [i for i, o in enumerate(outcomes) if o.status == "invalid"] == [bad]
        assert all(o.value == i for i, o in enumerate(outcomes) if i != bad)
        assert len(tried) <= most_tries(rows)


def test_a_sets_time_out_holds_for_it_and_its_own_before_that():
    for own, limit in ((None, 0.3), (0.2, 0.2)):
        with RewardSet([component("hangs", timeout_s=own)], timeout_s=0.3) as rewards:
            with pytest.raises(TooManyInvalid, match=f"timed out after {limit:g} s"):
                rewards.score(["?"], ["hang"])
            assert [row.total for row in rewards.score(PROMPTS, ANSWERS)] == [1.0, 1.0]


def test_a_stranger_vetoes_only_where_the_configuration_says_so():
    for veto, total in ((None, -1.0), (True, -9.0)):
        with RewardSet([component("veto_short", veto=veto)], veto_score=-9.0) as rewards:
            assert rewards.score(["?"], ["a"])[0].total == total


def test_no_process_outlives_a_killed_parent():
    script = (
        "from rewards import Sandbox, Limits\nfrom rewards.sandbox import stranger\n"
        f"spec = stranger({f'{FILE}:hangs'!r})\n"
        "sandbox = Sandbox(Limits(memory_mb=3083))\nsandbox.load(spec, {})\n"
        "print('up', flush=True)\nsandbox.score(spec, {}, ['?'], ['hang'], {})"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert parent.stdout.readline() == b"up\n" and len(_sized(3083)) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end = time.monotonic() + 10
    while _sized(3083):
        assert time.monotonic() < end
        time.sleep(0.02)


def _sized(memory_mb):
    mark, found = b'"memory_mb":%d,' % memory_mb, []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark in line.read_bytes():
                found.append(line)
        except OSError:
            continue
    return found


# Refusals


def test_another_system_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(
        RewardError, match=r"that needs Linux on x86_64 or aarch64.* this is darwin"
    ):
        RewardSet([component("good")])
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(RewardError, match="this is riscv64"):
        RewardSet([component("good")])


@pytest.mark.skipif(os.geteuid() != 0, reason="takes a power away from root")
def test_a_machine_without_namespaces_is_refused_with_the_way_out():
    script = (
        "from rewards import Component, RewardSet\n"
        f"RewardSet([Component(name={f'{FILE}:good'!r}, sandbox=True)])"
    )
    less = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"]
    told = subprocess.run([*less, sys.executable, "-c", script], capture_output=True, text=True)
    line = told.stderr.splitlines()[-1]
    assert "this machine gives no namespaces (unshare: Operation not permitted)" in line
    assert "or accept `sandbox: {without: namespaces}`" in line


def test_no_more_than_one_wall_can_be_left_out():
    with pytest.raises(ValidationError):
        Limits(without=["namespaces", "landlock"])
    with pytest.raises(ValidationError):
        Limits(without="seccomp")


def test_the_way_out_that_does_without_landlock_still_shows_no_files(tmp_path):
    (tmp_path / "key").write_text("secret")
    limits = Limits(without="landlock")
    with Sandbox(limits) as sandbox:
        spec = stranger(f"{FILE.parent / 'hostile' / 'secrets.py'}:attack")
        columns = {"do": ["file"], "path": [str(tmp_path / "key")]}
        outcome = sandbox.score(spec, {}, ["?"], ["x"], columns)[0]
    assert outcome.reason is not None and outcome.reason.startswith("FileNotFoundError")


# The filter's table


def test_the_table_agrees_with_the_kernels_own():
    header = next(Path("/usr/include").glob("*/asm/unistd_64.h"), None)
    if header is None or platform.machine() != "x86_64":
        pytest.skip("the kernel's headers are not installed")
    own = dict(
        (name.removeprefix("__NR_"), int(number))
        for _, name, number in (
            line.split() for line in header.read_text().splitlines() if "__NR_" in line
        )
    )
    named = calls.named("x86_64")
    assert named == {name: own[name] for name in named} and len(named) > 100


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_program_is_one_that_the_kernel_takes(machine):
    program = list(seccomp.program(machine, 1))
    assert all(len(operation) == 8 for operation in program) and len(program) < 4096
    assert program[-1] == seccomp._op(seccomp._RETURN, seccomp._REFUSED)
