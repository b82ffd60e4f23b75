// The ballot below an answer: a thumb with reasons, a comment, a correction; each can be changed
// and taken back. Used by the chat and by the page that a vote's link opens.

import { el, keep, t } from "./app.js";
import { voting } from "./voting.js";

// Stored as they stand here, in whatever language they were shown.
const REASONS = {
  1: ["correct", "clear", "helpful", "kind"],
  "-1": ["wrong", "not_helpful", "unsafe", "too_long", "style"],
};
const KINDS = ["thumb", "comment", "correction"];
const MOST_CHARS = { comment: 10_000, correction: 200_000 };
const ICONS = {
  up: "M7 10v11H3V10h4Zm3 11h7.5a2 2 0 0 0 2-1.6l1.4-7A2 2 0 0 0 19 10h-5l.8-4.2A2 2 0 0 0 12.9 3L10 10v11Z",
  down: "M17 14V3h4v11h-4Zm-3-11H6.5a2 2 0 0 0-2 1.6l-1.4 7A2 2 0 0 0 5 14h5l-.8 4.2A2 2 0 0 0 11.1 21L14 14V3Z",
  correction: "M4 20h4L19 9l-4-4L4 16v4Zm9-13 4 4",
  comment: "M4 5h16v11H9l-5 4V5Z",
};

/**
 * The ballot of one voter on one answer.
 *
 * `id` and `token` name the answer and the voter, `votes` are his live votes
 * ([{kind, value, text, reasons}]), `answer` is the text that a correction starts from;
 * `onCorrected(text | null)` is told of a correction that was saved, or taken back.
 * `metrics` ({thumb, comment, correction}) names the store's metrics; null where it has none.
 */
export function ballot({ id, token, votes = [], answer = "", onCorrected = () => {}, metrics = {} }) {
  const vote = voting({ id, token, votes, metrics }, { changed: draw, saved });
  const has = (kind) => metrics[kind] !== null;

  const thumbs = has("thumb") ? [thumb(1, "up"), thumb(-1, "down")] : [];
  const reasons = el("div", { class: "ballot-reasons", role: "group", "aria-label": t("ballot.reasons") });
  const writing = ["correction", "comment"].filter(has).map(written);
  const back = el("button", { type: "button", class: "ballot-back", onclick: takeBack }, t("ballot.withdraw"));
  const status = el("p", { class: "ballot-status", role: "status" });
  const again = el("button", { type: "button", class: "ballot-again", onclick: vote.retry }, t("ballot.retry"));
  const root = el(
    "section",
    { class: "ballot", "aria-label": t("ballot.title") },
    el("div", { class: "ballot-row" }, ...thumbs, ...writing.map((one) => one.opener), back),
    reasons,
    ...writing.map((one) => one.form),
    el("div", { class: "ballot-told" }, status, again),
  );
  draw();
  return root;

  function thumb(value, name) {
    const click = () => vote.say("thumb", vote.of("thumb")?.value === value ? null : { value });
    const button = el("button", { type: "button", class: `ballot-thumb ballot-${name}`, onclick: click }, icon(name));
    button.setAttribute("aria-label", t(`ballot.${name}`));
    button.title = t(`ballot.${name}`);
    button.dataset.value = value;
    return button;
  }

  function chip(value, reason) {
    const chosen = () => vote.of("thumb")?.reasons ?? [];
    const click = () => {
      const others = chosen().filter((one) => one !== reason);
      vote.say("thumb", { value, reasons: chosen().includes(reason) ? others : [...others, reason] });
    };
    const button = el("button", { type: "button", class: "chip", onclick: click }, t(`ballot.reason.${reason}`));
    button.dataset.reason = reason;
    return button;
  }

  function written(kind) {
    const words = (key) => t(`ballot.${kind}.${key}`);
    const text = el("textarea", { rows: kind === "comment" ? "3" : "8", maxlength: String(MOST_CHARS[kind]) });
    const draft = keep(text, `ballot.${kind}.${id}`);
    const save = el("button", { type: "submit", class: "main" }, t("ballot.save"));
    const remove = el("button", { type: "button", onclick: () => finish(null) }, words("withdraw"));
    const cancel = el("button", { type: "button", onclick: () => open(false) }, t("ballot.cancel"));
    const form = el(
      "form",
      { class: "ballot-form" },
      el("label", {}, el("span", {}, words("label")), text),
      el("div", { class: "ballot-row" }, save, cancel, remove),
    );
    form.hidden = true;
    const toggle = () => open(form.hidden);
    const opener = el("button", { type: "button", class: "ballot-open", onclick: toggle }, icon(kind), el("span", {}));
    opener.setAttribute("aria-expanded", "false");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (worth()) finish(text.value.trim());
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") open(false);
      else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
    text.addEventListener("input", mark);

    function start() {
      return vote.of(kind)?.text ?? (kind === "correction" ? answer : "");
    }
    function worth() {
      const typed = text.value.trim();
      return typed !== "" && typed !== start().trim();
    }
    function open(yes) {
      form.hidden = !yes;
      opener.setAttribute("aria-expanded", String(yes));
      if (!yes) return opener.focus();
      if (text.value.trim() === "") text.value = start();
      mark();
      text.focus();
    }
    function finish(what) {
      open(false);
      vote.say(kind, what && { text: what });
    }
    function saved(what) {
      if (what && text.value.trim() !== what.text) return; // something else was typed since
      text.value = "";
      draft.forget();
    }
    function mark() {
      const said = Boolean(vote.of(kind));
      save.disabled = !worth();
      remove.hidden = !said;
      opener.lastChild.textContent = words(said ? "change" : "open");
    }
    return { kind, opener, form, mark, saved };
  }

  function saved(kind, what) {
    writing.find((one) => one.kind === kind)?.saved(what);
    if (kind === "correction") onCorrected(what?.text ?? null);
  }

  function takeBack() {
    for (const kind of KINDS.filter((kind) => vote.of(kind))) vote.say(kind, null);
    (thumbs[0] ?? writing[0]?.opener)?.focus();
  }

  function draw() {
    const own = vote.of("thumb");
    for (const button of thumbs) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.value) === own?.value));
    }
    drawReasons(own);
    for (const one of writing) one.mark();
    back.hidden = !KINDS.some((kind) => vote.of(kind));
    root.dataset.state = vote.state;
    status.textContent = vote.problem ? t(`ballot.problem.${vote.problem}`) : t(`ballot.state.${vote.state}`);
    again.hidden = vote.state !== "failed" || vote.lasting;
  }

  function drawReasons(own) {
    const value = own?.value;
    reasons.hidden = !value;
    if (value && reasons.dataset.value !== String(value)) {
      reasons.dataset.value = value;
      reasons.replaceChildren(...REASONS[value].map((reason) => chip(value, reason)));
    }
    for (const button of reasons.children) {
      const chosen = own?.reasons?.includes(button.dataset.reason) ?? false;
      button.setAttribute("aria-pressed", String(chosen));
    }
  }
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(path);
  return svg;
}
