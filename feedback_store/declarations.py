"""The metrics that a store holds votes on, as its `metrics` table keeps them."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, exists, select, update

from feedback_store.errors import Refused
from feedback_store.metrics import Metric, Metrics
from feedback_store.storage.tables import feedback, metrics, waiting


def declared(connection: Connection) -> Metrics:
    """What was declared for this store, last and before."""
    rows = connection.execute(select(metrics).order_by(metrics.c.name)).all()
    return Metrics(
        [_metric(row) for row in rows if row.declared],
        [_metric(row) for row in rows if not row.declared],
    )


def declare(connection: Connection, wanted: Iterable[Metric]) -> Metrics:
    """From now on take votes on these alone; a metric that has votes keeps its meaning."""
    known = {metric.name: metric for metric in declared(connection).known()}
    connection.execute(update(metrics).values(declared=False))
    for metric in wanted:
        old = known.get(metric.name)
        if old is None:
            connection.execute(metrics.insert().values(name=metric.name, **_columns(metric)))
            continue
        if _meaning(old) != _meaning(metric) and _is_used(connection, metric.name):
            raise Refused(
                f"metric {metric.name} has votes as {_told(old)}, so it can't become "
                f"{_told(metric)}; declare another name"
            )
        here = metrics.c.name == metric.name
        connection.execute(update(metrics).where(here).values(**_columns(metric)))
    return declared(connection)


def _metric(row: Row[Any]) -> Metric:
    span = None if row.low is None else (row.low, row.high)
    return Metric(name=row.name, kind=row.kind, range=span, better=row.better)


def _columns(metric: Metric) -> dict[str, Any]:
    low, high = metric.range or (None, None)
    fields = {"kind": metric.kind, "low": low, "high": high, "better": metric.better}
    return {**fields, "declared": True}


def _meaning(metric: Metric) -> tuple[Any, ...]:
    return metric.kind, metric.bounds, metric.better


def _told(metric: Metric) -> str:
    bounds = f" of {metric.bounds[0]:g} to {metric.bounds[1]:g}" if metric.bounds else ""
    return f"{metric.kind}{bounds} ({metric.better} is better)"


def _is_used(connection: Connection, name: str) -> bool:
    stored = select(exists().where(feedback.c.metric == name))
    early = select(exists().where(waiting.c.body["metric"].as_string() == name))
    return bool(connection.execute(stored).scalar()) or bool(connection.execute(early).scalar())
