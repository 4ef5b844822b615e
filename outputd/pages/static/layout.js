/**
 * A worker that lays a growing graph out: links pull, addresses push each other away (Barnes and Hut: far groups push as
 * one), and all slows down until it rests. It answers each message with places, x and y by turns.
 */

const THETA = 0.9;
const PUSH = 900;
const LENGTH = 46;
const GRAVITY = 0.03;
const FRAME_MS = 40;

let x = new Float32Array(0);
let y = new Float32Array(0);
let vx = new Float32Array(0);
let vy = new Float32Array(0);
let degree = new Uint16Array(0);
let ends = new Uint32Array(0);
let size = 0;
let heat = 0;
let held = -1;
let timer = 0;

function room(wanted) {
  if (wanted <= x.length) return;
  const more = Math.max(wanted, 2 * x.length, 256);
  const grown = (old, Kind) => {
    const array = new Kind(more);
    array.set(old);
    return array;
  };
  x = grown(x, Float32Array);
  y = grown(y, Float32Array);
  vx = grown(vx, Float32Array);
  vy = grown(vy, Float32Array);
  degree = grown(degree, Uint16Array);
}

// A quadtree in arrays: four children a cell, above 0 a cell, below 0 an address (~place), 0 nothing.
let children = new Int32Array(0);
let mass = new Float32Array(0);
let mx = new Float32Array(0);
let my = new Float32Array(0);
let cells = 0;

function newCell() {
  if (4 * (cells + 1) > children.length) {
    const more = Math.max(4096, 2 * children.length);
    const wider = new Int32Array(more);
    wider.set(children);
    children = wider;
    const grown = (old) => {
      const array = new Float32Array(more / 4);
      array.set(old);
      return array;
    };
    mass = grown(mass);
    mx = grown(mx);
    my = grown(my);
  }
  children.fill(0, 4 * cells, 4 * cells + 4);
  mass[cells] = mx[cells] = my[cells] = 0;
  cells += 1;
  return cells - 1;
}

function insert(place, left, top, side) {
  let cell = 0;
  for (let depth = 0; depth < 24; depth += 1) {
    mass[cell] += 1;
    mx[cell] += x[place];
    my[cell] += y[place];
    side /= 2;
    const right = x[place] >= left + side;
    const low = y[place] >= top + side;
    if (right) left += side;
    if (low) top += side;
    const slot = 4 * cell + (right ? 1 : 0) + (low ? 2 : 0);
    const there = children[slot];
    if (there === 0) {
      children[slot] = ~place;
      return;
    }
    if (there < 0) {
      const other = ~there;
      const inner = newCell();
      children[slot] = inner;
      mass[inner] = 1;
      mx[inner] = x[other];
      my[inner] = y[other];
      const half = side / 2;
      children[4 * inner + (x[other] >= left + half ? 1 : 0) + (y[other] >= top + half ? 2 : 0)] = ~other;
      cell = inner;
    } else {
      cell = there;
    }
  }
}

function grow() {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < size; i += 1) {
    low = Math.min(low, x[i], y[i]);
    high = Math.max(high, x[i], y[i]);
  }
  const side = high - low + 1;
  cells = 0;
  newCell();
  for (let i = 0; i < size; i += 1) insert(i, low, low, side);
  return side;
}

const stack = [];
const sides = [];

function push(i, whole) {
  let fx = 0;
  let fy = 0;
  stack.length = sides.length = 0;
  stack.push(0);
  sides.push(whole);
  while (stack.length) {
    const cell = stack.pop();
    const side = sides.pop();
    const dx = x[i] - mx[cell] / mass[cell];
    const dy = y[i] - my[cell] / mass[cell];
    const distance2 = dx * dx + dy * dy;
    if (side * side < THETA * THETA * distance2) {
      const force = (PUSH * mass[cell]) / distance2;
      fx += dx * force;
      fy += dy * force;
      continue;
    }
    for (let slot = 4 * cell; slot < 4 * cell + 4; slot += 1) {
      const child = children[slot];
      if (child > 0) {
        stack.push(child);
        sides.push(side / 2);
      } else if (child < 0 && ~child !== i) {
        const ox = x[i] - x[~child] || 0.01 * (i % 7) - 0.03;
        const oy = y[i] - y[~child] || 0.01 * (i % 5) - 0.02;
        const force = PUSH / Math.max(ox * ox + oy * oy, 4);
        fx += ox * force;
        fy += oy * force;
      }
    }
  }
  vx[i] += fx * heat * 0.1;
  vy[i] += fy * heat * 0.1;
}

function step() {
  const side = grow();
  for (let i = 0; i < size; i += 1) push(i, side);
  for (let e = 0; e < ends.length; e += 2) {
    const a = ends[e];
    const b = ends[e + 1];
    const dx = x[b] - x[a];
    const dy = y[b] - y[a];
    const distance = Math.hypot(dx, dy) || 1;
    const pull = (((distance - LENGTH) / distance) * heat) / Math.min(degree[a], degree[b]);
    const share = degree[a] / (degree[a] + degree[b]);
    vx[a] += dx * pull * (1 - share);
    vy[a] += dy * pull * (1 - share);
    vx[b] -= dx * pull * share;
    vy[b] -= dy * pull * share;
  }
  for (let i = 0; i < size; i += 1) {
    vx[i] = (vx[i] - x[i] * GRAVITY * heat) * 0.6;
    vy[i] = (vy[i] - y[i] * GRAVITY * heat) * 0.6;
    const speed = Math.hypot(vx[i], vy[i]);
    const most = 60 / Math.max(1, speed);
    if (i === held) continue;
    x[i] += speed > 60 ? vx[i] * most : vx[i];
    y[i] += speed > 60 ? vy[i] * most : vy[i];
  }
  heat *= 0.985;
}

function tell() {
  const places = new Float32Array(2 * size);
  for (let i = 0; i < size; i += 1) {
    places[2 * i] = x[i];
    places[2 * i + 1] = y[i];
  }
  postMessage({ places, resting: heat <= 0.01 }, [places.buffer]);
}

function run() {
  timer = 0;
  const until = performance.now() + FRAME_MS;
  do step();
  while (heat > 0.01 && performance.now() < until);
  tell();
  if (heat > 0.01) timer = setTimeout(run, 0);
}

onmessage = ({ data }) => {
  if (data.links) {
    const before = size;
    size = data.size;
    room(size);
    ends = data.links;
    degree.fill(0);
    for (const end of ends) degree[end] += 1;
    const near = new Int32Array(size).fill(-1);
    for (let e = 0; e < ends.length; e += 2) {
      if (near[ends[e + 1]] < 0) near[ends[e + 1]] = ends[e];
      if (near[ends[e]] < 0) near[ends[e]] = ends[e + 1];
    }
    for (let i = before; i < size; i += 1) { // beside a neighbour that has a place, else on a spiral
      const other = near[i];
      const angle = i * 2.399963;
      const far = other >= 0 && other < i ? LENGTH / 2 : 12 * Math.sqrt(i + 1);
      x[i] = (other >= 0 && other < i ? x[other] : 0) + far * Math.cos(angle);
      y[i] = (other >= 0 && other < i ? y[other] : 0) + far * Math.sin(angle);
      vx[i] = vy[i] = 0;
    }
    const share = size ? (size - before) / size : 0;
    heat = Math.max(heat, share > 0.3 ? 1 : share > 0 ? 0.15 + share : 0.05);
  }
  if (data.hold) {
    [held, x[data.hold[0]], y[data.hold[0]]] = data.hold;
    heat = Math.max(heat, 0.2);
  }
  if (data.release) held = -1;
  if (!timer && size) timer = setTimeout(run, 0);
};
