// What the things of a lineage are called: short names for cards, their facts in words.

import { el, number, t, tOr, when } from "./app.js";

const SHORT = 10;
const short = (id) => (id.length > SHORT + 2 ? `${id.slice(0, SHORT)}…` : id);
const stage = (one) => tOr(`runs.stages.${one}`, one ?? "");

/** A thing's short name. */
export function name(thing) {
  if (thing.kind === "release") return `#${thing.id}`;
  if (thing.kind === "base") return thing.id.split("/").at(-1);
  if (thing.kind === "run") return stage(thing.facts.stage ?? thing.id.split("-")[0]);
  return short(thing.id);
}

/** One more word on a card, or nothing. */
export function subtitle(thing) {
  const facts = thing.facts;
  if (facts.missing) return t("lineage.missing");
  if (facts.unknown) return t("lineage.unknown_id");
  switch (thing.kind) {
    case "policy": return stage(facts.stage);
    case "run": return facts.finished === false ? t("runs.state.failed") : runDate(thing.id);
    case "decision": return t(facts.promote ? "runs.promoted" : "runs.refused");
    case "release": return tOr(`lineage.action.${facts.action}`, facts.action);
    case "snapshot": return facts.votes ? `${t("lineage.fact.votes")} ${number(facts.votes)}` : "";
    case "comparison": return tOr(`lineage.vote.${facts.choice}`, "");
    case "feedback": return facts.metric ?? "";
    default: return "";
  }
}

function runDate(id) {
  const found = /-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-/.exec(id);
  return found ? when(`${found[1]}-${found[2]}-${found[3]}T${found[4]}:${found[5]}:${found[6]}Z`) : "";
}

/** A vote in words. */
export function voteWord(vote) {
  if (vote.kind === "comparison") return t(`lineage.vote.${vote.choice}`);
  if (vote.kind === "thumb") return t(vote.value > 0 ? "lineage.vote.up" : "lineage.vote.down");
  if (vote.text) return `${tOr(`lineage.vote.${vote.kind}`, vote.kind)}: ${vote.text}`;
  return `${vote.metric} ${number(vote.value, 3)}`;
}

const APART = ["config", "said", "tainted", "rebuild", "votes_sample", "counting", "missing", "unknown"];
const IDS = ["policy", "run", "candidate", "champion", "previous", "learned_from"];

/** The facts of a thing as a list; an id in it can be followed by `choose`. */
export function factList(facts, choose) {
  const told = Object.entries(facts).filter(([key, value]) =>
    !APART.includes(key) && value != null && value !== "" && !(Array.isArray(value) && !value.length));
  return el("dl", {}, told.map(([key, value]) => [
    el("dt", {}, tOr(`lineage.fact.${key}`, key)),
    el("dd", { class: "text" }, IDS.includes(key) ? link(value, choose) : words(key, value, choose)),
  ]));
}

const link = (id, choose) => el("button", { type: "button", class: "link text", onclick: () => choose(id) }, id);

function words(key, value, choose) {
  if (key === "created_at") return when(value.replace(" ", "T"));
  if (key === "answers") return [number(value.answered), " / ", number(value.of_the_last), ...value.sample.map((id) => [" ", link(id, choose)])];
  if (typeof value === "boolean") return t(value ? "lineage.yes" : "lineage.no");
  if (typeof value === "number") return number(value, 6);
  if (Array.isArray(value)) return el("ul", {}, value.map((one) => el("li", {}, words("", one, choose))));
  if (typeof value === "object") {
    return el("ul", {}, Object.entries(value).filter(([, one]) => one != null).map(([inner, one]) =>
      el("li", {}, `${tOr(`lineage.fact.${inner}`, inner)} `, words("", one, choose))));
  }
  return String(value);
}
