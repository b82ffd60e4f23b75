"""How the service starts, where it refuses to, and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from running_server import Running, read_all, read_until

from feedback_store import Store
from rlhf.config import load, validate
from rlhf.errors import UsageError
from rlhf.serving.server import bound, is_loopback, refuse_without_keys
from rlhf.serving.settings import ServeConfig

Call = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parent.parent.parent


def test_off_loopback_it_refuses_to_start_without_keys(here: Path, rlhf: Call) -> None:
    code, out, err = rlhf("serve", "host=0.0.0.0", "port=0")
    assert code == 2 and out == "" and err.count("\n") == 1
    assert "host 0.0.0.0" in err and "`rlhf keys create" in err and "runs/feedback.db" in err


def test_with_a_key_it_may_be_anywhere_and_without_on_loopback(store: Store) -> None:
    for host, inside in (("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)):
        with bound(host, 0) as listener:
            assert is_loopback(listener) == inside
    refuse_without_keys(store, "127.0.0.1", True)
    with pytest.raises(UsageError, match="rlhf keys create"):
        refuse_without_keys(store, "0.0.0.0", False)
    store.create_api_key(["chat"], "x")
    refuse_without_keys(store, "0.0.0.0", False)


def test_an_address_that_cant_be_had_is_told_before_anything_is_opened(
    here: Path, rlhf: Call
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = rlhf("serve", f"port={port}")
    assert code == 2 and f"127.0.0.1:{port}: Address already in use" in err
    code, _, err = rlhf("serve", "host=nowhere.invalid")
    assert code == 2 and "host nowhere.invalid: no such address" in err
    assert not Path("runs").exists()


def test_mistakes_in_the_configuration_are_told_in_one_line(here: Path, rlhf: Call) -> None:
    Path("s.yaml").write_text("limits: {body_byte: 5}\n")
    for arguments, told in (
        (["s.yaml"], "did you mean `body_bytes`?"),
        (["prot=80"], "did you mean `port`?"),
        (["none.yaml"], "none.yaml: cannot be read"),
        (["engine.kind=gpu"], "engine"),
    ):
        code, _, err = rlhf("serve", *arguments)
        assert code == 2 and told in err and err.count("\n") == 1


def slow_app(ends: list[str]) -> FastAPI:
    made = FastAPI()

    @made.get("/stream")
    async def stream() -> StreamingResponse:
        async def texts() -> AsyncIterator[bytes]:
            for _ in range(8):
                yield b"x"
                await asyncio.sleep(0.1)
            ends.append("whole")

        return StreamingResponse(texts())

    @made.get("/long")
    async def long() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0.3)  # as long as a record takes
            ends.append("cancelled")
            raise

    return made


def test_answers_under_way_end_and_late_ones_are_broken_off_but_recorded(store: Store) -> None:
    ends: list[str] = []
    asked = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with (
        Running(slow_app(ends), store, grace_seconds=1.5) as server,
        server.connect(asked % b"stream") as short,
        server.connect(asked % b"long") as long,
    ):
        assert b"200 OK" in read_until(short, b"200 OK")
        began = time.monotonic()
        server.server.should_exit = True
        while server.server.servers[0].is_serving():
            time.sleep(0.01)
        with pytest.raises(OSError):
            server.connect()
        told = read_all(short)
        assert told.count(b"1\r\nx\r\n") >= 7 and told.endswith(b"0\r\n\r\n")
        assert read_all(long).startswith(b"HTTP/1.1 503 ")
        assert 1.4 < time.monotonic() - began < 5
    assert ends == ["whole", "cancelled"]


SCRIPT = """
import asyncio, sys
from pathlib import Path
from fastapi import FastAPI
from feedback_store import Store
from rlhf.serving.access import Access
from rlhf.serving.hardening import harden
from rlhf.serving.logs import set_up
from rlhf.serving.server import bound, make_server
from rlhf.serving.settings import ServeConfig
from rlhf.serving.telemetry import Telemetry

set_up()
app = FastAPI()

@app.get("/slow")
async def slow():
    await asyncio.sleep(0.7)
    return "done"

config, telemetry = ServeConfig(), Telemetry()
with Store.open("s.db") as store, bound("127.0.0.1", 0) as listener:
    access = Access(store, config.limits, open_without_keys=True)
    server = make_server(harden(app, config, access, telemetry), config, telemetry)
    asyncio.run(server.serve(sockets=[listener]))
    store.api_keys()
Path("closed").touch()
"""


def test_a_signal_ends_it_well(here: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stderr=subprocess.PIPE, text=True, env=environment
    ) as server:
        assert server.stderr is not None
        url = ""
        for line in server.stderr:
            if (told := json.loads(line))["event"] == "listening":
                url = told["url"]
                break
        answers: list[object] = []
        asking = threading.Thread(target=lambda: answers.append(httpx.get(url + "/slow").json()))
        asking.start()
        time.sleep(0.3)
        server.send_signal(signal.SIGTERM)
        lines = [json.loads(line) for line in server.stderr]
        assert server.wait(timeout=20) == 0
        asking.join()
    assert answers == ["done"] and Path("closed").exists()
    assert "stopping" in {line["event"] for line in lines}
    assert lines[-1]["level"] == "info"


@contextmanager
def served(*arguments: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`rlhf serve` in a process of its own, once it listens."""
    command = [sys.executable, "-m", "rlhf.cli", "serve", "port=0", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stderr is not None
            for line in server.stderr:
                told = json.loads(line)
                if told["event"] == "listening":
                    yield told["url"], server
                    return
            raise AssertionError(f"exit {server.wait()} before it listened")
        finally:
            server.kill()


def test_one_command_answers_records_and_ends(here: Path, tiny_model: Path, rlhf: Call) -> None:
    with Store.open("s.db") as store:
        _, secret = store.create_api_key(["chat"], "web")
        _, all_doors = store.create_api_key(["admin"], "operator")
    words = "Ann's secret words"
    body = {"model": "champion", "messages": [{"role": "user", "content": words}]}
    settings = (f"base_model={tiny_model}", "dtype=float32", "store=s.db")
    with served(*settings, "sampling.max_new_tokens=8") as (url, server):
        assert httpx.get(url + "/readyz").json() == {"ready": True, "reasons": []}
        refused = httpx.post(url + "/v1/chat/completions", json=body)
        assert refused.status_code == 401 and refused.json()["error"]["code"] == "missing_api_key"
        client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"})
        with client:
            answer = client.post("/v1/chat/completions", json=body, timeout=60).json()
            assert client.get("/metrics").status_code == 403
            figures = httpx.get(
                url + "/metrics", headers={"Authorization": f"Bearer {all_doors}"}
            ).text
            assert "rlhf_answers_total" in figures and words not in figures
            server.send_signal(signal.SIGTERM)
            assert server.stderr is not None
            log = server.stderr.read()
        assert server.wait(timeout=30) == 0
    assert json.loads(log.splitlines()[-1])["event"] == "stopped"
    for hidden in ("Ann", secret, all_doors, "rk_"):
        assert hidden not in log
    with Store.open("s.db") as store:
        (answered,) = store.interactions()
    assert answered.id == answer["id"] and answered.messages[0].content == words


@pytest.mark.slow
def test_a_base_model_that_is_not_there_is_told_in_one_line(here: Path) -> None:
    command = [sys.executable, "-m", "rlhf.cli", "serve", "port=0", "base_model=./nowhere"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("rlhf: ") and "nowhere" in done.stderr


def test_the_shipped_configuration_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RLHF_PROJECT", "RLHF_STORE", "RLHF_HOST"):
        monkeypatch.delenv(name, raising=False)
    shipped = ROOT / "configs" / "serve.yaml"
    config = validate(ServeConfig, load(shipped), str(shipped))
    assert config == ServeConfig()  # it shows the defaults
