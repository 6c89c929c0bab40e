/** Puts a mosaic on a part of a photo, so that one can see what a model makes of it. */

import { type Box, clip, cut, emptyMask, type Mask, type Rgb } from "./image.ts";
import { cellMeans } from "./grid.ts";
import type { Region } from "./regions.ts";

/** Where a mosaic is put: cells of `block` pixels from the photo's corner on, all that `touches`. */
export interface Put {
  readonly rgb: Rgb; // the photo with it
  readonly region: Region;
}

/** null: nothing is touched. touches: whether a cell, whose box is given, gets a mosaic. */
export function putMosaic(rgb: Rgb, block: number, within: Box, touches: (cell: Box) => boolean): Put | null {
  const { width, height } = rgb, down = (value: number): number => Math.floor(value / block) * block;
  const top = down(clip(within.top, 0, height - 1)), left = down(clip(within.left, 0, width - 1));
  const bottom = Math.min(height, down(clip(within.bottom, 1, height) - 1) + block);
  const right = Math.min(width, down(clip(within.right, 1, width) - 1) + block);
  const area = { top, left, bottom, right }, mask = emptyMask(right - left, bottom - top);
  const means = cellMeans(cut(rgb, area), { block, phaseY: 0, phaseX: 0 });
  const made = { ...rgb, data: rgb.data.slice() };
  let some = false;
  for (let y = top, row = 0; y < bottom; y += block, row++) {
    for (let x = left, column = 0; x < right; x += block, column++) {
      const cell = { top: y, left: x, bottom: Math.min(y + block, bottom), right: Math.min(x + block, right) };
      if (!touches(cell)) continue;
      some = true;
      fill(made, mask, area, cell, means.data.subarray(3 * (row * means.width + column)));
    }
  }
  return some ? { rgb: made, region: { grid: { block, phaseY: 0, phaseX: 0 }, box: area, mask } } : null;
}

function fill(rgb: Rgb, mask: Mask, area: Box, cell: Box, colour: Uint8Array): void {
  for (let y = cell.top; y < cell.bottom; y++) {
    mask.data.fill(1, (y - area.top) * mask.width + cell.left - area.left, (y - area.top) * mask.width + cell.right - area.left);
    for (let x = cell.left, at = 3 * (y * rgb.width + cell.left); x < cell.right; x++, at += 3) {
      rgb.data[at] = colour[0];
      rgb.data[at + 1] = colour[1];
      rgb.data[at + 2] = colour[2];
    }
  }
}

/** Whether a cell is touched by a line through `points`, as wide as twice `reach`, pixels: by its middle, or where a point lies. */
export function touchedBy(points: readonly { x: number; y: number }[], reach: number): (cell: Box) => boolean {
  return ({ top, left, bottom, right }) => points.some((point, index) => {
    if (Math.hypot(point.x - clip(point.x, left, right), point.y - clip(point.y, top, bottom)) <= reach) return true;
    const next = points[Math.min(index + 1, points.length - 1)], x = (left + right) / 2, y = (top + bottom) / 2;
    const across = next.x - point.x, down = next.y - point.y, length = across ** 2 + down ** 2;
    const share = length ? clip(((x - point.x) * across + (y - point.y) * down) / length, 0, 1) : 0;
    const half = Math.min(right - left, bottom - top) / 2;
    return Math.hypot(x - point.x - share * across, y - point.y - share * down) <= reach + half;
  });
}

/** Whether a cell lies in the ellipse inside `box`, by its middle. */
export function insideEllipse(box: Box): (cell: Box) => boolean {
  const y = (box.top + box.bottom) / 2, x = (box.left + box.right) / 2, high = (box.bottom - box.top) / 2, wide = (box.right - box.left) / 2;
  return (cell) => Math.hypot(((cell.left + cell.right) / 2 - x) / wide, ((cell.top + cell.bottom) / 2 - y) / high) <= 1;
}
