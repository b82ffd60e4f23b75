"""The pages' templates; no model library is loaded for a page that shows none's work."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


@cache
def template(name: str) -> Template:
    """A page's template; what is put into it is escaped, what is missing raises."""
    environment = Environment(
        loader=PackageLoader("rlhf.evaluation"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share: f"{share:.1%}"
    return environment.get_template(name)
