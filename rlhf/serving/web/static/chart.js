// A small line chart that grows: uPlot with this page's colours, and its numbers as a table.

import uPlot from "./vendor/uPlot.esm.js";
import { el, number, t } from "./app.js";

const HEIGHT = 190;
const COLOURS = 6;

/**
 * A chart of several series over steps: `series` is a list of {name, label, points: [[x, y], …]}.
 * `grow(series)` draws it anew with more points, without a flicker.
 */
export function chart(title, series) {
  const box = el("div", { class: "chart-box", role: "img" });
  const rows = el("tbody");
  const head = el("tr");
  const numbers = el("details", { class: "numbers" }, el("summary", {}, t("runs.numbers")),
    el("div", { class: "wide", tabindex: 0 }, el("table", {}, el("thead", {}, head), rows)));
  const node = el("figure", { class: "card chart" }, el("figcaption", {}, title), box, numbers);
  let drawn = null;
  let known = "";
  let shown = series;

  function grow(more) {
    shown = more;
    const names = shown.map((one) => one.name).join("\n");
    if (drawn && names === known) drawn.setData(columns(shown));
    else rebuild(names);
    box.setAttribute("aria-label", `${title}: ${shown.map(last).join(", ")}`);
    if (numbers.open) fill();
  }

  function rebuild(names) {
    drawn?.destroy();
    known = names;
    drawn = new uPlot(options(box, shown), columns(shown), box);
  }

  function fill() {
    const [xs, ...ys] = columns(shown);
    head.replaceChildren(el("th", { class: "figure" }, t("runs.step")), ...shown.map((one) => el("th", { class: "figure" }, one.label)));
    rows.replaceChildren(...xs.map((x, at) =>
      el("tr", {}, el("td", { class: "figure" }, number(x)), ...ys.map((y) => el("td", { class: "figure" }, y[at] == null ? "" : number(y[at], 5))))));
  }

  numbers.addEventListener("toggle", () => { if (numbers.open) fill(); });
  new ResizeObserver(() => {
    const width = box.clientWidth;
    if (!width) return;
    if (!drawn) grow(shown);
    else if (Math.abs(width - drawn.width) > 1) drawn.setSize({ width, height: HEIGHT });
  }).observe(box);
  document.addEventListener("theme", () => { if (drawn) rebuild(known); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (drawn) rebuild(known); });
  return { node, grow };
}

function last(one) {
  const [step, value] = one.points.at(-1) ?? [];
  return t("runs.last", { name: one.label, value: number(value, 4), step: number(step) });
}

/** One row of steps and a row of values for each series, as uPlot takes them. */
function columns(series) {
  const xs = [...new Set(series.flatMap((one) => one.points.map(([x]) => x)))].sort((a, b) => a - b);
  return [xs, ...series.map((one) => {
    const at = new Map(one.points);
    return xs.map((x) => at.get(x) ?? null);
  })];
}

function options(box, series) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--soft"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  const short = (u, values) => values.map((value) => new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 }).format(value));
  return {
    width: box.clientWidth || 300,
    height: HEIGHT,
    scales: { x: { time: false } },
    cursor: { points: { size: 6 }, drag: { x: true, y: false } },
    axes: [{ ...axis, size: 32, values: short }, { ...axis, size: 52, values: short }],
    series: [
      { label: t("runs.step") },
      ...series.map((one, at) => ({
        label: one.label,
        stroke: colour(`--series-${(at % COLOURS) + 1}`),
        width: 2,
        dash: at ? [6, 3 * at] : undefined,
        spanGaps: true,
        points: { show: one.points.length < 2 },
        value: (u, value) => (value == null ? "–" : number(value, 4)),
      })),
    ],
  };
}
