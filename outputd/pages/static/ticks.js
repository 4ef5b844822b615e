/** Round values and times for an axis. Times are round on the reader's clock, whatever is done to it in summer and in winter. */

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const CLOCKS = [1 / 60, 1 / 12, 1 / 4, 1 / 2, 1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720].map((minutes) => minutes * MINUTE);
const DAYS = [1, 2, 3, 4, 7, 14];
const MONTHS = [1, 2, 3, 6, 12, 24, 60, 120, 600, 1200];

/** Round values from 0 to at least `most`. */
export function ticks(most, about = 4) {
  if (!(most > 0)) return [0, 1];
  const rough = most / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((part) => part * power).find((part) => part >= rough);
  const found = [];
  for (let value = 0; value < most + step; value += step) found.push(Number(value.toPrecision(12)));
  return found;
}

/** Round times between two, with a label each: clock times, beginnings of days, or of months. */
export function timeTicks(since, until, about) {
  const least = (until - since) / about;
  const clock = CLOCKS.find((step) => step >= least);
  if (clock) return clockTimes(since, until, clock).map((at) => ({ at, label: clockLabel(at, clock, until - since) }));
  const days = DAYS.find((count) => count * DAY >= least);
  if (days) return beginnings(since, until, days, dayOf, beginOfDay).map((at) => ({ at, label: day.format(at) }));
  const months = MONTHS.find((count) => count * 30 * DAY >= least) ?? MONTHS.at(-1);
  return beginnings(since, until, months, monthOf, beginOfMonth).map((at) => ({ at, label: month.format(at) }));
}

const modulo = (value, by) => ((value % by) + by) % by;
const onTheWall = (at) => at - new Date(at).getTimezoneOffset() * MINUTE;

/** Times that are round on the wall clock; one that the clock leaves out is none, one that it shows twice is two. */
function clockTimes(since, until, step) {
  const found = [];
  for (let at = since - modulo(onTheWall(since), step); at <= until; at += step) {
    at -= modulo(onTheWall(at) + step / 2, step) - step / 2; // the clock was changed since the one before
    if (at >= since && at <= until && modulo(onTheWall(at), step) === 0) found.push(at);
  }
  return found;
}

/** The beginnings of every `count`th day or month. */
function beginnings(since, until, count, numberOf, begin) {
  const found = [];
  const first = numberOf(new Date(since));
  for (let number = first + modulo(-first, count); begin(number) <= until; number += count) {
    const at = begin(number);
    if (at >= since && at !== found.at(-1)) found.push(at); // a zone that crosses the date line leaves a day out
  }
  return found;
}

const dayOf = (date) => Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) / DAY;
const beginOfDay = (number) => {
  const date = new Date(number * DAY);
  return new Date(date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate()).getTime();
};
const monthOf = (date) => 12 * date.getFullYear() + date.getMonth();
const beginOfMonth = (number) => new Date(Math.floor(number / 12), number % 12).getTime();

const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric" });
const month = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short" });

function clockLabel(at, step, span) {
  const date = new Date(at);
  const pad = (number) => String(number).padStart(2, "0");
  if (span > DAY && date.getHours() === 0 && date.getMinutes() === 0) return day.format(date);
  return `${pad(date.getHours())}:${pad(date.getMinutes())}${step < MINUTE ? `:${pad(date.getSeconds())}` : ""}`;
}
