/** The grid of a mosaic: found in the pixels; the mean of every cell, the mosaic painted from them, the smooth image between. */

import {
  type Affine, emptyRgb, type Gray, grey, larger, modulo, type Rgb, resized, smaller, sumOf, transposed, warped,
} from "./image.ts";

const SAMPLES = 8; // a side of a cell, of which the middle half tells its mean
export const LEAST_BLOCK = 4; // pixels: the smallest cell that `estimate` tells from the texture of a photo
const MOST_BLOCK = 64; // that it looks for

/** Square cells of `block` pixels; the first whole cell starts at row phaseY, column phaseX (both 0..block-1). */
export interface Grid {
  readonly block: number;
  readonly phaseY: number;
  readonly phaseX: number;
}

export function sameGrid(one: Grid, other: Grid): boolean {
  return one.block === other.block && one.phaseY === other.phaseY && one.phaseX === other.phaseX;
}

/** Where the cells along one axis start, and where the last one ends. */
export function cellsOf(length: number, block: number, phase: number): Int32Array {
  const lines = phase ? [0] : [];
  for (let start = phase; start < length; start += block) lines.push(start);
  return Int32Array.from([...lines, length]);
}

/** The mean of every cell, rounded half up: an image of one pixel a cell. A cell that the border cuts takes what is there. */
export function cellMeans(rgb: Rgb, grid: Grid): Rgb {
  const ys = cellsOf(rgb.height, grid.block, grid.phaseY), xs = cellsOf(rgb.width, grid.block, grid.phaseX);
  const made = emptyRgb(xs.length - 1, ys.length - 1);
  const sums = new Float64Array(made.width * 3);
  for (let row = 0; row < made.height; row++) {
    sums.fill(0);
    for (let y = ys[row]; y < ys[row + 1]; y++) addCells(rgb.data, y * rgb.width, xs, sums);
    for (let column = 0; column < made.width; column++) {
      const count = (ys[row + 1] - ys[row]) * (xs[column + 1] - xs[column]);
      for (let c = 0; c < 3; c++) {
        made.data[(row * made.width + column) * 3 + c] = Math.floor((2 * sums[column * 3 + c] + count) / (2 * count));
      }
    }
  }
  return made;
}

/** The row of `data` that starts at pixel `start`, added up between the columns `xs`. */
function addCells(data: Uint8Array, start: number, xs: Int32Array, sums: Float64Array): void {
  for (let column = 0; column < xs.length - 1; column++) {
    let r = 0, g = 0, b = 0;
    for (let at = (start + xs[column]) * 3; at < (start + xs[column + 1]) * 3; at += 3) {
      r += data[at];
      g += data[at + 1];
      b += data[at + 2];
    }
    sums[column * 3] += r;
    sums[column * 3 + 1] += g;
    sums[column * 3 + 2] += b;
  }
}

/** Every cell filled with its mean. */
export function paint(means: Rgb, grid: Grid, width: number, height: number): Rgb {
  const ys = cellsOf(height, grid.block, grid.phaseY), xs = cellsOf(width, grid.block, grid.phaseX);
  const made = emptyRgb(width, height);
  for (let row = 0; row < means.height; row++) {
    const first = ys[row] * width * 3;
    for (let column = 0; column < means.width; column++) {
      const at = (row * means.width + column) * 3;
      for (let x = xs[column]; x < xs[column + 1]; x++) made.data.set(means.data.subarray(at, at + 3), first + x * 3);
    }
    for (let y = ys[row] + 1; y < ys[row + 1]; y++) made.data.copyWithin(y * width * 3, first, first + width * 3);
  }
  return made;
}

/** The bicubic of the cell means: the best that can be said of a mosaic without having seen a face. */
export function between(means: Rgb, grid: Grid, width: number, height: number): Rgb {
  const smooth = resized(means, means.width * grid.block, means.height * grid.block, "cubic");
  const top = modulo(-grid.phaseY, grid.block), left = modulo(-grid.phaseX, grid.block); // how much of the first cell is cut away
  const made = emptyRgb(width, height);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * smooth.width + left) * 3;
    made.data.set(smooth.data.subarray(start, start + width * 3), y * width * 3);
  }
  return made;
}

/** The mean of the middle of each cell. `toCells`: from pixels to cells, the centre of the first one at (0, 0). */
export function middles(rgb: Rgb, toCells: Affine, columns: number, rows: number): Rgb {
  const shift = 0.5 / SAMPLES - 0.5; // from samples, SAMPLES a side of a cell
  const onto = {
    scaleX: 1 / toCells.scaleX / SAMPLES, shiftX: (shift - toCells.shiftX) / toCells.scaleX,
    scaleY: 1 / toCells.scaleY / SAMPLES, shiftY: (shift - toCells.shiftY) / toCells.scaleY,
  };
  const seen = warped(rgb, onto, columns * SAMPLES, rows * SAMPLES, "linear");
  const made = emptyRgb(columns, rows), out = new Uint8ClampedArray(made.data.buffer);
  for (let i = 0; i < out.length; i++) {
    const channel = i % 3, column = ((i - channel) / 3) % columns, row = (i - channel - column * 3) / (3 * columns);
    let sum = 0;
    for (let y = SAMPLES / 4; y < (3 * SAMPLES) / 4; y++) {
      const at = ((row * SAMPLES + y) * seen.width + column * SAMPLES) * 3 + channel;
      for (let x = SAMPLES / 4; x < (3 * SAMPLES) / 4; x++) sum += seen.data[at + x * 3];
    }
    out[i] = sum / (SAMPLES / 2) ** 2;
  }
  return made;
}

// --- finding the grid

/** The edges between the rows of an image, as means over the columns: the first one lies before row 1. */
interface Edges {
  /**
   * Grey levels of edges that stand alone, as those of cells do: less what the rows beside have. Each counts 4 at most, so that
   * those of the photo do not drown the others.
   */
  readonly levels: Float64Array;
  readonly alone: Float64Array; // the share of steep edges that stand alone
  readonly steep: Float64Array; // of steep edges
  readonly unequal: Float64Array; // of any
}

/** The grid of the mosaic that covers an image, all of it or a part; null where there is none, or hardly a trace. */
export function estimate(rgb: Rgb): Grid | null {
  if (Math.min(rgb.width, rgb.height) < 2 * LEAST_BLOCK) return null;
  const image = grey(rgb);
  const axes = [edgesOf(image), edgesOf(transposed(image))];
  const levels = axes.map((edges) => edges.levels), wholes = levels.map(momentsOf);
  let best = -1, found = { block: 0, phaseY: 0, phaseX: 0 };
  for (let block = 2; block <= MOST_BLOCK; block++) { // a photo enlarged pixel by pixel is a mosaic of 2; 4 would explain a half
    const [down, across] = levels.map((edges, axis) => bestPhase(edges, wholes[axis], block));
    if (down.gain + across.gain > best) {
      best = down.gain + across.gain;
      found = { block, phaseY: down.phase, phaseX: across.phase };
    }
  }
  return found.block >= LEAST_BLOCK && isMosaic(axes, found, best) ? found : null;
}

function edgesOf(image: Gray): Edges {
  const { width, height } = image;
  const edges = new Uint8Array((height + 5) * width); // three rows of zeros before and after
  for (let i = width; i < image.data.length; i++) edges[i + 2 * width] = Math.abs(image.data[i] - image.data[i - width]);
  const [levels, alone, steep, unequal] = [0, 1, 2, 3].map(() => new Float64Array(height - 1));
  for (let row = 0; row < height - 1; row++) {
    let levelSum = 0, aloneSum = 0, steepSum = 0, unequalSum = 0;
    for (let at = (row + 3) * width; at < (row + 4) * width; at++) {
      const edge = edges[at], apart = edge - larger(edges[at - width], edges[at + width]);
      unequalSum += smaller(edge, 1);
      levelSum += smaller(larger(apart, 0), 4);
      if (edge <= 8) continue;
      steepSum++;
      const far = Math.max(edges[at - 2 * width], edges[at + 2 * width], edges[at - 3 * width], edges[at + 3 * width]);
      if (apart - far > 8) aloneSum++;
    }
    levels[row] = levelSum / width;
    alone[row] = aloneSum / width;
    steep[row] = steepSum / width;
    unequal[row] = unequalSum / width;
  }
  return { levels, alone, steep, unequal };
}

/** The sum of some edges, of their squares, and how many there are; the highest of them. */
export interface Moments {
  readonly count: number;
  readonly sum: number;
  readonly squares: number;
  readonly highest: number;
}

export function momentsOf(edges: Float64Array): Moments {
  const squares = edges.map((edge) => edge * edge);
  return { count: edges.length, sum: sumOf(edges), squares: sumOf(squares), highest: Math.max(...edges) };
}

/** The phase of the likeliest lines of a block, and how much likelier they are than none. */
function bestPhase(edges: Float64Array, whole: Moments, block: number): { gain: number; phase: number } {
  let best = -1, found = 0;
  for (let phase = 0; phase < block; phase++) {
    let lines = 0, on = 0, onSquares = 0;
    for (let i = modulo(phase - 1, block); i < edges.length; i += block) {
      lines++;
      on += edges[i];
      onSquares += edges[i] * edges[i];
    }
    const gain = gainOf(whole, lines, on, onSquares);
    if (gain > best) {
      best = gain;
      found = phase;
    }
  }
  return { gain: best, phase: found };
}

/**
 * How much likelier edges are as two normal distributions, on lines and off them, than as one: a log likelihood, 0 or more.
 *
 * Of them, `lines` lie on lines; `on`, `onSquares`: their sum, and that of their squares. Half the true block has lines without
 * edges, twice the block edges without lines: either widens one of the two.
 */
export function gainOf(whole: Moments, lines: number, on: number, onSquares: number): number {
  const { count, sum, squares, highest } = whole, rest = count - lines, some = Math.max(lines, 1);
  const meanOn = on / some, meanOff = (sum - on) / rest;
  if (!(meanOn > meanOff)) return 0;
  const blur = 1e-4 + (0.1 * highest) ** 2; // a variance: the traces of a JPEG's blocks are no reason to split a cell
  const variance = Math.max(squares / count - (sum / count) ** 2, 0) + blur;
  const offVariance = Math.max((squares - onSquares) / rest - meanOff ** 2, 0) + blur;
  const onVariance = Math.max(onSquares / some - meanOn ** 2 + blur, offVariance);
  return 0.5 * (count * Math.log(variance) - rest * Math.log(offVariance) - lines * Math.log(onVariance));
}

/** Whether the best grid is that of a mosaic: not found by chance, nor that of a JPEG's blocks, whose edges are faint. */
function isMosaic(axes: readonly Edges[], grid: Grid, gain: number): boolean {
  const on = { count: 0, alone: 0, steep: 0, unequal: 0 }, off = { ...on };
  axes.forEach((edges, axis) => {
    for (let i = 0; i < edges.levels.length; i++) {
      const side = (i + 1) % grid.block === (axis ? grid.phaseX : grid.phaseY) ? on : off;
      side.count += 1;
      side.alone += edges.alone[i];
      side.steep += edges.steep[i];
      side.unequal += edges.unequal[i];
    }
  });
  if (!on.count) return false;
  const alone = on.alone / on.count, unequal = on.unequal / on.count;
  if (off.unequal === 0 && gain > 15 && (alone > 0.01 || unequal > 0.4 || (gain > 60 && grid.block !== 8))) {
    return true; // cells of one value each, all over: no photo is like that
  }
  const idle = grid.block === 8 ? 0.015 : 0.005; // a share that says nothing; 8 is what a JPEG has
  const lift = (alone + idle) / (off.alone / off.count + (0.1 * off.steep) / off.count + idle);
  return on.count >= 5 && Math.min(gain, 60) * lift ** 3 > 700; // fewer lines may well be edges of the photo
}
