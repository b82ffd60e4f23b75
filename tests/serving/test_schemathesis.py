"""Schemathesis over the OpenAPI page, with all of its checks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_service import Served, config_of, serving
from reciting import Reciting

OPERATIONS = 12

# 422 is for what no schema can say: that a value lies outside its metric's range, say.
# Warnings tell of ids that few random cases hit, by chance.
SETTINGS = """
warnings = false

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "422"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "415", "422", "431"]
"""


@pytest.fixture(scope="module")
def locked(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("schemathesis")
    limits = {"requests_per_minute": 10_000_000, "prompt_chars": 200_000}
    with serving(config_of(tiny_model, folder, limits=limits), Reciting(), folder) as served:
        served.key("admin")
        served.ask("say x")
        yield served


def examine(served: Served, folder: Path, cases: int) -> str:
    (folder / "schemathesis.toml").write_text(SETTINGS)
    command = [
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
        *("run", f"{served.url}/openapi.json", "--checks", "all", "--seed", "7"),
        *("--header", f"Authorization: Bearer {served.key('admin')}"),
        *("--max-examples", str(cases), "--phases", "examples,coverage,fuzzing"),
        *("--request-timeout", "30", "--no-color", "--generation-database", "none"),
    ]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={**os.environ, "CI": "1"}
    )
    told = done.stdout + done.stderr
    assert done.returncode == 0, told[-8_000:]
    return told


def test_a_few_cases_of_every_operation(locked: Served, tmp_path: Path) -> None:
    paths = locked.app.openapi()["paths"]
    assert sum(len(item) for item in paths.values()) == OPERATIONS
    told = examine(locked, tmp_path, 2)
    assert f"{OPERATIONS} " in told and "No issues found" in told, told


@pytest.mark.slow
def test_five_hundred_cases_of_every_operation(locked: Served, tmp_path: Path) -> None:
    assert "No issues found" in examine(locked, tmp_path, 500)


def test_every_operation_has_a_summary_and_every_body_an_example(locked: Served) -> None:
    page = locked.app.openapi()
    assert json.dumps(page)
    for path, item in page["paths"].items():
        for method, operation in item.items():
            assert operation["summary"] and operation["description"], (method, path)
            assert operation.get("security") or path in ("/healthz", "/readyz")
            if "requestBody" in operation:
                content = operation["requestBody"]["content"]["application/json"]
                assert content["examples"], (method, path)
    assert set(page["components"]["securitySchemes"]) == {"api_key", "vote_token"}
