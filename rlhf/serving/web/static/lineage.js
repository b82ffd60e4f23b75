// Lineage: the picture around one thing, its facts beside it, and the votes that made it.

import { api, busy, copy, el, empty, failed, t } from "./app.js";
import { draw } from "./picture.js";
import { factList, name, voteWord } from "./things.js";

const AGAIN_MS = 3000;
const MORE = 30;
const [search, picture, facts, votes, counting] =
  ["search", "picture", "facts", "votes", "counting"].map((id) => document.getElementById(id));
let turn = 0;

const here = () => new URLSearchParams(location.search).get("id") ?? "";

/** Go to a thing: the address says where one is, so that the browser's way back works. */
function choose(id) {
  history.pushState(null, "", id ? `/lineage?${new URLSearchParams({ id })}` : "/lineage");
  show({ focus: true });
}

async function show({ focus = false, breadth = null, quiet = false } = {}) {
  const own = ++turn;
  search.elements.id.value = here();
  if (!quiet) votes.replaceChildren();
  try {
    const asked = new URLSearchParams({ id: here(), ...(breadth && { breadth }) });
    const graph = await busy(picture, api(`/web/lineage?${asked}`));
    if (own === turn) take(graph, { focus, breadth, own });
  } catch (error) {
    if (own !== turn || quiet) return;
    facts.replaceChildren();
    picture.replaceChildren(error.status === 404 ? empty(t("lineage.unknown")) : failed(error, () => show()));
  }
}

function take(graph, { focus, breadth, own }) {
  const chosen = graph.nodes?.find((thing) => thing.key === graph.chosen);
  counting.textContent = graph.counting ? t("lineage.counting", { count: graph.counting }) : "";
  if (graph.choices) {
    facts.replaceChildren();
    return picture.replaceChildren(empty(t("lineage.choices"), el("ul", { class: "choices" }, graph.choices.map((one) =>
      el("li", {}, el("button", { type: "button", class: "text", onclick: () => choose(one.id) }, `${t(`lineage.kind.${one.kind}`)} ${one.id}`))))));
  }
  if (!chosen) {
    facts.replaceChildren();
    return picture.replaceChildren(empty(t("lineage.nothing")));
  }
  draw(picture, graph, choose, focus);
  drawFacts(graph, chosen, breadth);
  if (graph.counting) setTimeout(() => { if (own === turn) show({ breadth, quiet: true }); }, AGAIN_MS);
}

function drawFacts(graph, thing, breadth) {
  const told = thing.facts;
  const parts = [
    el("h2", {}, `${t(`lineage.kind.${thing.kind}`)} ${name(thing)}`),
    el("p", { class: "row" }, el("code", { class: "text" }, thing.id),
      el("button", { type: "button", onclick: () => copy(thing.id) }, t("lineage.copy"))),
    told.tainted && taint(told),
    told.learned_from && el("p", {}, el("button", { type: "button", class: "main", onclick: () => showVotes(told.learned_from, 0) }, t("lineage.votes"))),
    thing.kind === "run" && el("p", {}, el("a", { class: "button", href: `/runs?run=${encodeURIComponent(thing.id)}` }, t("lineage.report"))),
    told.said && el("section", {}, el("h3", {}, t("lineage.said")), said(told.said)),
    neighbours(graph, thing, "made_of", "none_behind", ([from, to]) => to === thing.key && from),
    neighbours(graph, thing, "went_into", "none_ahead", ([from, to]) => from === thing.key && to),
    Object.keys(thing.more).length > 0 && !breadth && el("p", {}, el("button", { type: "button", onclick: () => show({ breadth: MORE }) }, t("lineage.show_more"))),
    factList(told, choose),
    told.config && el("details", {}, el("summary", {}, t("lineage.config")), el("pre", { class: "wide", tabindex: 0 }, told.config)),
  ];
  facts.replaceChildren(...parts.filter(Boolean));
}

function taint(told) {
  return el("div", { class: "taint" },
    el("p", {}, el("b", {}, `⚠ ${t("lineage.tainted")}. `), t("lineage.tainted_more")),
    told.rebuild && el("p", { class: "small" }, t("lineage.rebuild")),
    told.rebuild && el("pre", { class: "text" }, told.rebuild),
    told.rebuild && el("button", { type: "button", onclick: () => copy(told.rebuild) }, t("lineage.copy")));
}

function neighbours(graph, thing, title, none, other) {
  const keys = new Set(graph.edges.map(other).filter(Boolean));
  const things = graph.nodes.filter((one) => keys.has(one.key));
  return el("section", {}, el("h3", {}, t(`lineage.${title}`)),
    things.length
      ? el("ul", { class: "near" }, things.map((one) => el("li", {}, el("button", { type: "button", class: "link text", onclick: () => choose(one.id) },
        `${t(`lineage.kind.${one.kind}`)} ${name(one)}`))))
      : el("p", { class: "soft small" }, t(`lineage.${none}`)));
}

// Votes with what they speak of.

async function showVotes(snapshot, number) {
  votes.replaceChildren();
  try {
    const asked = new URLSearchParams({ snapshot, most: 20, draw: number });
    const found = await busy(votes, api(`/web/lineage/votes?${asked}`));
    const others = el("button", { type: "button", onclick: () => showVotes(snapshot, number + 1) }, t("lineage.other_votes"));
    votes.replaceChildren(
      el("div", { class: "row between" }, el("h2", { tabindex: -1 }, t("lineage.votes_title")), others),
      found.votes.length ? el("div", { class: "sampled" }, found.votes.map((vote) => el("article", { class: "card" }, said(vote),
        el("button", { type: "button", onclick: () => { scrollTo(0, 0); choose(vote.id); } }, t("lineage.walk"))))) : empty(t("lineage.votes_none")));
    votes.querySelector("h2").focus();
  } catch (error) {
    votes.replaceChildren(failed(error, () => showVotes(snapshot, number)));
  }
}

function said(one) {
  const answers = one.answers ?? (one.answer == null ? [] : [one]);
  return el("dl", { class: "said" },
    one.kind && [el("dt", {}, t(one.kind === "comparison" ? "lineage.kind.comparison" : "lineage.kind.feedback")),
      el("dd", { class: "text" }, el("b", {}, voteWord(one)), one.withdrawn && ` (${t("lineage.taken_back")})`,
        one.reasons?.length > 0 && el("span", { class: "soft" }, ` ${one.reasons.join(", ")}`))],
    el("dt", {}, t("lineage.question")), el("dd", { class: "text" }, one.prompt),
    answers.map((answer, at) => [el("dt", {}, answers.length > 1 ? `${t("lineage.answer")} ${at + 1}` : t("lineage.answer")), el("dd", { class: "text" }, answer.answer)]));
}

search.addEventListener("submit", (event) => {
  event.preventDefault();
  choose(search.elements.id.value.trim());
});
document.getElementById("champion").addEventListener("click", () => choose(""));
addEventListener("popstate", () => show());
show();
