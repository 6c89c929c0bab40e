/** The mosaicked regions of a whole photo: what a model sees of each, and how what it makes comes back unseen. */

import { grown, laidInto } from "./blend.ts";
import { affineOf, even, laidBack, ofLines } from "./cells.ts";
import type { Square } from "./crops.ts";
import { cellsOf, type Grid } from "./grid.ts";
import { type Box, clamped, clip, cut, emptyMask, emptyRgb, type Floats, type Mask, modulo, resized, type Rgb } from "./image.ts";
import type { Region } from "./regions.ts";
import { inTiles, type Run } from "./tiles.ts";

const CONTEXT = 4; // cells around a region that a model sees beside its own, at least
const SHARE = 4; // or 1 / SHARE of its longer side, where that is more

/** A part of a photo whose first pixel lies at (top, left). */
export interface Placed {
  readonly top: number;
  readonly left: number;
  readonly pixels: Rgb;
}

/** And how much of each pixel is the model's, 0 to 1; where it is 0 nothing changes. */
export interface Pasted extends Placed {
  readonly weights: Floats;
}

/**
 * The rectangle of cells around `region` as `run`, a model of mosaics, restores it, at the photo's size.
 *
 * A cell that shows the mosaic is the mean of what shows; the others are means of the photo, which the model sees beside them.
 * stride: the model takes images whose sides are multiples of it, pixels.
 */
export async function restoredAround(rgb: Rgb, region: Region, run: Run, stride: number): Promise<Placed> {
  const { box, mask } = seenAround(rgb, region), { block, phaseY, phaseX } = region.grid;
  const grid = { block, phaseY: modulo(phaseY - box.top, block), phaseX: modulo(phaseX - box.left, block) };
  const area = cut(rgb, box), { lines } = region;
  const known = lines
    ? ofLines(area, { block: lines.block, firstY: lines.firstY - box.top, firstX: lines.firstX - box.left })
    : { means: maskedMeans(area, mask, grid), onto: affineOf(grid), weights: null };
  const made = await inTiles(run, even(known.means, stride));
  return { top: box.top, left: box.left, pixels: laidBack(area, known, made) };
}

/**
 * The mean of each cell: of its pixels in `mask`, or of all if none is.
 *
 * A cell at the edge of a region shows the mosaic in a part only.
 */
export function maskedMeans(rgb: Rgb, mask: Mask, grid: Grid): Rgb {
  const ys = cellsOf(rgb.height, grid.block, grid.phaseY), xs = cellsOf(rgb.width, grid.block, grid.phaseX);
  const made = emptyRgb(xs.length - 1, ys.length - 1);
  for (let row = 0; row < made.height; row++) {
    for (let column = 0; column < made.width; column++) {
      const all = [0, 0, 0, 0], shown = [0, 0, 0, 0]; // the sums of R, G and B, and how many pixels
      for (let y = ys[row]; y < ys[row + 1]; y++) {
        for (let x = xs[column]; x < xs[column + 1]; x++) {
          const at = y * rgb.width + x, sums = mask.data[at] ? shown : all;
          sums[0] += rgb.data[3 * at];
          sums[1] += rgb.data[3 * at + 1];
          sums[2] += rgb.data[3 * at + 2];
          sums[3]++;
        }
      }
      const [red, green, blue, count] = shown[3] ? shown : all;
      made.data.set([red, green, blue].map((sum) => Math.floor(sum / count + 0.5)), (row * made.width + column) * 3);
    }
  }
  return made;
}

/** What the photo shows once `made` is laid into `rgb`. strength: how much of each pixel is the model's, at most. */
export function pasted(rgb: Rgb, region: Region, made: Placed, strength = 1): Pasted {
  return laidIn(rgb, made, region.box, region.mask, region.grid.block, strength);
}

/** As `pasted`, for all of a window that was restored, square. */
export function facePasted(rgb: Rgb, window: Square, restored: Rgb, strength = 1): Pasted {
  const { x, y, side } = window;
  const box = { top: Math.max(0, y), left: Math.max(0, x), bottom: Math.min(rgb.height, y + side), right: Math.min(rgb.width, x + side) };
  const mask = emptyMask(box.right - box.left, box.bottom - box.top);
  mask.data.fill(1);
  const pixels = resized(restored, side, side, side < restored.height ? "area" : "cubic");
  return laidIn(rgb, { top: y, left: x, pixels }, box, mask, Math.max(2, Math.floor(side / 10)), strength);
}

/** `part` of `box` as `whole` shows it; its edge fades over `reach`. */
function laidIn(rgb: Rgb, whole: Placed, box: Box, part: Mask, reach: number, strength: number): Pasted {
  const margin = Math.max(8, reach), top = Math.max(0, box.top - margin), left = Math.max(0, box.left - margin);
  const bottom = Math.min(rgb.height, box.bottom + margin), right = Math.min(rgb.width, box.right + margin);
  const before = cut(rgb, { top, left, bottom, right }), { width, height } = before;
  const ys = Int32Array.from({ length: height }, (_, y) => clip(top + y - whole.top, 0, whole.pixels.height - 1));
  const xs = Int32Array.from({ length: width }, (_, x) => clip(left + x - whole.left, 0, whole.pixels.width - 1));
  const made = picked(whole.pixels, ys, xs), mask = emptyMask(width, height);
  for (let y = 0, at = (box.top - top) * width + box.left - left; y < part.height; y++, at += width) {
    mask.data.set(part.data.subarray(y * part.width, (y + 1) * part.width), at);
  }
  const all = grown(mask), off = colourOff(before, made, all, ys, xs);
  for (let c = 0, out = clamped(made.data); c < 3; c++) {
    for (let at = c; at < out.length; at += 3) out[at] = Math.fround(out[at] + off[c]);
  }
  const after = laidInto(before, made, mask, reach);
  if (strength < 1) {
    for (let at = 0, out = clamped(after.data); at < out.length; at++) {
      out[at] = Math.fround(before.data[at] + Math.fround(Math.fround(strength) * (out[at] - before.data[at])));
    }
  }
  const weights = new Float32Array(all.data);
  if (strength < 1) for (let at = 0; at < weights.length; at++) weights[at] *= strength;
  return { top, left, pixels: after, weights: { width, height, channels: 1, data: weights } };
}

/** Those rows and columns. */
function picked(rgb: Rgb, ys: Int32Array, xs: Int32Array): Rgb {
  const made = emptyRgb(xs.length, ys.length);
  for (let y = 0, to = 0; y < ys.length; y++) {
    for (let x = 0; x < xs.length; x++, to += 3) {
      const from = (ys[y] * rgb.width + xs[x]) * 3;
      made.data[to] = rgb.data[from];
      made.data[to + 1] = rgb.data[from + 1];
      made.data[to + 2] = rgb.data[from + 2];
    }
  }
  return made;
}

/** What the model makes of the photo around `part` tells how its colours are off: R, G and B. */
function colourOff(before: Rgb, made: Rgb, part: Mask, ys: Int32Array, xs: Int32Array): number[] {
  const isLast = (places: Int32Array, k: number): boolean => places[k] === places[k + 1]; // repeated: the border of the window
  const off = new Float32Array(3);
  let count = 0;
  for (let y = 0; y < ys.length; y++) {
    if (isLast(ys, y)) continue;
    for (let x = 0; x < xs.length; x++) {
      const at = y * xs.length + x;
      if (part.data[at] || isLast(xs, x)) continue;
      count++;
      off[0] += before.data[3 * at] - made.data[3 * at];
      off[1] += before.data[3 * at + 1] - made.data[3 * at + 1];
      off[2] += before.data[3 * at + 2] - made.data[3 * at + 2];
    }
  }
  return Array.from(off, (sum) => (count ? Math.fround(sum / count) : 0));
}

/** What of the photo a model sees for `region`, whole cells, and where the region lies in them. */
function seenAround(rgb: Rgb, { grid, box, mask }: Region): { box: Box; mask: Mask } {
  const { block, phaseY, phaseX } = grid, longest = Math.max(box.bottom - box.top, box.right - box.left);
  const more = block * Math.max(CONTEXT, Math.ceil(longest / block / SHARE));
  const first = (at: number, phase: number): number => Math.max(0, at - modulo(at - phase, block) - more);
  const last = (at: number, phase: number, length: number): number => Math.min(length, at + modulo(phase - at, block) + more);
  const seen = {
    top: first(box.top, phaseY), left: first(box.left, phaseX),
    bottom: last(box.bottom, phaseY, rgb.height), right: last(box.right, phaseX, rgb.width),
  };
  const where = emptyMask(seen.right - seen.left, seen.bottom - seen.top);
  for (let y = 0, at = (box.top - seen.top) * where.width + box.left - seen.left; y < mask.height; y++, at += where.width) {
    where.data.set(mask.data.subarray(y * mask.width, (y + 1) * mask.width), at);
  }
  return { box: seen, mask: where };
}
