"""PPO: this project's loop against TRL 0.24's `PPOTrainer`, the last that TRL had.

Both: SmolLM2-135M in bfloat16 (float32 on a processor that does not multiply bfloat16), LoRA r16 on
q and v, batches of 16 different prompts with one answer each of up to 48 tokens at temperature 1, 4
epochs of one step, the same constant learning rate, KL coefficient, clip, gamma and lambda. What
only one side has stays as that side has it: TRL trains a value model of its own and does not
shorten gradients; ours has a value head with its own learning rate. Rewards are not whitened, and
no KL ends a batch's training early.

`headline`: no token ends an answer, so both draw and learn from 48 tokens each. One reward model
scores for both: a LoRA and a head with random weights, merged into a model of its own for TRL. TRL
scores the ids as drawn; ours the dialogue by its template, which is two tokens more. The clock
starts cold, with the base (for TRL the reward and value models too) in memory, and stops when
training has ended, on our side with the policy saved. TRL's value model is the reward model once
more. In its own example all of that is trained; only the head takes less. The fastest of TRL's
settings counts, with the others told beside it. Autocast in the place of bfloat16 weights alone was
no faster, nor was transformers 5, in tries on a machine that was not quiet.

`curve`: reward at equal KL, see `bench.curves`, over several seeds with the same rule as the reward
(an answer of about a dozen words, `rewards.length`) and the same number of episodes. EOS ends an
answer. TRL's value model is then the base with a head of zeros, in float32, so that its small steps
are not rounded away. The curves themselves are in `runs/bench/ppo_curves.json`.

TRL 0.24 runs in an environment of its own, see `bench/peers/README.md`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from bench import curves
from bench.bases import SMOLLM2
from bench.children import last_line
from bench.compare import OURS
from bench.peers.environment import trl_python
from bench.peers.job import PeerSetting, PpoJob, Trained
from bench.ppo_jobs import make_job
from bench.table import Result, publish
from rlhf.files import write_json
from rlhf.progress import console

TRL = "TRL 0.24"
PEERS = {
    TRL: PeerSetting(),
    f"{TRL}, value head alone trained": PeerSetting(value="head"),
    f"{TRL}, value head alone trained, 4 at once": PeerSetting(value="head", at_once=4),
}
_CURVE_PEER = PeerSetting(value_dtype="float32", value_learning_rate=3e-5)
_RULE: dict[str, Any] = {"name": "length", "params": {"low": 8, "high": 16, "softness": 2.5}}
_CURVES = Path("runs") / "bench" / "ppo_curves.json"
_CASES = {"headline": 6, "curve": 24}
"""Batches of each."""


def main(argv: Sequence[str] | None = None) -> None:
    """See `--help`."""
    options = _parser().parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "headline" in options.cases:
            updates = options.updates or _CASES["headline"]
            publish("ppo", headline(make_job(options.model, folder / "headline", updates)))
        if "curve" in options.cases:
            updates = options.updates or _CASES["curve"]
            job = make_job(options.model, folder / "curve", updates, _RULE)
            publish("ppo_curve", curve(job, options.seeds, resume=options.resume))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.ppo",
        description="PPO with TRL 0.24 and with this project, side by side.",
        epilog="example: python -m bench.ppo --cases curve --seeds 3",
    )
    parser.add_argument("--cases", nargs="+", choices=list(_CASES), default=["headline"])
    parser.add_argument("--seeds", type=int, default=3, help="of `curve`")
    told = ", ".join(f"{count} of {name}" for name, count in _CASES.items())
    parser.add_argument("--updates", type=int, help=f"batches of 16 episodes; else {told}")
    parser.add_argument(
        "--resume", action="store_true", help="take the seeds that an interrupted `curve` finished"
    )
    parser.add_argument("--model", default=SMOLLM2, help=argparse.SUPPRESS)
    return parser


def headline(job: PpoJob) -> list[Result]:
    """Speed and memory, against the fastest peer under the case's name, the others beside it."""
    mine = _run_ours(job)
    peers = {side: _run_peer(side, job, setting) for side, setting in PEERS.items()}
    fastest, *others = sorted(peers, key=lambda side: peers[side].seconds)
    results = _against("headline", mine, fastest, peers[fastest])
    for side in others:
        results += _against(f"headline, {side}", mine, side, peers[side])
    return results


def _against(case: str, mine: Trained, peer: str, theirs: Trained) -> list[Result]:
    rates = mine.episodes / mine.seconds, theirs.episodes / theirs.seconds
    sizes = mine.gigabytes, theirs.gigabytes
    return [
        Result(case, "speed", "episodes/s", *rates, peer, "higher"),
        Result(case, "memory", "GB", *sizes, peer, "lower"),
    ]


def curve(job: PpoJob, seeds: int, *, resume: bool = False) -> list[Result]:
    """Mean reward over the seeds: at each KL level, over the levels, and in the last batches."""
    found = _kept(job) if resume else {}
    for seed in range(1, seeds + 1):  # in turns: what else the machine does is then both sides'
        if seed not in found:
            each = replace(job, seed=seed)
            found[seed] = {
                OURS: _run_ours(each).curve,
                TRL: _run_peer(TRL, each, _CURVE_PEER).curve,
            }
            write_json(_CURVES, [{"seed": seed, **sides} for seed, sides in found.items()])
    ours, peers = ([curves.smoothed(found[seed][side]) for seed in found] for side in (OURS, TRL))
    levels = curves.levels([*ours, *peers])
    at = [[[curves.reward_at(run, kl) for kl in levels] for run in runs] for runs in (ours, peers)]
    results = [
        _quality(f"reward at {kl:.2f} nats", *([run[i] for run in side] for side in at))
        for i, kl in enumerate(levels)
    ]
    equal = _quality("reward at equal KL", *([fmean(run) for run in side] for side in at))
    ends = ([run[-1].reward for run in runs] for runs in (ours, peers))
    return [equal, *results, _quality(f"reward after {job.updates * job.batch} episodes", *ends)]


def _quality(case: str, ours: Sequence[float], peers: Sequence[float]) -> Result:
    for side, values in ((OURS, ours), (TRL, peers)):
        spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
        _tell(f"    {case}, {side}: {fmean(values):.3f}{spread} over {len(values)} seeds")
    return Result(case, "quality", "reward", fmean(ours), fmean(peers), TRL, "higher")


def _kept(job: PpoJob) -> dict[int, dict[str, list[dict[str, float]]]]:
    """The curves of seeds that were finished before, as long as these would become."""
    if not _CURVES.exists():
        return {}
    rows: list[dict[str, Any]] = json.loads(_CURVES.read_text(encoding="utf-8"))
    sides = [({OURS: row[OURS], TRL: row[TRL]}, int(row["seed"])) for row in rows]
    return {seed: both for both, seed in sides if len(both[OURS]) == job.updates}


def _run_ours(job: PpoJob) -> Trained:
    return _run(OURS, job, sys.executable, "bench.ppo_ours")


def _run_peer(side: str, job: PpoJob, setting: PeerSetting) -> Trained:
    return _run(side, replace(job, peer=setting), str(trl_python()), "bench.peers.trl_ppo")


def _run(side: str, job: PpoJob, python: str, module: str) -> Trained:
    """In a process of its own."""
    _tell(f"ppo: {side}, seed {job.seed}")
    with tempfile.TemporaryDirectory() as folder:
        path = job.write(Path(folder) / "job.json")
        found = Trained(**last_line("ppo", side, [python, "-m", module, path]))
    last = found.curve[-1]
    told = f"reward {last['reward']:.3f} and KL {last['kl']:.2f} in the last batch"
    _tell(f"    {found.seconds:.1f} s, {found.gigabytes:.2f} GB; {told}")
    return found


def _tell(line: str) -> None:
    console.print(line, markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
