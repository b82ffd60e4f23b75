// The arena's leaderboard: strengths with their intervals, as they are and with lengths held equal.

import { api, busy, el, empty, failed, number, percent, t, tOr } from "./app.js";

const COLUMNS = ["rank", "policy", "raw", "controlled", "games"];

/** Fetch and draw it into `node`; what is there stays until the new one has come. */
export async function showStandings(node) {
  try {
    const told = await busy(node, api("/web/arena/leaderboard"));
    node.replaceChildren(...(told.standings.length ? drawn(told) : [empty(t("arena.no_games")), ...notes(told)]));
  } catch (error) {
    node.replaceChildren(failed(error, () => showStandings(node)));
  }
}

function drawn(told) {
  const groups = new Map();
  for (const row of told.standings) groups.set(row.group, [...(groups.get(row.group) ?? []), row]);
  const scale = scaleOf(told.standings);
  const heads = COLUMNS.map((name) => el("th", { scope: "col", class: ["rank", "games"].includes(name) ? "figure" : null }, t(`arena.column.${name}`)));
  const table = el("table", { class: "standings" },
    el("caption", { class: "unseen" }, t("arena.leaderboard")), el("thead", {}, el("tr", {}, heads)));
  for (const [group, rows] of groups) {
    const body = el("tbody");
    if (groups.size > 1) {
      body.append(el("tr", {}, el("th", { scope: "rowgroup", colspan: String(COLUMNS.length) }, t("arena.group", { number: group + 1 }))));
    }
    body.append(...rows.map((row) => line(row, scale, told.enough)));
    table.append(body);
  }
  return [
    el("p", { class: "soft" }, t("arena.meaning")),
    el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": t("arena.leaderboard") }, table),
    ...(groups.size > 1 ? [el("p", { class: "soft small" }, t("arena.groups"))] : []),
    ...notes(told),
  ];
}

function line(row, scale, enough) {
  const parts = [el("span", { class: "name", title: row.policy }, row.policy.slice(0, 20))];
  if (row.role) parts.push(" ", el("span", { class: "tag" }, tOr(`arena.role.${row.role}`, row.role)));
  if (row.few) parts.push(" ", el("span", { class: "tag warn" }, t("arena.few", { enough })));
  const counts = { wins: number(row.wins), ties: number(row.ties), losses: number(row.losses), bad: number(row.both_bad) };
  return el("tr", {},
    el("td", { class: "figure rank" }, String(row.raw.rank)),
    el("th", { scope: "row" }, parts),
    el("td", { dataset: { label: t("arena.column.raw") } }, rating(row.raw, scale)),
    el("td", { dataset: { label: t("arena.column.controlled") } }, rating(row.controlled, scale)),
    el("td", { class: "figure games" }, number(row.games), el("div", { class: "soft small" }, t("arena.counts", counts))));
}

function rating({ elo, low, high }, scale) {
  const interval = t("arena.interval", { low: number(low), high: number(high) });
  const bar = el("span", { class: "interval", "aria-hidden": "true" }, el("span"), el("i"));
  const [range, dot] = bar.children;
  range.style.insetInlineStart = scale(low);
  range.style.insetInlineEnd = `calc(100% - ${scale(high)})`;
  dot.style.insetInlineStart = scale(elo);
  return [el("span", { class: "elo" }, number(elo)), " ", el("span", { class: "soft small" }, interval), bar];
}

/** All bars on one scale, so that they can be compared by eye. */
function scaleOf(standings) {
  const ratings = standings.flatMap((row) => [row.raw, row.controlled]);
  const low = Math.min(...ratings.map((one) => one.low));
  const high = Math.max(...ratings.map((one) => one.high));
  return (elo) => `${(100 * (elo - low)) / (high - low || 1)}%`;
}

function notes(told) {
  const found = [];
  const lean = (key, { share, low, high }) =>
    found.push(t(key, { share: percent(share), low: percent(low), high: percent(high) }));
  if (told.left) lean("arena.left_bias", told.left);
  if (told.longer) lean("arena.length_bias", told.longer);
  if (told.both_bad) found.push(t("arena.both_bad_count", { count: number(told.both_bad) }));
  if (told.same) found.push(t("arena.same_count", { count: number(told.same) }));
  return found.length ? [el("ul", { class: "soft small" }, found.map((text) => el("li", {}, text)))] : [];
}
