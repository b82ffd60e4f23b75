// How far the reviews are, what they say of the answers, and how far reviewers agree.

import { api, el, failed, markdown, number, percent, t } from "./app.js";

const [guidelines, progress] = ["guidelines", "progress"].map((id) => document.getElementById(id));

/** Ask for the figures, and show them with the guidelines. */
export async function showProgress() {
  try {
    const got = await api("/web/review/progress");
    guidelines.replaceChildren(markdown(got.guidelines ?? t("review.default_guidelines")));
    progress.replaceChildren(...figures(got));
  } catch (error) {
    progress.replaceChildren(failed(error, showProgress));
  }
}

function figures(got) {
  const { agreement, accepted, reviewers } = got;
  const parts = [sourceTable(got.sources)];
  if (accepted.n) {
    parts.push(el("p", { class: "small" }, t("review.good_share", {
      rate: percent(accepted.rate), low: percent(accepted.low), high: percent(accepted.high), n: number(accepted.n),
    })));
  }
  parts.push(el("p", { class: "small" }, agreement.alpha == null ? t("review.agreement_none")
    : t("review.agreement", { alpha: number(agreement.alpha, 2), answers: number(agreement.answers) })));
  parts.push(reviewers.length ? reviewerTable(reviewers) : el("p", { class: "soft small" }, t("review.no_reviews")));
  return parts;
}

const head = (...keys) => el("thead", {}, el("tr", {}, keys.map((key, place) =>
  el("th", { scope: "col", class: place ? "figure" : null }, t(`review.table.${key}`)))));
const figure = (text) => el("td", { class: "figure" }, text);

function sourceTable(sources) {
  return el("div", { class: "wide", tabindex: 0 }, el("table", {}, head("source", "waiting", "today", "total"),
    el("tbody", {}, Object.entries(sources).map(([name, one]) => el("tr", {},
      el("th", { scope: "row" }, t(`review.source.${name}`)),
      figure(`${number(one.waiting)}${one.more ? "+" : ""}`), figure(number(one.today)), figure(number(one.total)))))));
}

function reviewerTable(reviewers) {
  const known = reviewers.some((one) => one.accuracy);
  const name = (one, place) => (one.you ? t("review.you") : one.name ?? t("review.someone", { n: place + 1 }));
  return el("div", { class: "wide", tabindex: 0 }, el("table", {}, head("reviewer", "today", "total", ...(known ? ["accuracy"] : [])),
    el("tbody", {}, reviewers.map((one, place) => el("tr", {}, el("th", { scope: "row", class: "text" }, name(one, place)),
      figure(number(one.today)), figure(number(one.total)),
      known && figure(one.accuracy ? `${percent(one.accuracy.rate, 0)} [${percent(one.accuracy.low, 0)}, ${percent(one.accuracy.high, 0)}]` : "–"))))));
}
