/** What chooses the time range of a page: spans up to now, earlier and later, closer and wider, or two times. */

import { onChoice } from "./chosen.js";
import "./drag.js";
import { h, put, say } from "./dom.js";
import { pan, range, rangeProblem, setLast, setRange, zoom } from "./range.js";
import { local, now, zone } from "./units.js";

export const SPANS = [["1 h", 3600], ["6 h", 21_600], ["1 d", 86_400], ["1 w", 604_800], ["30 d", 2_592_000]];
const SLACK_MS = 2000;

/** A time as an input has it: on the reader's clock. */
const typed = (ms) => new Date(ms - 60_000 * new Date(ms).getTimezoneOffset()).toISOString().slice(0, 19);

/**
 * Fill an element with what chooses a range. `usualS` is the span that the page shows when none is chosen, `whole` gives
 * {from, to} of all that there is, where there is such a thing. Returns what is to be called with each view, {from, to}.
 */
export function rangeBar(element, { usualS = null, whole = null } = {}) {
  let view = null;
  const spans = SPANS.map(([words, seconds]) => h("button", { type: "button", "data-span": seconds, onclick: () => setLast(seconds) }, words));
  const all = whole && h("button", { type: "button", "data-span": "0", onclick: () => { const { from, to } = whole(); setRange(from, to); } }, "All");
  const step = (words, name, act) => h("button", { type: "button", "aria-label": name, title: name, onclick: () => view && act(view) }, words);
  const later = step("›", "Later", (shown) => pan(shown, 0.5));
  const [from, to] = ["From", "To"].map((words) => h("input", { type: "datetime-local", step: 1, required: true, "aria-label": `${words}, ${zone()}` }));
  const words = h("summary", null, "…");
  const exact = h("details", { class: "exact" }, words, h("form", { onsubmit: apply }, h("label", null, "From ", from), h("label", null, "to ", to), h("button", { type: "submit" }, "Show")));
  const problem = h("p", { class: "notice", role: "status", hidden: true });
  element.classList.add("range");
  put(element,
    h("div", { class: "choice", role: "group", "aria-label": "The last" }, spans, all || null),
    h("div", { class: "choice", role: "group", "aria-label": "Move and zoom" }, step("‹", "Earlier", (shown) => pan(shown, -0.5)), later,
      step("−", "Zoom out", (shown) => zoom(shown, 2)), step("+", "Zoom in", (shown) => zoom(shown, 0.5))),
    exact, problem);

  function apply(event) {
    event.preventDefault();
    const [begin, end] = [from, to].map((input) => new Date(input.value).getTime());
    to.setCustomValidity(end - begin >= 1000 ? "" : "After the beginning");
    if (!to.reportValidity()) return;
    exact.open = false;
    setRange(begin, end);
  }
  to.addEventListener("input", () => to.setCustomValidity(""));

  function look() {
    const chosen = range();
    const last = chosen ? chosen.last : usualS;
    for (const button of spans) button.setAttribute("aria-pressed", String(Number(button.dataset.span) === last));
    const wrong = rangeProblem();
    problem.hidden = wrong === null;
    say(problem, wrong === null ? "" : `The time range in the address of this page cannot be used: ${wrong}. The usual one is shown.`);
  }

  onChoice(look);
  look();
  return (shown) => {
    view = shown;
    later.disabled = shown.to >= now() - SLACK_MS;
    if (all) all.setAttribute("aria-pressed", String(Math.abs(whole().from - shown.from) < SLACK_MS && Math.abs(whole().to - shown.to) < SLACK_MS));
    say(words, `${local(shown.from)} to ${range()?.isLive ?? later.disabled ? "now" : local(shown.to)}`);
    if (!exact.open) [from.value, to.value] = [typed(shown.from), typed(shown.to)];
  };
}
