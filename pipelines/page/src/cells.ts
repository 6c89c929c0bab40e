/**
 * The cells of a mosaic, and the images that a model of mosaics takes and makes: CELL pixels a cell, wherever and however large
 * the cells were. To such a model all mosaics are alike; the size of their cells is the size of the photo, no more.
 */

import * as grids from "./grid.ts";
import { type Affine, clamped, cut, emptyRgb, type Gray, type Rgb, resized, warped } from "./image.ts";
import * as resizedMosaic from "./resized.ts";
import { shownIn } from "./shown.ts";

export const CELL = 8; // pixels a side of a cell for a model

/** The cells of a mosaic on an image. */
export interface Cells {
  readonly means: Rgb; // the colour of each
  readonly onto: Affine; // from pixels of the image to cells; the centre of the first pixel, and of the first cell, is (0, 0)
  readonly weights: Gray | null; // how much of the mosaic shows in each pixel; null: 255 everywhere
}

/** The side of a cell, pixels of the image. */
export function blockOf(cells: Cells): number {
  return 1 / Math.sqrt(Math.abs(cells.onto.scaleX * cells.onto.scaleY));
}

/** The cells of an image, all of it under the mosaic of `grid`. */
export function ofGrid(rgb: Rgb, grid: grids.Grid): Cells {
  return { means: grids.cellMeans(rgb, grid), onto: affineOf(grid), weights: null };
}

/** From pixels to the cells of `grid`, the first one being that which the border cuts, if it cuts one. */
export function affineOf({ block, phaseX, phaseY }: grids.Grid): Affine {
  const shift = (phase: number): number => -(phase + (block - 1) / 2 - (phase ? block : 0)) / block;
  return { scaleX: 1 / block, shiftX: shift(phaseX), scaleY: 1 / block, shiftY: shift(phaseY) };
}

/** The cells of an image, by what its pixels tell; null where no mosaic is seen. */
export function estimated(a: Rgb): Cells | null {
  const grid = grids.estimate(a);
  if (grid) {
    const found = ofGrid(a, grid), shown = shownIn(a, grid, found.means);
    if (shown) {
      if (isPainted(a, grid, found.means)) return found;
      const other = ofResized(a);
      if (other && drifts(grid, other, Math.max(a.width, a.height))) return other;
      return shown.data.includes(0) ? { ...found, weights: { ...shown, data: shown.data.map((each) => 255 * each) } } : found;
    }
  }
  return ofResized(a);
}

function isPainted(a: Rgb, grid: grids.Grid, means: Rgb): boolean {
  const painted = grids.paint(means, grid, a.width, a.height);
  return painted.data.every((value, i) => value === a.data[i]);
}

/** Whether cells of nearly the side of those of `grid` lie off them by a pixel somewhere. */
function drifts(grid: grids.Grid, other: Cells, length: number): boolean {
  const away = Math.abs(blockOf(other) - grid.block) / grid.block;
  return 1 / length < away && away < 0.05;
}

/** The cells of a mosaic that was resized since it was laid. */
function ofResized(a: Rgb): Cells | null {
  const lines = resizedMosaic.estimate(a);
  return lines && ofLines(a, lines);
}

/** The cells of an image between `lines`: the means of their middles. */
export function ofLines(a: Rgb, lines: resizedMosaic.Lines): Cells {
  const { block } = lines, before = (first: number): number => first - block * Math.ceil(first / block); // 0 or before
  const left = before(lines.firstX), top = before(lines.firstY);
  const shift = (first: number): number => (0.5 - first) / block - 0.5;
  const onto = { scaleX: 1 / block, shiftX: shift(left), scaleY: 1 / block, shiftY: shift(top) };
  const means = grids.middles(a, onto, Math.ceil((a.width - left) / block), Math.ceil((a.height - top) / block));
  return { means, onto, weights: null };
}

/**
 * The mosaic of `means` in cells of CELL pixels; its sides are multiples of `stride`.
 *
 * The last row and column are repeated where `stride` asks for more.
 */
export function even(means: Rgb, stride = CELL): Rgb {
  const rounded = (cells: number): number => Math.ceil((cells * CELL) / stride) * stride;
  const made = emptyRgb(rounded(means.width), rounded(means.height)), length = made.width * 3;
  for (let y = 0; y < made.height; y++) {
    if (y % CELL) {
      made.data.copyWithin(y * length, (y - 1) * length, y * length);
      continue;
    }
    const row = Math.min(y / CELL, means.height - 1) * means.width;
    for (let x = 0; x < made.width; x++) {
      const from = (row + Math.min(Math.floor(x / CELL), means.width - 1)) * 3, to = y * length + x * 3;
      made.data[to] = means.data[from];
      made.data[to + 1] = means.data[from + 1];
      made.data[to + 2] = means.data[from + 2];
    }
  }
  return made;
}

/** `a` with what a model made of its cells where the mosaic lies. restored: as it came of `even`, or larger. */
export function laidBack(a: Rgb, cells: Cells, restored: Rgb): Rgb {
  const { width, height } = a, { onto, means } = cells;
  const finer = Math.ceil(CELL / blockOf(cells) - 1e-6); // what is shrunk is drawn finer first, then averaged
  const first = 0.5 / finer - 0.5, middle = (CELL - 1) / 2; // a cell's centre lies in the middle of its CELL pixels
  const matrix = {
    scaleX: (CELL * onto.scaleX) / finer, shiftX: CELL * onto.shiftX + middle + CELL * onto.scaleX * first,
    scaleY: (CELL * onto.scaleY) / finer, shiftY: CELL * onto.shiftY + middle + CELL * onto.scaleY * first,
  };
  const seen = cut(restored, { top: 0, left: 0, bottom: CELL * means.height, right: CELL * means.width });
  const drawn = warped(seen, matrix, width * finer, height * finer, "cubic");
  const made = finer > 1 ? resized(drawn, width, height, "area") : drawn;
  if (!cells.weights) return made;
  const out = clamped(made.data);
  for (let i = 0; i < cells.weights.data.length; i++) {
    const share = Math.fround(cells.weights.data[i] / 255);
    for (let at = 3 * i; at < 3 * i + 3; at++) out[at] = Math.fround(a.data[at] + Math.fround(share * (out[at] - a.data[at])));
  }
  return made;
}
