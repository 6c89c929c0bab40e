/** The mosaicked regions of a photo, found in its pixels: cells of one grid, even inside, that stand off from those beside. */

import { dilated, smoothed } from "./filters.ts";
import { type Grid, LEAST_BLOCK, sameGrid } from "./grid.ts";
import { type Box, clip, emptyMask, type Gray, grey, type Mask, medianOf, type Rgb, smaller, transposed } from "./image.ts";
import { extentOf, largeParts, maskOf } from "./mask.ts";
import type { Lines } from "./resized.ts";
import { convexHull, fillConvex, partsOf, type Point } from "./shapes.ts";
import { boxOf, edgesAbove, gridOf, MOST_BLOCK, nameOf, type Window, windowsWithGrids } from "./windows.ts";

const STEEP = 8; // grey levels: an edge counts so much at most
const LEAST_CELLS = 9; // that show the mosaic beyond doubt
const LEAST_AREA = 600; // pixels of them
const STRENGTH = 2; // grey levels by which the cells of a mosaic stand off from each other, at least
const LIFT = 6.5; // how many times that is what there is within them; in the blocks of a JPEG hardly more than 5
const LIFT_ELSEWHERE = 4; // the same without the strongest line each way, which may be the seam of two photos
const FULL = 0.3; // of the convex hull of its cells; the lines between the photos of a contact sheet have up to 0.27
const VARIED = 1.5; // times the differences between neighbours: so much a cell varies inside at most, or it is a photo
const TAKEN = -2; // what a cell tells that is of a region already
const ROUNDS = 3;
const TRIES = 3; // to find a region of a grid
const MOST = 100; // regions of a photo
const MOST_TIMES = 8; // a mosaic's blocks may be of 128 pixels, of which windows know
const FAINT = 0.1; // the edges of lines that are none, of those that are
const APART = 0.05; // of the cells of a region: a part that is smaller, and five cells away, is none of it
const single = Math.fround; // NumPy counts in single precision here

/** A mosaic in a photo. */
export interface Region {
  readonly grid: Grid; // on the pixels of the photo
  readonly box: Box;
  readonly mask: Mask; // where in the box it lies
  readonly lines?: Lines; // of the photo, where they are not those of `grid`: of a mosaic that was resized
}

/** What the whole cells of a grid show. Edges in grey levels, a value for each cell. */
interface Lattice {
  readonly ys: Int32Array; // the first row of each, and of the one after
  readonly xs: Int32Array;
  readonly width: number; // cells
  readonly height: number;
  readonly above: Float32Array; // (height + 1, width), the mean edge on each line along each cell
  readonly before: Float32Array; // (width + 1, height), the same of the columns
  readonly borders: Float32Array; // the mean edge at the four borders
  readonly fewer: Float32Array; // as `borders` without the strongest: a cell beside a mosaic has one strong border, too
  readonly within: Float32Array; // the mean edge inside
  readonly told: Float32Array; // -1.5 to 1.5: how much this tells for a mosaic, or against; or TAKEN
}

/** Some cells of a lattice, and it. */
interface Seen {
  readonly lattice: Lattice;
  readonly members: Mask;
}

/**
 * The mosaics of a photo with blocks of 4 pixels and more, after a JPEG of quality 75 too; the surest first.
 *
 * A part that is as even as the photo around it, as in deep shadow, cannot be told; it is taken along where the rest lies about
 * it.
 */
export function findRegions(rgb: Rgb): Region[] {
  if (Math.min(rgb.width, rgb.height) < 3 * LEAST_BLOCK) return [];
  const photo = new Photo(rgb), found: Region[] = [];
  let windows = windowsWithGrids(photo.rows, photo.columns);
  for (let round = 0; round < ROUNDS; round++) { // a mosaic may hide another one, whose lines are among its own
    const before = found.length, inVain = new Map<string, number>(), failed: Window[] = [];
    for (const window of windows) {
      const name = nameOf(window.grid), tries = inVain.get(name) ?? 0;
      if (tries === TRIES || photo.isTaken(window) || found.some((region) => isLeftOver(window, region))) continue;
      const regions = grown(photo, window);
      found.push(...regions);
      for (const region of regions) photo.take(region);
      if (!regions.length) {
        inVain.set(name, tries + 1);
        failed.push(window);
      }
      if (found.length >= MOST) return found.slice(0, MOST);
    }
    windows = failed;
    if (found.length === before) break;
  }
  return found;
}

/** The mosaic of that grid which shows in `seed`, or several that nearly touch. */
export function regionsAlong(rgb: Rgb, grid: Grid, seed: Box): Region[] {
  const photo = new Photo(rgb), seen = seenIn(photo, grid, seed);
  return seen ? regionsOf(photo, grid, seen) : [];
}

/** The edges of a photo, and what of it is a region already. */
class Photo {
  readonly rgb: Rgb;
  readonly grey: Gray;
  readonly rows: Gray; // the edges above each pixel
  readonly columns: Gray; // those to its left, the columns turned to rows
  private readonly taken: Mask;
  private readonly lattices = new Map<string, Lattice | null>();

  constructor(rgb: Rgb) {
    this.rgb = rgb;
    this.grey = grey(rgb);
    this.rows = edgesAbove(this.grey);
    this.columns = edgesAbove(transposed(this.grey));
    this.taken = emptyMask(rgb.width, rgb.height);
  }

  lattice(grid: Grid): Lattice | null {
    const name = nameOf(grid);
    let lattice = this.lattices.get(name);
    if (lattice === undefined) this.lattices.set(name, (lattice = latticeOf(this.rows, this.columns, grid, this.taken)));
    return lattice;
  }

  isTaken({ top, left, side }: Window): boolean {
    return this.taken.data[(top + side / 2) * this.taken.width + left + side / 2] > 0;
  }

  take({ box, mask, grid }: Region): void {
    const { taken } = this, reach = 2 * grid.block;
    for (let y = 0; y < mask.height; y++) {
      for (let x = 0, at = (box.top + y) * taken.width + box.left; x < mask.width; x++, at++) {
        if (mask.data[y * mask.width + x]) taken.data[at] = 1;
      }
    }
    const top = Math.max(0, box.top - reach), left = Math.max(0, box.left - reach);
    const near = emptyMask(Math.min(taken.width, box.right + reach) - left, Math.min(taken.height, box.bottom + reach) - top);
    for (let y = 0, at = top * taken.width + left; y < near.height; y++, at += taken.width) {
      near.data.set(taken.data.subarray(at, at + near.width), y * near.width);
    }
    const all = dilated(near, reach);
    for (let y = 0, at = top * taken.width + left; y < near.height; y++, at += taken.width) {
      taken.data.set(all.data.subarray(y * near.width, (y + 1) * near.width), at);
    }
    this.lattices.clear();
  }
}

/** Whether a window close to a region has a multiple or a part of its grid: that is the region's own, seen once more. */
function isLeftOver(window: Window, { grid: one, box }: Region): boolean {
  const other = window.grid, small = Math.min(one.block, other.block);
  if (one.block === other.block || Math.max(one.block, other.block) % small) return false;
  if ((one.phaseY - other.phaseY) % small || (one.phaseX - other.phaseX) % small) return false;
  const down = window.top + window.side, across = window.left + window.side, reach = 2 * one.block;
  const { top, left } = window;
  return top < box.bottom + reach && down > box.top - reach && left < box.right + reach && across > box.left - reach;
}

/** The region that `window` shows a part of, or several that nearly touch; none where it is no mosaic after all. */
function grown(photo: Photo, window: Window): Region[] {
  let grid = window.grid;
  let seen = seenIn(photo, grid, boxOf(window));
  if (!seen) return [];
  const box = around(seen), better = gridOf(photo.rows, photo.columns, box);
  if (better && !sameGrid(better, grid) && (better.block % grid.block === 0 || grid.block % better.block === 0)) {
    grid = better; // the window may have shown every other line
    seen = seenIn(photo, grid, box);
  }
  const coarse = seen && coarser(photo, grid, around(seen));
  if (coarse) {
    grid = coarse;
    seen = seenIn(photo, grid, box);
  }
  return seen ? regionsOf(photo, grid, seen) : [];
}

/** What lies in the cells that were seen, if that is a mosaic, to the pixel. */
function regionsOf(photo: Photo, grid: Grid, seen: Seen): Region[] {
  if (!isMosaic(seen, grid.block) || isSheet(photo.grey, seen.lattice, seen.members)) return [];
  const whole = maskOf(photo.rgb, photo.grey, seen.lattice.ys, seen.lattice.xs, seen.members);
  const pixels = whole.mask.data.reduce((sum, each) => sum + each, 0);
  if (!pixels) return [];
  return largeParts(whole.mask, Math.max(LEAST_CELLS * grid.block ** 2, APART * pixels)).map((part) => {
    const { top, left, bottom, right } = extentOf(part), mask = emptyMask(right - left, bottom - top);
    for (let y = 0, at = top * part.width + left; y < mask.height; y++, at += part.width) {
      mask.data.set(part.data.subarray(at, at + mask.width), y * mask.width);
    }
    const placed = { top: whole.top + top, left: whole.left + left, bottom: whole.top + bottom, right: whole.left + right };
    return { grid, box: placed, mask };
  });
}

/** The box of the cells, pixels. */
function around({ lattice, members }: Seen): Box {
  const { top, left, bottom, right } = extentOf(members);
  return { top: lattice.ys[top], left: lattice.xs[left], bottom: lattice.ys[bottom], right: lattice.xs[right] };
}

/** The grid of cells larger than windows look for, of whose lines `grid` has some more; null where that is not so. */
function coarser(photo: Photo, grid: Grid, { top, left, bottom, right }: Box): Grid | null {
  const down = linesInside(photo.rows, grid.block, top, bottom, left, right); // the box begins and ends on others
  const across = linesInside(photo.columns, grid.block, left, right, top, bottom);
  for (let times = MOST_TIMES; times > Math.floor(MOST_BLOCK / grid.block); times--) {
    const first = [every(down, times), every(across, times)], block = grid.block * times;
    if (first[0] === null || first[1] === null) continue;
    return { block, phaseY: (top + (first[0] + 1) * grid.block) % block, phaseX: (left + (first[1] + 1) * grid.block) % block };
  }
  return null;
}

/** The mean edge on each line of a grid after the first. */
function linesInside(edges: Gray, block: number, top: number, bottom: number, left: number, right: number): number[] {
  const means: number[] = [];
  for (let y = top + block; y < bottom; y += block) {
    let sum = 0;
    for (let at = y * edges.width + left; at < y * edges.width + right; at++) sum += smaller(edges.data[at], STEEP);
    means.push(sum / (right - left));
  }
  return means;
}

/** The first of the lines, if every so-many-th has nearly all of the edges, and there are some of the others. */
function every(lines: readonly number[], times: number, of: (some: readonly number[]) => number = mean): number | null {
  if (lines.length < times) return null;
  const means = Array.from({ length: times }, (_, first) => mean(lines.filter((_, k) => k % times === first)));
  const first = means.indexOf(Math.max(...means));
  return of(lines.filter((_, k) => k % times !== first)) < FAINT * means[first] ? first : null;
}

function mean(some: readonly number[]): number {
  return some.reduce((sum, each) => sum + each, 0) / some.length;
}

function seenIn(photo: Photo, grid: Grid, seed: Box): Seen | null {
  const lattice = photo.lattice(grid), members = lattice && membersOf(lattice, seed);
  return lattice && members && { lattice, members };
}

function latticeOf(rows: Gray, columns: Gray, grid: Grid, taken: Mask): Lattice | null {
  const { block } = grid, ys = linesOf(grid.phaseY, rows.height, block), xs = linesOf(grid.phaseX, rows.width, block);
  if (ys.length < 3 || xs.length < 3) return null;
  const width = xs.length - 1, height = ys.length - 1;
  const down = onLines(rows, ys, xs), across = onLines(columns, xs, ys);
  const [borders, fewer, within, told] = [0, 1, 2, 3].map(() => new Float32Array(width * height));
  const idle = block === 8 ? 0.3 : 0.15; // grey levels that say nothing; 8 is what a JPEG has
  for (let row = 0, cell = 0; row < height; row++) {
    for (let column = 0; column < width; column++, cell++) {
      const above = down.on[cell], below = down.on[cell + width];
      const before = across.on[column * height + row], after = across.on[(column + 1) * height + row];
      const sum = single(single(single(above + below) + before) + after);
      borders[cell] = sum / 4;
      fewer[cell] = single(sum - Math.max(above, below, before, after)) / 3;
      within[cell] = single(down.between[cell] + across.between[column * height + row]) / (2 * block * (block - 1));
      const y = (ys[row] + ys[row + 1]) >> 1, x = (xs[column] + xs[column + 1]) >> 1;
      if (taken.data[y * taken.width + x]) {
        told[cell] = TAKEN;
        continue;
      }
      const energy = single(borders[cell] + within[cell]);
      const lift = single(single(borders[cell] + single(0.1)) / single(within[cell] + single(idle)));
      told[cell] = (clip(single(Math.log(lift)) - Math.LN2, -1.5, 1.5) * energy) / single(energy + 1);
    }
  }
  return { ys, xs, width, height, above: down.on, before: across.on, borders, fewer, within, told };
}

/** The first row of each whole cell, and of the one after. */
function linesOf(phase: number, length: number, block: number): Int32Array {
  return Int32Array.from({ length: Math.floor((length - phase) / block) + 1 }, (_, k) => phase + k * block);
}

/** Of the edges between rows: the mean on each line along each cell, (R + 1, C), and the sum between its lines, (R, C). */
function onLines(edges: Gray, ys: Int32Array, xs: Int32Array): { on: Float32Array; between: Float32Array } {
  const block = ys[1] - ys[0], columns = xs.length - 1, on = new Float32Array(ys.length * columns);
  const between = new Float32Array((ys.length - 1) * columns);
  for (let row = 0; row < ys.length; row++) { // the last line may be the border of the photo
    for (let y = ys[row]; y < Math.min(row + 1 < ys.length ? ys[row + 1] : ys[row] + 1, edges.height); y++) {
      const isLine = y === ys[row];
      for (let column = 0, at = y * edges.width + xs[0], to = row * columns; column < columns; column++, to++) {
        let sum = 0;
        for (const end = at + block; at < end; at++) sum += smaller(edges.data[at], STEEP);
        if (isLine) on[to] = sum / block;
        else between[to] += sum;
      }
    }
  }
  return { on, between };
}

/** The cells of the mosaic that shows in `seed`; those that tell nothing are taken along. */
function membersOf(lattice: Lattice, seed: Box): Mask | null {
  const { told, width, height, ys, xs } = lattice, smooth = smoothed(told, width, height), some = emptyMask(width, height);
  for (let i = 0; i < told.length; i++) some.data[i] = smooth[i] > single(0.1) && told[i] > single(-0.3) ? 1 : 0;
  const { count, labels } = partsOf(some, 4);
  const within = new Float64Array(count), forIt = new Float64Array(count), areas = new Int32Array(count);
  let inside = 0;
  for (let row = 0, cell = 0; row < height; row++) {
    const y = (ys[row] + ys[row + 1]) >> 1;
    for (let column = 0; column < width; column++, cell++) {
      const x = (xs[column] + xs[column + 1]) >> 1, label = labels[cell];
      if (y > seed.top && y < seed.bottom && x > seed.left && x < seed.right) {
        inside++;
        if (label) within[label] += told[cell];
      }
      forIt[label] += Math.max(told[cell], 0);
      areas[label]++;
    }
  }
  let chosen = 0; // the part of which most tells for a mosaic
  for (let label = 1; label < count; label++) if (within[label] > within[chosen]) chosen = label;
  if (inside < 4 || !chosen) return null;
  const members = emptyMask(width, height);
  for (let i = 0; i < labels.length; i++) members.data[i] = labels[i] === chosen ? 1 : 0;
  if (meanOf(lattice.borders, members) < 0.5 * Math.max(STRENGTH, LIFT * meanOf(lattice.within, members))) {
    return null; // hopeless, whatever it is joined with
  }
  const strongest = Array.from(forIt.keys()).sort((one, other) => forIt[other] - forIt[one]).slice(0, 30);
  const others = strongest.filter((label) =>
    label && label !== chosen && forIt[label] > 1 && areas[label] >= 4 && !hasLargerCells(lattice, labels, label)
  );
  for (let k = 0; k < others.length; ) {
    if (!belongTogether(members, labels, others[k], told)) {
      k++;
      continue;
    }
    for (let i = 0; i < labels.length; i++) if (labels[i] === others[k]) members.data[i] = 1;
    others.splice(k, 1);
    k = 0; // those that lay too far away may belong to it now
  }
  return withoutRim(members, lattice);
}

/** Whether these are parts of the cells of another mosaic, of whose lines the lattice has all and some more. */
function hasLargerCells({ above, before, width, height }: Lattice, labels: Int32Array, label: number): boolean {
  const down = innerLines(above, height, width, (y, x) => labels[y * width + x] === label);
  const across = innerLines(before, width, height, (x, y) => labels[y * width + x] === label);
  const most = Math.floor(Math.min(down.length, across.length, 2 * MOST_TIMES) / 2); // each line twice, at least
  const median = (some: readonly number[]): number => medianOf(Float64Array.from(some)); // at its edge it has other lines
  for (let times = 2; times <= most; times++) {
    if (every(down, times, median) !== null && every(across, times, median) !== null) return true;
  }
  return false;
}

/** Of the mean edges on lines, (rows + 1, columns): the mean of each line where members lie on both of its sides. */
function innerLines(
  edges: Float32Array, rows: number, columns: number, isMember: (row: number, column: number) => boolean,
): number[] {
  const means: number[] = [];
  for (let row = 1; row < rows; row++) {
    let sum = 0, count = 0;
    for (let column = 0; column < columns; column++) {
      if (!isMember(row - 1, column) || !isMember(row, column)) continue;
      sum += edges[row * columns + column];
      count++;
    }
    if (count) means.push(sum / count);
  }
  return means;
}

function meanOf(values: Float32Array, where: Mask): number {
  let sum = 0, count = 0;
  for (let i = 0; i < values.length; i++) {
    if (where.data[i]) {
      sum += values[i];
      count++;
    }
  }
  return sum / count;
}

/** Whether what lies between two parts is no larger than they are, and does not tell against a mosaic. */
function belongTogether(members: Mask, labels: Int32Array, label: number, told: Float32Array): boolean {
  const both = { ...members, data: members.data.map((member, i) => (member || labels[i] === label ? 1 : 0)) }, hull = hullOf(both);
  let whole = 0, between = 0, against = 0;
  for (let i = 0; i < told.length; i++) {
    if (!hull.data[i]) continue;
    whole++;
    if (both.data[i]) continue;
    between++;
    against += told[i];
  }
  return between <= 0.6 * whole && against >= -0.06 * between;
}

/** The cells in the convex hull of members. */
function hullOf({ width, height, data }: Mask): Mask {
  const points: Point[] = [], hull = emptyMask(width, height);
  for (let y = 0; y < height; y++) {
    const row = data.subarray(y * width, (y + 1) * width), first = row.indexOf(1);
    if (first >= 0) points.push([first, y], [row.lastIndexOf(1), y]);
  }
  fillConvex(hull, convexHull(points));
  return hull;
}

/** Less those cells at the edge that are the photo's. */
function withoutRim(members: Mask, lattice: Lattice): Mask | null {
  const { within, fewer } = lattice;
  for (let round = 0; round < 2; round++) {
    const core = coreOf(members), usual = medianWhere(within, core.data.includes(1) ? core : members);
    const most = single(single(2.5 * usual) + single(0.1));
    const left = { ...members, data: members.data.slice() };
    let count = 0, out = 0;
    for (let i = 0; i < within.length; i++) {
      if (!members.data[i]) continue;
      count++;
      if (core.data[i]) continue;
      if (within[i] > most || single(fewer[i] + single(0.1)) < single(single(1.2) * single(within[i] + single(0.15)))) {
        left.data[i] = 0;
        out++;
      }
    }
    if (!out) break;
    if (count - out < 4) return null;
    members = left;
  }
  if (medianWhere(within, members) === 0) { // of a file that lost nothing: each cell is one level exactly
    return large({ ...members, data: members.data.map((member, i) => (within[i] === 0 ? member : 0)) });
  }
  return members;
}

/** Those cells whose four neighbours are members, too. */
function coreOf(members: Mask): Mask {
  const { width, height, data } = members, core = emptyMask(width, height);
  for (let y = 1; y < height - 1; y++) {
    for (let x = 1, at = y * width + 1; x < width - 1; x++, at++) {
      core.data[at] = data[at] & data[at - 1] & data[at + 1] & data[at - width] & data[at + width];
    }
  }
  return core;
}

function medianWhere(values: Float32Array, where: Mask): number {
  return medianOf(values.filter((_, i) => where.data[i]));
}

/** Less those few that lie apart: even spots of the photo. */
function large(members: Mask): Mask {
  const { count, labels } = partsOf(dilated(members, 2), 8), cells = new Float64Array(count);
  for (let i = 0; i < labels.length; i++) if (members.data[i]) cells[labels[i]]++;
  const least = APART * cells.reduce((most, each) => Math.max(most, each), 0);
  return { ...members, data: members.data.map((member, i) => (cells[labels[i]] >= least ? member : 0)) };
}

function isMosaic({ lattice, members }: Seen, block: number): boolean {
  const { borders, within, told, width } = lattice, rows = new Set<number>(), columns = new Set<number>();
  let sure = 0;
  for (let i = 0; i < told.length; i++) {
    if (!members.data[i]) continue;
    rows.add(Math.floor(i / width));
    columns.add(i % width);
    if (told[i] > 0 && borders[i] > single(0.4)) sure++;
  }
  if (sure < LEAST_CELLS || sure * block ** 2 < LEAST_AREA || Math.min(rows.size, columns.size) < 2) return false;
  const strength = meanOf(borders, members), near = dilated(members, 2), alike = emptyMask(width, members.height);
  let far = 0, number = 0;
  for (let i = 0; i < told.length; i++) {
    if (near.data[i] || told[i] <= TAKEN) continue;
    far++;
    if (borders[i] > single(1.5 * within[i])) number += alike.data[i] = 1;
  }
  const usual = number > 0.25 * far && 0.25 * far > 5 ? medianWhere(borders, alike) : 0; // the grid of a JPEG goes on there
  const level = meanOf(within, members) + 0.15;
  return strength >= Math.max(STRENGTH, 2.2 * usual, LIFT * level) && elsewhere(lattice, members) >= LIFT_ELSEWHERE * level;
}

/** The mean edge at the borders of members, (R, C), without the strongest line each way. */
function elsewhere({ above, before }: Lattice, { width, height, data }: Mask): number {
  let sums = 0, counts = 0;
  const add = (edges: Float32Array, rows: number, columns: number, isMember: (row: number, column: number) => boolean): void => {
    let most = -1, number = 0;
    for (let row = 0; row <= rows; row++) {
      let sum = 0, count = 0;
      for (let column = 0; column < columns; column++) {
        if (!(row && isMember(row - 1, column)) && !(row < rows && isMember(row, column))) continue;
        sum += edges[row * columns + column];
        count++;
      }
      if (sum > most) [most, number] = [sum, count];
      sums += sum;
      counts += count;
    }
    sums -= most;
    counts -= number;
  };
  add(above, height, width, (y, x) => data[y * width + x] > 0);
  add(before, width, height, (x, y) => data[y * width + x] > 0);
  return sums / counts;
}

/** Whether members, (R, C), are the photos of a contact sheet, or the lines between them. */
function isSheet(gray: Gray, { ys, xs }: Lattice, members: Mask): boolean {
  const { width, height, data } = members, hull = hullOf(members), means = new Float64Array(data.length);
  let cells = 0, whole = 0, spread = 0, differences = 0, pairs = 0;
  for (let row = 0, cell = 0; row < height; row++) {
    for (let column = 0; column < width; column++, cell++) {
      whole += hull.data[cell];
      if (!data[cell]) continue;
      cells++;
      let sum = 0, squares = 0;
      for (let y = ys[row]; y < ys[row + 1]; y++) {
        for (let at = y * gray.width + xs[column], end = y * gray.width + xs[column + 1]; at < end; at++) {
          sum += gray.data[at];
          squares += gray.data[at] ** 2;
        }
      }
      const pixels = (ys[row + 1] - ys[row]) * (xs[column + 1] - xs[column]);
      means[cell] = sum / pixels;
      spread += Math.sqrt(Math.max(0, squares / pixels - means[cell] ** 2));
      for (const other of [row && data[cell - width] ? cell - width : -1, column && data[cell - 1] ? cell - 1 : -1]) {
        if (other < 0) continue;
        differences += Math.abs(means[cell] - means[other]);
        pairs++;
      }
    }
  }
  return cells < FULL * whole || spread / cells > VARIED * (pairs ? differences / pairs : 0);
}
