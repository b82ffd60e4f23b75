"""`compliance`: a veto on what an answer may never say.

Rules are patterns in `compliance.yaml`, added to by users: they stop the obvious, cheaply and with
a reason that a reviewer can follow. They don't understand the answer; a judge or a reward model
belongs beside them.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rewards.registry import reward
from rewards.rules import Rule, Rules, load_rules
from rewards.screen import disguised, suspects
from rewards.texts.batch import FEW, Batch, read
from rewards.texts.plain import Plain, plain
from rewards.texts.text import Turn, completion_texts, prompt_text

_SENTENCE_END = re.compile(r"[。!?;\n]|\.(?=\s|$)")
_CLAUSE_END = re.compile(r"[,。!?;:\n]|\.(?=\s|$)")
_NEAR = 40  # an excuse counts only in the same clause and this near to the match


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that an answer breaks at answer[start:end]; the whole of it where words lack."""

    rule: str
    reason: str
    start: int
    end: int


@reward(veto=True)
def compliance(
    prompts: Sequence[Turn],
    completions: Sequence[Turn],
    *,
    rules: Path | list[dict[str, Any]] | None = None,
    **columns: Any,
) -> list[float]:
    """Veto forbidden content: 0.0 passes, -1.0 violates a rule. `rules` adds to the defaults.

    >>> compliance(["?"] * 2, ["这只股票稳赚不赔！", "多喝水，注意休息。"])
    [-1.0, 0.0]
    """
    known = load_rules(rules)  # a mistake in the rules is found before the first answer
    texts = completion_texts(completions)
    if len(texts) <= FEW:
        asked = map(prompt_text, prompts)
        return [-1.0 if check(t, p, rules) else 0.0 for t, p in zip(texts, asked, strict=True)]
    found: list[float] = []
    for batch in read(texts):
        broken = np.zeros(len(batch))
        for row, tried, hidden in _suspicious(batch, known):
            text, prompt = batch.texts[row], prompts[len(found) + row]
            if any(True for _ in _broken(tried, text, prompt_text(prompt), hidden)):
                broken[row] = -1.0
        found += broken.tolist()
    return found


def _suspicious(batch: Batch, rules: tuple[Rule, ...]) -> Iterator[tuple[int, list[Rule], bool]]:
    """Yield the rows that could break a rule, the rules to try, and whether a row is disguised."""
    hidden = disguised(batch)
    tried = suspects(batch, rules)
    tried[:, hidden] = False
    for row in np.flatnonzero(tried.any(axis=0)).tolist():
        some = [rule for rule, try_it in zip(rules, tried[:, row], strict=True) if try_it]
        yield row, some, False
    bare = [plain(batch.texts[row]).text for row in hidden.tolist()]
    for row, again in zip(hidden.tolist(), _tried_bare(bare, rules), strict=True):
        if again:
            yield row, again, True


def _tried_bare(texts: Sequence[str], rules: tuple[Rule, ...]) -> Iterator[list[Rule]]:
    """Yield the rules to try on each text that is plain."""
    for batch in read(texts):
        tried = suspects(batch, rules)
        tried[:, batch.odd] = True
        for row in range(len(batch)):
            yield [rule for rule, try_it in zip(rules, tried[:, row], strict=True) if try_it]


def check(text: str, prompt: str = "", rules: Rules = None) -> list[Violation]:
    """Return the rules that an answer breaks, in the order of its text.

    A rule is reported once a sentence; reasons never quote personal data. Raises BadParameter for
    rules that can't be used.

    >>> [(v.rule, v.start, v.end) for v in check("您好，这只股票稳赚不赔！")]
    [('finance.promise', 7, 9)]
    """
    found = _broken(load_rules(rules), text, prompt)
    return sorted(found, key=lambda violation: (violation.start, violation.end))


def _broken(
    rules: Sequence[Rule], text: str, prompt: str, spaced_out: bool = True
) -> Iterator[Violation]:
    answer = _Text(plain(text, spaced_out))
    asked = plain(prompt).text if any(rule.when_prompt for rule in rules) else ""
    for rule in rules:
        yield from _violations(rule, answer, asked, len(text))


class _Text:
    """An answer, normalised and cut into sentences and clauses."""

    def __init__(self, source: Plain) -> None:
        self.source = source
        self.text = source.text

    @cached_property
    def _sentences(self) -> list[int]:
        return [0, *(m.end() for m in _SENTENCE_END.finditer(self.text))]

    @cached_property
    def _clauses(self) -> list[int]:
        return [0, *(m.end() for m in _CLAUSE_END.finditer(self.text))]

    def sentence(self, at: int) -> tuple[int, int]:
        return self._around(self._sentences, at)

    def clause(self, start: int, end: int) -> tuple[int, int]:
        """Return the clause, or clauses, that hold a match, no further from it than `_NEAR`."""
        first, last = self._around(self._clauses, start)[0], self._around(self._clauses, end - 1)[1]
        return max(first, start - _NEAR), min(last, end + _NEAR)

    def _around(self, starts: list[int], at: int) -> tuple[int, int]:
        index = bisect_right(starts, at)
        return starts[index - 1], starts[index] if index < len(starts) else len(self.text)


def _violations(rule: Rule, answer: _Text, prompt: str, size: int) -> Iterator[Violation]:
    if rule.personal:
        places = _personal(rule, answer)
    elif rule.require:
        places = _lacking(rule, answer, prompt, size)
    else:
        places = _forbidden(rule, answer, prompt)
    for start, end in places:
        yield Violation(rule.name, rule.reason, start, end)


def _forbidden(rule: Rule, answer: _Text, prompt: str) -> Iterator[tuple[int, int]]:
    conditional = rule.when is not None or rule.when_prompt is not None
    if not conditional or _asked(rule, prompt) or (rule.when and rule.when.search(answer.text)):
        yield from _matches(rule.forbid, rule, answer)


def _lacking(rule: Rule, answer: _Text, prompt: str, size: int) -> Iterator[tuple[int, int]]:
    """Yield the words that call for a disclaimer, if there is none."""
    if rule.require is None or rule.require.search(answer.text):
        return
    everywhere = rule.when is None and rule.when_prompt is None
    if everywhere or _asked(rule, prompt):
        yield 0, size
    else:
        yield from islice(_matches(rule.when, rule, answer), 1)


def _asked(rule: Rule, prompt: str) -> bool:
    return rule.when_prompt is not None and rule.when_prompt.search(prompt) is not None


def _matches(
    pattern: re.Pattern[str] | None, rule: Rule, answer: _Text
) -> Iterator[tuple[int, int]]:
    """Yield a pattern's first match in each sentence that meets `with` and is not excused."""
    done = -1  # nothing before this place is looked at again
    for match in pattern.finditer(answer.text) if pattern else ():
        if match.start() < done:
            continue
        first, last = answer.sentence(match.start())
        if not all(part.search(answer.text, first, last) for part in rule.together):
            done = last
        elif not _excused(rule, answer, match.start(), match.end()):
            done = last
            yield answer.source.original(match.start(), match.end())


def _excused(rule: Rule, answer: _Text, start: int, end: int) -> bool:
    if rule.unless is None:
        return False
    return rule.unless.search(answer.text, *answer.clause(start, end)) is not None


def _personal(rule: Rule, answer: _Text) -> Iterator[tuple[int, int]]:
    from feedback_store.redact import find

    for span in find(answer.text):
        data = answer.text[span.start : span.end]
        if span.kind in rule.personal and not (rule.unless and rule.unless.search(data)):
            yield answer.source.original(span.start, span.end)
