/** What a dropped file is, by its content, and how many pixels it says it has: before anything is decoded. */

export type Kind = "JPEG" | "PNG" | "GIF" | "WebP" | "AVIF" | "HEIC" | "BMP";

export interface Header {
  readonly kind: Kind;
  readonly width: number;
  readonly height: number;
  readonly coarse: boolean; // an upright JPEG compressed so strongly that each of its blocks may have one colour
}

const COARSE = 24; // of a JPEG's luminance, its first step of quantization: that of quality 33

/** The header of an image; null where it is none that browsers know, or is cut short before it says its size. */
export function headerOf(bytes: Uint8Array): Header | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const text = (from: number, to: number): string => String.fromCharCode(...bytes.subarray(from, to));
  try {
    const made = (kind: Kind, [width, height]: readonly [number, number], coarse = false): Header | null =>
      width > 0 && height > 0 ? { kind, width, height, coarse } : null;
    if (text(0, 8) === "\x89PNG\r\n\x1a\n") return made("PNG", [view.getUint32(16), view.getUint32(20)]);
    if (text(0, 4) === "GIF8") return made("GIF", [view.getUint16(6, true), view.getUint16(8, true)]);
    if (text(0, 2) === "BM") return made("BMP", [view.getInt32(18, true), Math.abs(view.getInt32(22, true))]);
    if (text(0, 4) === "RIFF" && text(8, 12) === "WEBP") return made("WebP", webpSize(view, text(12, 16)));
    if (text(4, 8) === "ftyp") return made(/avif|avis/.test(text(8, 32)) ? "AVIF" : "HEIC", largestExtent(view, bytes));
    if (bytes[0] === 0xff && bytes[1] === 0xd8) {
      const { size, step, isTurned } = jpegOf(view);
      return made("JPEG", size, step >= COARSE && !isTurned);
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // it ends before its size is told
  }
  return null;
}

function webpSize(view: DataView, chunk: string): [number, number] {
  if (chunk === "VP8X") {
    return [1 + (view.getUint32(24, true) & 0xffffff), 1 + (view.getUint16(27, true) | (view.getUint8(29) << 16))];
  }
  if (chunk === "VP8L") {
    const bits = view.getUint32(21, true);
    return [1 + (bits & 0x3fff), 1 + ((bits >> 14) & 0x3fff)];
  }
  return [view.getUint16(26, true) & 0x3fff, view.getUint16(28, true) & 0x3fff];
}

/** Of AVIF and HEIC: of all pictures in the file, tiles among them, the largest. */
function largestExtent(view: DataView, bytes: Uint8Array): [number, number] {
  let best: [number, number] = [0, 0];
  const last = Math.min(bytes.length, 1 << 20) - 16;
  for (let at = 0; at < last; at++) { // "ispe": version and flags, width, height
    if (bytes[at] !== 0x69 || bytes[at + 1] !== 0x73 || bytes[at + 2] !== 0x70 || bytes[at + 3] !== 0x65) continue;
    const size: [number, number] = [view.getUint32(at + 8), view.getUint32(at + 12)];
    if (size[0] * size[1] > best[0] * best[1]) best = size;
  }
  return best;
}

/** Size, the first step of the first table of quantization, and whether it is to be shown turned. */
function jpegOf(view: DataView): { size: [number, number]; step: number; isTurned: boolean } {
  let step = 0, isTurned = false;
  for (let at = 2; ; at += 2 + view.getUint16(at + 2)) {
    while (view.getUint8(at) === 0xff && view.getUint8(at + 1) === 0xff) at++; // fill bytes
    const marker = view.getUint8(at + 1);
    if (view.getUint8(at) !== 0xff || marker === 0xd9 || marker === 0xda) return { size: [0, 0], step, isTurned };
    if (marker === 0xe1 && view.getUint32(at + 4) === 0x45786966) isTurned ||= orientationOf(view, at + 10) !== 1; // "Exif"
    if (marker === 0xdb && step === 0) step = view.getUint8(at + 4) >> 4 ? view.getUint16(at + 5) : view.getUint8(at + 5);
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      return { size: [view.getUint16(at + 7), view.getUint16(at + 5)], step, isTurned };
    }
  }
}

/** Of the TIFF at `start`: 1 is upright. */
function orientationOf(view: DataView, start: number): number {
  const little = view.getUint16(start) === 0x4949, first = start + view.getUint32(start + 4, little);
  for (let entry = first + 2, count = view.getUint16(first, little); count > 0; count--, entry += 12) {
    if (view.getUint16(entry, little) === 0x0112) return view.getUint16(entry + 8, little);
  }
  return 1;
}
