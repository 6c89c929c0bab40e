/** Where exactly a mosaic lies in a photo whose grid and cells are known: its mask, to the pixel where nothing was lost. */

import { dilated, eroded } from "./filters.ts";
import { emptyMask, type Box, type Gray, type Mask, medianOf, type Rgb } from "./image.ts";
import { convexHull, fillConvex, partsOf, type Point } from "./shapes.ts";

const LEAST_LOST = 1.5; // grey levels by which the pixels of a cell may differ where a file has lost some
const PASSES = 4; // over the cells at the edge of a region
const NEARLY = 0.93; // of its box: a rectangle, of whose corners some were not told
const JOINED = 0.75; // of the pixels next to a region that lie in a cell of it, as few as may have the one level of the others

/** A mask of a part of a photo, whose first pixel lies at (top, left). */
export interface PlacedMask {
  readonly top: number;
  readonly left: number;
  readonly mask: Mask;
}

/**
 * Where a mosaic lies: the convex hull of its cells; at its edge, just beyond and between them, what is as its cell.
 *
 * ys, xs: the first row and column of each whole cell of its grid, and of the one after the last. members: which of them are of
 * the mosaic, a pixel a cell. What is given back holds all of it.
 */
export function maskOf(rgb: Rgb, grey: Gray, ys: Int32Array, xs: Int32Array, members: Mask): PlacedMask {
  const block = ys[1] - ys[0], lost = toleranceOf(grey, ys, xs, members);
  const tolerance = lost > 1 || areExact(rgb, ys, xs, members) ? lost : LEAST_LOST;
  const box = around(members, ys, xs, rgb); // of the photo: two cells around the mosaic's, beyond which nothing changes
  const { top, left } = box, mask = emptyMask(box.right - left, box.bottom - top), sure = emptyMask(mask.width, mask.height);
  const corners: Point[] = [];
  for (let row = 0; row < members.height; row++) {
    const some = members.data.subarray(row * members.width, (row + 1) * members.width), y = ys[row] - top;
    for (const column of [some.indexOf(1), some.lastIndexOf(1)]) {
      const x = xs[column] - left, last = block - 1;
      if (column >= 0) corners.push([x, y], [x + last, y], [x, y + last], [x + last, y + last]);
    }
    some.forEach((member, column) => {
      if (!member) return;
      const first = y * sure.width + xs[column] - left;
      for (let at = first; at < first + block * sure.width; at += sure.width) sure.data.fill(1, at, at + block);
    });
  }
  fillConvex(mask, convexHull(corners));
  fillNearly(mask, corners);
  const levels = tolerance > 1 ? levelsOf(grey, box) : numbersOf(rgb, box);
  const downs = allLines(ys, box.top, box.bottom), acrosses = allLines(xs, box.left, box.right);
  const alone = dilated(anyOf(mask, downs, acrosses), 1).data.map((reached) => 1 - reached); // cells that stay as they are
  for (let pass = 0; pass < PASSES; pass++) { // beside the hull; then those in its corners, and those that others had covered
    const near = dilated(mask, 2), inner = eroded(mask, block);
    const some = anyOf(near, downs, acrosses);
    for (let cell = 0; cell < alone.length; cell++) {
      if (alone[cell] || !some.data[cell]) continue;
      const row = Math.floor(cell / some.width), column = cell % some.width;
      const place = { top: downs[row], left: acrosses[column], bottom: downs[row + 1], right: acrosses[column + 1] };
      if (anyInBoth(inner, sure, place)) continue;
      growInCell(levels, mask, near, place, tolerance, block);
      alone[cell] = 1;
    }
  }
  return { top, left, mask };
}

/** The cells of the mosaic and two more on each side, as far as the photo goes. */
function around(members: Mask, ys: Int32Array, xs: Int32Array, rgb: Rgb): Box {
  const inside = extentOf(members), more = 2 * (ys[1] - ys[0]);
  const before = (lines: Int32Array, first: number): number => (lines[first] >= more ? lines[first] - more : 0);
  const after = (lines: Int32Array, last: number, length: number): number =>
    lines[last] + more <= length ? lines[last] + more : length;
  return {
    top: before(ys, inside.top), left: before(xs, inside.left),
    bottom: after(ys, inside.bottom, rgb.height), right: after(xs, inside.right, rgb.width),
  };
}

/** The rows and columns of a mask that hold some of it. */
export function extentOf(mask: Mask): Box {
  const { width, height, data } = mask;
  let top = height, left = width, bottom = 0, right = 0;
  for (let y = 0; y < height; y++) {
    const row = data.subarray(y * width, (y + 1) * width), first = row.indexOf(1);
    if (first < 0) continue;
    [top, bottom] = [Math.min(top, y), y + 1];
    [left, right] = [Math.min(left, first), Math.max(right, row.lastIndexOf(1) + 1)];
  }
  return { top, left, bottom, right };
}

/** All of the box of these points, if nearly all of it is there. */
function fillNearly(mask: Mask, points: readonly Point[]): void {
  let top = Infinity, left = Infinity, bottom = -1, right = -1;
  for (const [x, y] of points) {
    [top, left] = [Math.min(top, y), Math.min(left, x)];
    [bottom, right] = [Math.max(bottom, y), Math.max(right, x)];
  }
  let held = 0;
  for (let y = top; y <= bottom; y++) for (let x = left; x <= right; x++) held += mask.data[y * mask.width + x];
  if (held / ((bottom - top + 1) * (right - left + 1)) <= NEARLY) return;
  for (let y = top; y <= bottom; y++) mask.data.fill(1, y * mask.width + left, y * mask.width + right + 1);
}

function levelsOf(grey: Gray, box: Box): Int32Array {
  const width = box.right - box.left, made = new Int32Array(width * (box.bottom - box.top));
  for (let y = box.top; y < box.bottom; y++) {
    made.set(grey.data.subarray(y * grey.width + box.left, y * grey.width + box.right), (y - box.top) * width);
  }
  return made;
}

/** The three channels of each pixel as one number. */
function numbersOf(rgb: Rgb, box: Box): Int32Array {
  const width = box.right - box.left, made = new Int32Array(width * (box.bottom - box.top));
  for (let y = box.top, to = 0; y < box.bottom; y++) {
    for (let at = (y * rgb.width + box.left) * 3, end = to + width; to < end; to++, at += 3) {
      made[to] = (rgb.data[at] << 16) | (rgb.data[at + 1] << 8) | rgb.data[at + 2];
    }
  }
  return made;
}

/** By how many grey levels the pixels of these cells differ from the one of their cell: half a level where none does. */
function toleranceOf(grey: Gray, ys: Int32Array, xs: Int32Array, members: Mask): number {
  const block = ys[1] - ys[0], values = new Uint8Array(block * block), off = new Float32Array(values.length), offs: number[] = [];
  const most = Math.fround((values.length - 1) * Math.fround(0.95)), before = Math.floor(most), share = most - before;
  for (let cell = 0; cell < members.data.length; cell++) {
    if (!members.data[cell]) continue;
    const start = ys[Math.floor(cell / members.width)] * grey.width + xs[cell % members.width];
    for (let y = 0, at = start; y < block; y++, at += grey.width) values.set(grey.data.subarray(at, at + block), y * block);
    const level = medianOf(values); // sorted now
    if (values[0] === values[values.length - 1]) {
      offs.push(0);
      continue;
    }
    for (let i = 0; i < off.length; i++) off[i] = Math.abs(values[i] - level);
    off.sort();
    offs.push(off[before] + (off[Math.min(before + 1, off.length - 1)] - off[before]) * share); // the 95th percentile
  }
  const usual = medianOf(Float32Array.from(offs));
  return usual ? Math.max(LEAST_LOST, 0.5 + usual) : 0.5;
}

/** Whether most of these cells have the one colour of their middle: a JPEG may keep the gray of those that lie on its blocks. */
function areExact({ width, data }: Rgb, ys: Int32Array, xs: Int32Array, members: Mask): boolean {
  const block = ys[1] - ys[0];
  let cells = 0, exact = 0;
  for (let cell = 0; cell < members.data.length; cell++) {
    if (!members.data[cell]) continue;
    const top = ys[Math.floor(cell / members.width)], left = xs[cell % members.width];
    const middle = 3 * ((top + (block >> 1)) * width + left + (block >> 1));
    let others = 0;
    for (let y = top; y < top + block; y++) {
      for (let at = 3 * (y * width + left), end = at + 3 * block; at < end; at += 3) {
        if (data[at] !== data[middle] || data[at + 1] !== data[middle + 1] || data[at + 2] !== data[middle + 2]) others++;
      }
    }
    cells++;
    if (others / block ** 2 <= 0.05) exact++;
  }
  return 2 * exact >= cells;
}

/** The lines of a grid between two borders, and these, from the first of them on. */
function allLines(lines: Int32Array, from: number, to: number): number[] {
  return [0, ...lines.filter((line) => line > from && line < to).map((line) => line - from), to - from];
}

/** Which of the cells between the lines hold some of `mask`. */
function anyOf(mask: Mask, ys: readonly number[], xs: readonly number[]): Mask {
  const made = emptyMask(xs.length - 1, ys.length - 1);
  for (let row = 0; row < made.height; row++) {
    for (let y = ys[row]; y < ys[row + 1]; y++) {
      for (let column = 0; column < made.width; column++) {
        const to = row * made.width + column;
        for (let x = xs[column]; x < xs[column + 1] && !made.data[to]; x++) made.data[to] = mask.data[y * mask.width + x];
      }
    }
  }
  return made;
}

function anyInBoth(one: Mask, other: Mask, place: Box): boolean {
  for (let y = place.top; y < place.bottom; y++) {
    for (let at = y * one.width + place.left, end = y * one.width + place.right; at < end; at++) {
      if (one.data[at] && other.data[at]) return true;
    }
  }
  return false;
}

/**
 * Makes `mask`, in a cell, the part of it that has the level of what is held of it, or of what lies near, and is joined with it.
 *
 * A whole cell of one level, of which nothing is held, is left to the photo: nothing tells that it is a mosaic.
 */
function growInCell(levels: Int32Array, mask: Mask, near: Mask, place: Box, tolerance: number, block: number): void {
  const width = place.right - place.left, height = place.bottom - place.top, size = width * height;
  const cell = new Int32Array(size), held = new Uint8Array(size), beside = new Uint8Array(size);
  let holds = 0, besides = 0;
  for (let i = 0; i < size; i++) {
    const at = (place.top + Math.floor(i / width)) * mask.width + place.left + (i % width);
    cell[i] = levels[at];
    holds += held[i] = mask.data[at];
    besides += beside[i] = near.data[at];
  }
  const seeds = cell.filter((_, i) => (4 * holds > size ? held : beside)[i]);
  let alike: Mask = { width, height, data: new Uint8Array(size) };
  if (tolerance <= 1) {
    const level = mostFrequent(seeds);
    for (let i = 0; i < size; i++) alike.data[i] = cell[i] === level ? 1 : 0;
  } else { // single pixels stand off in a JPEG
    const level = medianOf(Float32Array.from(seeds));
    for (let i = 0; i < size; i++) alike.data[i] = Math.abs(cell[i] - level) <= tolerance ? 1 : 0;
    alike = closed(alike);
  }
  const part = joinedWith(alike, beside);
  let parts = 0, ofHeld = 0, ofBeside = 0;
  for (let i = 0; i < size; i++) {
    if (!part[i]) continue;
    parts++;
    ofHeld += held[i];
    ofBeside += beside[i];
  }
  if (holds && ofHeld / holds < 0.5) part.fill(0); // it was taken for a cell, or lay between some
  else if (ofBeside / besides < (holds ? 0.5 : JOINED)) return;
  else if (size === block * block && !holds && parts / size > (tolerance > 1 ? 0.9 : 0.999)) return;
  for (let y = 0, at = place.top * mask.width + place.left; y < height; y++, at += mask.width) {
    mask.data.set(part.subarray(y * width, (y + 1) * width), at);
  }
}

/** The smallest of the values that are there most often. */
function mostFrequent(values: Int32Array): number {
  values.sort();
  let most = 0, found = 0;
  for (let start = 0, end = 0; start < values.length; start = end) {
    while (values[end] === values[start]) end++;
    if (end - start > most) [most, found] = [end - start, values[start]];
  }
  return found;
}

/** Without holes of a pixel or two: dilated and eroded, as if what lies at the border went on beyond it. */
function closed(mask: Mask): Mask {
  const { width, height } = mask, framed = emptyMask(width + 4, height + 4), made = emptyMask(width, height);
  for (let y = 0; y < framed.height; y++) {
    for (let x = 0; x < framed.width; x++) {
      const from = Math.min(Math.max(y - 2, 0), height - 1) * width + Math.min(Math.max(x - 2, 0), width - 1);
      framed.data[y * framed.width + x] = mask.data[from];
    }
  }
  const whole = eroded(dilated(framed, 1), 1);
  for (let y = 0; y < height; y++) {
    made.data.set(whole.data.subarray((y + 2) * framed.width + 2, (y + 2) * framed.width + 2 + width), y * width);
  }
  return made;
}

/** Those parts of a mask that hold some of `seeds`. */
function joinedWith(mask: Mask, seeds: Uint8Array): Uint8Array {
  const { count, labels } = partsOf(mask, 4), chosen = new Uint8Array(count);
  for (let i = 0; i < labels.length; i++) if (labels[i] && seeds[i]) chosen[labels[i]] = 1;
  return mask.data.map((_, i) => chosen[labels[i]]);
}

/** A mask as those parts of it that do not touch and have `least` pixels; what is smaller goes to the nearest. */
export function largeParts(mask: Mask, least: number): Mask[] {
  const { count, labels } = partsOf(mask, 4), [areas, xs, ys] = [0, 1, 2].map(() => new Float64Array(count));
  for (let i = 0; i < labels.length; i++) {
    areas[labels[i]]++;
    xs[labels[i]] += i % mask.width;
    ys[labels[i]] += Math.floor(i / mask.width);
  }
  const all = Array.from(areas.keys()).slice(1), large = all.filter((label) => areas[label] >= least);
  if (large.length < 2) return [mask];
  const away = (one: number, other: number): number =>
    Math.hypot(xs[one] / areas[one] - xs[other] / areas[other], ys[one] / areas[one] - ys[other] / areas[other]);
  const goesTo = [0, ...all.map((label) =>
    large.includes(label) ? label : large.reduce((best, each) => (away(each, label) < away(best, label) ? each : best)))];
  return large.map((label) => {
    const part = emptyMask(mask.width, mask.height);
    for (let i = 0; i < labels.length; i++) part.data[i] = goesTo[labels[i]] === label ? 1 : 0;
    return part;
  });
}
