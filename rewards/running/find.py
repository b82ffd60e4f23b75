"""A component's reward and what runs it: here, in a process of its own, or in a sandbox."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rewards.registry import resolve
from rewards.running.executor import DEFAULT_TIMEOUT_S, Executor, InProcess, OwnProcess
from rewards.running.spec import RewardSpec
from rewards.sandbox import Limits, Sandbox, stranger

if TYPE_CHECKING:
    from rewards.combine import Component


def find(component: Component, base: Path | None = None) -> RewardSpec:
    """Describe a component's reward; the code of one that is sandboxed is not run for it."""
    return stranger(component.name, base) if component.sandbox else resolve(component.name, base)


def ready(
    component: Component, spec: RewardSpec, base: Path | None, timeout_s: float | None
) -> Executor:
    """Return what runs the reward, its parameters checked. Raises RewardError."""
    timeout_s = component.timeout_s or timeout_s
    if component.sandbox:
        limits = component.sandbox if isinstance(component.sandbox, Limits) else None
        sandbox = Sandbox(limits, timeout_s or DEFAULT_TIMEOUT_S, base)
        sandbox.load(spec, component.params)
        return sandbox
    spec.signature.check(spec.name, component.params)
    if component.process or timeout_s is not None:
        return OwnProcess(timeout_s or DEFAULT_TIMEOUT_S, base)
    return InProcess(base)
