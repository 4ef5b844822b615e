/** Rows of cells on a canvas: only those to be seen are drawn, and the cell under the pointer or the cursor is a link. */

import { h, put, say } from "./dom.js";

const ROW_REM = 1.47;
const GAP = 2;
const PAGE = 10;

/** The number of the first element for which `is` holds, by bisection. */
function first(size, is) {
  let [low, high] = [0, size];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (is(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}

export class HeatMap {
  /**
   * `look` says of the rows: `label(row)` gives the elements before its cells, `href(row, place)` where a cell leads,
   * `lines(row, place)` what it says in words, and `paint(row, cell)` {ink, tall (0 to 1), isHollow} by its number among the cells.
   */
  constructor(element, look, help) {
    this.look = look;
    this.rows = [];
    this.buckets = 1;
    this.cursor = null;
    this.turn = 0;
    [this.rem, this.height] = [15, 22];
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.labels = h("ul", { class: "labels" });
    this.link = h("a", { class: "cell", tabindex: "-1", hidden: true });
    this.bubble = h("div", { class: "bubble", hidden: true });
    this.words = h("p", { class: "unseen", "aria-live": "polite" });
    this.shown = h("div", { class: "shown" }, this.canvas, this.labels, this.link, this.bubble);
    this.tall = h("div", { class: "tall" }, this.shown);
    this.scroller = h("div", { class: "cells", tabindex: "0", role: "group", "aria-label": "Targets over time", "aria-describedby": help }, this.tall);
    put(element, this.scroller, this.words);
    this.inks = new Map();
    this.drawing = 0;
    this.listen();
  }

  listen() {
    const again = () => this.redraw();
    this.scroller.addEventListener("scroll", () => {
      this.leave();
      again();
    });
    new ResizeObserver(again).observe(this.scroller);
    document.addEventListener("theme", () => {
      this.inks.clear();
      again();
    });
    this.scroller.addEventListener("pointermove", (event) => this.point(event));
    this.scroller.addEventListener("pointerleave", () => this.leave());
    this.scroller.addEventListener("focus", () => this.scroller.matches(":focus-visible") && this.go(this.cursor ?? { row: 0, place: this.buckets - 1 }));
    this.scroller.addEventListener("blur", () => this.leave());
    this.scroller.addEventListener("keydown", (event) => this.press(event));
  }

  /** Show these rows, of so many buckets each. */
  show(rows, buckets) {
    this.rows = rows;
    this.buckets = buckets;
    this.turn += 1;
    this.redraw();
  }

  redraw() {
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0;
      this.draw();
    });
  }

  /** Where the cells begin, and how wide all of them are: by the size of the text, which a reader may choose. */
  get box() {
    const left = Math.min(15.5 * this.rem, Math.max(8.3 * this.rem, this.scroller.clientWidth * 0.3));
    return { left, width: Math.max(1, this.scroller.clientWidth - left - 4) };
  }

  ink(name) {
    if (!this.inks.has(name)) this.inks.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
    return this.inks.get(name);
  }

  draw() {
    const { scroller, canvas } = this;
    this.rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    this.height = Math.round(ROW_REM * this.rem);
    this.tall.style.height = `${this.rows.length * this.height}px`;
    const [wide, high] = [scroller.clientWidth, scroller.clientHeight];
    const scale = devicePixelRatio || 1;
    [canvas.width, canvas.height] = [wide * scale, high * scale];
    [canvas.style.width, canvas.style.height] = [`${wide}px`, `${high}px`];
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const { left, width } = this.box;
    const step = width / this.buckets;
    const begin = Math.floor(scroller.scrollTop / this.height);
    const end = Math.min(this.rows.length, Math.ceil((scroller.scrollTop + high) / this.height));
    for (let number = begin; number < end; number += 1) {
      const row = this.rows[number];
      const bottom = (number + 1) * this.height - scroller.scrollTop - GAP;
      pen.fillStyle = this.ink("--grid");
      pen.fillRect(left, bottom, width, 1);
      for (let cell = 0; cell < row.size; cell += 1) {
        const { ink, tall, isHollow } = this.look.paint(row, cell);
        const height = Math.max(2, Math.round(tall * (this.height - GAP - 1)));
        const [x, across] = [left + row.places[cell] * step, Math.max(1, step - (step > 4 ? 1 : 0))];
        pen.fillStyle = this.ink(ink);
        pen.fillRect(x, bottom - height, across, height);
        if (isHollow && across > 4) pen.clearRect(x + 1.5, bottom - height + 1.5, across - 3, height - 3);
      }
    }
    this.name(begin, end);
    this.scroller.dataset.drawn = `${begin}-${end}`;
  }

  /** Write the labels of the rows that are drawn; the elements stay, so that none is lost while it is used. */
  name(begin, end) {
    const { labels, box: { left } } = this;
    while (labels.children.length < end - begin) labels.append(h("li"));
    [...labels.children].forEach((item, place) => {
      const row = this.rows[begin + place];
      item.hidden = begin + place >= end;
      if (item.hidden) return;
      item.style.transform = `translateY(${(begin + place) * this.height - this.scroller.scrollTop}px)`;
      Object.assign(item.style, { width: `${left - 8}px`, height: `${this.height}px`, lineHeight: `${this.height}px` });
      if (item.row !== row || item.turn !== this.turn) put(item, this.look.label(row));
      Object.assign(item, { row, turn: this.turn });
    });
  }

  point(event) {
    if (event.target.closest(".labels")) return this.leave();
    const area = this.scroller.getBoundingClientRect();
    const { left, width } = this.box;
    const row = Math.floor((event.clientY - area.top + this.scroller.scrollTop) / this.height);
    const place = Math.floor(((event.clientX - area.left - left) / width) * this.buckets);
    if (row >= this.rows.length || place < 0 || place >= this.buckets) this.leave();
    else this.mark({ row, place }, false);
  }

  press(event) {
    const { row, place } = this.cursor ?? { row: 0, place: this.buckets - 1 };
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], PageUp: [-PAGE, 0], PageDown: [PAGE, 0] }[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (step) this.go({ row: row + step[0], place: place + step[1] });
    else if (event.key === "Home") this.go({ row, place: 0 });
    else if (event.key === "End") this.go({ row, place: this.buckets - 1 });
    else if (event.key === "Enter" && this.cursor) this.link.click();
    else if (event.key === "Escape") this.leave();
    else return;
    event.preventDefault();
  }

  /** Move the cursor to a cell, or the nearest that there is, bring it into view, and say what it says. */
  go({ row, place }) {
    if (!this.rows.length) return;
    const cell = { row: Math.max(0, Math.min(this.rows.length - 1, row)), place: Math.max(0, Math.min(this.buckets - 1, place)) };
    const { scroller } = this;
    const [top, bottom] = [cell.row * this.height, (cell.row + 1) * this.height];
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (bottom > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = bottom - scroller.clientHeight;
    this.draw();
    this.mark(cell, true);
    requestAnimationFrame(() => this.mark(cell, false)); // after the scrolling, which takes the mark away
  }

  mark(cell, aloud) {
    const row = this.rows[cell.row];
    if (!row) return;
    const { left, width } = this.box;
    const step = width / this.buckets;
    const [x, y] = [left + cell.place * step, cell.row * this.height - this.scroller.scrollTop];
    this.cursor = cell;
    const lines = this.look.lines(row, cell.place);
    this.link.href = this.look.href(row, cell.place);
    this.link.setAttribute("aria-label", lines.join(", "));
    Object.assign(this.link.style, { left: `${x - 1}px`, top: `${y}px`, width: `${Math.max(5, step + 1)}px`, height: `${this.height}px` });
    this.link.hidden = false;
    put(this.bubble, lines.map((text, place) => h(place ? "div" : "strong", null, text)));
    this.bubble.hidden = false;
    const below = y + this.height + 6 + this.bubble.offsetHeight < this.scroller.clientHeight;
    const right = this.scroller.clientWidth - this.bubble.offsetWidth - 4;
    Object.assign(this.bubble.style, { left: `${Math.max(0, Math.min(right, x - this.bubble.offsetWidth / 2))}px`, top: `${below ? y + this.height + 6 : Math.max(0, y - this.bubble.offsetHeight - 6)}px` });
    if (aloud) say(this.words, lines.join(", "));
  }

  leave() {
    this.link.hidden = true;
    this.bubble.hidden = true;
  }
}

/** The number of the cell of a row at a place, -1 where there is none. */
export function cellAt(row, place) {
  const found = first(row.size, (cell) => row.places[cell] >= place);
  return found < row.size && row.places[found] === place ? found : -1;
}
