// How the dashboard writes figures, groups and series.

import { number, percent, t, tOr } from "./app.js";

const SHORT = 14;

/** A group's name for people; ids of policies are cut, their whole stands in the title. */
export function groupName(name, by) {
  if (name === "") return t(`dashboard.none.${by}`);
  if (by === "style") return tOr(`styles.${name}`, name);
  if (by === "language") return tOr(`dashboard.languages.${name}`, name);
  return by === "policy" && name.length > SHORT ? `${name.slice(0, SHORT)}…` : name;
}

/** A line's name: its group, and what it is of that. */
export function seriesName(line, by) {
  const stat = line.stat.startsWith("signal/")
    ? tOr(`dashboard.stats.${line.stat.slice(7)}`, line.stat.slice(7)) : tOr(`dashboard.stats.${line.stat}`, line.stat);
  const alone = ["rate", "in_style", "not_blocked"].includes(line.stat);
  const quantile = ["p50", "p95"].includes(line.stat);
  if (line.group === null && !alone && !quantile) return stat;
  const group = line.group === null ? t("dashboard.all") : groupName(line.group, by);
  return quantile ? `${group} · ${stat}` : group;
}

/** A value with its unit. */
export function measure(value, unit) {
  if (value == null) return "–";
  if (unit === "share") return percent(value);
  if (unit === "ms") return value < 1000 ? `${number(value)} ms` : `${number(value / 1000, 2)} s`;
  const size = Math.abs(value);
  if (size >= 100 || size === 0) return number(value);
  return number(value, size >= 1 ? 1 : Math.min(8, 1 - Math.floor(Math.log10(size))));
}
