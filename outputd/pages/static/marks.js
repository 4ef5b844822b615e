/** What changed about a target: lines with words on its charts, and a short list. */

import { difference } from "./change.js";
import { withChoices } from "./chosen.js";
import { h, nodeLink, s, since, table, time } from "./dom.js";
import { at, iso, local } from "./units.js";

// those first that get a word when there is room for some only
const WORDS = { route_changed: "route changed", loss_began: "loss began", rtt_shifted: "RTT shifted", loss_ended: "loss ended" };
const LETTER_PX = 6.4;
const ROW_PX = 14;
const MOST_ROWS = 3;
const NEAR_PX = 6;
const MOST_LISTED = 8;
const AROUND_MS = 3_600_000;

/** Changes that would be one line on a chart, those first that say most. */
function lines(changes, x, box) {
  const found = [];
  for (const change of [...changes].sort((one, other) => at(one.since) - at(other.since))) {
    const place = x(at(change.since));
    if (place < box.left || place > box.right) continue;
    const near = found.findLast((line) => line.kind === change.kind && place - line.place < NEAR_PX);
    if (near) near.changes.push(change);
    else found.push({ kind: change.kind, place, changes: [change] });
  }
  const rank = ({ kind }) => Object.keys(WORDS).indexOf(kind);
  return found.sort((one, other) => rank(one) - rank(other) || other.place - one.place);
}

/** Where a word has room: the first of `words` that fits above a line, in the first row that is free there; else null. */
function fitting(words, place, box, rows) {
  for (const word of words) {
    const wide = word.length * LETTER_PX + 8;
    const left = Math.max(box.left, Math.min(place + 4, box.right - wide));
    const row = rows.findIndex((taken) => taken.every(([from, to]) => left >= to || left + wide <= from));
    if (row < 0) continue;
    rows[row].push([left, left + wide]);
    return { word, left, row };
  }
  return null;
}

/** How much room above a chart the words of the changes take that are in it. */
export const roomForWords = ({ since: from, until, changes }) => (changes.some((change) => at(change.since) >= from && at(change.since) < until) ? ROW_PX * MOST_ROWS : 0);

/** The changes as lines through a chart, each with a word above it where there is room; `isOne` when all are of one node. */
export function marks(changes, x, box, isOne) {
  const rows = Array.from({ length: MOST_ROWS }, () => []);
  return lines(changes, x, box).map(({ kind, place, changes: found }) => {
    const nodes = [...new Set(found.map(({ node }) => node))];
    const short = WORDS[kind] ?? kind;
    const long = isOne ? short : `${short}, ${nodes.length > 1 ? `${nodes.length} nodes` : nodes[0]}`;
    const fit = fitting([long, short], place, box, rows);
    const top = (row) => box.top - ROW_PX * (MOST_ROWS - row);
    return s("g", { class: `change ${kind}` },
      s("title", null, `${local(at(found[0].since))}: ${long}, ${difference(found[0])}`),
      s("line", { x1: place, x2: place, y1: fit ? top(fit.row) : box.top, y2: box.bottom }),
      fit && s("text", { x: fit.left, y: top(fit.row) + 10 }, fit.word));
  });
}

/** A link to the hour before and after a change, as its node has measured it. */
function moment({ node, since: text }) {
  const [from, to] = [-AROUND_MS, AROUND_MS].map((ms) => iso(Math.round((at(text) + ms) / 1000) * 1000));
  return [h("a", { href: withChoices({ node, from, to, last: null }) }, time(text)), h("span", { class: "quiet" }, " ", since(text))];
}

function listed(changes) {
  return table("Changes, the newest first", [
    ["What", (change) => h("span", { class: `changed ${change.kind}` }, WORDS[change.kind] ?? change.kind)],
    ["Began", moment], ["Node", (change) => nodeLink(change.node)], ["From what to what", (change) => h("span", { class: "text" }, difference(change)), "wide"],
    ["Until", (change) => (change.until == null ? "" : time(change.until))],
  ], changes);
}

/** The list of changes: the newest, and the others behind a fold. */
export function changeList(changes) {
  if (!changes.length) return h("p", { class: "quiet" }, "No change of a route, of loss or of the round-trip time was found in this time.");
  const rest = changes.slice(MOST_LISTED);
  return [listed(changes.slice(0, MOST_LISTED)), rest.length ? h("details", null, h("summary", null, `${rest.length} more`), listed(rest)) : null];
}
