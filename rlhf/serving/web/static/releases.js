// Releases: what answers users and how it came there. `mount(node)` shows it; admins may change it.

import { api, busy, el, empty, failed, percent, t, toast, tOr, when } from "./app.js";

const short = (id) => (id.length > 14 ? `${id.slice(0, 12)}…` : id);

/** Show releases in a node; what `mount` returns shows them anew. */
export function mount(node) {
  const dialog = confirming();
  const shown = el("div", { class: "releases grid" });
  node.replaceChildren(shown, dialog.node);
  const show = async () => {
    try {
      const told = await busy(shown, api("/web/releases"));
      shown.replaceChildren(...parts(told, change));
    } catch (error) {
      shown.replaceChildren(failed(error, show));
    }
  };
  // Asks for the reason, does it, and shows what came of it.
  const change = (what, about, body = {}) => dialog.ask(what, about, async (reason) => {
    await api(`/web/releases/${what}`, { method: "POST", body: { ...body, reason } });
    toast(t(`releases.done.${what}`));
    await show();
  });
  show();
  return show;
}

function parts(told, change) {
  const { champion, may_change: may, frozen } = told;
  return [
    frozen && el("p", { class: "notice", role: "status" }, t("releases.frozen", { reason: frozen.reason, since: when(frozen.since) })),
    ...told.problems.map((line) => el("p", { class: "failed", role: "alert" }, line)),
    el("div", { class: "row between" }, now(told), may && el("div", { class: "row" },
      el("button", { type: "button", class: "danger", disabled: !told.previous,
        onclick: () => change("rollback", t("releases.about.rollback", { policy: short(told.previous) })) }, t("releases.rollback")),
      frozen ? el("button", { type: "button", onclick: () => change("thaw", t("releases.about.thaw")) }, t("releases.thaw"))
        : el("button", { type: "button", onclick: () => change("freeze", t("releases.about.freeze")) }, t("releases.freeze")))),
    el("section", {}, el("h3", {}, t("releases.candidates")), told.candidates.length
      ? el("ul", { class: "releases-list" }, told.candidates.map((one) => candidate(one, champion, may, frozen, change)))
      : empty(t("releases.no_candidates"))),
    el("section", {}, el("h3", {}, t("releases.history")), told.history.length
      ? el("ol", { class: "releases-list" }, told.history.map((one) => release(one, champion)))
      : empty(t("releases.no_history")), told.more > 0 && el("p", { class: "soft small" }, t("releases.older", { count: told.more }))),
  ].filter(Boolean);
}

function now({ champion, serving, canary }) {
  return el("div", {},
    el("p", {}, champion ? [t("releases.champion"), " ", policy(champion)] : t("releases.none")),
    champion && serving !== champion && el("p", { class: "soft small" }, t("releases.changing")),
    canary && el("p", {}, t("releases.canary", { share: percent(canary.share, 0) }), " ", policy(canary.id)));
}

const policy = (id) => el("a", { href: `/lineage?id=${encodeURIComponent(id)}`, title: id }, el("code", {}, short(id)));
const tainted = (erasures) => erasures.length > 0 &&
  el("span", { class: "tag bad", title: erasures.join(", ") }, t("releases.tainted"));

function candidate(one, champion, may, frozen, change) {
  const { decision } = one;
  const here = one.id === champion;
  return el("li", {}, el("div", { class: "row" }, policy(one.id), el("span", { class: "tag" }, one.stage),
    el("span", { class: decision.promote ? "good" : "bad" }, t(decision.promote ? "releases.passed" : "releases.refused")),
    decision.at && el("span", { class: "soft small" }, when(decision.at)), tainted(one.tainted),
    here && el("span", { class: "tag" }, t("releases.answers")),
    may && !here && el("button", { type: "button", disabled: Boolean(frozen), title: frozen ? t("releases.is_frozen") : null,
      "aria-label": t("releases.promote_this", { policy: short(one.id) }),
      onclick: () => change("promote", about(one), { policy: one.id }) }, t("releases.promote"))),
  decision.reasons.length > 0 && el("details", {}, el("summary", {}, t("releases.reasons", { count: decision.reasons.length })),
    el("ul", {}, decision.reasons.map((reason) => el("li", { class: "text small" }, reason)))));
}

function about(one) {
  const lines = [t("releases.about.promote", { policy: short(one.id) })];
  if (!one.decision.promote) lines.push(t("releases.about.refused"));
  if (one.tainted.length) lines.push(t("releases.about.tainted"));
  return lines.join(" ");
}

function release(one, champion) {
  return el("li", {}, el("div", { class: "row" }, el("b", {}, tOr(`releases.action.${one.action}`, one.action)),
    policy(one.policy), one.at && el("span", { class: "soft small" }, when(one.at)), tainted(one.tainted)),
  one.reason && el("p", { class: "text small" }, one.reason));
}

/** A dialog that asks for the reason before something is done. */
function confirming() {
  const title = el("h2", { id: "releases-title" });
  const told = el("p");
  const wrong = el("p", { class: "wrong", role: "alert", hidden: true });
  const field = el("input", { id: "releases-reason", required: true, maxlength: 500, autocomplete: "off" });
  const sure = el("button", { type: "submit", class: "main" });
  const form = el("form", { method: "dialog" }, title, told, el("label", { for: "releases-reason" }, t("releases.reason")), field, wrong,
    el("div", { class: "row end" }, el("button", { type: "button", class: "quiet", onclick: () => node.close() }, t("releases.cancel")), sure));
  const node = el("dialog", { "aria-labelledby": "releases-title" }, form);
  let act = null;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!field.value.trim()) return field.focus();
    sure.disabled = true;
    wrong.hidden = true;
    try {
      await act(field.value.trim());
      node.close();
    } catch (error) {
      wrong.textContent = t("shell.failed", { message: error.message });
      wrong.hidden = false;
    } finally {
      sure.disabled = false;
    }
  });
  const ask = (what, text, work) => {
    act = work;
    title.textContent = sure.textContent = t(`releases.${what}`);
    told.textContent = text;
    wrong.hidden = true;
    field.value = "";
    node.showModal();
    field.focus();
  };
  return { node, ask };
}
