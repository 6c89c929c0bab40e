/**
 * The mosaics of a photo, those too that were resized with it since they were laid: their cells have no whole number of pixels.
 *
 * Such a mosaic shows as pieces of grids that nearly fit, or as a grid of several of its cells. Where the lines in a region fit
 * better than its grid, the photo is brought to a size at which a cell has whole pixels, and what is looked for is looked for there.
 */

import { ofLines } from "./cells.ts";
import { cellMeans, paint } from "./grid.ts";
import { type Box, clip, cut, emptyMask, type Mask, modulo, type Rgb, resized, rint, warped } from "./image.ts";
import { findRegions, type Region, regionsAlong } from "./regions.ts";
import { estimate, type Lines } from "./resized.ts";

const FINE = 2; // pixels of the photo a pixel where a cell has whole ones: edges that resizing spread over two come together
const LEAST = 6; // pixels a side of a cell there, where it has as many in the photo
const OFF = 0.6; // pixels by which the lines of a grid may lie off those that were found
const SAME = 0.5; // of the smaller of two regions: with more in common they are one, seen twice

/** As `findRegions`, and mosaics with cells of any size from 4 to 64 pixels: these have `lines`, and the grid nearest to them. */
export function findMosaics(rgb: Rgb): Region[] {
  const whole = findRegions(rgb), found: Region[] = [];
  for (const region of whole) {
    if (found.some((each) => isSame(region, each))) continue;
    for (const box of [region.box, near(region, whole), middle(region.box)]) {
      const lines = linesIn(rgb, region, box), there = lines ? along(rgb, lines, box) : [];
      const others = [...found];
      found.push(...there.filter((each) => !others.some((other) => isSame(each, other))));
      if (there.length) break;
    }
  }
  return [...whole.filter((each) => !found.some((other) => isSame(each, other))), ...found];
}

/** The box around a region and those others that nearly touch it, of which it may be a piece. */
function near({ box, grid }: Region, all: readonly Region[]): Box {
  const reach = 2 * grid.block, touches = (each: Box): boolean =>
    each.top < box.bottom + reach && each.bottom > box.top - reach && each.left < box.right + reach && each.right > box.left - reach;
  const boxes = all.map((each) => each.box).filter(touches);
  return {
    top: Math.min(...boxes.map(({ top }) => top)), left: Math.min(...boxes.map(({ left }) => left)),
    bottom: Math.max(...boxes.map(({ bottom }) => bottom)), right: Math.max(...boxes.map(({ right }) => right)),
  };
}

/** Half as high and wide: cells of several cells reach beyond the mosaic. */
function middle({ top, left, bottom, right }: Box): Box {
  const down = (bottom - top) >> 2, across = (right - left) >> 2;
  return { top: top + down, left: left + across, bottom: bottom - down, right: right - across };
}

/** The lines of the photo that show in `box`, if they fit `region` better than its grid does. */
function linesIn(rgb: Rgb, region: Region, box: Box): Lines | null {
  const found = estimate(cut(rgb, box));
  if (!found) return null;
  const lines = { block: found.block, firstY: found.firstY + box.top, firstX: found.firstX + box.left };
  const { grid, box: whole } = region;
  const down = off(lines.firstY, lines.block, grid.block, grid.phaseY, whole.top, whole.bottom);
  const across = off(lines.firstX, lines.block, grid.block, grid.phaseX, whole.left, whole.right);
  return Math.max(down, across) > OFF && fitsBetter(rgb, region, lines) ? lines : null;
}

/** Whether the pixels of a region are nearer to the means of cells between `lines` than to those of its grid's cells. */
function fitsBetter(rgb: Rgb, { grid, box, mask }: Region, lines: Lines): boolean {
  const area = cut(rgb, box), { block } = grid;
  const inside = { block, phaseY: modulo(grid.phaseY - box.top, block), phaseX: modulo(grid.phaseX - box.left, block) };
  const plain = paint(cellMeans(area, inside), inside, area.width, area.height);
  const { means, onto } = ofLines(area, { block: lines.block, firstY: lines.firstY - box.top, firstX: lines.firstX - box.left });
  let offPlain = 0, offBetween = 0;
  for (let y = 0, at = 0; y < area.height; y++) {
    const row = clip(rint(onto.scaleY * y + onto.shiftY), 0, means.height - 1) * means.width;
    for (let x = 0; x < area.width; x++, at++) {
      if (!mask.data[at]) continue;
      const from = 3 * (row + clip(rint(onto.scaleX * x + onto.shiftX), 0, means.width - 1));
      for (let c = 0; c < 3; c++) {
        offPlain += Math.abs(area.data[3 * at + c] - plain.data[3 * at + c]);
        offBetween += Math.abs(area.data[3 * at + c] - means.data[from + c]);
      }
    }
  }
  return offBetween < offPlain;
}

/** The most by which the lines at first + k * block between two ends lie off the nearest of those at phase + k * whole. */
function off(first: number, block: number, whole: number, phase: number, begin: number, end: number): number {
  let most = 0;
  for (let k = Math.ceil((begin - first) / block); k <= Math.floor((end - first) / block); k++) {
    const away = (first + block * k - phase) / whole;
    most = Math.max(most, Math.abs(away - rint(away)) * whole);
  }
  return most;
}

/** The mosaics of a photo whose cells lie between `lines`, and which show in `box`. */
function along(rgb: Rgb, lines: Lines, box: Box): Region[] {
  const { block } = lines, side = Math.max(Math.min(LEAST, Math.floor(block)), rint(block / FINE)); // pixels of a cell there
  const step = block / side; // pixels of the photo a pixel there
  const x = modulo(lines.firstX, block) - block, y = modulo(lines.firstY, block) - block; // where it begins, before the photo
  const width = Math.ceil((rgb.width - x) / step), height = Math.ceil((rgb.height - y) / step);
  const finer = Math.ceil(step), scale = step / finer;
  const matrix = { scaleX: scale, shiftX: x + (scale - 1) / 2, scaleY: scale, shiftY: y + (scale - 1) / 2 };
  const drawn = warped(rgb, matrix, width * finer, height * finer, "linear"), straight = resized(drawn, width, height, "area");
  const there = (value: number, first: number): number => rint((value - first) / step);
  const seed = { top: there(box.top, y), left: there(box.left, x), bottom: there(box.bottom, y), right: there(box.right, x) };
  return regionsAlong(straight, { block: side, phaseY: 0, phaseX: 0 }, [seed])
    .map((region) => inPhoto(region, lines, step, x, y, rgb)).filter((each) => each !== null);
}

/** A region of the straightened photo, whose first pixel begins at (x, y) and has sides of `step`, in the photo. */
function inPhoto(region: Region, lines: Lines, step: number, x: number, y: number, rgb: Rgb): Region | null {
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
  const block = Math.max(2, rint(lines.block));
  const grid = { block, phaseY: modulo(rint(lines.firstY), block), phaseX: modulo(rint(lines.firstX), block) };
  return some ? { grid, box, mask, lines } : null;
}

/** Whether most of one lies in the other. */
function isSame(one: Region, other: Region): boolean {
  const top = Math.max(one.box.top, other.box.top), bottom = Math.min(one.box.bottom, other.box.bottom);
  const left = Math.max(one.box.left, other.box.left), right = Math.min(one.box.right, other.box.right);
  let common = 0;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) if (isIn(one, y, x) && isIn(other, y, x)) common++;
  }
  return common > SAME * Math.min(area(one.mask), area(other.mask));
}

function isIn({ box, mask }: Region, y: number, x: number): boolean {
  return mask.data[(y - box.top) * mask.width + x - box.left] > 0;
}

function area(mask: Mask): number {
  return mask.data.reduce((sum, each) => sum + each, 0);
}
