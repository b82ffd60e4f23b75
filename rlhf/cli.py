"""`rlhf`: every command, and one line for every mistake."""

from __future__ import annotations

import errno
import os
import sys
import warnings

import typer

from rlhf import __version__
from rlhf.commands import (
    data,
    doctor,
    erase,
    exchange,
    inspect,
    keeping,
    keys,
    lineage,
    release,
    rewards,
    rewards_lab,
    run,
    serve,
    stats,
    votes,
)

# What a disk says that is full, broken or not ours: no bug, and told in one line.
_DISK_ERRORS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EACCES,
    errno.EROFS,
)

app = typer.Typer(
    name="rlhf",
    help="Turn what users say about answers into better answers, and prove each step.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

app.command("train")(run.train)
app.command("loop")(run.loop)
app.command("doctor")(doctor.doctor)
app.command("evaluate")(run.evaluate)
app.command("gate")(run.gate)
app.command("simulate")(run.simulate)
app.command("chat")(run.chat)
app.command("serve")(serve.serve)
app.command("lineage")(lineage.lineage)
app.command("erase")(erase.erase)
app.add_typer(data.app, name="data")
app.add_typer(release.app, name="release")
app.add_typer(keys.app, name="keys")
votes.votes.command("stats")(stats.stats)
votes.votes.command("backup")(keeping.backup)
votes.votes.command("restore")(keeping.restore)
votes.votes.command("expire")(keeping.expire)
app.add_typer(keeping.runs, name="runs")
votes.votes.command("import")(exchange.import_)
votes.votes.command("export")(exchange.export)
app.add_typer(votes.votes, name="votes")
app.add_typer(votes.snapshot, name="snapshot")
inspect.rewards.command("score")(rewards.score)
inspect.rewards.command("compare")(rewards.compare)
inspect.rewards.command("fit")(rewards.fit)
inspect.rewards.command("preview")(rewards_lab.preview)
inspect.rewards.command("experiment")(rewards_lab.experiment)
app.add_typer(inspect.rewards, name="rewards")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    # Ctrl-C between steps is as safe as a crash: the next run goes on from there.
    pass


def main() -> None:
    """Run a command; a user's mistake ends in one line and exit 1 or 2, without a traceback."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if os.environ.get("WANDB_MODE") == "offline":
        # wandb's other word for it, at which transformers prints no line before `--json`'s.
        os.environ["WANDB_MODE"] = "dryrun"
    # The libraries' notices of their own coming changes are not for the people who run commands.
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", category=UserWarning, module="peft")
    try:
        app()
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        _fail(f"{error.filename or 'disk'}: {error.strerror}; make room or check permissions", 1)
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        _fail(" ".join(str(error).split()), code)


def _exit_code(error: Exception) -> int | None:
    """1 or 2 for errors that are written for users; None for a bug of ours."""
    from feedback_store import StoreError
    from rewards import RewardError
    from rlhf.errors import RlhfError

    if isinstance(error, RlhfError):
        return error.exit_code
    return 1 if isinstance(error, StoreError | RewardError) else None


def _fail(message: str, code: int) -> None:
    typer.echo(f"rlhf: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
