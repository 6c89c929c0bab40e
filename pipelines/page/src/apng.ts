/** An animated PNG of pictures that a browser has encoded as PNG: their compressed pixels are taken over as they are. */

import { type Chunk, joined, PNG_SIGNATURE, pngChunk, pngChunks } from "./mark.ts";

export interface Frame {
  readonly png: Uint8Array; // a whole file
  readonly delayMs: number; // how long it is shown
}

// What the pixels of a PNG mean, besides its header: an animation has it once, for all of its frames.
const MEANING: ReadonlySet<string> = new Set(["PLTE", "tRNS", "gAMA", "cHRM", "sRGB", "iCCP", "cICP"]);

/**
 * The animation of `frames`, whose first is also what a program shows that knows no animations. `loops`: 0 is for ever.
 *
 * Metadata of the first frame stay. Throws an Error where the frames are not of one size and format.
 */
export function apng(frames: readonly Frame[], loops: number): Uint8Array {
  const countable = Number.isInteger(loops) && loops >= 0 && loops < 2 ** 31;
  if (!countable) throw new Error("An animation is shown a whole number of times.");
  const pictures = frames.map(({ png }) => pngChunks(png)), first = pictures[0];
  if (!first) throw new Error("An animation has one frame at least.");
  for (const picture of pictures) checkAlike(first, picture);

  const control = new DataView(new ArrayBuffer(8));
  control.setUint32(0, frames.length);
  control.setUint32(4, loops);
  const pixelsAt = first.findIndex(({ kind }) => kind === "IDAT");
  const before = first.slice(1, pixelsAt), after = first.slice(pixelsAt).filter(({ kind }) => kind !== "IDAT");
  const pieces = [PNG_SIGNATURE, first[0].whole, pngChunk("acTL", bytesOf(control)), ...before.map(({ whole }) => whole)];
  let sequence = 0; // one count for the chunks of both kinds
  pictures.forEach((picture, index) => {
    pieces.push(pngChunk("fcTL", frameControl(sequence++, first[0].body, frames[index].delayMs)));
    for (const { kind, body, whole } of picture) {
      if (kind !== "IDAT") continue;
      pieces.push(index === 0 ? whole : pngChunk("fdAT", joined([uint32(sequence++), body])));
    }
  });
  return joined([...pieces, ...after.map(({ whole }) => whole)]);
}

/** A frame takes the place of the whole picture: nothing of the one before shines through. */
function frameControl(sequence: number, header: Uint8Array, delayMs: number): Uint8Array {
  const control = new DataView(new ArrayBuffer(26));
  control.setUint32(0, sequence);
  const made = bytesOf(control);
  made.set(header.subarray(0, 8), 4); // width and height; its place is 0, 0
  const perSecond = delayMs <= 0xffff ? 1000 : 100, delay = Math.round((delayMs * perSecond) / 1000);
  if (!(delay >= 0 && delay <= 0xffff)) throw new Error("A frame is shown for at most 655 seconds.");
  control.setUint16(20, delay);
  control.setUint16(22, perSecond);
  return made; // dispose: leave it; blend: replace
}

function checkAlike(first: readonly Chunk[], picture: readonly Chunk[]): void {
  if (!picture.some(({ kind }) => kind === "IDAT")) throw new Error("The PNG has no pixels.");
  if (picture.some(({ kind }) => kind === "acTL")) throw new Error("A frame of an animation cannot be an animation.");
  if (!same(first[0].body.subarray(0, 8), picture[0].body.subarray(0, 8))) throw new Error("The frames are not of one size.");
  if (!same(meaning(first), meaning(picture))) throw new Error("The frames are not of one format: let one canvas make them all.");
}

/** The header and what else says what the pixels mean. */
function meaning(picture: readonly Chunk[]): Uint8Array {
  return joined(picture.filter(({ kind }) => kind === "IHDR" || MEANING.has(kind)).map(({ whole }) => whole));
}

function same(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

function uint32(value: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value);
  return bytesOf(view);
}

function bytesOf(view: DataView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
