/** Restored pixels as a file, with the mark that says what made them. */

import { apng } from "./apng.ts";
import { contextOf, type Frame, rgbaOf } from "./decode.ts";
import { withXmpJpeg, withXmpPng } from "./mark.ts";

const QUALITY = 0.95;

export type Format = "PNG" | "JPEG";

/** The file of a photo, or of an animation, which as a JPEG is its first frame. `xmp`: see mark.ts. */
export async function encode(frames: readonly Frame[], loops: number, format: Format, xmp: string): Promise<Blob> {
  const type = `image/${format.toLowerCase()}`;
  if (format === "JPEG") return new Blob([withXmpJpeg(await bytesOf(frames[0], type), xmp) as BlobPart], { type });
  const pngs = [];
  for (const frame of frames) pngs.push({ png: await bytesOf(frame, type), delayMs: frame.delayMs });
  const whole = pngs.length > 1 ? apng(pngs, loops) : pngs[0].png;
  return new Blob([withXmpPng(whole, xmp) as BlobPart], { type });
}

async function bytesOf({ rgb, alpha }: Frame, type: string): Promise<Uint8Array> {
  const context = contextOf(rgb.width, rgb.height), seen = type === "image/jpeg" ? null : alpha; // a JPEG shows white below
  context.putImageData(rgbaOf(rgb, seen), 0, 0);
  const blob = await context.canvas.convertToBlob({ type, quality: QUALITY });
  return new Uint8Array(await blob.arrayBuffer());
}

/** Hands `blob` to the browser's downloads. */
export function download(blob: Blob, name: string): void {
  const link = document.createElement("a"), address = URL.createObjectURL(blob);
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

/** "photo.jpg" -> "photo-restored.png", or "photo-restored-2.png" where that is among `taken`, to which it is added. */
export function nameFor(name: string, format: Format, taken: Set<string>): string {
  const base = `${name.replace(/\.[^.]*$/, "") || "photo"}-restored`, suffix = format === "PNG" ? ".png" : ".jpg";
  for (let count = 1; ; count++) {
    const tried = `${base}${count > 1 ? `-${count}` : ""}${suffix}`;
    if (taken.has(tried)) continue;
    taken.add(tried);
    return tried;
  }
}
