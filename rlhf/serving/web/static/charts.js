// Cards with a chart each: lines with bands, a legend in words, the numbers, and the file of them.

import uPlot from "./vendor/uPlot.esm.js";
import { el, language, number, t } from "./app.js";
import { measure } from "./figures.js";

const locale = language === "zh" ? "zh-CN" : "en-GB";
const DASHES = [[], [8, 4], [2, 3], [12, 3, 2, 3], [5, 2], [1, 4]];
const SVG = "http://www.w3.org/2000/svg";
const DAY = 86_400;

/** Charts in `parent`: `show(board, key)` draws or redraws them, `clear()` takes them away. */
export function drawer(parent, { title, about, label, href }) {
  const cards = new Map();
  const clear = () => {
    for (const card of cards.values()) card.remove();
    cards.clear();
    parent.replaceChildren();
  };
  const show = (board, key) => {
    if (cards.size === 0) parent.replaceChildren();
    for (const [name, chart] of Object.entries(board.charts)) {
      if (!cards.has(name)) {
        cards.set(name, makeCard(name, { title: title(name), about: about(name) }));
        parent.append(cards.get(name).node);
      }
      cards.get(name).show(chart, board, { label, href: href(name), key });
    }
  };
  return { show, clear };
}

function makeCard(name, { title, about }) {
  const id = `chart-${name}`;
  const plot = el("div", { class: "plot", role: "img", "aria-labelledby": `${id}-title` });
  const nothing = el("p", { class: "empty" }, t("dashboard.no_data"));
  const legend = el("ul", { class: "legend" });
  const table = el("div", { class: "numbers", id: `${id}-numbers`, tabindex: 0, role: "region", "aria-labelledby": `${id}-title`, hidden: true });
  const toggle = el("button", { type: "button", "aria-expanded": "false", "aria-controls": `${id}-numbers` }, t("dashboard.numbers"));
  const file = el("a", { class: "button", download: true }, t("dashboard.csv"));
  const node = el("article", { class: "card chart", id },
    el("h2", { id: `${id}-title` }, title), el("p", { class: "soft small" }, about),
    plot, nothing, legend, el("div", { class: "row" }, toggle, file), table);

  const hidden = new Map(); // what the reader switched, by line
  let drawn = null;
  let now = null;
  let outlined = null; // the line whose band is drawn: all at once would hide each other

  const isHidden = (line) => hidden.get(line.key) ?? hiddenAtFirst(line, now.chart.unit);
  toggle.addEventListener("click", () => {
    table.hidden = !table.hidden;
    toggle.setAttribute("aria-expanded", String(!table.hidden));
    if (!table.hidden && now) fillTable(table, now);
  });
  const resize = new ResizeObserver(() => {
    if (drawn && plot.clientWidth) drawn.setSize({ width: plot.clientWidth, height: height() });
  });
  resize.observe(plot);

  function show(chart, board, { label, href, key }) {
    const lines = chart.series.map((line) => ({ ...line, name: label(line), key: `${line.group ?? ""}\n${line.stat}` }));
    const shape = JSON.stringify([key, chart.unit, lines.map((line) => [line.key, hiddenAtFirst(line, chart.unit)])]);
    const some = lines.some((line) => line.values.some((value) => value != null && (value !== 0 || line.n?.some(Boolean))));
    const same = now?.shape === shape;
    now = { chart, board, lines, shape };
    file.href = href;
    nothing.hidden = some;
    plot.hidden = legend.hidden = !some;
    if (!table.hidden) fillTable(table, now);
    if (!some) return;
    if (same && drawn) {
      drawn.setData(dataOf(now), true);
    } else {
      drawn?.destroy();
      outlined = null;
      drawn = new uPlot(options(now, plot, isHidden, showValues, banded), dataOf(now), plot);
      fillLegend();
    }
    showValues();
  }

  /** Draw this line's band; by itself, the first one's that is shown. */
  function outline(wanted) {
    outlined = wanted;
    drawn.redraw(false);
  }

  /** The line whose band is to be drawn. */
  const banded = () => now.lines.find((line) => line.low && !isHidden(line) && (outlined === null || line.key === outlined));

  function fillLegend() {
    legend.replaceChildren(...now.lines.map((line, index) => {
      const over = () => line.low && !isHidden(line) && outline(line.key);
      const button = el("button", {
        type: "button", class: "line", title: line.group || line.name, "aria-pressed": String(!isHidden(line)),
        onpointerenter: over, onfocus: over, onpointerleave: () => outline(null), onblur: () => outline(null),
        onclick: () => {
          hidden.set(line.key, !isHidden(line));
          button.setAttribute("aria-pressed", String(!isHidden(line)));
          drawn.setSeries(index + 1, { show: !isHidden(line) });
          outline(isHidden(line) ? null : line.key);
        },
      }, swatch(now.lines, index), el("span", { class: "name" }, line.name), el("span", { class: "last soft" }));
      return el("li", {}, button);
    }));
  }

  /** The values under the pointer, or the last ones there are. */
  function showValues(index = null) {
    now.lines.forEach((line, place) => {
      const value = index == null ? line.values.findLast((one) => one != null) : line.values[index];
      const node = legend.children[place]?.querySelector(".last");
      if (node) node.textContent = measure(value ?? null, now.chart.unit);
    });
  }

  const remove = () => {
    resize.disconnect();
    drawn?.destroy();
    node.remove();
  };
  return { node, show, remove };
}

// Of many lines not all at first: the tail of each group hides the medians, and zeros say little.
const hiddenAtFirst = (line, unit) =>
  (line.stat === "p95" && line.group !== null) || (unit === "count" && line.values.every((value) => !value));

const height = () => (innerWidth < 640 ? 190 : 230);
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A line's own colour and dashes; all together is drawn in ink. */
function look(lines, index) {
  const line = lines[index];
  const grouped = lines.some((one) => one.group !== null);
  if (line.stat === "baseline") return { colour: colour("--soft"), dash: [3, 5], width: 2 };
  if (grouped && line.group === null) {
    return { colour: colour("--ink"), dash: line.stat === "p95" ? [4, 4] : [], width: 2.5 };
  }
  const names = [...new Set(lines.filter((one) => !grouped || one.group !== null).map((one) => (grouped ? one.group : one.stat)))];
  const place = names.indexOf(grouped ? line.group : line.stat);
  const dash = line.stat === "p95" ? [2, 2] : DASHES[(place + Math.floor(place / 6)) % 6];
  return { colour: colour(`--series-${(place % 6) + 1}`), dash, width: line.stat === "p95" ? 1.2 : 2 };
}

function swatch(lines, index) {
  const { colour: stroke, dash, width } = look(lines, index);
  const picture = document.createElementNS(SVG, "svg");
  const mark = document.createElementNS(SVG, "line");
  const set = (node, values) => Object.entries(values).forEach(([name, value]) => node.setAttribute(name, value));
  set(picture, { width: 28, height: 10, viewBox: "0 0 28 10", "aria-hidden": "true" });
  set(mark, { x1: 0, y1: 5, x2: 28, y2: 5, stroke, "stroke-width": width + 0.5, "stroke-dasharray": dash.join(" ") || "none" });
  picture.append(mark);
  return picture;
}

// uPlot

const dataOf = ({ lines, board }) => [board.begins, ...lines.map((line) => line.values)];

function options({ chart, lines, board }, plot, isHidden, showValues, banded) {
  const few = board.begins.length < 3;
  const styles = lines.map((_, index) => look(lines, index));
  return {
    width: plot.clientWidth || 320, height: height(), legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false } },
    tzDate: (seconds) => (board.seconds < DAY ? new Date(seconds * 1e3) : uPlot.tzDate(new Date(seconds * 1e3), "Etc/UTC")),
    scales: { x: { time: true }, y: { range: (_, low, high) => bounds(chart.unit, ...withBand(banded(), low, high)) } },
    series: [{}, ...lines.map((line, index) => {
      const { colour: stroke, dash, width } = styles[index];
      return { label: line.name, stroke, width, dash, show: !isHidden(line), points: few ? { show: true, size: 7 } : { size: 5 } };
    })],
    axes: [axis({ values: (_, at) => at.map((seconds) => tick(seconds, board.seconds)), space: 64 }),
      axis({ values: (_, at) => at.map((value) => measure(value, chart.unit)), size: 62 })],
    hooks: {
      setCursor: [(u) => showValues(u.cursor.idx)],
      drawAxes: [(u) => {
        const line = banded();
        if (line) drawBand(u, line, styles[lines.findIndex((one) => one.key === line.key)].colour);
      }],
    },
  };
}

/** Fill between a line's ends, run by run where there are values. */
function drawBand(u, line, fill) {
  const { ctx, bbox } = u;
  const x = (at) => u.valToPos(u.data[0][at], "x", true);
  const y = (value) => u.valToPos(value, "y", true);
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.globalAlpha = 0.18;
  ctx.fillStyle = fill;
  for (let at = 0; at < line.values.length; at += 1) {
    const from = at;
    while (at < line.values.length && line.values[at] != null) at += 1;
    if (at === from) continue;
    ctx.beginPath();
    for (let place = from; place < at; place += 1) ctx.lineTo(x(place), y(line.high[place]));
    for (let place = at - 1; place >= from; place -= 1) ctx.lineTo(x(place), y(line.low[place]));
    if (at - from === 1) { // a lone value's band is a stroke
      ctx.rect(x(from) - 3, y(line.high[from]), 6, y(line.low[from]) - y(line.high[from]));
    }
    ctx.fill();
  }
  ctx.restore();
}

function withBand(line, low, high) {
  if (!line || low == null) return [low, high];
  const ends = [...line.low, ...line.high].filter((value) => value != null);
  return [Math.min(low, ...ends), Math.max(high, ...ends)];
}

function bounds(unit, low, high) {
  if (low == null) return [0, 1];
  if (unit === "share") return [Math.max(0, Math.min(low - 0.02, 0.9 * low)), Math.min(1, high + 0.02)];
  const room = (high - Math.min(0, low)) * 0.08 || 1;
  return [low < 0 ? low - room : 0, high + room];
}

function axis(more) {
  const line = { stroke: colour("--line"), width: 1 };
  return { stroke: colour("--soft"), grid: line, ticks: line, font: "12px system-ui, sans-serif", ...more };
}

function tick(seconds, width) {
  const date = new Date(seconds * 1000);
  if (width >= DAY) return new Intl.DateTimeFormat(locale, { month: "short", day: "numeric", timeZone: "UTC" }).format(date);
  const midnight = date.getHours() === 0 && date.getMinutes() === 0;
  return new Intl.DateTimeFormat(locale, midnight ? { month: "short", day: "numeric" } : { hour: "2-digit", minute: "2-digit" }).format(date);
}

// The numbers of all lines, hidden ones too.

function fillTable(node, { chart, lines, board }) {
  const zone = board.seconds < DAY ? undefined : "UTC";
  const stamp = new Intl.DateTimeFormat(locale, board.seconds < DAY
    ? { dateStyle: "short", timeStyle: "short" } : { dateStyle: "medium", timeZone: zone });
  const head = el("tr", {}, el("th", { scope: "col" }, t("dashboard.time")),
    lines.map((line) => el("th", { scope: "col", class: "figure" }, line.name)));
  const cell = (line, at) => {
    const value = line.values[at];
    const band = value != null && line.low ? ` (${measure(line.low[at], chart.unit)} – ${measure(line.high[at], chart.unit)})` : "";
    const count = line.n && line.n[at] ? ` n=${number(line.n[at])}` : "";
    return el("td", { class: "figure" }, measure(value, chart.unit), el("span", { class: "soft small" }, band + count));
  };
  const rows = board.begins.map((seconds, at) => el("tr", {},
    el("th", { scope: "row" }, stamp.format(new Date(seconds * 1000))), lines.map((line) => cell(line, at))));
  const { scrollTop, scrollLeft } = node;
  node.replaceChildren(el("table", {}, el("thead", {}, head), el("tbody", {}, rows.reverse())));
  Object.assign(node, { scrollTop, scrollLeft });
}
