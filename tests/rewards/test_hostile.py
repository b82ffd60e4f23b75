"""Strangers' files at their worst: what works in a plain process does nothing in a sandbox."""

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from rewards import Component, Limits, OwnProcess, RewardSet, Sandbox, resolve
from rewards.sandbox import stranger

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is made of Linux")

HOSTILE = Path(__file__).with_name("hostile")
PROMPTS, ANSWERS = ["?", "?"], ["one answer", "another"]
SECRET = "correct horse battery staple"
# A size that no other test uses: it marks our processes on the machine.
MARKED = Limits(memory_mb=3079)


def batch(executor, spec, **columns):
    """One row, with one value in every column."""
    columns = {name: [value] for name, value in columns.items()}
    return executor.score(spec, {}, PROMPTS[:1], ANSWERS[:1], columns)


def failed(outcomes):
    return [outcome.status for outcome in outcomes] == ["invalid"] * len(outcomes)


def held(outcomes):
    """Whether the machine refused, which a mistake in the attack would not be."""
    refusals = r"(Permission|FileNotFound|NotADirectory|ProcessLookup|OS|Timeout|gai)[Ee]rror"
    return failed(outcomes) and re.match(refusals, outcomes[0].reason) is not None


def hostile(name):
    return stranger(f"{HOSTILE / name}.py:attack")


@pytest.fixture(scope="module")
def confined():
    """Run an attack in its file's sandbox."""
    sandboxes = {}

    def run(name, **columns):
        file, _, do = name.partition(".")
        sandbox = sandboxes.setdefault(file, Sandbox(MARKED, timeout_s=20))
        return batch(sandbox, hostile(file), do=do, **columns)

    yield run
    for sandbox in sandboxes.values():
        sandbox.close()
    assert in_sandboxes() == []


@pytest.fixture(scope="module")
def succeeds_outside():
    """Run the same in a plain process: an attack that does no harm there would show nothing."""
    executors = {}

    def run(name, **columns):
        file, _, do = name.partition(".")
        executor = executors.setdefault(file, OwnProcess(timeout_s=20))
        outcomes = batch(executor, resolve(f"{HOSTILE / file}.py:attack"), do=do, **columns)
        return all(outcome.value and outcome.value > 0 for outcome in outcomes)

    yield run
    for executor in executors.values():
        executor.close()


def in_sandboxes(memory_mb=MARKED.memory_mb):
    """The processes that the machine still has of the sandboxes of that size."""
    mark, found = b'"memory_mb":%d' % memory_mb, []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


@pytest.fixture
def bystander():
    """A process of the same user, to be attacked in the place of the parent."""
    process = subprocess.Popen(
        [sys.executable, "-S", "-c", "import time; print('up', flush=True); time.sleep(60)"],
        env={"SECRET": SECRET},
        stdout=subprocess.PIPE,
    )
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


# Secrets


def test_no_secret_is_in_its_environment(monkeypatch, confined, succeeds_outside):
    monkeypatch.setenv("RLHF_SECRET", SECRET)
    assert succeeds_outside("secrets.environment", secret=SECRET)
    assert [o.value for o in confined("secrets.environment", secret=SECRET)] == [0.0]


def test_the_parents_environment_is_out_of_reach(bystander, confined, succeeds_outside):
    params = {"pid": bystander.pid, "secret": SECRET}
    assert succeeds_outside("secrets.of_the_parent", **params)
    assert held(confined("secrets.of_the_parent", **params))
    assert held(confined("secrets.of_the_parent", pid=os.getpid(), secret=""))


@pytest.mark.parametrize("place", [".ssh/id_ed25519", "votes.sqlite.key", "runs/ppo/metrics.jsonl"])
def test_files_of_the_user_are_out_of_reach(place, tmp_path, confined, succeeds_outside):
    private = tmp_path / place
    private.parent.mkdir(parents=True, exist_ok=True)
    private.write_text(SECRET)
    assert succeeds_outside("secrets.file", path=str(private))
    assert held(confined("secrets.file", path=str(private)))


def test_what_lies_beside_the_rewards_file_is_out_of_reach(tmp_path):
    (tmp_path / ".env").write_text(SECRET)
    neighbour = tmp_path / "secrets.py"
    neighbour.write_bytes((HOSTILE / "secrets.py").read_bytes())
    with Sandbox(MARKED, base=tmp_path) as sandbox:
        spec = stranger("secrets.py:attack", tmp_path)
        assert held(batch(sandbox, spec, do="file", path=str(tmp_path / ".env")))


@pytest.mark.parametrize("folder", [Path.home(), Path.cwd(), "/proc", "/etc", "/var", "/tmp"])
def test_folders_show_nothing(folder, confined):
    assert held(confined("secrets.listing", path=str(folder)))


def test_no_open_file_is_passed_on(tmp_path, confined):
    (tmp_path / "key").write_text(SECRET)
    with open(tmp_path / "key") as held:
        os.set_inheritable(held.fileno(), True)
        assert confined("secrets.open_files", secret=SECRET)[0].value == 0.0


# The network


def test_no_connection_reaches_a_tcp_port(confined, succeeds_outside):
    with socket.create_server(("127.0.0.1", 0)) as server:
        params = {"port": server.getsockname()[1]}
        assert succeeds_outside("network.tcp", **params)
        server.accept()[0].close()
        assert held(confined("network.tcp", **params))
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()


def test_no_datagram_reaches_a_udp_port(confined, succeeds_outside):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        params = {"port": server.getsockname()[1]}
        assert succeeds_outside("network.udp", **params)
        assert server.recv(10) == b"secret"
        assert held(confined("network.udp", **params))
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.recv(10)


@pytest.mark.parametrize("kind", ["a file", "abstract"])
def test_no_connection_reaches_a_unix_socket(kind, tmp_path, confined, succeeds_outside):
    path = str(tmp_path / "s") if kind == "a file" else f"\0{tmp_path}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        assert succeeds_outside("network.unix", path=path)
        server.accept()[0].close()
        assert held(confined("network.unix", path=path))
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()


def test_no_name_is_looked_up(confined, succeeds_outside):
    assert succeeds_outside("network.name_lookup")
    assert held(confined("network.name_lookup"))


# Processes


def test_a_fork_bomb_has_no_children(confined, succeeds_outside):
    assert succeeds_outside("processes.fork_bomb", most=3)
    assert confined("processes.fork_bomb", most=200)[0].value == 0.0


def test_threads_are_few():
    limits = MARKED.model_copy(update={"threads": 20})
    with Sandbox(limits) as sandbox:
        outcome = batch(sandbox, hostile("processes"), do="thread_bomb", most=500)[0]
    assert outcome.value is not None and 10 <= outcome.value < 20


def test_no_daemon_survives(tmp_path, confined, succeeds_outside):
    note = tmp_path / "pid"
    assert succeeds_outside("processes.daemon", note=str(note))
    os.kill(int(note.read_text()), signal.SIGKILL)  # it was not killed with its executor
    note.unlink()
    assert held(confined("processes.daemon", note=str(note)))
    assert not note.exists()


def test_no_program_is_run(confined, succeeds_outside):
    assert succeeds_outside("processes.program")
    assert held(confined("processes.program"))


@pytest.mark.parametrize("how", ["kills", "kills_by_thread", "traces", "reads_memory"])
def test_other_processes_are_untouched(how, bystander, confined, succeeds_outside):
    assert held(confined(f"processes.{how}", pid=bystander.pid))
    assert held(confined(f"processes.{how}", pid=os.getpid()))
    assert bystander.poll() is None
    assert succeeds_outside(f"processes.{how}", pid=bystander.pid)


def test_the_kernel_looks_at_no_call_that_leads_out(confined):
    outcome = confined("kernel_calls.calls")[0]
    assert (outcome.value, outcome.reason) == (0.0, None)


# Memory, time, output, disk


def test_ten_gigabytes_are_not_given(confined):
    outcome = confined("greedy.memory")[0]
    assert outcome.reason and outcome.reason.startswith("OSError: [Errno 12]")


def test_an_endless_loop_costs_its_batch_alone():
    with Sandbox(Limits(memory_mb=3081), timeout_s=0.5) as sandbox:
        for hang in ("loops", "ignores_signals"):
            outcomes = batch(sandbox, hostile("greedy"), do=hang)
            assert [o.reason for o in outcomes] == ["timed out after 0.5 s"]
            assert in_sandboxes(3081) == []
        assert batch(sandbox, hostile("greedy"), do="fine")[0].value == 1.0


def test_a_printed_gigabyte_goes_nowhere(capfd, confined):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert [o.value for o in confined("greedy.prints")] == [1.0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
    assert capfd.readouterr() == ("", "")


def test_disk_is_the_scratch_folder_and_small(tmp_path, confined):
    assert confined("greedy.disk", folder=str(tmp_path))[0].value == 0.0
    assert list(tmp_path.iterdir()) == []
    written = confined("greedy.disk", folder="/scratch")[0].value
    assert written is not None and 10 <= written <= 16
    made = confined("greedy.files", folder="/scratch")[0].value
    assert made is not None and 100 < made < 1100
    assert not Path("/scratch").exists()


def test_nothing_works_on_between_batches(confined):
    first = confined("greedy.works_on")[0].value
    time.sleep(1)
    second = confined("greedy.works_on")[0].value
    assert first is not None and second is not None and second - first < 0.3


# Files


@pytest.mark.parametrize("place", ["new", "kept", "here"])
def test_nothing_is_written(place, tmp_path, monkeypatch, confined):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept").write_text("as it was")
    path = "here" if place == "here" else str(tmp_path / place)
    confined("vandal.writes", path=path)  # a relative path is one in its scratch folder
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("kept", "as it was")]


def test_a_place_that_it_may_read_it_may_only_read(tmp_path):
    tmp_path.chmod(0o755)  # root's sandbox reads as nobody
    words = tmp_path / "words.txt"
    words.write_text("as it was")
    words.chmod(0o644)
    with Sandbox(MARKED.model_copy(update={"read": (tmp_path,)})) as sandbox:
        assert batch(sandbox, hostile("vandal"), do="reads", path=str(words))[0].value == 9.0
        for harm in ("writes", "empties", "changes_mode", "deletes"):
            path = str(tmp_path) if harm == "deletes" else str(words)
            assert held(batch(sandbox, hostile("vandal"), do=harm, path=path))
    assert words.read_text() == "as it was" and words.stat().st_mode & 0o777 == 0o644


def test_a_run_folder_is_not_deleted(tmp_path, confined, succeeds_outside):
    for folder in (tmp_path / "run-1", tmp_path / "run-2"):
        folder.mkdir()
        (folder / "metrics.jsonl").write_text("{}\n")
    assert held(confined("vandal.deletes", path=str(tmp_path / "run-1")))
    assert (tmp_path / "run-1" / "metrics.jsonl").read_text() == "{}\n"
    assert succeeds_outside("vandal.deletes", path=str(tmp_path / "run-2"))


def test_a_file_is_run_in_the_sandbox_alone(tmp_path):
    """Loading is enough for harm, so the parent must not load it, to describe it either."""
    file = tmp_path / "at_import.py"
    file.write_bytes((HOSTILE / "at_import.py").read_bytes())
    reward = Component(name=f"{file}:harmless", sandbox=MARKED, params={"scale": 2})
    with RewardSet([reward]) as rewards:
        assert [row.total for row in rewards.score(PROMPTS, ANSWERS)] == [2.0, 2.0]
    assert not (tmp_path / "imported").exists()
    resolve(reward.name)
    assert (tmp_path / "imported").exists()


# Answers


def test_a_death_costs_its_batch_alone(confined):
    outcomes = confined("liar.dies")
    assert [o.reason for o in outcomes] == ["its process died with exit code 7"]
    assert confined("liar.fine")[0].value == 1.0


@pytest.mark.parametrize(
    "name, reason",
    [
        ("closes_its_pipes", "it closed its pipe"),
        ("answers_ahead", "its answer belongs to no question"),
        ("deep_answer", "its answer is no JSON"),
        ("endless_answer", "its answer is longer than"),
    ],
)
def test_a_false_answer_is_invalid(name, reason, confined):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = confined(f"liar.{name}")
    assert failed(outcomes) and reason in outcomes[0].reason
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_an_answer_for_the_next_question_is_not_taken():
    with Sandbox(MARKED) as sandbox:
        spec = hostile("liar")
        outcomes = [batch(sandbox, spec, do=do)[0] for do in ("answers_twice", "fine")]
    assert "invalid" in [outcome.status for outcome in outcomes]


@pytest.mark.parametrize(
    "row",
    [
        ["1e400", "ok", None],
        [1e400, "ok", None],
        [{"a": 1}, "ok", None],
        [1.0, "fine", None],
        [1.0, "none", None],
        [1.0, "invalid", "x"],
        [None, "invalid", ["x"]],
        [1.0, "ok"],
        "ok",
        None,
    ],
)
def test_a_forged_row_is_invalid(row):
    assert reply_to([row, [0.5, "ok", None]]) == [(None, "invalid"), (0.5, "ok")]


@pytest.mark.parametrize("rows", [[], [[1.0, "ok", None]], [[1.0, "ok", None]] * 3, {}, None, 7])
def test_rows_of_another_number_are_invalid(rows):
    assert reply_to(rows) == [(None, "invalid")] * 2


def reply_to(rows):
    from rewards.sandbox.reply import read_rows

    return [(o.value, o.status) for o in read_rows({"rows": rows}, 2)]


def test_a_liar_forges_its_own_rows_at_most():
    forged = json.dumps([[99, "ok", None], [float("nan"), "ok", None]])
    liar = Component(name=f"{HOSTILE}/liar.py:attack", sandbox=MARKED)
    honest = Component(name=f"{HOSTILE}/at_import.py:harmless", sandbox=MARKED)
    with RewardSet([liar, honest], max_invalid=1) as rewards:
        columns = {"do": ["patches_json"] * 2, "rows": [forged] * 2}
        rows = rewards.score(PROMPTS, ANSWERS, columns)
    assert [(s.raw, s.status) for s in rows[0].scores] == [(99.0, "ok"), (1.0, "ok")]
    assert [(s.raw, s.status) for s in rows[1].scores] == [(None, "invalid"), (1.0, "ok")]


def test_a_reason_is_one_short_plain_line_without_the_users_words(confined):
    reason = confined("liar.shouts", words=ANSWERS[0])[0].reason
    assert reason is not None and reason.isprintable() and len(reason) <= 220
    assert "one answer" not in reason
