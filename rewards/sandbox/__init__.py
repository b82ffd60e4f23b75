"""Strangers' reward files, run where they can do no harm: see `confine` for the walls."""

from rewards.sandbox.executor import Sandbox, stranger
from rewards.sandbox.limits import Limits

__all__ = ["Limits", "Sandbox", "stranger"]
