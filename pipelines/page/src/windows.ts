/** Where in a photo the grid of a mosaic shows: windows whose edges lie on lines at equal distances, both ways. */

import { type Grid, LEAST_BLOCK, type Moments } from "./grid.ts";
import { type Box, type Gray, larger, medianOf, smaller } from "./image.ts";

export const MOST_BLOCK = 128; // pixels: the largest cell that is looked for
const FAINT = 4; // grey levels: an edge counts so much at most, so that those of the photo do not drown those of the cells
const JPEG = 2; // grey levels by which the blocks of a JPEG stand off, mostly
const LEAST_LIFT = 2; // times: so much stronger than the rest the lines of a grid are, at least
const GRIDS = 24; // that are looked at further
// Windows of so many pixels a side tell of blocks from … to …: at least four cells lie in each.
const WINDOWS = [[64, LEAST_BLOCK, 12], [128, 8, 24], [256, 16, 64], [512, 48, MOST_BLOCK]] as const;
const single = Math.fround; // NumPy counts in single precision here, and near ties go as they go there

/** A square in which a grid was seen, pixels of the photo. */
export interface Window {
  readonly score: number; // the higher, the surer
  readonly grid: Grid;
  readonly top: number;
  readonly left: number;
  readonly side: number;
}

export function boxOf({ top, left, side }: Window): Box {
  return { top, left, bottom: top + side, right: left + side };
}

/** A grid as a key. */
export function nameOf(grid: Grid): string {
  return `${grid.block} ${grid.phaseY} ${grid.phaseX}`;
}

/**
 * Of each pixel the edge above it, grey levels, less what the edges next to that one have.
 *
 * The border of a cell stands alone, between even pixels; edges of a photo are wider. Where the photo was a JPEG, so that every
 * eighth line stands off a little, these are weakened.
 */
export function edgesAbove(grey: Gray): Gray {
  const { width, height, data } = grey, alone = new Uint8Array(data.length), sums = new Float64Array(height);
  const rows = [0, 1, 2].map(() => new Uint8Array(width)); // the edges above three rows
  const fill = (y: number): void => {
    const edges = rows[y % 3];
    if (y >= height) edges.fill(0);
    else for (let x = 0, at = y * width; x < width; x++, at++) edges[x] = Math.abs(data[at] - data[at - width]);
  };
  if (height > 1) fill(1);
  for (let y = 1; y < height; y++) {
    fill(y + 1);
    sums[y] = leaveAlone(rows[(y - 1) % 3], rows[y % 3], rows[(y + 1) % 3], alone.subarray(y * width, (y + 1) * width));
  }
  if (height > 16) weaken(alone, width, sums.map((sum) => single(sum * single(1 / width))));
  return { width, height, data: alone };
}

/** A row of edges less what those before and after have; returns the sum, each counted FAINT at most. */
function leaveAlone(before: Uint8Array, edges: Uint8Array, after: Uint8Array, alone: Uint8Array): number {
  let sum = 0;
  for (let x = 0; x < edges.length; x++) {
    const apart = larger(edges[x] - larger(before[x], after[x]), 0);
    alone[x] = apart;
    sum += smaller(apart, FAINT);
  }
  return sum;
}

/** Every eighth row less strong, if a JPEG's blocks begin there; `means` are of the rows. */
function weaken(alone: Uint8Array, width: number, means: Float64Array): void {
  const usual = Array.from({ length: 8 }, (_, phase) => medianOf(means.filter((_, y) => y >= (phase || 8) && y % 8 === phase)));
  const phase = usual.indexOf(Math.max(...usual));
  if (usual[phase] <= 1.4 * medianOf(Float64Array.from(usual.filter((_, each) => each !== phase))) + 0.03) return;
  for (let start = phase * width; start < alone.length; start += 8 * width) {
    for (let at = start; at < start + width; at++) alone[at] = Math.max(alone[at] - JPEG, 0);
  }
}

/**
 * The windows worth a closer look, the surest grids first: the best window of each, and those of the same grid further away.
 *
 * rows, columns: the edges above each pixel and to its left, the columns turned to rows.
 */
export function windowsWithGrids(rows: Gray, columns: Gray): Window[] {
  const grids = new Map<string, Window[]>();
  for (const window of allWindows(rows, columns)) {
    const name = nameOf(window.grid), some = grids.get(name);
    if (some) some.push(window);
    else grids.set(name, [window]);
  }
  const surest = [...grids.values()].map((windows) => {
    windows.sort((a, b) => b.score - a.score || b.top - a.top || b.left - a.left || b.side - a.side);
    return { windows, score: windows.slice(0, 12).reduce((sum, window) => sum + window.score, 0) };
  });
  surest.sort((one, other) => other.score - one.score);
  return surest.slice(0, GRIDS).flatMap(({ windows }) => {
    const shown: Window[] = [];
    for (const window of windows.slice(0, 200)) {
      if (shown.every((other) => Math.max(Math.abs(window.top - other.top), Math.abs(window.left - other.left)) > other.side)) {
        shown.push(window);
      }
    }
    return shown;
  });
}

/** The likeliest grid of an area that a mosaic covers, of whose photo these are the edges. */
export function gridOf(rows: Gray, columns: Gray, area: Box): Grid | null {
  const { top, left, bottom, right } = area;
  const most = Math.min(MOST_BLOCK, Math.floor(Math.min(bottom - top, right - left) / 3));
  if (most < LEAST_BLOCK) return null;
  const down = new Profile(faintMeans(rows, top, bottom, left, right));
  const across = new Profile(faintMeans(columns, left, right, top, bottom));
  let best = -1, found: Grid | null = null;
  for (let block = LEAST_BLOCK; block <= most; block++) {
    const [one, other] = [down.lines(block), across.lines(block)];
    if (single(one.gain + other.gain) > best) {
      best = single(one.gain + other.gain);
      found = { block, phaseY: (one.phase + top) % block, phaseX: (other.phase + left) % block };
    }
  }
  return found;
}

/** The means of some rows between two columns; of the first one 0, an edge with what lies outside. */
function faintMeans(edges: Gray, top: number, bottom: number, left: number, right: number): Float32Array {
  const means = new Float32Array(bottom - top), share = single(1 / (right - left));
  for (let y = top + 1; y < bottom; y++) {
    let sum = 0;
    for (let at = y * edges.width + left; at < y * edges.width + right; at++) sum += smaller(edges.data[at], FAINT);
    means[y - top] = sum * share;
  }
  return means;
}

/** Every window with a grid. */
function* allWindows(rows: Gray, columns: Gray): Generator<Window> {
  const { width, height } = rows;
  let rowSums: Sums | null = null, columnSums: Sums | null = null;
  for (const [most, least, largest] of WINDOWS) {
    const side = Math.floor(Math.min(most, width, height) / 8) * 8, step = Math.max(8, Math.floor(side / 4));
    const blocks = Array.from({ length: largest - least + 1 }, (_, k) => least + k).filter((block) => 4 * block <= side);
    if (!blocks.length) continue;
    rowSums = sumsOf(rows, step, rowSums);
    columnSums = sumsOf(columns, step, columnSums);
    const byRow = windowSums(rowSums, height, side), byColumn = windowSums(columnSums, width, side);
    for (let top = 0; top + side <= height; top += step) {
      for (let left = 0; left + side <= width; left += step) {
        const down = (left / step) * height + top, across = (top / step) * width + left; // where its sums begin
        if (!couldLift(byRow, down, side, blocks) || !couldLift(byColumn, across, side, blocks)) continue;
        const window = windowOf(meansOf(byRow, down, side), meansOf(byColumn, across, side), blocks, top, left);
        if (window) yield window;
      }
    }
  }
}

/** Of each row, the sums over `step` pixels: (H, W / step). */
interface Sums {
  readonly step: number;
  readonly count: number; // in a row
  readonly values: Uint16Array;
}

/** Those of half the step may be given: they save looking at all pixels again. */
function sumsOf(edges: Gray, step: number, finer: Sums | null): Sums {
  const { width, height, data } = edges, count = Math.floor(width / step), values = new Uint16Array(count * height);
  for (let y = 0, to = 0; y < height; y++) {
    if (finer && finer.step * 2 === step) {
      for (let end = to + count, at = y * finer.count; to < end; to++, at += 2) {
        values[to] = finer.values[at] + finer.values[at + 1];
      }
      continue;
    }
    for (let cell = 0, at = y * width; cell < count; cell++, to++) {
      let sum = 0;
      for (const end = at + step; at < end; at++) sum += smaller(data[at], FAINT);
      values[to] = sum;
    }
  }
  return { step, count, values };
}

/** Of every window of `side` pixels, a step apart, the sums along the rows of the photo: (windows, H). */
function windowSums(sums: Sums, height: number, side: number): Uint16Array {
  const { step, count, values } = sums, cells = Math.floor(side / step), windows = count - cells + 1;
  const made = new Uint16Array(windows * height);
  for (let y = 0; y < height; y++) {
    let sum = 0;
    for (let cell = 0, at = y * count; cell < count; cell++, at++) {
      sum += values[at];
      if (cell >= cells) sum -= values[at - cells];
      if (cell >= cells - 1) made[(cell - cells + 1) * height + y] = sum;
    }
  }
  return made;
}

/** The means of a window's rows. */
function meansOf(sums: Uint16Array, start: number, side: number): Float32Array {
  const means = new Float32Array(side), pixels = pixelsAcross(side);
  for (let i = 0; i < side; i++) means[i] = sums[start + i] / pixels;
  return means;
}

/** Of how many pixels the sums of a window are: whole steps. */
function pixelsAcross(side: number): number {
  const step = Math.max(8, Math.floor(side / 4));
  return Math.floor(side / step) * step;
}

/** The grid that shows in a window, by the means of its rows and columns. */
function windowOf(
  byRow: Float32Array, byColumn: Float32Array, blocks: readonly number[], top: number, left: number,
): Window | null {
  const down = new Profile(byRow), across = new Profile(byColumn);
  let best = -1, found: [Found, Found] | null = null;
  for (const block of blocks) {
    const one = down.lines(block);
    if (one.gain <= best) continue;
    const other = across.lines(block);
    if (other.gain <= best) continue;
    best = Math.min(one.gain, other.gain);
    found = [one, other];
  }
  if (!found) return null;
  const [{ block, phase: phaseY, lift: liftY }, { phase: phaseX, lift: liftX }] = found, lift = Math.min(liftY, liftX);
  const score = single(Math.min(best, 60) * Math.min(lift, 8));
  if (!(best > 12 && lift > LEAST_LIFT && score > 60)) return null;
  const grid = { block, phaseY: (phaseY + top) % block, phaseX: (phaseX + left) % block };
  return { score, grid, top, left, side: byRow.length };
}

const counts = new Uint16Array(512 * FAINT + 1); // how many rows have each sum; all 0 between the calls
const until = new Float64Array(512); // the sums of the strongest rows, of one to all

/** Whether some of a window's rows stand off, and the strongest of them, wherever they are, by LEAST_LIFT: else no grid's do. */
function couldLift(sums: Uint16Array, start: number, side: number, blocks: readonly number[]): boolean {
  const most = Math.floor(side / blocks[0]) + 1, pixels = pixelsAcross(side); // lines
  let whole = 0, highest = 0;
  for (let at = start; at < start + side; at++) {
    const sum = sums[at];
    whole += sum;
    if (sum > highest) highest = sum;
  }
  if (highest <= 0.3 * pixels) return false; // all is even
  // no line is stronger than the strongest
  if (liftOf(highest / pixels, Math.max(whole - most * highest, 0) / (side - most) / pixels) <= LEAST_LIFT) return false;
  for (let at = start; at < start + side; at++) counts[sums[at]]++;
  for (let value = highest, number = 0, sum = 0; number < most; value--) {
    for (let more = counts[value]; more > 0 && number < most; more--) until[number++] = sum += value;
  }
  for (let at = start; at < start + side; at++) counts[sums[at]] = 0;
  for (const block of blocks) {
    for (let lines = Math.floor(side / block), end = lines + 1; lines <= end; lines++) {
      const on = until[lines - 1];
      if (liftOf(on / lines / pixels, (whole - on) / (side - lines) / pixels) > LEAST_LIFT) return true;
    }
  }
  return false;
}

/** How many times stronger the lines of a grid are than what is between them; means. */
function liftOf(on: number, off: number): number {
  return single(single(on + 0.05) / single(off + 0.05));
}

/** The lines of a block, at the phase of the strongest ones. */
interface Found {
  readonly block: number;
  readonly phase: number;
  readonly gain: number;
  readonly lift: number; // how many times stronger
}

/** The means of the rows of an area, in which lines are looked for. */
class Profile {
  private readonly means: Float32Array;
  private readonly whole: Moments;
  private static readonly sums = new Float32Array(MOST_BLOCK); // of each phase

  constructor(means: Float32Array) {
    let sum = 0, squares = 0, highest = 0;
    for (const each of means) {
      sum += each;
      squares += single(each * each);
      if (each > highest) highest = each;
    }
    this.means = means;
    this.whole = { count: means.length, sum: single(sum), squares: single(squares), highest };
  }

  lines(block: number): Found {
    const { means, whole } = this, number = means.length, sums = Profile.sums;
    for (let phase = 0; phase < block; phase++) sums[phase] = means[phase];
    for (let start = block; start < number; start += block) {
      for (let at = start, phase = 0, end = Math.min(start + block, number); at < end; at++, phase++) sums[phase] += means[at];
    }
    let best = -1, phase = 0;
    for (let each = 0; each < block; each++) {
      const mean = sums[each] / Math.ceil((number - each) / block);
      if (mean > best) {
        best = mean;
        phase = each;
      }
    }
    const lines = Math.ceil((number - phase) / block), on = sums[phase];
    let onSquares = 0;
    for (let at = phase; at < number; at += block) onSquares = single(onSquares + single(means[at] * means[at]));
    const lift = liftOf(single(on / lines), single(single(whole.sum - on) / (number - lines)));
    return { block, phase, gain: singleGainOf(whole, lines, on, onSquares), lift };
  }
}

/** As `gainOf`, in single precision. */
function singleGainOf({ count, sum, squares, highest }: Moments, lines: number, on: number, onSquares: number): number {
  const rest = count - lines, mean = single(sum / count);
  const meanOn = single(on / lines), meanOff = single(single(sum - on) / rest);
  if (!(meanOn > meanOff)) return 0;
  const tenth = single(single(0.1) * highest), blur = single(single(1e-4) + single(tenth * tenth));
  const variance = single(Math.max(single(single(squares / count) - single(mean * mean)), 0) + blur);
  const off = single(single(single(squares - onSquares) / rest) - single(meanOff * meanOff));
  const offVariance = single(Math.max(off, 0) + blur);
  const onVariance = Math.max(single(single(single(onSquares / lines) - single(meanOn * meanOn)) + blur), offVariance);
  const whole = single(count * singleLog(variance)), apart = single(lines * singleLog(onVariance));
  return 0.5 * single(single(whole - single(rest * singleLog(offVariance))) - apart);
}

function singleLog(value: number): number {
  return single(Math.log(value));
}
