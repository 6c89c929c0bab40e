/** A photo through a model in tiles that overlap. */

import { CELL } from "./cells.ts";
import { clamped, cut, emptyRgb, type Rgb, rint } from "./image.ts";

/** An image through a model, at its own size. */
export type Run = (image: Rgb) => Promise<Rgb>;

const OVERLAP = 4; // tiles overlap by 1 / OVERLAP of their side
export const TILE = 512; // pixels a side of what a model of mosaics is given at once

/**
 * `rgb` through a model of `size` x `size` pixels, at the photo's own size.
 *
 * Tiles overlap by a quarter and fade into each other; a photo that is smaller than a tile is continued by its mirror image.
 * Memory beside the two photos is that of a row of tiles. They begin at multiples of `step` pixels, of which photo and size are
 * multiples too; above 1 the mirror stands at the border of such a step, not in the middle of its last pixel.
 */
export async function restoredInTiles(rgb: Rgb, restore: Run, size: number, step = 1): Promise<Rgb> {
  const wide = Math.max(rgb.width, size), high = Math.max(rgb.height, size);
  const whole = wide > rgb.width || high > rgb.height ? mirrored(rgb, wide, high, step) : rgb;
  const made = emptyRgb(whole.width, whole.height), out = clamped(made.data);
  const ramp = Float32Array.from({ length: size }, (_, i) => Math.min(i + 1, size - i, Math.floor(size / OVERLAP)));
  const tops = starts(whole.height, size, step), lefts = starts(whole.width, size, step);
  const total = new Float32Array(size * whole.width * 3), weight = new Float32Array(size * whole.width);
  for (const [place, top] of tops.entries()) {
    for (const left of lefts) {
      const tile = await restore(cut(whole, { top, left, bottom: top + size, right: left + size }));
      for (let y = 0; y < size; y++) {
        for (let x = 0, from = y * size * 3, to = y * whole.width + left; x < size; x++, from += 3, to++) {
          const share = ramp[y] * ramp[x];
          weight[to] += share;
          total[3 * to] += share * tile.data[from];
          total[3 * to + 1] += share * tile.data[from + 1];
          total[3 * to + 2] += share * tile.data[from + 2];
        }
      }
    }
    const pixels = ((place + 1 < tops.length ? tops[place + 1] : whole.height) - top) * whole.width; // that are done
    for (let i = 0, to = top * whole.width * 3; i < pixels; i++) {
      for (let at = 3 * i; at < 3 * i + 3; at++, to++) out[to] = Math.fround(total[at] / weight[i]);
    }
    total.copyWithin(0, 3 * pixels).fill(0, total.length - 3 * pixels);
    weight.copyWithin(0, pixels).fill(0, weight.length - pixels);
  }
  return whole === rgb ? made : cut(made, { top: 0, left: 0, bottom: rgb.height, right: rgb.width });
}

/** An image through a model of mosaics, in tiles where it is larger than TILE pixels a side. */
export async function inTiles(run: Run, image: Rgb): Promise<Rgb> {
  return Math.max(image.width, image.height) <= TILE ? run(image) : restoredInTiles(image, run, TILE, CELL);
}

/** An image continued to the right and down by its mirror images. */
function mirrored(rgb: Rgb, width: number, height: number, step: number): Rgb {
  const place = (at: number, length: number): number => {
    if (length === 1) return 0;
    const period = step > 1 ? 2 * length : 2 * length - 2, first = at % period;
    return first < length ? first : step > 1 ? period - 1 - first : period - first;
  };
  const made = emptyRgb(width, height);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++, to += 3) {
      const from = (place(y, rgb.height) * rgb.width + place(x, rgb.width)) * 3;
      for (let c = 0; c < 3; c++) made.data[to + c] = rgb.data[from + c];
    }
  }
  return made;
}

/** Where tiles begin: evenly, the first at 0, the last at length - size, about 1 - 1 / OVERLAP of their size apart at most. */
function starts(length: number, size: number, step: number): number[] {
  const count = Math.max(1, Math.ceil((length - size) / (size - Math.floor(size / OVERLAP))) + 1);
  return Array.from({ length: count }, (_, place) => rint((place * (length - size)) / Math.max(count - 1, 1) / step) * step);
}
