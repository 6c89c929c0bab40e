/**
 * What looks like a mosaic and is none: the blocks of a JPEG that was compressed so strongly that many have one colour.
 *
 * Resized, or saved as another file since, they have any side. Other than the cells of a mosaic they begin at a corner of the photo,
 * reach to all of its sides, and where the photo has detail they are not even.
 */

import { eroded } from "./filters.ts";
import { emptyMask, grey, modulo, type Rgb, rint } from "./image.ts";
import type { Region } from "./regions.ts";
import type { Lines } from "./resized.ts";

const AT_CORNER = 0.5; // pixels by which the first line may lie off a corner
const UNEVEN = 12; // grey levels between the pixels in the middle of a cell: those of a mosaic have fewer, after a JPEG of 60 too
const IN_PHOTO = 0.1, IN_REGION = 0.04; // of the cells are uneven, at least

/** The regions that are no blocks of a JPEG. */
export function withoutBlocks(rgb: Rgb, regions: readonly Region[]): Region[] {
  const blocks = new Set<Region>();
  let left = [...regions];
  while (left.length) {
    const [first] = left, alike = left.filter((each) => isNear(linesOf(each), linesOf(first))); // pieces of the same grid
    left = left.filter((each) => !alike.includes(each));
    if (areBlocks(rgb, alike)) for (const each of alike) blocks.add(each);
  }
  return regions.filter((each) => !blocks.has(each));
}

/** The lines of a region, whether it was resized or not. */
export function linesOf({ grid, lines }: Region): Lines {
  return lines ?? { block: grid.block, firstY: grid.phaseY, firstX: grid.phaseX };
}

function isNear(one: Lines, other: Lines): boolean {
  return Math.max(
    Math.abs(one.block - other.block), Math.abs(one.firstY - other.firstY), Math.abs(one.firstX - other.firstX),
  ) < AT_CORNER;
}

function areBlocks(rgb: Rgb, regions: readonly Region[]): boolean {
  const { width, height } = rgb, { block, firstY, firstX } = linesOf(regions[0]), boxes = regions.map((each) => each.box);
  const gaps = boxes.map((each) => [each.top, each.left, height - each.bottom, width - each.right]);
  if ([0, 1, 2, 3].some((side) => Math.min(...gaps.map((each) => each[side])) > block)) return false;
  if (!isAtCorner(firstY, block, height) || !isAtCorner(firstX, block, width)) return false;
  const ys = middles(firstY, block, height), xs = middles(firstX, block, width), image = grey(rgb).data;
  const within = emptyMask(xs.length, ys.length), uneven = emptyMask(xs.length, ys.length);
  for (const [down, [top, bottom]] of ys.entries()) {
    for (const [across, [left, right]] of xs.entries()) {
      let low = 255, high = 0;
      for (let y = top; y < bottom; y++) {
        for (let x = left; x < right; x++) {
          const value = image[y * width + x];
          if (value < low) low = value;
          if (value > high) high = value;
        }
      }
      const at = down * xs.length + across, y = (top + bottom) >> 1, x = (left + right) >> 1;
      uneven.data[at] = Number(high - low > UNEVEN);
      within.data[at] = Number(regions.some(({ box, mask }) => {
        const row = y - box.top, column = x - box.left;
        return row >= 0 && row < mask.height && column >= 0 && column < mask.width && mask.data[row * mask.width + column] > 0;
      }));
    }
  }
  const inside = eroded(within, 1).data; // at its rim a mosaic may have half a cell
  let cells = 0, all = 0, some = 0;
  for (let at = 0; at < inside.length; at++) {
    cells += inside[at];
    all += uneven.data[at];
    some += inside[at] & uneven.data[at];
  }
  return all > IN_PHOTO * inside.length && some > IN_REGION * cells;
}

/** Whether a line lies on one of the ends; which of them depends on how the photo was turned. */
function isAtCorner(first: number, block: number, length: number): boolean {
  return [first, length - first].some((off) => Math.abs(off - block * rint(off / block)) < AT_CORNER);
}

/** Where the middle half of each whole cell begins, and where it ends. */
function middles(first: number, block: number, length: number): [number, number][] {
  const before = modulo(first, block), count = Math.floor((length - before) / block);
  return Array.from({ length: Math.max(0, count) }, (_, at) => {
    const start = before + block * at;
    return [rint(start + 0.25 * block), rint(start + 0.75 * block)];
  });
}
