"""What `rlhf doctor` estimates, and what `rlhf train` then takes: memory, training, proof.

Estimated stands as ours and measured as the peer, so that a ratio of 1 is exact. Training counts
from the libraries' being there to the saved policy; memory is the most that the process held.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.bases import Base, prepare
from bench.children import last_line
from bench.table import Result, publish

_ROOT = Path(__file__).parents[1]
_DIALOGUES = _ROOT / "configs" / "examples" / "dialogues_en.jsonl"

_CASES: Mapping[str, tuple[Base, Mapping[str, Any]]] = {
    "headline": ("135M", {"stage": "sft"}),
    "full": ("135M", {"stage": "sft", "lora": None, "learning_rate": 2e-5}),
    "dpo": ("135M", {"stage": "dpo"}),
    "30M, checkpointing": (
        "30M",
        {"stage": "sft", "gradient_checkpointing": True, "batch_size": 32},
    ),
}


def main(argv: Sequence[str] | None = None) -> None:
    """All cases, or those that are named."""
    parser = argparse.ArgumentParser(prog="python -m bench.doctor", description=__doc__)
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--cases", nargs="+", choices=_CASES, default=list(_CASES))
    parser.add_argument("--child", type=Path, metavar="CONFIG", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.child:
        print(json.dumps(_train(given.child)))
        return
    results: list[Result] = []
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name).absolute()
        pairs = _write_pairs(folder / "pairs.jsonl")
        for case in given.cases:
            base, own = _CASES[case]
            data = pairs if own["stage"] == "dpo" else _DIALOGUES
            values = {
                "base_model": prepare(base, folder),
                "data": {"path": str(data), "limit": given.rows, "held_out": 0.2},
                "epochs": 1,
                "tracking": "none",
                "runs": str(folder / "runs"),
                **own,
            }
            config = folder / "config.yaml"
            config.write_text(json.dumps(values), encoding="utf-8")  # JSON is YAML too
            results += _measure(case, config)
    publish("doctor", results)


def _measure(case: str, config: Path) -> list[Result]:
    doctor = [sys.executable, "-m", "rlhf.cli", "doctor", str(config), "--json"]
    estimated = _estimates(last_line("doctor", "doctor", doctor))
    train = [sys.executable, "-m", "bench.doctor", "--child", str(config)]
    measured = last_line("doctor", "train", train)
    memory, training, proof = (
        (estimated[name], measured[name]) for name in ("memory", "training", "proof")
    )
    return [
        Result(case, "memory", "GB", *memory, "measured", "higher"),
        Result(case, "speed", "s of training", *training, "measured", "higher"),
        Result(case, "speed", "s of proof", *proof, "measured", "higher"),
    ]


def _estimates(found: Mapping[str, Any]) -> dict[str, float]:
    option = found["stages"][0]["options"][found["stages"][0]["configured"]]
    return {
        "memory": option["memory"]["total"] / 1e9,
        "training": option["duration"]["training"],
        "proof": option["duration"]["proof"],
    }


def _train(config: Path) -> dict[str, float]:
    """Train, and tell when the policy was saved and when it was proved."""
    from bench.memory import peak_gigabytes
    from rlhf.config import load
    from rlhf.train import parse_train_config, train

    settings = parse_train_config(load(config), str(config))
    began = time.time()
    trained = train(settings, config.parent)
    ended = time.time()
    saved = (trained.run.folder / "adapter" / "policy.json").stat().st_mtime
    return {"memory": peak_gigabytes(), "training": saved - began, "proof": ended - saved}


def _write_pairs(path: Path) -> Path:
    """Each dialogue's answer as the better one, and the next dialogue's as the worse one."""
    lines = _DIALOGUES.read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.strip()]
    others = [*rows[1:], rows[0]]
    pairs = [
        {"prompt": a["context"], "chosen": a["response"], "rejected": b["response"]}
        for a, b in zip(rows, others, strict=True)
    ]
    path.write_text("\n".join(map(json.dumps, pairs)) + "\n", encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
