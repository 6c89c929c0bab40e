/** The convex hull of points and its pixels, and the parts of a mask that do not touch, as OpenCV tells them. */

import type { Mask } from "./image.ts";

export type Point = readonly [x: number, y: number];

/** The corners of the convex hull, one after the other; none lies between two others. */
export function convexHull(points: readonly Point[]): Point[] {
  const sorted = [...points].sort((one, other) => one[0] - other[0] || one[1] - other[1]);
  const chain = (some: readonly Point[]): Point[] => {
    const kept: Point[] = [];
    for (const point of some) {
      while (kept.length > 1 && turn(kept[kept.length - 2], kept[kept.length - 1], point) <= 0) kept.pop();
      kept.push(point);
    }
    return kept.slice(0, -1);
  };
  const hull = [...chain(sorted), ...chain([...sorted].reverse())];
  return hull.length ? hull : sorted.slice(0, 1);
}

function turn(from: Point, over: Point, to: Point): number {
  return (over[0] - from[0]) * (to[1] - from[1]) - (over[1] - from[1]) * (to[0] - from[0]);
}

/** Ones in the pixels of `mask` that a convex polygon covers, whose corners lie in it: as cv2.fillConvexPoly. */
export function fillConvex(mask: Mask, corners: readonly Point[]): void {
  corners.forEach((corner, i) => drawLine(mask, corners[(i || corners.length) - 1], corner));
  if (corners.length < 3) return;
  const one = 1 << 16, half = one >> 1; // x has 16 bits after the point
  const ys = corners.map((corner) => corner[1]), top = Math.min(...ys), bottom = Math.max(...ys), first = ys.indexOf(top);
  const sides = [1, corners.length - 1].map((step) => ({ step, at: first, until: top, x: 0, slope: 0 }));
  let left = corners.length; // of the edges
  for (let y = top; y <= bottom; y++) {
    for (const side of sides) {
      if (y < side.until) continue;
      for (let from = side.at; left-- > 0; ) {
        const to = (from + side.step) % corners.length;
        if (ys[to] > y) {
          const [start, end, rows] = [corners[from][0] * one, corners[to][0] * one, ys[to] - y];
          Object.assign(side, { at: to, until: ys[to], x: start, slope: Math.trunc(((end - start) * 2 + rows) / (2 * rows)) });
          break;
        }
        from = to;
      }
    }
    const low = Math.floor((Math.min(sides[0].x, sides[1].x) + half) / one);
    const high = Math.floor((Math.max(sides[0].x, sides[1].x) + half) / one);
    mask.data.fill(1, y * mask.width + Math.max(low, 0), y * mask.width + Math.min(high, mask.width - 1) + 1);
    for (const side of sides) side.x += side.slope;
  }
}

function drawLine(mask: Mask, one: Point, other: Point): void {
  const [[x1, y1], [x2, y2]] = one[0] <= other[0] ? [one, other] : [other, one];
  const across = x2 - x1, down = Math.abs(y2 - y1), row = y2 < y1 ? -mask.width : mask.width;
  const long = Math.max(across, down), short = Math.min(across, down);
  const [step, aside] = down > across ? [row, 1] : [1, row];
  let error = long - 2 * short;
  for (let i = 0, at = y1 * mask.width + x1; i <= long; i++, at += step) {
    mask.data[at] = 1;
    if (error < 0) {
      error += 2 * long;
      at += aside;
    }
    error -= 2 * short;
  }
}

export interface Parts {
  readonly count: number; // and one, 0, of what is no part
  readonly labels: Int32Array;
}

/** The parts of a mask, in the order of their first pixels: as cv2.connectedComponents, over 4 neighbours or 8. */
export function partsOf(mask: Mask, neighbours: 4 | 8): Parts {
  const { width, height, data } = mask, labels = new Int32Array(data.length);
  const joined = [0]; // for each label one that is no larger, of the same part
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      if (!data[at]) continue;
      let label = x > 0 ? labels[at - 1] : 0;
      if (y > 0) {
        label = join(joined, label, labels[at - width]);
        if (neighbours === 8 && x > 0) label = join(joined, label, labels[at - width - 1]);
        if (neighbours === 8 && x < width - 1) label = join(joined, label, labels[at - width + 1]);
      }
      if (!label) joined.push((label = joined.length));
      labels[at] = label;
    }
  }
  let count = 1;
  const numbers = Int32Array.from(joined, (smaller, label) => (label && smaller === label ? count++ : 0));
  for (let label = 1; label < joined.length; label++) numbers[label] = numbers[smallest(joined, label)];
  for (let i = 0; i < labels.length; i++) labels[i] = numbers[labels[i]];
  return { count, labels };
}

/** The label of two that turn out to be of one part; 0 is none. */
function join(joined: number[], one: number, other: number): number {
  if (!one || !other || one === other) return one || other;
  const [a, b] = [smallest(joined, one), smallest(joined, other)];
  return (joined[Math.max(a, b)] = Math.min(a, b));
}

/** The smallest label of its part. */
function smallest(joined: number[], label: number): number {
  while (joined[label] !== label) label = joined[label] = joined[joined[label]];
  return label;
}
