"""What can go wrong for a user, and how it is told.

Every mistake a user can mend is an `RlhfError`: its message is one line that names the thing and
the way out, and the command line prints it without a traceback.

    RlhfError
    ├── UsageError       the call itself is wrong (a misspelt key, a missing file): exit 2
    ├── DataError        a row cannot be read; names file and line
    │   └── UnusableRow  it can be read and has nothing to learn from; left out and counted
    ├── PolicyError      a policy's files are missing or not the ones that were written
    └── StepFailed       the work was started and could not be finished
        ├── NotReady     more votes are needed first; with --watch the loop waits for them
        └── AlarmRaised  training would have spoilt the policy; an experiment tells it and goes on

A bad row, a reward that fails on one answer, a judge that does not reply once: those are data,
counted and reported, not exceptions.
"""


class RlhfError(Exception):
    """A failure that has one line of explanation and a way out."""

    exit_code = 1


class UsageError(RlhfError):
    """The command or its configuration is wrong; nothing was started."""

    exit_code = 2


class DataError(RlhfError):
    """A row or file cannot be used."""


class UnusableRow(DataError):
    """A row in order that teaches nothing: an empty answer, or two that are the same."""


class PolicyError(RlhfError):
    """A policy's files are missing, damaged or of another kind than asked."""


class StepFailed(RlhfError):
    """A step ran and failed; what it had finished stays."""


class NotReady(StepFailed):
    """There are not yet votes that a cycle could learn from."""


class AlarmRaised(StepFailed):
    """Training was stopped before it spoilt the policy."""
