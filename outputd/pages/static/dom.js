/** Elements without markup: whatever a node has sent becomes text. */

import { here } from "./place.js";
import { ago, at, local, zone } from "./units.js";

const SVG = "http://www.w3.org/2000/svg";

function made(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(3).filter((child) => child != null && child !== false));
  return element;
}

export const h = (name, attributes, ...children) => made(document.createElement(name), attributes, children);
export const s = (name, attributes, ...children) => made(document.createElementNS(SVG, name), attributes, children);
export const $ = (id) => document.getElementById(id);

/** Put these in the place of all that an element holds. */
export function put(element, ...children) {
  element.replaceChildren(...children.flat(3).filter((child) => child != null && child !== false));
}

/** Text that changes only when it does, so that screen readers hear news only. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A figure with its name, and a bar of how much of a limit it takes. */
export function tile(name, value, more, part) {
  return h("div", { class: "tile" }, h("h2", null, name), h("p", { class: "figure" }, value),
    part == null ? null : h("meter", { min: 0, max: 1, high: 0.9, value: Math.min(1, part), "aria-label": `${name}: part of the limit` }),
    h("p", { class: "quiet" }, more));
}

const inUtc = (text) => `${text.replace("T", " ").replace("Z", "")} UTC`;

/** A time in the reader's zone; UTC is in its title. */
export function time(text) {
  if (text == null) return "–";
  return h("time", { datetime: text, title: inUtc(text) }, local(at(text)));
}

/** How long ago a time was, kept right while it is on the page. */
export function since(text) {
  if (text == null) return "–";
  const ms = at(text);
  const title = `${local(ms)} ${zone()}\n${inUtc(text)}`;
  return h("time", { datetime: text, title, "data-since": ms }, ago(ms));
}

setInterval(() => {
  if (document.hidden) return;
  for (const element of document.querySelectorAll("time[data-since]")) say(element, ago(Number(element.dataset.since)));
}, 1000);

/** A table; a column is [heading, row => cell, "number" or "wide" or nothing, attributes of its heading or nothing]. */
export function table(caption, columns, rows) {
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h(
      "table",
      null,
      h("caption", { class: "unseen" }, caption),
      h("thead", null, h("tr", null, columns.map(([name, , kind, attributes]) => h("th", { scope: "col", class: kind, ...attributes }, name)))),
      h(
        "tbody",
        null,
        rows.map((row) =>
          h(
            "tr",
            null,
            columns.map(([, cell, kind], place) =>
              place ? h("td", { class: kind }, cell(row)) : h("th", { scope: "row", class: kind }, cell(row)),
            ),
          ),
        ),
      ),
    ),
  );
}

export const targetLink = (ip) => h("a", { href: here(`/targets/${encodeURIComponent(ip)}`), class: "address" }, ip);

/** Where the page of a node is. In a path, a browser would take some names for another path. */
export function nodeAddress(name) {
  return here(/^\.{0,2}$|\//.test(name) ? `/nodes/?name=${encodeURIComponent(name)}` : `/nodes/${encodeURIComponent(name)}`);
}
export const nodeLink = (name) => h("a", { href: nodeAddress(name), class: "name" }, name);

/** One of several is chosen by buttons; `choose` is told its data-span. */
export function choice(group, choose) {
  group.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    for (const other of group.querySelectorAll("button")) other.setAttribute("aria-pressed", other === button);
    choose(button.dataset.span);
  });
}

/** Call `draw` with the width of an element, now and when it changes. */
export function drawn(element, draw) {
  let width = 0;
  const look = () => {
    const wide = Math.floor(element.clientWidth);
    if (wide && wide !== width) draw((width = wide));
  };
  new ResizeObserver(look).observe(element);
  return () => {
    width = 0;
    look();
  };
}
