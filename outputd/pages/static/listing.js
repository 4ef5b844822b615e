/** A list that the service sorts, filters and pages: a page of it is asked for, and what was chosen is in the URL. */

import { askPage, Problem } from "./ask.js";
import { choose, chosen } from "./chosen.js";
import { h, put, table } from "./dom.js";
import { here } from "./place.js";
import { count } from "./units.js";

const ROWS = 15;
const GONE = [400, 410]; // a cursor of another list, or of one that is remembered no more

/**
 * Show a list in an element. `list` says of it: `path`, `rows` (the member of the answer that has them), `caption`, `sort` and
 * `order` (what is usual), `name` (before the names of its choices in the URL), `filters()`, `empty(isFiltered)` and `columns`:
 * [heading, row => cell, kind, column to sort by]. What is returned asks for the page that is chosen, and shows it.
 */
export function listing(element, list) {
  const called = (what) => (list.name ? `${list.name}-${what}` : what);
  const sorted = () => ({ sort: chosen(called("sort")) ?? list.sort, order: chosen(called("order")) ?? (chosen(called("sort")) ? null : list.order) });
  const anew = { [called("page")]: null, [called("cursor")]: null };
  let shown = "";

  async function look() {
    const filters = list.filters?.() ?? {};
    const { sort, order } = sorted();
    const cursor = chosen(called("cursor"));
    const asked = { ...filters, sort, order, cursor, limit: ROWS, total: true };
    const page = await askPage(list.path, asked).catch((failure) => {
      if (!(cursor && failure instanceof Problem && GONE.includes(failure.status))) throw failure;
      choose(anew, "replace");
      return null;
    });
    if (page === null) return look();
    const key = JSON.stringify([asked, page.answer[list.rows], page.answer.total, page.cursor && true, list.also?.()]);
    if (key !== shown) kept(element, () => draw(page, filters, sort, order));
    shown = key;
    return page.answer;
  }

  function draw({ answer, cursor }, filters, sort, order) {
    const rows = answer[list.rows];
    const isFiltered = Object.values(filters).some((value) => value != null);
    if (!rows.length) return put(element, h("p", { class: "quiet" }, list.empty(isFiltered)));
    const columns = list.columns.map(([heading, cell, kind, by]) => (by ? [button(heading, by, sort, order), cell, kind, { "aria-sort": by === sort ? aria(by, order) : null }] : [heading, cell, kind]));
    put(element, table(list.caption, columns, rows), pager(rows.length, answer.total, cursor, filters));
  }

  const aria = (by, order) => ((order ?? (by === list.key ? "asc" : "desc")) === "asc" ? "ascending" : "descending");

  function button(heading, by, sort, order) {
    const isUp = aria(by, order) === "ascending";
    const next = by === sort ? (isUp ? "desc" : "asc") : null;
    const mark = h("span", { class: "mark", "aria-hidden": "true" }, by === sort ? (isUp ? "▲" : "▼") : "");
    return h("button", { type: "button", class: "sorts", "data-key": `sort ${by}`, onclick: () => choose({ ...anew, [called("sort")]: by, [called("order")]: next }) }, heading, mark);
  }

  function pager(rows, total, cursor, filters) {
    const page = Math.max(1, Number(chosen(called("page"))) || 1);
    const first = (page - 1) * ROWS;
    const step = (words, is, go) => h("button", { type: "button", "data-key": words, disabled: !is, onclick: go }, words);
    const csv = new URLSearchParams(Object.entries({ ...filters, ...sorted(), limit: 100_000 }).filter(([, value]) => value != null));
    return h("div", { class: "pager" },
      h("span", { class: "quiet" }, `${count(first + 1)} to ${count(first + rows)} of ${count(Math.max(total, first + rows))}`),
      total > ROWS ? [
        step("First", page > 1, () => choose(anew)),
        step("Previous", history.state?.list === list.rows && page > 1, () => history.back()),
        step("Next", cursor !== null && first + rows < total, () => choose({ [called("page")]: page + 1, [called("cursor")]: cursor }, "push", { list: list.rows })),
      ] : null,
      h("a", { class: "quiet", href: here(`${list.path}.csv?${csv}`) }, "All as CSV"));
  }

  return look;
}

/** Draw anew, and leave the focus and what was scrolled sideways where they are. */
function kept(element, draw) {
  const key = (each) => each.dataset.key ?? each.dataset.plain ?? each.getAttribute("href");
  const focused = element.contains(document.activeElement) ? key(document.activeElement) : null;
  const left = element.querySelector(".scroll")?.scrollLeft ?? 0;
  draw();
  const scroll = element.querySelector(".scroll");
  if (scroll) scroll.scrollLeft = left;
  if (focused) [...element.querySelectorAll("a, button")].find((each) => key(each) === focused)?.focus({ preventScroll: true });
}
