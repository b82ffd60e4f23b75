"""Compliance rules: read from YAML, checked and compiled once."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from rewards.errors import BadParameter
from rewards.texts.literals import Need, needs

DEFAULTS = Path(__file__).with_name("compliance.yaml")

Rules = str | Path | Sequence[dict[str, Any]] | None
"""A YAML file, or the same list of rules written where it is used; None adds nothing."""


class RuleText(BaseModel):
    """A rule as it is written; `compliance.yaml` explains the keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    reason: str = ""
    enabled: bool = True
    forbid: list[str] = []
    with_: list[str] = []
    unless: list[str] = []
    when: list[str] = []
    when_prompt: list[str] = []
    require: list[str] = []
    personal: list[str] = []

    @model_validator(mode="before")
    @classmethod
    def _with_is_a_keyword(cls, value: Any) -> Any:
        if isinstance(value, dict) and "with" in value:
            return {("with_" if key == "with" else key): v for key, v in value.items()}
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> "RuleText":
        kinds = [kind for kind in ("forbid", "require", "personal") if getattr(self, kind)]
        if self.enabled and len(kinds) != 1:
            raise ValueError("a rule has exactly one of forbid, require and personal")
        return self


@dataclass(frozen=True, eq=False)
class Rule:
    """A rule ready to match; a part that was left out is None (or holds no pattern)."""

    name: str
    reason: str
    forbid: re.Pattern[str] | None
    together: tuple[re.Pattern[str], ...]
    unless: re.Pattern[str] | None
    when: re.Pattern[str] | None
    when_prompt: re.Pattern[str] | None
    require: re.Pattern[str] | None
    personal: frozenset[str]
    needs: tuple[tuple[Need, ...], ...]
    """What an answer must hold to break it: of each group one need, met whole."""


def load_rules(rules: Rules = None) -> tuple[Rule, ...]:
    """Return the default rules and the user's; one of the same name replaces the default.

    Raises BadParameter with the file, the rule and the pattern that can't be used.
    """
    if rules is None:
        return _from_file(DEFAULTS, DEFAULTS.stat().st_mtime_ns)
    if isinstance(rules, str | Path):
        path = Path(rules)
        if not path.is_file():
            raise BadParameter(f"no compliance rules at {path}")
        own = _from_file(path, path.stat().st_mtime_ns)
        off = _switched_off(path.read_text(encoding="utf-8"))
    else:
        written = json.dumps(list(rules))
        own, off = _from_text(written, "rules"), _switched_off(written)
    replaced = {rule.name for rule in own} | off
    return (*(rule for rule in load_rules() if rule.name not in replaced), *own)


@lru_cache(maxsize=32)
def _from_file(path: Path, _changed: int) -> tuple[Rule, ...]:
    return _from_text(path.read_text(encoding="utf-8"), str(path))


@lru_cache(maxsize=32)
def _from_text(written: str, where: str) -> tuple[Rule, ...]:
    return tuple(_compile(rule, where) for rule in _read(written, where) if rule.enabled)


@lru_cache(maxsize=32)
def _switched_off(written: str) -> frozenset[str]:
    return frozenset(rule.name for rule in _read(written, "rules") if not rule.enabled)


def _read(written: str, where: str) -> list[RuleText]:
    try:
        data = yaml.safe_load(written)
    except yaml.YAMLError as error:
        line = " ".join(str(error).split())
        raise BadParameter(f"{where}: not YAML: {line}") from None
    items = data.get("rules") if isinstance(data, dict) else data
    if not isinstance(items, list):
        raise BadParameter(f"{where}: expected a list of rules")
    return [_read_one(item, number, where) for number, item in enumerate(items, start=1)]


def _read_one(item: object, number: int, where: str) -> RuleText:
    try:
        return RuleText.model_validate(item)
    except ValidationError as error:
        problem = error.errors()[0]
        name = item.get("name", number) if isinstance(item, dict) else number
        key = ".".join(map(str, problem["loc"])).replace("with_", "with")
        raise BadParameter(f"{where}: rule {name!r}: {key} {problem['msg']}") from None


def _compile(rule: RuleText, where: str) -> Rule:
    def pattern(key: str, patterns: Iterable[str]) -> re.Pattern[str] | None:
        parts = [_checked(text, f"{where}: rule {rule.name!r}: {key}") for text in patterns]
        return re.compile("|".join(f"(?:{part})" for part in parts), re.I) if parts else None

    together = [pattern("with", [text]) for text in rule.with_]
    return Rule(
        name=rule.name,
        reason=rule.reason or f"breaks the rule {rule.name}",
        forbid=pattern("forbid", rule.forbid),
        together=tuple(part for part in together if part),
        unless=pattern("unless", rule.unless),
        when=pattern("when", rule.when),
        when_prompt=pattern("when_prompt", rule.when_prompt),
        require=pattern("require", rule.require),
        personal=frozenset(rule.personal),
        needs=tuple(map(needs, _calls(rule))),
    )


def _calls(rule: RuleText) -> list[list[str]]:
    """Return the groups of patterns of which each must match before the rule is broken."""
    if rule.forbid:
        return [rule.forbid, *([text] for text in rule.with_)]
    # Without a match of `when` a disclaimer may still be lacking: the prompt can call for it.
    return [rule.when] if rule.when and not rule.when_prompt else []


def _checked(pattern: str, where: str) -> str:
    try:
        found = re.compile(pattern, re.I)
    except re.error as error:
        raise BadParameter(f"{where} pattern {pattern!r} can't be compiled: {error}") from None
    if found.match(""):
        raise BadParameter(f"{where} pattern {pattern!r} matches an empty text, so every answer")
    return pattern
