/** One whole photo: what a model's task says is to be restored in it. */

import { pasted, restoredAround } from "./around.ts";
import type { Card } from "./card.ts";
import { colorized } from "./colours.ts";
import { emptyMask, type Mask, type Rgb } from "./image.ts";
import { findRegions, type Region } from "./regions.ts";
import { restoredInTiles, type Run } from "./tiles.ts";

export interface Outcome {
  readonly made: Rgb;
  readonly mask: Mask; // 0 to 255: how much of each pixel was invented
  readonly regions: readonly Region[];
  readonly notes: readonly string[];
}

/** 0 to 1, and what is done now. */
export type Progress = (share: number, doing: string) => void;

/**
 * `rgb` restored as the task of the model says.
 *
 * regions: where the mosaics lie, if a person said so; else they are looked for. null: nothing was to be restored.
 */
export async function restoreWhole(
  rgb: Rgb, card: Card, run: Run, strength: number, tell: Progress, regions?: readonly Region[],
): Promise<Outcome | null> {
  if (card.task === "mosaic") return restoreRegions(rgb, card, run, strength, tell, regions);
  const mask = emptyMask(rgb.width, rgb.height);
  mask.data.fill(255);
  if (card.task === "colorize") {
    tell(0.1, "colouring");
    const { made, paler } = await colorized(rgb, run, card.size, card.stride, strength);
    const notes = paler ? [`${(100 * paler).toFixed(1)} % of the pixels were given paler colours than the model's, to keep their luminance`] : [];
    return { made, mask, regions: [], notes };
  }
  tell(0.1, "restoring");
  return { made: mixed(rgb, await restoredInTiles(rgb, run, card.size), strength), mask, regions: [], notes: [] };
}

async function restoreRegions(
  rgb: Rgb, card: Card, run: Run, strength: number, tell: Progress, given?: readonly Region[],
): Promise<Outcome | null> {
  tell(0, "looking for mosaics");
  const found = given ?? findRegions(rgb);
  if (!found.length) return null;
  const made = { ...rgb, data: rgb.data.slice() }, mask = emptyMask(rgb.width, rgb.height);
  for (const [place, region] of found.entries()) {
    tell((place + 0.5) / (found.length + 0.5), found.length > 1 ? `restoring ${place + 1} of ${found.length}` : "restoring");
    const part = pasted(made, region, await restoredAround(rgb, region, run, card.stride), strength);
    for (let y = 0; y < part.pixels.height; y++) {
      const at = (part.top + y) * rgb.width + part.left, from = y * part.pixels.width;
      made.data.set(part.pixels.data.subarray(3 * from, 3 * (from + part.pixels.width)), 3 * at);
      for (let x = 0; x < part.pixels.width; x++) {
        mask.data[at + x] = Math.max(mask.data[at + x], Math.round(255 * part.weights.data[from + x]));
      }
    }
  }
  return { made, mask, regions: found, notes: [] };
}

function mixed(before: Rgb, after: Rgb, strength: number): Rgb {
  if (strength >= 1) return after;
  const data = after.data.map((value, at) => Math.round(before.data[at] + strength * (value - before.data[at])));
  return { ...after, data };
}
