/** Numbers with their units, and times in the reader's zone. */

const plain = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const NONE = "–";
const GAP = "\u00a0"; // a number and its unit stay on one line

/** Three significant digits, without an exponent. */
function digits(value) {
  const places = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return new Intl.NumberFormat(undefined, { maximumFractionDigits: places }).format(value);
}

export const count = (value) => (value == null ? NONE : plain.format(value));
export const counted = (value, name) => `${count(value)} ${name}${value === 1 ? "" : "s"}`;
export const compact = (value) => (value == null ? NONE : value < 10_000 ? plain.format(value) : short.format(value));
export const rate = (value) => (value == null ? NONE : `${digits(value)}/s`);

export function percent(value) {
  if (value == null) return NONE;
  return value > 0 && value < 0.01 ? `<0.01${GAP}%` : `${digits(value)}${GAP}%`;
}

export function bytes(value) {
  if (value == null) return NONE;
  const names = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = value < 1 ? 0 : Math.min(names.length - 1, Math.floor(Math.log2(value) / 10));
  return `${digits(value / 1024 ** power)}${GAP}${names[power]}`;
}

/** A round-trip time, given in nanoseconds. */
export function rtt(ns) {
  if (ns == null) return NONE;
  const size = Math.abs(ns);
  if (!size) return "0";
  const [unit, name] = size < 1e3 ? [1, "ns"] : size < 1e6 ? [1e3, "µs"] : size < 1e9 ? [1e6, "ms"] : [1e9, "s"];
  return `${ns < 0 ? "−" : ""}${digits(size / unit)}${GAP}${name}`;
}

/** A span of time in its largest units. */
export function span(seconds, units = 2) {
  const sign = seconds < 0 ? "−" : "";
  let rest = Math.abs(seconds);
  if (rest < 10 && rest % 1) return `${sign}${digits(rest)}${GAP}s`;
  rest = Math.round(rest);
  const parts = [];
  for (const [name, size] of [["y", 31_557_600], ["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]]) {
    const whole = Math.floor(rest / size);
    rest -= whole * size;
    if (whole || (name === "s" && !parts.length)) parts.push(`${whole}${GAP}${name}`);
    else if (parts.length) break;
    if (parts.length === units) break;
  }
  return sign + parts.join(GAP);
}

/** Whether a text looks like an address, which has a page. */
export const isAddress = (text) => (text.includes(":") ? /^[0-9a-f:.]{3,}$/i.test(text) : /^\d{1,3}(\.\d{1,3}){3}$/.test(text));

/** Milliseconds since 1970 of a time of the API, whose fraction may have nine digits. */
export const at = (text) => Date.parse(text.replace(/(\.\d{3})\d+/, "$1"));

/** A time as the API takes it. */
export const iso = (ms) => new Date(ms).toISOString().replace(/\.000Z$/, "Z");

export const local = (ms) => clock.format(ms);
export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone || "local time";

let ahead = 0;
/** What the server's clock says, as far as it has told. */
export const now = () => Date.now() + ahead;
export function setClock(serverNow) {
  ahead = at(serverNow) - Date.now();
}

export function ago(ms) {
  const seconds = (now() - ms) / 1000;
  if (seconds < -1) return `in ${span(-seconds)}`;
  return seconds < 1.5 ? "just now" : `${span(Math.round(seconds), seconds < 86_400 ? 1 : 2)} ago`;
}
