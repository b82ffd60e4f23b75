// One answer under review: the dialogue, what can be said of it, and for how long it is reserved.

import { api, el, failed, keep, language, markdown, t, tOr, when, whenBack } from "./app.js";
import { voted } from "./review_votes.js";

const KEYS = { a: "accept", c: "correct", r: "reject", s: "skip" };
const REASONS = ["wrong", "not_helpful", "unsafe", "too_long", "style"];
const until = document.getElementById("review-until");

/** `done(verdict)` is called when the answer is reviewed, with null when another reviewer has it. */
export class Item {
  constructor(item, done) {
    this.item = item;
    this.done = done;
    this.path = `/web/review/${encodeURIComponent(item.id)}`;
    this.opened = null;
    this.sending = false;
    this.active = false;
    this.form = el("div", { class: "review-form" });
    this.problem = el("div");
    this.buttons = this.actions();
    this.node = el("div", { class: "grid", dataset: { item: item.id } }, this.about(), this.dialogue(), this.answer(), voted(item, this.path),
      el("div", { class: "card review-do" }, this.problem, this.form, this.buttons));
    this.clock = setInterval(() => this.tick(), 1000);
    this.expires(item.seconds);
    if (this.draft()) this.open("correct");
  }

  about() {
    const { source, style, at } = this.item;
    return el("p", { class: "row" }, el("span", { class: `tag why-${source}` }, t(`review.why.${source}`)),
      style && el("span", { class: "tag" }, t("review.style", { style: styleName(style) })),
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
      onclick: () => this.choose(verdict),
    }, t(`review.${verdict}`), el("kbd", { "aria-hidden": "true" }, key.toUpperCase()));
    return el("div", { class: "row review-buttons" }, button("a", "accept", "main"),
      this.item.can_correct && button("c", "correct"), button("r", "reject", "danger"), button("s", "skip", "quiet"));
  }

  /** What a key does here; whether it did anything. */
  key(key) {
    const chip = this.opened === "reject" && REASONS[Number(key) - 1];
    if (chip) this.form.querySelectorAll(".chip")[Number(key) - 1].click();
    else if (KEYS[key]) this.choose(KEYS[key]);
    else return false;
    return true;
  }

  choose(verdict) {
    if (this.sending || this.opened || (verdict === "correct" && !this.item.can_correct)) return;
    if (verdict === "accept" || verdict === "skip") this.send({ verdict });
    else this.open(verdict);
  }

  open(verdict) {
    this.opened = verdict;
    this.form.replaceChildren(verdict === "correct" ? this.correction() : this.rejection());
    this.buttons.hidden = true; // so that nothing else is done by a slip
    this.form.querySelector("textarea, .chip")?.focus({ preventScroll: true });
    this.form.parentNode?.scrollIntoView({ block: "end" });
  }

  close() {
    const was = this.opened;
    this.opened = null;
    this.form.replaceChildren();
    this.buttons.hidden = false;
    this.problem.replaceChildren();
    this.buttons.querySelector(`[data-verdict=${was}]`).focus();
  }

  draft() {
    try { return sessionStorage.getItem(`draft:${location.pathname}:correct:${this.item.id}`); } catch { return null; }
  }

  correction() {
    const field = el("textarea", { id: "correction", rows: 8, maxlength: 100000, "aria-describedby": "form-hint" });
    keep(field, `correct:${this.item.id}`);
    if (!field.value) field.value = this.item.response;
    this.submit = () => {
      if (!field.value.trim() || field.value === this.item.response) return this.say(t("review.unchanged"));
      this.send({ verdict: "correct", text: field.value });
    };
    return el("div", { class: "grid" }, el("label", { for: "correction" }, t("review.corrected")), field,
      this.ends("correct_hint"));
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
      el("div", {}, el("label", { for: "other-reason" }, t("review.other_reason")), other), this.ends("reject_hint"));
  }

  ends(hint) {
    return el("div", { class: "row end" }, el("span", { id: "form-hint", class: "soft small keys" }, t(`review.${hint}`)),
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
    this.done(body.verdict);
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
      el("button", { type: "button", onclick: () => { this.forget(); this.done(null); } }, t("review.next"))));
  }

  forget() {
    clearInterval(this.clock);
    for (const kind of ["correct", "reject"]) {
      try { sessionStorage.removeItem(`draft:${location.pathname}:${kind}:${this.item.id}`); } catch { /* storage is off */ }
    }
  }

  // Reservations: who is at work has it for longer, who has left is asked.

  expires(seconds) { // by this clock, which may differ from the server's
    this.until = Date.now() + seconds * 1000;
    this.half = Date.now() + seconds * 500;
    until.hidden = false;
    until.textContent = t("review.reserved", { time: clock.format(this.until) });
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
      const { seconds } = await api(`${this.path}/renew`, { method: "POST" });
      this.expires(seconds);
      if (!asked) return;
      this.problem.replaceChildren();
      (this.form.querySelector("textarea, input") ?? this.buttons.firstChild).focus();
      this.clock = setInterval(() => this.tick(), 1000);
    } catch (error) {
      if (error.status === 409) this.isTaken();
      else if (asked) this.problem.replaceChildren(failed(error, () => this.renew(true)));
    }
  }
}

const styleName = (name) => name.split("+").map((part) => tOr(`styles.${part}`, part)).join(" + ");
const clock = new Intl.DateTimeFormat(language === "zh" ? "zh-CN" : "en-GB", { timeStyle: "short" });
