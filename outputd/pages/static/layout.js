/**
 * A worker that lays a growing graph out: links pull, addresses push each other away (Barnes and Hut: far groups push as
 * one), and all slows down until it rests. It is told a whole scene at a time and answers with places, x and y by turns.
 */

const THETA = 0.9;
const PUSH = 2400;
const LENGTH = 60;
const GRAVITY = 0.05;
const FRAME_MS = 40;
const GAP = 6;
const MANY = 1500; // then it rests sooner: each step takes long

let x = new Float32Array(0);
let y = new Float32Array(0);
let vx = new Float32Array(0);
let vy = new Float32Array(0);
let radius = new Float32Array(0);
let charge = new Float32Array(0);
let degree = new Float32Array(0);
let ends = new Uint32Array(0);
let weights = new Float32Array(0);
let size = 0;
let heat = 0;
let held = -1;
let timer = 0;
let scene = 0;

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
    mass[cell] += charge[place];
    mx[cell] += x[place] * charge[place];
    my[cell] += y[place] * charge[place];
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
      mass[inner] = charge[other];
      mx[inner] = x[other] * charge[other];
      my[inner] = y[other] * charge[other];
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
        const apart = Math.max(ox * ox + oy * oy, 4);
        const near = radius[i] + radius[~child] + GAP;
        const force = (PUSH * charge[~child]) / apart + (apart < near * near ? 3 * (near / Math.sqrt(apart) - 1) : 0);
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
    const rest = LENGTH + radius[a] + radius[b];
    const pull = (((distance - rest) / distance) * heat * weights[e / 2]) / Math.min(degree[a], degree[b]);
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
  heat *= size > MANY ? 0.965 : 0.98;
}

function tell() {
  const places = new Float32Array(2 * size);
  for (let i = 0; i < size; i += 1) {
    places[2 * i] = x[i];
    places[2 * i + 1] = y[i];
  }
  postMessage({ scene, places, resting: heat <= 0.01 }, [places.buffer]);
}

function run() {
  timer = 0;
  const until = performance.now() + FRAME_MS;
  do step();
  while (heat > 0.01 && performance.now() < until);
  tell();
  if (heat > 0.01) timer = setTimeout(run, 0);
}

/** Put what has no place yet beside a neighbour that has one, else on a spiral. */
function settle() {
  const near = new Int32Array(size).fill(-1);
  for (let e = 0; e < ends.length; e += 2) {
    const [a, b] = [ends[e], ends[e + 1]];
    if (near[b] < 0 || Number.isNaN(x[near[b]])) near[b] = a;
    if (near[a] < 0 || Number.isNaN(x[near[a]])) near[a] = b;
  }
  let fresh = 0;
  for (let i = 0; i < size; i += 1) {
    if (!Number.isNaN(x[i])) continue;
    fresh += 1;
    const angle = i * 2.399963;
    const other = near[i];
    const isBeside = other >= 0 && !Number.isNaN(x[other]);
    const far = isBeside ? LENGTH / 2 + radius[i] : 14 * Math.sqrt(i + 1);
    x[i] = (isBeside ? x[other] : 0) + far * Math.cos(angle);
    y[i] = (isBeside ? y[other] : 0) + far * Math.sin(angle);
  }
  return size ? fresh / size : 0;
}

onmessage = ({ data }) => {
  if (data.places) {
    ({ ends, weights, scene } = data);
    radius = data.radii;
    size = radius.length;
    x = data.places.filter((_, place) => place % 2 === 0);
    y = data.places.filter((_, place) => place % 2 === 1);
    vx = new Float32Array(size);
    vy = new Float32Array(size);
    charge = radius.map((wide) => (wide / 5) ** 1.5);
    degree = new Float32Array(size);
    for (let e = 0; e < ends.length; e += 1) degree[ends[e]] += weights[e >> 1];
    degree = degree.map((sum) => Math.max(1, sum));
    held = -1;
    const share = settle();
    heat = Math.max(heat, share > 0.3 ? 1 : share > 0 ? 0.15 + share : data.stir);
  }
  if (data.hold) {
    [held, x[data.hold[0]], y[data.hold[0]]] = data.hold;
    heat = Math.max(heat, 0.2);
  }
  if (data.release) held = -1;
  if (!timer && size) timer = setTimeout(run, 0);
};
