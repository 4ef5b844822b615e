/** The picture of a scene: draws it, and is moved by pointer, wheel, fingers and keys. */

import { sizeOf } from "./scene.js";

const FEW = 90;
const NEW_MS = 4000;
const WIDTHS = [0.8, 1.2, 1.8, 2.8, 4.2];
const SHADES = [0.3, 0.38, 0.5, 0.65, 0.8];
const DENSE = 3; // edges an item, from which on only the main ones stand out
const FAINT = 0.07;
const CLOSE = 1.1; // zoom at which names can be read beside each other

export class Picture {
  /** `choose` is called with the item that was picked, or null; `hold` when one is dragged, with null at its end. */
  constructor(canvas, { choose, hold }) {
    this.canvas = canvas;
    this.scene = null;
    this.columns = []; // of layers, each with its TTL
    this.choose = choose;
    this.hold = hold;
    this.colour = () => 0;
    this.palette = [];
    this.chosen = null;
    this.hovered = null;
    this.zoom = 1;
    this.shift = [0, 0];
    this.free = true; // until somebody moves it, all is kept in sight
    this.wanted = false;
    this.pointers = new Map();
    new ResizeObserver(() => this.draw()).observe(canvas);
    document.addEventListener("theme", () => this.#paint()); // at once, since a page may be about to be printed
    this.#listen();
  }

  /** Draw soon. */
  draw() {
    if (this.wanted) return;
    this.wanted = true;
    requestAnimationFrame(() => {
      this.wanted = false;
      this.#paint();
    });
  }

  fit() {
    this.free = true;
    this.draw();
  }

  zoomBy(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    this.free = false;
    const zoom = Math.min(12, Math.max(0.02, this.zoom * factor));
    this.shift[0] = x - ((x - this.shift[0]) * zoom) / this.zoom;
    this.shift[1] = y - ((y - this.shift[1]) * zoom) / this.zoom;
    this.zoom = zoom;
    this.draw();
  }

  /** Bring an item into the middle, so close that names can be read. */
  centre(item) {
    this.free = false;
    this.zoom = Math.max(this.zoom, CLOSE);
    this.shift = [this.canvas.clientWidth / 2 - item.x * this.zoom, this.canvas.clientHeight / 2 - item.y * this.zoom];
    this.draw();
  }

  /** Bring an item into the middle when it is out of sight. */
  show(item) {
    const [x, y] = this.#onScreen(item);
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (x > 40 && y > 40 && x < width - 40 && y < height - 40) return;
    this.free = false;
    this.shift[0] += width / 2 - x;
    this.shift[1] += height / 2 - y;
    this.draw();
  }

  #onScreen({ x, y }) {
    return [x * this.zoom + this.shift[0], y * this.zoom + this.shift[1]];
  }

  #fitNow(width, height) {
    const addresses = this.scene.items.filter(({ x }) => !Number.isNaN(x));
    if (!addresses.length) return;
    const spread = (name) => {
      const values = addresses.map((address) => address[name]).sort((a, b) => a - b);
      const cut = addresses.length > FEW && !this.columns.length ? Math.ceil(addresses.length * 0.01) : 0; // a few strays may be out of sight
      return [values[cut], values[values.length - 1 - cut]];
    };
    const [left, right] = spread("x");
    const [top, bottom] = spread("y");
    const edge = addresses.length > FEW ? 24 : 70;
    const head = this.columns.length ? 30 : 0;
    this.zoom = Math.min(2.5, (width - 2 * edge) / (right - left || 1), (height - 2 * edge - head) / (bottom - top || 1));
    this.shift = [width / 2 - ((left + right) / 2) * this.zoom, (height + head) / 2 - ((top + bottom) / 2) * this.zoom];
  }

  radius(item) {
    const many = this.scene.items.length;
    const base = many > 2000 ? 0.4 : many > 400 ? 0.55 : many > FEW ? 0.8 : 1;
    const size = item.members.length === 1 ? sizeOf(1) + Math.min(5, 0.6 * Math.sqrt(item.in.length + item.out.length - 1)) : sizeOf(item.members.length);
    return Math.max(1.6, base * size * Math.min(1.5, Math.max(0.3, this.zoom)));
  }

  #paint() {
    const { canvas, scene } = this;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height || !scene) return;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    if (this.free) this.#fitNow(width, height);
    const styles = getComputedStyle(document.documentElement);
    const ink = (name) => styles.getPropertyValue(name).trim();
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const places = scene.items.map((item) => this.#onScreen(item));
    const near = this.chosen ? new Set(scene.neighbours(this.chosen).map((item) => item.place).concat(this.chosen.place)) : null;
    const lines = (edges, stroke, alpha, wide) => {
      pen.strokeStyle = stroke;
      pen.globalAlpha = alpha;
      pen.lineWidth = wide;
      pen.beginPath();
      for (const { a, b } of edges) {
        pen.moveTo(places[a][0], places[a][1]);
        pen.lineTo(places[b][0], places[b][1]);
      }
      pen.stroke();
      pen.globalAlpha = 1;
    };
    const many = scene.items.length;
    const thin = many > 2000 ? 0.5 : 1;
    const isDense = scene.edges.length > DENSE * many;
    if (isDense) lines(scene.edges.filter((edge) => !edge.isMain), ink("--quiet"), FAINT, 0.8);
    WIDTHS.forEach((wide, width) =>
      lines(scene.edges.filter((edge) => edge.width === width && (edge.isMain || !isDense)), ink("--quiet"), SHADES[width] * (near ? 0.45 : 1), wide * thin));
    if (near) WIDTHS.forEach((wide, width) =>
      lines([...this.chosen.in, ...this.chosen.out].filter((edge) => edge.width === width), ink("--accent"), 0.95, wide + 1));
    this.#columns(pen, ink, width);

    const byColour = new Map();
    for (const address of scene.items) {
      const colour = this.colour(address);
      if (!byColour.has(colour)) byColour.set(colour, []);
      byColour.get(colour).push(address);
    }
    for (const [colour, addresses] of byColour) {
      pen.fillStyle = ink(this.palette[colour] ?? "--quiet");
      for (const dim of near ? [true, false] : [false]) {
        pen.globalAlpha = dim ? 0.5 : 1;
        pen.beginPath();
        for (const address of addresses) {
          if (near && dim === near.has(address.place)) continue;
          const [x, y] = places[address.place];
          if (x < -20 || y < -20 || x > width + 20 || y > height + 20) continue;
          const radius = this.radius(address);
          pen.moveTo(x + radius, y);
          pen.arc(x, y, radius, 0, 7);
        }
        pen.fill();
        if (many <= 600) {
          pen.strokeStyle = ink("--card");
          pen.lineWidth = 1.2;
          pen.stroke();
        }
      }
    }
    pen.globalAlpha = 1;
    this.#counts(pen, places, ink);
    const fading = this.#rings(pen, places, ink);
    this.#labels(pen, places, near, ink, width, height);
    if (fading) this.draw();
  }

  /** TTLs above the columns of layers. */
  #columns(pen, ink, width) {
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "top";
    pen.fillStyle = ink("--text");
    const top = this.columns.length && Math.min(...this.scene.items.map(({ y }) => y)) * this.zoom + this.shift[1];
    const isClose = this.columns.length > 1 && (this.columns[1].x - this.columns[0].x) * this.zoom < 44;
    for (const [place, { ttl, x }] of this.columns.entries()) {
      const words = isClose && place ? `${ttl}` : `TTL ${ttl}`;
      const left = x * this.zoom + this.shift[0];
      if (left > 0 && left < width) pen.fillText(words, left - pen.measureText(words).width / 2, Math.max(4, top - 32));
    }
  }

  /** A ring inside a group, which an address has not: by its look it can be opened. */
  #counts(pen, places, ink) {
    pen.strokeStyle = ink("--card");
    pen.lineWidth = 1.4;
    pen.beginPath();
    for (const item of this.scene.items) {
      if (item.address) continue;
      const radius = this.radius(item) - 3;
      if (radius < 2) continue;
      const [x, y] = places[item.place];
      pen.moveTo(x + radius, y);
      pen.arc(x, y, radius, 0, 7);
    }
    pen.stroke();
  }

  /** A ring around what is new, and around what is chosen. */
  #rings(pen, places, ink) {
    const now = performance.now();
    let fading = false;
    pen.lineWidth = 2;
    pen.strokeStyle = ink("--accent");
    for (const address of this.scene.items) {
      const age = (now - address.seenAt) / NEW_MS;
      if (age < 1) {
        fading = true;
        pen.globalAlpha = 1 - age;
        pen.beginPath();
        pen.arc(...places[address.place], this.radius(address) + 3 + 10 * age, 0, 7);
        pen.stroke();
      }
    }
    pen.globalAlpha = 1;
    for (const address of [this.chosen, this.hovered]) {
      if (!address) continue;
      pen.beginPath();
      pen.strokeStyle = ink("--text");
      pen.lineWidth = address === this.chosen ? 3 : 2;
      pen.arc(...places[address.place], this.radius(address) + 4, 0, 7);
      pen.stroke();
    }
    return fading;
  }

  #labels(pen, places, near, ink, width, height) {
    const { items } = this.scene;
    const wanted = [this.hovered, this.chosen].filter(Boolean);
    if (near) wanted.push(...[...near].slice(0, 40).map((place) => items[place]));
    const roomy = items.length <= FEW || this.zoom > CLOSE;
    const largest = () => items.filter((item) => !item.address).sort((one, other) => other.members.length - one.members.length);
    wanted.push(...largest(), ...this.scene.hubs(roomy ? 400 : 10));
    pen.font = "11.5px ui-monospace, 'DejaVu Sans Mono', monospace";
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    const covers = (one, other) => one[0] < other[2] && one[2] > other[0] && one[1] < other[3] && one[3] > other[1];
    const dot = ({ place }) => [places[place][0] - 5, places[place][1] - 5, places[place][0] + 5, places[place][1] + 5];
    const taken = items.length <= FEW ? items.map(dot) : [];
    for (const address of new Set(wanted)) {
      const [x, y] = places[address.place];
      if (!(x >= 0 && y >= 0 && x <= width && y <= height)) continue;
      const label = address.address ? address.label : `${address.label} (${address.members.length})`;
      const wide = pen.measureText(label).width;
      const away = this.radius(address) + 5;
      const boxes = [[x + away, y], [x - away - wide, y], [x - wide / 2, y - away - 7], [x - wide / 2, y + away + 7]]
        .map(([left, middle]) => [left - 2, middle - 8, left + wide + 2, middle + 8])
        .filter((box) => box[0] >= 0 && box[2] <= width);
      const must = address === this.hovered || address === this.chosen;
      const box = boxes.find((one) => !taken.some((other) => covers(one, other))) ?? (must ? boxes[0] : undefined);
      if (!box) continue;
      taken.push(box);
      pen.strokeStyle = ink("--card");
      pen.lineWidth = 4;
      pen.strokeText(label, box[0] + 2, box[1] + 8);
      pen.fillStyle = ink("--text");
      pen.fillText(label, box[0] + 2, box[1] + 8);
    }
  }

  #under(x, y) {
    let best = null;
    let closest = 14;
    for (const address of this.scene?.items ?? []) {
      const [px, py] = this.#onScreen(address);
      const distance = Math.hypot(px - x, py - y) - this.radius(address);
      if (distance < closest) {
        closest = distance;
        best = address;
      }
    }
    return closest < 8 ? best : null;
  }

  /** Choose an item; `isOpen` opens it, when it is a group. */
  pick(item, isOpen = false) {
    this.chosen = item;
    this.choose(item, isOpen);
    this.draw();
  }

  #listen() {
    const { canvas, pointers } = this;
    const where = (event) => {
      const edge = canvas.getBoundingClientRect();
      return [event.clientX - edge.left, event.clientY - edge.top];
    };
    let grip = null;
    let moved = 0;
    canvas.addEventListener("pointerdown", (event) => {
      pointers.set(event.pointerId, where(event));
      canvas.setPointerCapture(event.pointerId);
      if (pointers.size === 1) {
        moved = 0;
        grip = this.#under(...where(event));
      } else {
        grip = null;
      }
    });
    canvas.addEventListener("pointermove", (event) => {
      const [x, y] = where(event);
      const before = pointers.get(event.pointerId);
      if (!before) {
        const found = this.#under(x, y);
        if (found !== this.hovered) {
          this.hovered = found;
          canvas.style.cursor = found ? "pointer" : "";
          this.draw();
        }
        return;
      }
      moved += Math.hypot(x - before[0], y - before[1]);
      if (pointers.size === 2) {
        const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
        const factor = Math.hypot(x - other[0], y - other[1]) / (Math.hypot(before[0] - other[0], before[1] - other[1]) || 1);
        this.zoomBy(factor, other[0], other[1]);
      } else if (grip && moved > 4) {
        grip.x = (x - this.shift[0]) / this.zoom;
        grip.y = (y - this.shift[1]) / this.zoom;
        this.free = false;
        this.hold(grip);
      } else if (!grip) {
        this.free = false;
        this.shift[0] += x - before[0];
        this.shift[1] += y - before[1];
      }
      pointers.set(event.pointerId, [x, y]);
      this.draw();
    });
    const up = (event) => {
      if (pointers.delete(event.pointerId) && event.type === "pointerup" && moved <= 4) this.pick(grip, true);
      if (grip && moved > 4) this.hold(null);
      grip = null;
    };
    canvas.addEventListener("pointerup", up);
    canvas.addEventListener("pointercancel", up);
    canvas.addEventListener("pointerleave", () => {
      this.hovered = null;
      this.draw();
    });
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...where(event));
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
      if (way) this.#step(way);
      else if (event.key === "+" || event.key === "=") this.zoomBy(1.3);
      else if (event.key === "-") this.zoomBy(1 / 1.3);
      else if (event.key === "f" || event.key === "F") this.fit();
      else if (event.key === "Enter" && this.chosen) this.choose(this.chosen, true);
      else if (event.key === "Escape") this.pick(null);
      else return;
      event.preventDefault();
    });
  }

  /** Go to the neighbour that lies best in this direction; from nowhere to the busiest item. */
  #step([dx, dy]) {
    const { items } = this.scene;
    if (!items.length) return;
    let best = null;
    if (!this.chosen) {
      best = items.reduce((one, other) => (other.in.length + other.out.length > one.in.length + one.out.length ? other : one));
    } else {
      let most = 0.2;
      for (const other of this.scene.neighbours(this.chosen)) {
        const [x, y] = [other.x - this.chosen.x, other.y - this.chosen.y];
        const along = (x * dx + y * dy) / (Math.hypot(x, y) || 1);
        if (along > most) [most, best] = [along, other];
      }
    }
    if (best) {
      this.pick(best);
      this.show(best);
    }
  }
}
