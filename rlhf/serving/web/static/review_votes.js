// What users said of an answer under review; a reviewer may hold it back or let it count.

import { api, el, number, t, toast, tOr, when } from "./app.js";

const dialog = document.getElementById("on-votes");

/** The votes on an item, whose requests go to `path`. */
export function voted(item, path) {
  const node = el("div");
  const show = (votes, open) => node.replaceChildren(votes.length ? list(votes, open, (hold) => ask(hold, path, (now) => show(now, true)))
    : el("p", { class: "soft small" }, t("review.votes.none")));
  show(item.votes, item.source === "disagreement" || item.source === "quarantine");
  return node;
}

function list(votes, open, change) {
  const held = votes.some((vote) => vote.held);
  const free = votes.some((vote) => !vote.held);
  return el("details", { class: "card", open },
    el("summary", {}, t("review.votes.title", { count: number(votes.length) })),
    el("ul", { class: "review-votes" }, votes.map((vote) => el("li", {}, el("b", {}, saidIn(vote)),
      vote.text && el("span", { class: "text" }, vote.text),
      vote.reasons.map((reason) => el("span", { class: "tag" }, tOr(`ballot.reason.${reason}`, reason))),
      el("span", { class: "soft small" }, when(vote.at)),
      vote.held && el("span", { class: "tag warn" }, t("review.votes.held", { reason: vote.held }))))),
    el("div", { class: "row" },
      free && el("button", { type: "button", onclick: () => change(true) }, t("review.votes.hold")),
      held && el("button", { type: "button", onclick: () => change(false) }, t("review.votes.let_go"))));
}

function ask(hold, path, done) {
  const [form, wrong, field] = ["form", ".wrong", "input"].map((part) => dialog.querySelector(part));
  document.getElementById("on-votes-title").textContent = t(hold ? "review.votes.hold" : "review.votes.let_go");
  document.getElementById("on-votes-about").textContent = t(hold ? "review.votes.about_hold" : "review.votes.about_let_go");
  field.value = "";
  wrong.hidden = true;
  form.onsubmit = async (event) => {
    event.preventDefault();
    const reason = field.value.trim();
    if (!reason) return field.focus();
    try {
      const { votes } = await api(`${path}/votes`, { method: "POST", body: { hold, reason } });
      done(votes);
      dialog.close();
      toast(t("review.votes.done"));
    } catch (error) {
      wrong.textContent = t("shell.failed", { message: error.message });
      wrong.hidden = false;
    }
  };
  dialog.showModal();
}

function saidIn(vote) {
  if (vote.kind === "thumb") return t(vote.value > 0 ? "review.votes.up" : "review.votes.down");
  if (vote.kind === "rating") return t("review.votes.stars", { stars: number(vote.value, 1) });
  if (vote.kind === "comparison") return t(`review.votes.${vote.value > 0 ? "chosen" : vote.value < 0 ? "not_chosen" : "tie"}`);
  return tOr(`review.votes.${vote.kind}`, vote.metric);
}

dialog.querySelector("[value=cancel]").addEventListener("click", () => dialog.close());
