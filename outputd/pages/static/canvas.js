/** The picture of a graph: draws it, and is moved by pointer, wheel, fingers and keys. */

const FEW = 90;
const NEW_MS = 4000;

export class Picture {
  /** `choose` is called with the address that was picked, or null. */
  constructor(canvas, graph, layout, choose) {
    this.canvas = canvas;
    this.graph = graph;
    this.layout = layout;
    this.choose = choose;
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

  /** Bring an address into the middle when it is out of sight. */
  show(address) {
    const [x, y] = this.#onScreen(address);
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (x > 40 && y > 90 && x < width - 40 && y < height - 40) return;
    this.free = false;
    this.shift[0] += width / 2 - x;
    this.shift[1] += height / 2 - y;
    this.draw();
  }

  #onScreen({ x, y }) {
    return [x * this.zoom + this.shift[0], y * this.zoom + this.shift[1]];
  }

  #fitNow(width, height) {
    const { addresses } = this.graph;
    if (!addresses.length) return;
    const spread = (name) => {
      const values = addresses.map((address) => address[name]).sort((a, b) => a - b);
      const cut = addresses.length > 400 ? Math.floor(addresses.length * 0.004) : 0; // a few strays may be out of sight
      return [values[cut], values[values.length - 1 - cut]];
    };
    const [left, right] = spread("x");
    const [top, bottom] = spread("y");
    const edge = addresses.length > FEW ? 24 : 70;
    const [head, foot] = width < 600 ? [120, 90] : [52, 56]; // where tools and legend lie
    this.zoom = Math.min(2.5, (width - 2 * edge) / (right - left || 1), (height - edge - head - foot) / (bottom - top || 1));
    this.shift = [width / 2 - ((left + right) / 2) * this.zoom, (height + head - foot) / 2 - ((top + bottom) / 2) * this.zoom];
  }

  radius(address) {
    const many = this.graph.addresses.length;
    const base = many > 2000 ? 2.2 : many > 400 ? 2.8 : many > FEW ? 3.6 : 5.5;
    return (base + Math.min(6, 0.8 * Math.sqrt(address.in.length + address.out.length - 1))) * Math.min(1.5, Math.max(0.55, Math.sqrt(this.zoom)));
  }

  #paint() {
    const { canvas, graph } = this;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
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
    const places = graph.addresses.map((address) => this.#onScreen(address));
    const near = this.chosen ? new Set(graph.neighbours(this.chosen).map((address) => address.place).concat(this.chosen.place)) : null;
    const lines = (links, stroke, alpha, wide) => {
      pen.strokeStyle = stroke;
      pen.globalAlpha = alpha;
      pen.lineWidth = wide;
      pen.beginPath();
      for (const { a, b } of links) {
        pen.moveTo(places[a][0], places[a][1]);
        pen.lineTo(places[b][0], places[b][1]);
      }
      pen.stroke();
      pen.globalAlpha = 1;
    };
    const many = graph.addresses.length;
    lines(graph.links, ink("--quiet"), near ? 0.2 : many > 2000 ? 0.16 : many > 400 ? 0.28 : 0.45, many > 400 ? 0.7 : 1.1);
    if (near) lines([...this.chosen.in, ...this.chosen.out], ink("--accent"), 0.95, 2);

    const byColour = new Map();
    for (const address of graph.addresses) {
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
        if (many <= 400) {
          pen.strokeStyle = ink("--card");
          pen.lineWidth = 1.2;
          pen.stroke();
        }
      }
    }
    pen.globalAlpha = 1;
    const fading = this.#rings(pen, places, ink);
    this.#labels(pen, places, near, ink, width, height);
    if (fading) this.draw();
  }

  /** A ring around what is new, and around what is chosen. */
  #rings(pen, places, ink) {
    const now = performance.now();
    let fading = false;
    pen.lineWidth = 2;
    pen.strokeStyle = ink("--accent");
    for (const address of this.graph.addresses) {
      const age = (now - address.seenAt) / NEW_MS;
      if (age < 1 && !address.first) {
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
      pen.arc(...places[address.place], this.radius(address) + 3, 0, 7);
      pen.stroke();
    }
    return fading;
  }

  #labels(pen, places, near, ink, width, height) {
    const { addresses } = this.graph;
    const wanted = [this.hovered, this.chosen].filter(Boolean);
    if (near) wanted.push(...[...near].slice(0, 40).map((place) => addresses[place]));
    const roomy = addresses.length <= FEW || this.zoom > 1.6;
    if (roomy || !near) wanted.push(...this.graph.hubs(roomy ? 400 : 10));
    pen.font = "11.5px ui-monospace, 'DejaVu Sans Mono', monospace";
    pen.textBaseline = "middle";
    pen.lineJoin = "round";
    const covers = (one, other) => one[0] < other[2] && one[2] > other[0] && one[1] < other[3] && one[3] > other[1];
    const dot = ({ place }) => [places[place][0] - 5, places[place][1] - 5, places[place][0] + 5, places[place][1] + 5];
    const taken = addresses.length <= FEW ? addresses.map(dot) : [];
    for (const address of new Set(wanted)) {
      const [x, y] = places[address.place];
      if (x < 0 || y < 0 || x > width || y > height) continue;
      const wide = pen.measureText(address.ip).width;
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
      pen.strokeText(address.ip, box[0] + 2, box[1] + 8);
      pen.fillStyle = ink("--text");
      pen.fillText(address.ip, box[0] + 2, box[1] + 8);
    }
  }

  #under(x, y) {
    let best = null;
    let closest = 14;
    for (const address of this.graph.addresses) {
      const [px, py] = this.#onScreen(address);
      const distance = Math.hypot(px - x, py - y) - this.radius(address);
      if (distance < closest) {
        closest = distance;
        best = address;
      }
    }
    return closest < 8 ? best : null;
  }

  pick(address) {
    this.chosen = address;
    this.choose(address);
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
        this.layout.postMessage({ hold: [grip.place, grip.x, grip.y] });
      } else if (!grip) {
        this.free = false;
        this.shift[0] += x - before[0];
        this.shift[1] += y - before[1];
      }
      pointers.set(event.pointerId, [x, y]);
      this.draw();
    });
    const up = (event) => {
      if (pointers.delete(event.pointerId) && event.type === "pointerup" && moved <= 4) this.pick(grip);
      if (grip && moved > 4) this.layout.postMessage({ release: true });
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
      else if (event.key === "Escape") this.pick(null);
      else return;
      event.preventDefault();
    });
  }

  /** Go to the neighbour that lies best in this direction; from nowhere to the busiest address. */
  #step([dx, dy]) {
    const { addresses } = this.graph;
    if (!addresses.length) return;
    let best = null;
    if (!this.chosen) {
      best = addresses.reduce((one, other) => (other.in.length + other.out.length > one.in.length + one.out.length ? other : one));
    } else {
      let most = 0.2;
      for (const other of this.graph.neighbours(this.chosen)) {
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
