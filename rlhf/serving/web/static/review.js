// Review: one answer after another, with what to look for beside it. The next comes by itself.

import { api, busy, el, empty, failed, t } from "./app.js";
import { Item } from "./review_item.js";
import { showProgress } from "./review_progress.js";

const DONE = { accept: "accepted", correct: "corrected_done", reject: "rejected", skip: "skipped" };
const [place, until, told] = ["item", "review-until", "review-told"].map((id) => document.getElementById(id));

/** The item that is on the screen. */
let now = null;

async function reviewed(verdict) {
  told.textContent = verdict ? t(`review.${DONE[verdict]}`) : "";
  await next(true);
  showProgress();
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
    now = new Item(got.item, reviewed);
    place.replaceChildren(now.node);
    if (moved) { place.focus({ preventScroll: true }); window.scrollTo(0, 0); }
  } else {
    place.replaceChildren(empty(t("review.empty"), el("p", { class: "small" }, t("review.empty_more")),
      el("button", { type: "button", onclick: () => { next(); showProgress(); } }, t("review.look_again"))));
  }
}

document.addEventListener("keydown", (event) => {
  if (now) now.active = true;
  if (!now || event.altKey || event.isComposing || document.querySelector("dialog[open]")) return;
  if (event.ctrlKey || event.metaKey) {
    if (event.key === "Enter" && now.opened && !now.sending) now.submit();
    return;
  }
  if (event.key === "Escape" && now.opened) return now.close();
  const at = event.target;
  if (at.matches("input, textarea, select")) return;
  if (event.key === "Enter") {
    if (now.opened && !at.matches("a, summary, button:not(.chip)")) { event.preventDefault(); now.submit(); }
  } else if (now.key(event.key.toLowerCase())) {
    event.preventDefault();
  }
});
document.addEventListener("pointerdown", () => { if (now) now.active = true; });

document.getElementById("guidelines-box").open = matchMedia("(min-width: 48rem)").matches;
next();
showProgress();
