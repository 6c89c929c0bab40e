/**
 * The mosaics of a photo, those too that were resized with it since they were laid: their cells have no whole number of pixels.
 *
 * Such a mosaic shows as pieces of grids that nearly fit, or as a grid of several of its cells. Where the lines in a region fit
 * better than its grid, the photo is brought to a size at which a cell has whole pixels, and what is looked for is looked for there.
 */

import { linesOf, withoutBlocks } from "./blocks.ts";
import { ofLines } from "./cells.ts";
import { dilated, eroded } from "./filters.ts";
import { areaOf, type Box, clip, cut, emptyMask, type Mask, modulo, type Rgb, resized, rint, warped } from "./image.ts";
import { extentOf, largeParts } from "./mask.ts";
import { findRegions, type Region, regionsAlong } from "./regions.ts";
import { estimate, type Lines } from "./resized.ts";

const FINE = 2; // pixels of the photo a pixel where a cell has whole ones: edges that resizing spread over two come together
const LEAST = 6; // pixels a side of a cell there, where it has as many in the photo
const OFF = 0.6; // pixels by which the lines of a grid may lie off those that were found
const CRACK = 2; // pixels there, half as wide as a crack that is closed
const LARGER = 1.2; // times as large as a region: then that was a piece
const SPREAD = 3; // times as large as a region, what shows at half the size: then the region was a piece, or nothing
const AROUND = 2; // times the longer side of where a mosaic shows: so far from there it is looked for
const SAME = 0.5; // of the smaller of two regions: with more in common they are one, seen twice

/** As `findRegions`, and mosaics with cells of any side from 4 pixels on: these have `lines`, and the grid nearest to them. */
export function findMosaics(rgb: Rgb): Region[] {
  const whole = findRegions(rgb), found: Region[] = [];
  const seeds = [...whole, ...halved(rgb).filter((each) => !whole.some((other) => isSame(each, other, SPREAD)))];
  for (const region of seeds) {
    if (found.some((each) => isSame(region, each))) continue;
    let there: Region[] = [];
    for (const box of lookedAt(region, seeds, rgb)) {
      there = better(rgb, region, box);
      if (there.length) break;
    }
    if (there.length) {
      const again = better(rgb, there[0], there[0].box); // the more cells, the closer their lines are known
      if (again.length) there = again;
    } else if (region.lines) there = along(rgb, region.lines, region.box);
    const others = [...found];
    found.push(...there.filter((each) => !others.some((other) => isSame(each, other))));
  }
  return withoutBlocks(rgb, [...whole.filter((each) => !found.some((other) => isSame(each, other))), ...found]);
}

/** What shows at half the size: enlarging may have spread the edges of the cells so far that the photo itself shows none. */
function halved(rgb: Rgb): Region[] {
  const width = rgb.width >> 1, height = rgb.height >> 1;
  if (!width || !height) return [];
  const even = cut(rgb, { top: 0, left: 0, bottom: 2 * height, right: 2 * width });
  return findRegions(resized(even, width, height, "area")).map(({ grid: { block, phaseY, phaseX }, box, mask }) => {
    const large = emptyMask(2 * mask.width, 2 * mask.height);
    for (let y = 0; y < large.height; y++) {
      for (let x = 0; x < large.width; x++) large.data[y * large.width + x] = mask.data[(y >> 1) * mask.width + (x >> 1)];
    }
    return {
      grid: { block: 2 * block, phaseY: 2 * phaseY, phaseX: 2 * phaseX },
      box: { top: 2 * box.top, left: 2 * box.left, bottom: 2 * box.bottom, right: 2 * box.right },
      mask: large,
      lines: { block: 2 * block, firstY: 2 * phaseY, firstX: 2 * phaseX },
    };
  });
}

/** Where the lines of the mosaic that a region may be a piece of, or may reach beyond, could show. */
function lookedAt({ box, grid }: Region, all: readonly Region[], rgb: Rgb): Box[] {
  const { top, left, bottom, right } = box, reach = 2 * grid.block, high = bottom - top, wide = right - left;
  const touches = (each: Box): boolean =>
    each.top < bottom + reach && each.bottom > top - reach && each.left < right + reach && each.right > left - reach;
  const near = all.map((each) => each.box).filter(touches);
  const together = {
    top: Math.min(...near.map((each) => each.top)), left: Math.min(...near.map((each) => each.left)),
    bottom: Math.max(...near.map((each) => each.bottom)), right: Math.max(...near.map((each) => each.right)),
  };
  const down = high >> 2, across = wide >> 2, more = high >> 1, further = wide >> 1;
  const middle = { top: top + down, left: left + across, bottom: bottom - down, right: right - across };
  const wider = {
    top: Math.max(0, top - more), left: Math.max(0, left - further),
    bottom: Math.min(rgb.height, bottom + more), right: Math.min(rgb.width, right + further),
  };
  return [box, together, middle, wider];
}

/** The mosaics along the lines that show in `box`, if they are larger than `region`, or fit it better than its own lines. */
function better(rgb: Rgb, region: Region, box: Box): Region[] {
  const found = estimate(cut(rgb, box));
  if (!found) return [];
  const lines = { block: found.block, firstY: found.firstY + box.top, firstX: found.firstX + box.left };
  const known = linesOf(region);
  const down = off(lines.firstY, lines.block, known.block, known.firstY, box.top, box.bottom);
  const across = off(lines.firstX, lines.block, known.block, known.firstX, box.left, box.right);
  const made = Math.max(down, across) > OFF ? along(rgb, lines, box) : [];
  const isLarger = made.reduce((sum, { mask }) => sum + areaOf(mask), 0) > LARGER * areaOf(region.mask);
  return isLarger || unevenness(rgb, region, lines) < unevenness(rgb, region, known) ? made : [];
}

/** Grey levels by which the pixels of a region are off the means of the cells between `lines`, on average. */
function unevenness(rgb: Rgb, { box, mask }: Region, lines: Lines): number {
  const area = cut(rgb, box);
  const { means, onto } = ofLines(area, { block: lines.block, firstY: lines.firstY - box.top, firstX: lines.firstX - box.left });
  let sum = 0;
  for (let y = 0, at = 0; y < area.height; y++) {
    const row = clip(rint(onto.scaleY * y + onto.shiftY), 0, means.height - 1) * means.width;
    for (let x = 0; x < area.width; x++, at++) {
      if (!mask.data[at]) continue;
      const from = 3 * (row + clip(rint(onto.scaleX * x + onto.shiftX), 0, means.width - 1));
      for (let c = 0; c < 3; c++) sum += Math.abs(area.data[3 * at + c] - means.data[from + c]);
    }
  }
  return sum / 3 / areaOf(mask);
}

/** The most by which the lines at first + k * block between two ends lie off the nearest of those at phase + k * other. */
function off(first: number, block: number, other: number, phase: number, begin: number, end: number): number {
  let most = 0;
  for (let k = Math.ceil((begin - first) / block); k <= Math.floor((end - first) / block); k++) {
    const away = (first + block * k - phase) / other;
    most = Math.max(most, Math.abs(away - rint(away)) * other);
  }
  return most;
}

/** The mosaics whose cells lie between `lines`, and which show in `box`; of what is far from there nothing is seen. */
function along(rgb: Rgb, lines: Lines, box: Box): Region[] {
  const far = AROUND * Math.max(box.bottom - box.top, box.right - box.left);
  const y = Math.max(0, box.top - far), x = Math.max(0, box.left - far);
  const area = cut(rgb, { top: y, left: x, bottom: Math.min(rgb.height, box.bottom + far), right: Math.min(rgb.width, box.right + far) });
  const seed = { top: box.top - y, left: box.left - x, bottom: box.bottom - y, right: box.right - x };
  const found = straightened(area, { block: lines.block, firstY: lines.firstY - y, firstX: lines.firstX - x }, seed);
  const block = Math.max(2, rint(lines.block));
  const grid = { block, phaseY: modulo(rint(lines.firstY), block), phaseX: modulo(rint(lines.firstX), block) };
  return found.map(({ box: { top, left, bottom, right }, mask }) => {
    return { grid, box: { top: top + y, left: left + x, bottom: bottom + y, right: right + x }, mask, lines };
  });
}

/** Where something lies in an image. */
interface Placed {
  readonly box: Box;
  readonly mask: Mask; // of the box
}

/** As `along`, of the whole image. */
function straightened(rgb: Rgb, lines: Lines, box: Box): Placed[] {
  const { block } = lines, side = Math.max(Math.min(LEAST, Math.floor(block)), rint(block / FINE)); // pixels of a cell there
  const step = block / side; // pixels of the photo a pixel there
  const x = modulo(lines.firstX, block) - block, y = modulo(lines.firstY, block) - block; // where it begins, before the photo
  const width = Math.ceil((rgb.width - x) / step), height = Math.ceil((rgb.height - y) / step);
  const finer = Math.ceil(step), scale = step / finer;
  const matrix = { scaleX: scale, shiftX: x + (scale - 1) / 2, scaleY: scale, shiftY: y + (scale - 1) / 2 };
  const drawn = warped(rgb, matrix, width * finer, height * finer, "linear"), straight = resized(drawn, width, height, "area");
  const there = (value: number, first: number): number => rint((value - first) / step);
  const seed = { top: there(box.top, y), left: there(box.left, x), bottom: there(box.bottom, y), right: there(box.right, x) };
  return closed(regionsAlong(straight, { block: side, phaseY: 0, phaseX: 0 }, seed))
    .map((region) => inPhoto(region, step, x, y, rgb)).filter((each) => each !== null);
}

/** The same without the cracks along blurred lines, which may have made several of one. */
function closed(regions: readonly Placed[]): Placed[] {
  if (!regions.length) return [];
  const least = (side: "top" | "left"): number => Math.min(...regions.map(({ box }) => box[side])) - CRACK;
  const most = (side: "bottom" | "right"): number => Math.max(...regions.map(({ box }) => box[side])) + CRACK;
  const top = least("top"), left = least("left"), whole = emptyMask(most("right") - left, most("bottom") - top);
  for (const { box, mask } of regions) {
    for (let y = 0; y < mask.height; y++) {
      const to = (box.top - top + y) * whole.width + box.left - left;
      for (let x = 0; x < mask.width; x++) if (mask.data[y * mask.width + x]) whole.data[to + x] = 1;
    }
  }
  const parts = largeParts(eroded(dilated(whole, CRACK), CRACK), Math.min(...regions.map(({ mask }) => areaOf(mask))));
  return parts.map((part) => {
    const extent = extentOf(part), mask = emptyMask(extent.right - extent.left, extent.bottom - extent.top);
    for (let y = 0, at = extent.top * part.width + extent.left; y < mask.height; y++, at += part.width) {
      mask.data.set(part.data.subarray(at, at + mask.width), y * mask.width);
    }
    return { box: { top: extent.top + top, left: extent.left + left, bottom: extent.bottom + top, right: extent.right + left }, mask };
  });
}

/** What lies in the straightened photo, whose first pixel begins at (x, y) and has sides of `step`, in the photo. */
function inPhoto(region: Placed, step: number, x: number, y: number, rgb: Rgb): Placed | null {
  const begin = (first: number, at: number): number => Math.max(0, Math.floor(first + step * at));
  const end = (first: number, at: number, length: number): number => Math.min(length, Math.ceil(first + step * at));
  const box = {
    top: begin(y, region.box.top), left: begin(x, region.box.left),
    bottom: end(y, region.box.bottom, rgb.height), right: end(x, region.box.right, rgb.width),
  };
  const mask = emptyMask(box.right - box.left, box.bottom - box.top), from = region.mask;
  let some = false;
  for (let row = 0, to = 0; row < mask.height; row++) {
    const down = Math.floor((box.top + row + 0.5 - y) / step) - region.box.top;
    for (let column = 0; column < mask.width; column++, to++) {
      const across = Math.floor((box.left + column + 0.5 - x) / step) - region.box.left;
      if (down < 0 || across < 0 || down >= from.height || across >= from.width || !from.data[down * from.width + across]) continue;
      mask.data[to] = 1;
      some = true;
    }
  }
  return some ? { box, mask } : null;
}

/** Whether most of one lies in the other, and `one` is less than `larger` times as large. */
function isSame(one: Region, other: Region, larger = Infinity): boolean {
  const top = Math.max(one.box.top, other.box.top), bottom = Math.min(one.box.bottom, other.box.bottom);
  const left = Math.max(one.box.left, other.box.left), right = Math.min(one.box.right, other.box.right);
  let common = 0;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) if (isIn(one, y, x) && isIn(other, y, x)) common++;
  }
  const areas = [areaOf(one.mask), areaOf(other.mask)];
  return common > SAME * Math.min(...areas) && areas[0] < larger * areas[1];
}

function isIn({ box, mask }: Region, y: number, x: number): boolean {
  return mask.data[(y - box.top) * mask.width + x - box.left] > 0;
}
