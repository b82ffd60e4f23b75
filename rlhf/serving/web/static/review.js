// Review: one answer after another, with what to look for beside it. The next comes by itself.

import { api, busy, el, empty, failed, keep, markdown, number, percent, t, toast, tOr, when, whenBack } from "./app.js";

const [place, until, told, guidelines, guidelinesBox, progress, dialog] =
  ["item", "review-until", "review-told", "guidelines", "guidelines-box", "progress", "on-votes"]
    .map((id) => document.getElementById(id));

const KEYS = { a: "accept", c: "correct", r: "reject", s: "skip" };
const REASONS = ["wrong", "not_helpful", "unsafe", "too_long", "style"];
const DONE = { accept: "accepted", correct: "corrected_done", reject: "rejected", skip: "skipped" };

/** What is on the screen: the item, the form that is open, and what it was given. */
let now = null;

class Item {
  constructor(item) {
    this.item = item;
    this.path = `/web/review/${encodeURIComponent(item.id)}`;
    this.opened = null;
    this.sending = false;
    this.active = false;
    this.form = el("div", { class: "review-form" });
    this.problem = el("div");
    this.votes = el("div");
    this.buttons = this.actions();
    this.node = el("div", { class: "grid", dataset: { item: item.id } }, this.about(), this.dialogue(), this.answer(), this.votes,
      el("div", { class: "card review-do" }, this.problem, this.form, this.buttons, this.hint()));
    this.showVotes();
    this.clock = setInterval(() => this.tick(), 1000);
    this.expires(item.until);
    if (this.draft()) this.open("correct");
  }

  about() {
    const { source, style, at } = this.item;
    return el("p", { class: "row" }, el("span", { class: `tag why-${source}` }, t(`review.why.${source}`)),
      style && el("span", { class: "tag" }, t("review.style", { style })),
      at && el("span", { class: "soft small" }, when(at)));
  }

  dialogue() {
    return el("div", { class: "grid review-dialogue" }, this.item.messages.map((message) =>
      el("article", { class: `turn ${message.role}`, "aria-label": t(`review.${message.role}`) },
        message.role === "user" ? null : el("p", { class: "soft small" }, t(`review.${message.role}`)),
        el("div", { class: "text" }, message.content))));
  }

  answer() {
    const { response, finish, blocked } = this.item;
    const body = el("div", { class: "answer" });
    body.append(markdown(response));
    return el("article", { class: "card review-answer", "aria-label": t("review.answer") },
      el("h2", {}, t("review.answer")), body,
      blocked && el("p", { class: "warn small" }, t("review.blocked", { rules: blocked })),
      finish === "length" && el("p", { class: "soft small" }, t("review.cut_off")));
  }

  actions() {
    const button = (key, verdict, style) => el("button", {
      type: "button", class: style, "aria-keyshortcuts": key, dataset: { verdict },
      "aria-expanded": verdict === "correct" || verdict === "reject" ? "false" : null,
      onclick: () => this.choose(verdict),
    }, t(`review.${verdict}`), el("kbd", { "aria-hidden": "true" }, key.toUpperCase()));
    return el("div", { class: "row review-buttons" }, button("a", "accept", "main"),
      this.item.can_correct && button("c", "correct"), button("r", "reject", "danger"), button("s", "skip", "quiet"));
  }

  hint() {
    const named = (key) => `${key.toUpperCase()} ${t(`review.${KEYS[key]}`)}`;
    return el("p", { class: "soft small review-keys" }, t("review.keys",
      { accept: named("a"), correct: named("c"), reject: named("r"), skip: named("s") }));
  }

  choose(verdict) {
    if (this.sending || (verdict === "correct" && !this.item.can_correct)) return;
    if (verdict === "accept" || verdict === "skip") this.send({ verdict });
    else if (this.opened === verdict) this.close();
    else this.open(verdict);
  }

  open(verdict) {
    this.opened = verdict;
    this.form.replaceChildren(verdict === "correct" ? this.correction() : this.rejection());
    this.mark();
    this.form.querySelector("textarea, .chip")?.focus();
  }

  close() {
    this.opened = null;
    this.form.replaceChildren();
    this.mark();
    this.buttons.querySelector("button").focus();
  }

  mark() {
    for (const button of this.buttons.querySelectorAll("[aria-expanded]")) {
      button.setAttribute("aria-expanded", String(button.dataset.verdict === this.opened));
    }
  }

  draft() {
    try { return sessionStorage.getItem(`draft:${location.pathname}:correct:${this.item.id}`); } catch { return null; }
  }

  correction() {
    const field = el("textarea", { id: "correction", rows: 8, maxlength: 100000, "aria-describedby": "correct-hint" });
    keep(field, `correct:${this.item.id}`);
    if (!field.value) field.value = this.item.response;
    const submit = () => {
      if (!field.value.trim() || field.value === this.item.response) return this.say(t("review.unchanged"));
      this.send({ verdict: "correct", text: field.value });
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); submit(); }
    });
    this.submit = submit;
    return el("div", { class: "grid" }, el("label", { for: "correction" }, t("review.corrected")), field,
      el("p", { id: "correct-hint", class: "soft small" }, t("review.correct_hint")), this.ends());
  }

  rejection() {
    const chosen = new Set();
    const chips = REASONS.map((reason, place) => el("button", {
      type: "button", class: "chip", "aria-pressed": "false", "aria-keyshortcuts": String(place + 1),
      onclick: (event) => {
        if (!chosen.delete(reason)) chosen.add(reason);
        event.currentTarget.setAttribute("aria-pressed", String(chosen.has(reason)));
      },
    }, t(`ballot.reason.${reason}`), el("kbd", { "aria-hidden": "true" }, String(place + 1))));
    const other = el("input", { id: "other-reason", maxlength: 300, autocomplete: "off" });
    keep(other, `reject:${this.item.id}`);
    this.submit = () => {
      const reasons = [...chosen, ...(other.value.trim() ? [other.value.trim()] : [])];
      if (!reasons.length) return this.say(t("review.reason_needed"));
      this.send({ verdict: "reject", reasons });
    };
    other.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) { event.preventDefault(); this.submit(); }
    });
    return el("div", { class: "grid", role: "group", "aria-label": t("review.reasons") },
      el("p", {}, t("review.reasons")), el("div", { class: "row chips" }, chips),
      el("div", {}, el("label", { for: "other-reason" }, t("review.other_reason")), other), this.ends());
  }

  ends() {
    return el("div", { class: "row end" },
      el("button", { type: "button", class: "quiet", onclick: () => this.close() }, t("review.cancel")),
      el("button", { type: "button", class: "main", onclick: () => this.submit() }, t("review.send")));
  }

  async send(body) {
    if (this.sending) return;
    this.busy(true);
    this.problem.replaceChildren();
    try {
      await api(this.path, { method: "POST", body });
    } catch (error) {
      if (error.status === 0) { // said twice it counts once, so it may be sent again
        this.say(t("shell.away"));
        await whenBack();
      }
      this.busy(false);
      if (error.status === 0) return this.send(body);
      if (error.status === 409) this.isTaken();
      else this.problem.replaceChildren(failed(error, () => this.send(body)));
      return;
    }
    this.forget();
    told.textContent = t(`review.${DONE[body.verdict]}`);
    await next(true);
    showProgress();
  }

  busy(on) {
    this.sending = on;
    for (const control of this.node.querySelectorAll("button, textarea, input")) control.disabled = on;
  }

  say(text) {
    this.problem.replaceChildren(el("p", { class: "wrong", role: "alert" }, text));
  }

  isTaken() {
    clearInterval(this.clock);
    this.problem.replaceChildren(el("div", { class: "failed", role: "alert" }, el("p", {}, t("review.taken")),
      el("button", { type: "button", onclick: () => { this.forget(); next(true); } }, t("review.next"))));
  }

  forget() {
    clearInterval(this.clock);
    for (const kind of ["correct", "reject"]) {
      try { sessionStorage.removeItem(`draft:${location.pathname}:${kind}:${this.item.id}`); } catch { /* storage is off */ }
    }
  }

  // Reservations: who is at work has it for longer, who has left is asked.

  expires(date) {
    this.until = new Date(date);
    this.half = Date.now() + (this.until - Date.now()) / 2;
    until.hidden = false;
    const time = new Intl.DateTimeFormat(document.documentElement.lang, { timeStyle: "short" }).format(this.until);
    until.textContent = t("review.reserved", { time });
  }

  tick() {
    if (Date.now() > this.until) this.hasExpired();
    else if (this.active && Date.now() > this.half) this.renew();
  }

  hasExpired() {
    clearInterval(this.clock);
    until.hidden = true;
    this.problem.replaceChildren(el("div", { class: "failed", role: "alert" }, el("p", {}, t("review.expired")),
      el("button", { type: "button", onclick: () => this.renew(true) }, t("review.go_on"))));
  }

  async renew(asked = false) {
    this.active = false;
    this.half = Infinity;
    try {
      const { until: date } = await api(`${this.path}/renew`, { method: "POST" });
      this.expires(date);
      if (!asked) return;
      this.problem.replaceChildren();
      this.clock = setInterval(() => this.tick(), 1000);
    } catch (error) {
      if (error.status === 409) this.isTaken();
      else if (asked) this.problem.replaceChildren(failed(error, () => this.renew(true)));
    }
  }

  // What users said; a reviewer may hold it back or let it count.

  showVotes() {
    const { votes, source } = this.item;
    if (!votes.length) return this.votes.replaceChildren(el("p", { class: "soft small" }, t("review.votes.none")));
    const open = source === "disagreement" || source === "quarantine";
    const held = votes.some((vote) => vote.held);
    const free = votes.some((vote) => !vote.held);
    this.votes.replaceChildren(el("details", { class: "card", open },
      el("summary", {}, t("review.votes.title", { count: number(votes.length) })),
      el("ul", { class: "review-votes" }, votes.map((vote) => el("li", {}, el("b", {}, saidIn(vote)),
        vote.text && el("span", { class: "text" }, vote.text),
        vote.reasons.map((reason) => el("span", { class: "tag" }, tOr(`ballot.reason.${reason}`, reason))),
        el("span", { class: "soft small" }, when(vote.at)),
        vote.held && el("span", { class: "tag warn" }, t("review.votes.held", { reason: vote.held }))))),
      el("div", { class: "row" },
        free && el("button", { type: "button", onclick: () => this.ask(true) }, t("review.votes.hold")),
        held && el("button", { type: "button", onclick: () => this.ask(false) }, t("review.votes.let_go")))));
  }

  ask(hold) {
    const [form, wrong, field] = ["form", ".wrong", "input"].map((part) => dialog.querySelector(part));
    document.getElementById("on-votes-title").textContent = t(hold ? "review.votes.hold" : "review.votes.let_go");
    document.getElementById("on-votes-about").textContent = t(hold ? "review.votes.about_hold" : "review.votes.about_let_go");
    field.value = "";
    wrong.hidden = true;
    form.onsubmit = async (event) => {
      event.preventDefault();
      try {
        const reason = field.value.trim();
        if (!reason) return field.focus();
        const { votes } = await api(`${this.path}/votes`, { method: "POST", body: { hold, reason } });
        this.item.votes = votes;
        this.showVotes();
        this.votes.querySelector("details").open = true;
        dialog.close();
        toast(t("review.votes.done"));
      } catch (error) {
        wrong.textContent = t("shell.failed", { message: error.message });
        wrong.hidden = false;
      }
    };
    dialog.showModal();
  }
}

function saidIn(vote) {
  if (vote.kind === "thumb") return t(vote.value > 0 ? "review.votes.up" : "review.votes.down");
  if (vote.kind === "rating") return t("review.votes.stars", { stars: number(vote.value, 1) });
  return tOr(`review.votes.${vote.kind}`, vote.metric);
}

async function next(moved = false) {
  now?.forget();
  now = null;
  until.hidden = true;
  place.replaceChildren();
  let got;
  try {
    got = await busy(place, api("/web/review/next", { method: "POST" }));
  } catch (error) {
    place.replaceChildren(failed(error, () => next(moved)));
    if (error.status === 0) document.addEventListener("back", () => { if (!now) next(moved); }, { once: true });
    return;
  }
  if (got.item) {
    now = new Item(got.item);
    place.replaceChildren(now.node);
    if (moved) { place.focus({ preventScroll: true }); window.scrollTo(0, 0); }
  } else {
    place.replaceChildren(empty(t("review.empty"), el("p", { class: "small" }, t("review.empty_more")),
      el("button", { type: "button", onclick: () => { next(); showProgress(); } }, t("review.look_again"))));
  }
}

async function showProgress() {
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

document.addEventListener("keydown", (event) => {
  if (now) now.active = true;
  if (!now || event.ctrlKey || event.metaKey || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape" && now.opened) return now.close();
  const at = event.target;
  if (at.matches("input, textarea, select")) return;
  if (event.key === "Enter") {
    if (now.opened && !at.matches("a, summary, button:not(.chip)")) { event.preventDefault(); now.submit(); }
  } else if (now.opened === "reject" && REASONS[Number(event.key) - 1]) {
    now.form.querySelectorAll(".chip")[Number(event.key) - 1].click();
  } else if (KEYS[event.key.toLowerCase()]) {
    event.preventDefault();
    now.choose(KEYS[event.key.toLowerCase()]);
  }
});
document.addEventListener("pointerdown", () => { if (now) now.active = true; });
dialog.querySelector("[value=cancel]").addEventListener("click", () => dialog.close());

guidelinesBox.open = matchMedia("(min-width: 48rem)").matches;
next();
showProgress();
