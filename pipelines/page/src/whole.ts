/** One whole photo: what a model's task says is to be restored in it. */

import { facePasted, type Pasted, pasted, restoredAround } from "./around.ts";
import type { Card } from "./card.ts";
import { blockOf, estimated, even, laidBack } from "./cells.ts";
import { colorized, hasColours } from "./colours.ts";
import { cropped, faceSquare } from "./crops.ts";
import { areaOf, type Box, cut, emptyMask, type Rgb } from "./image.ts";
import { findMosaics } from "./finder.ts";
import type { Region } from "./regions.ts";
import { inTiles, restoredInTiles, type Run } from "./tiles.ts";

/** Where something is restored: a mosaic that was found, or the box of a face or of what a person drew. */
export interface Place {
  readonly box: Box;
  readonly region: Region | null;
}

export interface Job {
  readonly rgb: Rgb;
  readonly coarse: boolean; // it comes of a JPEG that has blocks of one colour itself
  readonly strength: number; // 0 to 1
  readonly places: readonly Place[] | null; // null: they are looked for
}

export interface Outcome {
  readonly made: Rgb | null; // null: nothing was restored
  readonly restored: number; // places, or 1 for a whole photo
  readonly places: readonly Place[]; // that were looked at
  readonly notes: readonly string[];
}

export interface Tools {
  readonly card: Card;
  readonly run: Run;
  /** The faces of a photo, for models that learned from faces. */
  readonly faces: (rgb: Rgb) => Promise<Box[]>;
  /** 0 to 1, null where nobody knows, and what is done now. */
  readonly tell: (share: number | null, doing: string) => void;
}

/** Whether a model of this card restores places, and not the whole photo. */
export function hasPlaces(card: Card): boolean {
  return card.task === "mosaic" || (card.task === "other" && card.crop.kind === "faces");
}

/** The photo restored as the task of the model says. */
export async function restoreWhole(job: Job, tools: Tools): Promise<Outcome> {
  const { rgb, strength } = job, { card, run, tell } = tools;
  if (hasPlaces(card)) return restorePlaces(job, tools);
  const notes: string[] = [];
  if (card.task !== "colorize") {
    tell(null, "restoring");
    return { made: mixed(rgb, await restoredInTiles(rgb, run, card.size), strength), restored: 1, places: [], notes };
  }
  tell(null, "colouring");
  const { made, paler } = await colorized(rgb, run, card.size, card.stride, strength);
  if (paler >= 0.0005) notes.push(`${(100 * paler).toFixed(1)} % of the pixels were given paler colours than the model's, to keep their luminance`);
  if (hasColours(rgb)) notes.push("it had colours, which the model's have replaced");
  return { made, restored: 1, places: [], notes };
}

/** Where the model would restore something in the photo. */
async function findPlaces({ rgb, coarse }: Job, { card, faces, tell }: Tools): Promise<Place[]> {
  if (card.task !== "mosaic") {
    tell(null, "looking for faces");
    return (await faces(rgb)).map((box) => ({ box, region: null }));
  }
  tell(null, "looking for mosaics");
  const isJpegsOwn = ({ grid, lines }: Region): boolean =>
    coarse && (lines ? Math.abs(lines.block - 8) < 0.1 : grid.block === 8 && !grid.phaseY && !grid.phaseX);
  const found = findMosaics(rgb).filter((region) => !isJpegsOwn(region));
  return found.map((region) => ({ box: region.box, region })).sort((one, other) => areaOf(other.region.mask) - areaOf(one.region.mask));
}

async function restorePlaces(job: Job, tools: Tools): Promise<Outcome> {
  const { rgb, strength } = job, places = job.places ?? (await findPlaces(job, tools)), notes: string[] = [];
  const made = { ...rgb, data: rgb.data.slice() };
  let count = 0;
  for (const [number, place] of places.entries()) {
    tools.tell((number + 0.5) / (places.length + 0.5), places.length > 1 ? `restoring ${number + 1} of ${places.length}` : "restoring");
    const part = await restored(rgb, made, place, strength, tools);
    if (part) lay(made, part);
    else notes.push(`in box ${number + 1} no mosaic is seen: it was left as it is`);
    count += part ? 1 : 0;
  }
  return { made: count ? made : null, restored: count, places, notes };
}

/** `rgb` is the photo as it was, `made` has what was restored before. */
async function restored(rgb: Rgb, made: Rgb, { box, region }: Place, strength: number, { card, run }: Tools): Promise<Pasted | null> {
  if (card.task !== "mosaic") {
    const face = [box.left, box.top, box.right - box.left, box.bottom - box.top] as const;
    const window = faceSquare(face, rgb, card.crop.margin || 0.25, card.crop.padding || "clamp");
    return facePasted(made, window, await run(cropped(rgb, window, card.size)), strength);
  }
  if (region) return pasted(made, region, await restoredAround(rgb, region, run, card.stride), strength);
  const seen = cut(rgb, box), cells = estimated(seen); // a person says that this is a mosaic; maybe one that was resized
  if (!cells) return null;
  const pixels = laidBack(seen, cells, await inTiles(run, even(cells.means, card.stride)));
  const all = emptyMask(seen.width, seen.height);
  all.data.fill(1);
  const grid = { block: Math.max(2, Math.round(blockOf(cells))), phaseY: 0, phaseX: 0 };
  return pasted(made, { grid, box, mask: all }, { top: box.top, left: box.left, pixels }, strength);
}

function lay(made: Rgb, { top, left, pixels: { width, height, data } }: Pasted): void {
  for (let y = 0; y < height; y++) {
    made.data.set(data.subarray(3 * y * width, 3 * (y + 1) * width), 3 * ((top + y) * made.width + left));
  }
}

function mixed(before: Rgb, after: Rgb, strength: number): Rgb {
  if (strength >= 1) return after;
  const data = after.data.map((value, at) => Math.round(before.data[at] + strength * (value - before.data[at])));
  return { ...after, data };
}
