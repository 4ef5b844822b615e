/** A cursor over a picture, moved by pointer or arrow keys, that says what is there. */

import { h, put, s, say } from "./dom.js";

/**
 * Puts a cursor on a picture. `places` are x positions in rising order, `describe(index)` gives the lines to show.
 * The words are in a live region, so that a screen reader hears what an arrow key finds.
 */
export function cursor(svg, places, top, bottom, describe) {
  const line = s("line", { class: "cursor", y1: top, y2: bottom, visibility: "hidden" });
  svg.append(line);
  const bubble = h("div", { class: "bubble", hidden: true });
  const words = h("p", { class: "unseen", "aria-live": "polite" });
  svg.after(bubble, words);
  let here = -1;

  function go(index, aloud) {
    here = Math.max(0, Math.min(places.length - 1, index));
    line.setAttribute("x1", places[here]);
    line.setAttribute("x2", places[here]);
    line.setAttribute("visibility", "visible");
    const lines = describe(here);
    put(bubble, lines.map((text, place) => h(place ? "div" : "strong", null, text)));
    bubble.hidden = false;
    const room = svg.clientWidth - bubble.offsetWidth;
    bubble.style.left = `${Math.max(0, Math.min(room, places[here] + (places[here] > room - 16 ? -bubble.offsetWidth - 12 : 12)))}px`;
    if (aloud) say(words, lines.join(", "));
  }

  function leave() {
    line.setAttribute("visibility", "hidden");
    bubble.hidden = true;
  }

  function nearest(x) {
    let best = 0;
    for (let index = 1; index < places.length; index += 1) {
      if (Math.abs(places[index] - x) < Math.abs(places[best] - x)) best = index;
    }
    return best;
  }

  if (!places.length) return;
  svg.setAttribute("tabindex", "0");
  svg.addEventListener("pointermove", (event) => go(nearest(event.clientX - svg.getBoundingClientRect().left)));
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("blur", leave);
  svg.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
    if (step) go(here < 0 ? places.length - 1 : here + step, true);
    else if (event.key === "Home") go(0, true);
    else if (event.key === "End") go(places.length - 1, true);
    else if (event.key === "Escape") leave();
    else return;
    event.preventDefault();
  });
}
