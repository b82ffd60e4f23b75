// The dashboard: what comes in and what people say of it, from the counts, every ten seconds anew.

import { api, busy, el, empty, failed, number, percent, t, when } from "./app.js";
import { drawer } from "./charts.js";
import { groupName, measure, seriesName } from "./figures.js";

const EVERY_MS = 10_000;
const at = (id) => document.getElementById(id);
const RANGES = ["24h", "7d", "30d", "all"];
const GROUPS = ["policy", "style", "intent", "language"];

// What is looked at stands in the address, so that it can be sent to somebody.

const view = (() => {
  const asked = new URLSearchParams(location.search);
  const one = (name, known, usual) => (known.includes(asked.get(name)) ? asked.get(name) : usual);
  return {
    range: one("range", RANGES, "7d"), by: one("by", GROUPS, "policy"),
    simulated: asked.get("simulated") === "1" ? 1 : 0,
  };
})();

const query = () => new URLSearchParams(view).toString();

function choose(change) {
  Object.assign(view, change);
  history.replaceState(null, "", `?${query()}`);
  showView();
  refresh();
}

function showView() {
  for (const button of at("ranges").children) {
    button.setAttribute("aria-pressed", String(button.value === view.range));
  }
  at("by").value = view.by;
  at("simulated").checked = Boolean(view.simulated);
}

for (const button of at("ranges").children) {
  button.addEventListener("click", () => choose({ range: button.value }));
}
at("by").addEventListener("change", () => choose({ by: at("by").value }));
at("simulated").addEventListener("change", () => choose({ simulated: at("simulated").checked ? 1 : 0 }));
at("view").addEventListener("submit", (event) => event.preventDefault());

// Reading, one at a time; the last one asked for is shown.

let asking = null;
let timer = null;
let board = null;

async function refresh() {
  clearTimeout(timer);
  asking?.abort();
  const mine = (asking = new AbortController());
  try {
    const request = api(`/web/dashboard?${query()}`, { signal: mine.signal });
    const found = await (board ? request : busy(at("charts"), request));
    if (mine.signal.aborted) return;
    board = found;
    show(found);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!board || error.status === 403 || error.status === 401) {
      at("charts").replaceChildren(failed(error, refresh));
      board = null;
      charts.clear();
    } else {
      at("as-of").textContent = t("dashboard.stale", { at: when(board.at) });
    }
  }
  timer = setTimeout(refresh, EVERY_MS);
}

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
document.addEventListener("back", refresh);
document.addEventListener("theme", () => board && show(board, true));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => board && show(board, true));

function show(found, afresh = false) {
  at("board").removeAttribute("aria-busy");
  const behind = found.counting.share < 1;
  at("counting").hidden = !behind;
  at("counting-bar").value = found.counting.share;
  at("counting-text").textContent = t("dashboard.counting", { share: percent(Math.floor(found.counting.share * 100) / 100, 0) });
  showTiles(found);
  if (afresh) charts.clear();
  if (found.total.answers + found.total.votes + found.total.comments === 0) {
    charts.clear();
    at("charts").replaceChildren(empty(t(behind ? "dashboard.not_yet" : "dashboard.nothing"),
      view.range !== "all" && el("button", { type: "button", onclick: () => choose({ range: "all" }) }, t("dashboard.show_all"))));
  } else {
    charts.show(found, query());
  }
  showGroups(found);
  at("as-of").textContent = t("dashboard.as_of", { at: when(found.at) });
}

// Tiles

const between = (rate) => t("dashboard.between", { low: percent(rate.low), high: percent(rate.high), n: number(rate.n) });

function tilesOf({ total, last, next_update: next, champion }) {
  const none = t("dashboard.no_votes");
  return [
    ["answers", number(total.answers), t("dashboard.tile_now", { rate: measure(last.per_second, "per_second") })],
    ["first_token", measure(total.first_token_p95, "ms"), t("dashboard.tile_median", { value: measure(total.first_token_p50, "ms") })],
    ["speed", number(total.tokens_per_s_p50, 1), t("dashboard.tile_speed")],
    ["votes", number(total.votes), t("dashboard.tile_votes", { up: number(total.up), down: number(total.down) })],
    ["up_rate", percent(total.up_rate.value), total.up_rate.n ? between(total.up_rate) : none],
    ["style", percent(total.in_style.value), total.in_style.n ? between(total.in_style) : t("dashboard.no_style")],
    ["compliance", percent(total.not_blocked.value, 2), total.not_blocked.n ? between(total.not_blocked) : ""],
    ["failed", percent(total.failed.value, 2), t("dashboard.tile_failed")],
    next
      ? ["missing", number(next.missing), t("dashboard.tile_missing", { votes: number(next.votes), needed: number(next.needed), cycle: number(next.cycle) })]
      : ["missing", "–", t("dashboard.no_loop")],
    ["champion", champion ? groupName(champion, "policy") : t("dashboard.none.policy"), t("dashboard.tile_champion"), champion],
  ];
}

function showTiles(found) {
  const tiles = at("tiles");
  const wanted = tilesOf(found);
  if (tiles.childElementCount !== wanted.length) {
    tiles.replaceChildren(...wanted.map(([name]) => el("div", { class: "card tile", id: `tile-${name}` },
      el("dt", {}, t(`dashboard.tiles.${name}`)), el("dd", { class: "value" }), el("dd", { class: "soft small more" }))));
  }
  for (const [name, value, more, title] of wanted) {
    const [, big, small] = at(`tile-${name}`).children;
    for (const [node, text] of [[big, value], [small, more]]) if (node.textContent !== text) node.textContent = text;
    if (title) big.title = title;
  }
}

// Charts, each with its numbers and its file

const charts = drawer(at("charts"), {
  title: (name) => t(`dashboard.charts.${name}.title`),
  about: (name) => t(`dashboard.charts.${name}.about`),
  label: (line) => seriesName(line, view.by),
  href: (name) => `/web/dashboard/${name}.csv?${query()}`,
});

// The table of groups

const COLUMNS = [
  ["answers", (g) => number(g.answers)],
  ["up", (g) => number(g.up)],
  ["down", (g) => number(g.down)],
  ["up_rate", (g) => percent(g.up_rate.value)],
  ["between", (g) => (g.up_rate.n ? `${percent(g.up_rate.low)} – ${percent(g.up_rate.high)}` : "–")],
  ["first_token_p95", (g) => measure(g.first_token_p95, "ms")],
  ["tokens_per_s", (g) => number(g.tokens_per_s_p50, 1)],
  ["characters", (g) => number(g.characters_p50)],
  ["in_style", (g) => percent(g.in_style.value)],
  ["not_blocked", (g) => percent(g.not_blocked.value, 2)],
  ...["style", "length", "repetition", "compliance"].map((name) => [`reward_${name}`, (g) => number(g.rewards[name], 2)]),
];

function showGroups(found) {
  const node = at("by-group");
  node.hidden = found.groups.length === 0;
  at("by-group-title").textContent = t("dashboard.by_group", { group: t(`dashboard.groups.${found.by}`) });
  at("by-group-csv").href = `/web/dashboard/groups.csv?${query()}`;
  const head = el("tr", {}, el("th", { scope: "col" }, t(`dashboard.groups.${found.by}`)),
    COLUMNS.map(([name]) => el("th", { scope: "col", class: "figure" }, t(`dashboard.columns.${name}`))));
  const rows = found.groups.map((group) => el("tr", {},
    el("th", { scope: "row", title: group.group }, groupName(group.group, found.by)),
    COLUMNS.map(([, value]) => el("td", { class: "figure" }, value(group)))));
  const more = found.more_groups > 0 && el("p", { class: "soft" }, t("dashboard.more_groups", { n: number(found.more_groups) }));
  at("by-group-table").replaceChildren(el("table", {}, el("thead", {}, head), el("tbody", {}, rows)), more || "");
}

// What another page's module brings, where it is there.

async function mountReleases() {
  const node = at("releases");
  try {
    const { mount } = await import("./releases.js");
    node.hidden = false;
    await mount(node);
  } catch { // an installation without it has no such section
    node.hidden = node.childElementCount === 0;
  }
}

showView();
refresh();
mountReleases();
