/** The parts of a page, each of which fails alone. */

import { Problem } from "./ask.js";
import { h, say } from "./dom.js";

/**
 * Bring parts of a page up to date beside each other; a part is [element, work that fills it]. One that fails says so above what
 * it showed before. Throws a problem, once all are done, when there was one: so it is tried again.
 */
export async function fill(parts) {
  const ends = await Promise.allSettled(parts.map(async ([, work]) => work()));
  ends.forEach(({ reason }, place) => tell(parts[place][0], reason));
  const failures = ends.flatMap(({ reason }) => reason ?? []);
  for (const failure of failures) if (!(failure instanceof Problem)) console.error(failure);
  const problems = failures.filter((failure) => failure instanceof Problem);
  if (problems.length) throw problems.find(({ status }) => status !== 400) ?? problems[0];
}

function tell(element, failure) {
  const line = element.previousElementSibling?.matches(".failed") ? element.previousElementSibling : null;
  if (!failure) return line?.remove();
  const words = `This part is not up to date: ${failure instanceof Problem ? failure.message : "it cannot be drawn"}.`;
  if (line) say(line, words);
  else element.before(h("p", { class: "notice failed", role: "status" }, words));
}
