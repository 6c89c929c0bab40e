/** Restored pixels as a file, with the mark that says what made them. */

import { apng } from "./apng.ts";
import { contextOf, type Frame, rgbaOf } from "./decode.ts";
import { crc32, joined, withXmpJpeg, withXmpPng } from "./mark.ts";

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

/** Many files as one, a ZIP without compression: browsers drop some of many downloads. */
export async function zipped(files: readonly { readonly name: string; readonly blob: Blob }[]): Promise<Blob> {
  const pieces: BlobPart[] = [], directory: Uint8Array[] = [];
  let at = 0;
  for (const { name, blob } of files) {
    const title = new TextEncoder().encode(name), data = new Uint8Array(await blob.arrayBuffer());
    const told = fields([[2, 20], [2, 0x800], [2, 0], [4, 0x210000], [4, crc32(data)], [4, data.length], [4, data.length], [2, title.length], [2, 0]]);
    pieces.push(joined([fields([[4, 0x04034b50]]), told, title]) as BlobPart, blob);
    directory.push(joined([fields([[4, 0x02014b50], [2, 20]]), told, fields([[2, 0], [2, 0], [2, 0], [4, 0], [4, at]]), title]));
    at += 30 + title.length + data.length;
  }
  const list = joined(directory), count = files.length;
  const end = fields([[4, 0x06054b50], [4, 0], [2, count], [2, count], [4, list.length], [4, at], [2, 0]]);
  return new Blob([...pieces, list as BlobPart, end as BlobPart], { type: "application/zip" });
}

/** Numbers of so many bytes, the lowest first. */
function fields(values: readonly (readonly [number, number])[]): Uint8Array {
  return Uint8Array.from(values.flatMap(([bytes, value]) => Array.from({ length: bytes }, (_, place) => (value >>> (8 * place)) & 255)));
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
