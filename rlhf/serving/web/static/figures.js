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
  if (line.group === null) return ["rate", "in_style", "not_blocked"].includes(line.stat) ? t("dashboard.all") : stat;
  const group = groupName(line.group, by);
  return ["p50", "p95"].includes(line.stat) ? `${group} · ${stat}` : group;
}

/** A value with its unit. */
export function measure(value, unit) {
  if (value == null) return "–";
  if (unit === "share") return percent(value);
  if (unit === "ms") return value < 1000 ? `${number(value)} ms` : `${number(value / 1000, 2)} s`;
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 1 ? 1 : 3;
  return number(value, digits);
}
