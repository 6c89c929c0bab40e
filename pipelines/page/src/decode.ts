/** Files to pixels: the browser decodes, upright and in sRGB. */

import { headerOf, type Kind } from "./files.ts";
import { emptyRgb, type Rgb } from "./image.ts";
import { sha256 } from "./mark.ts";

const MOST_PIXELS = 50e6; // of a photo, or of all frames of an animation
const MOST_SIDE = 32767; // pixels: beyond, a canvas stays empty in some browsers
const MOST_BYTES = 300e6; // of a file

export interface Frame {
  readonly rgb: Rgb; // what is transparent shows white
  readonly alpha: Uint8Array | null; // one byte a pixel; null: opaque
  readonly delayMs: number;
}

export interface Photo {
  readonly kind: Kind;
  readonly frames: readonly Frame[]; // one, but of an animation
  readonly loops: number; // 0 is for ever
  readonly sha256: string;
  readonly coarse: boolean; // see files.ts
  readonly note: string | null;
}

/** What WebCodecs has for animations; TypeScript's library does not know it. */
interface Decoded { readonly image: VideoFrame }
interface Decoder {
  readonly tracks: { readonly ready: Promise<void>; readonly selectedTrack: { frameCount: number; repetitionCount: number } | null };
  readonly completed: Promise<void>;
  decode(options: { frameIndex: number }): Promise<Decoded>;
  close(): void;
}
declare const ImageDecoder: { new (init: { data: Uint8Array; type: string }): Decoder; isTypeSupported(type: string): Promise<boolean> };

/** Throws an Error of one sentence where the file is no photo that can be read. */
export async function decode(file: Blob): Promise<Photo> {
  if (file.size > MOST_BYTES) throw new Error(`It has ${Math.round(file.size / 1e6)} MB, and the page takes up to ${MOST_BYTES / 1e6}.`);
  const bytes = new Uint8Array(await file.arrayBuffer()), header = headerOf(bytes);
  if (!header) throw new Error("It is not an image that a browser can read, or is cut short: choose a JPEG, PNG, WebP, GIF or AVIF.");
  const { kind, width, height, coarse } = header, pixels = width * height;
  if (pixels > MOST_PIXELS) {
    const told = `${(pixels / 1e6).toFixed(0)} megapixels (${width} × ${height})`;
    throw new Error(`It says it has ${told}, and the page takes up to ${MOST_PIXELS / 1e6}: make it smaller, or use the command line.`);
  }
  if (Math.max(width, height) > MOST_SIDE) {
    throw new Error(`It has ${width} × ${height} pixels, and the page takes up to ${MOST_SIDE} a side: cut it, or use the command line.`);
  }
  const blob = new Blob([bytes as BlobPart], { type: `image/${kind.toLowerCase()}` }), digest = await sha256(bytes);
  const moving = ["GIF", "PNG", "WebP", "AVIF"].includes(kind) ? await framesOf(bytes, blob.type, pixels) : null;
  if (moving) return { kind, ...moving, sha256: digest, coarse, note: null };
  const bitmap = await createImageBitmap(blob).catch(() => null);
  if (!bitmap) throw new Error(`It cannot be decoded: it is damaged, or this browser reads no such ${kind}.`);
  const frame = pixelsOf(bitmap, bitmap.width, bitmap.height, 0);
  bitmap.close();
  const note = kind === "GIF" && typeof ImageDecoder === "undefined" ? "this browser shows the page only the first frame of a GIF" : null;
  return { kind, frames: [frame], loops: 0, sha256: digest, coarse, note };
}

/** The frames of an animation; null where there is one alone, or the browser cannot tell them apart. */
async function framesOf(data: Uint8Array, type: string, pixels: number): Promise<Pick<Photo, "frames" | "loops"> | null> {
  if (typeof ImageDecoder === "undefined" || !(await ImageDecoder.isTypeSupported(type))) return null;
  const decoder = new ImageDecoder({ data, type }), frames: Frame[] = [];
  try {
    await Promise.all([decoder.tracks.ready, decoder.completed]);
    const track = decoder.tracks.selectedTrack;
    if (!track || track.frameCount < 2) return null;
    if (track.frameCount * pixels > MOST_PIXELS) {
      const told = `${track.frameCount} frames, ${Math.round((track.frameCount * pixels) / 1e6)} megapixels in all`;
      throw new Error(`It has ${told}, and the page takes up to ${MOST_PIXELS / 1e6}: make it smaller or shorter.`);
    }
    for (let frameIndex = 0; frameIndex < track.frameCount; frameIndex++) {
      const { image } = await decoder.decode({ frameIndex });
      frames.push(pixelsOf(image, image.displayWidth, image.displayHeight, Math.round((image.duration ?? 100_000) / 1000)));
      image.close();
    }
    return { frames, loops: Number.isFinite(track.repetitionCount) ? track.repetitionCount + 1 : 0 };
  } catch (error) {
    if (error instanceof DOMException) return null; // damaged: as a picture that stands still it may be read
    throw error;
  } finally {
    decoder.close();
  }
}

function pixelsOf(picture: CanvasImageSource, width: number, height: number, delayMs: number): Frame {
  const context = contextOf(width, height);
  context.drawImage(picture, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const rgb = emptyRgb(width, height), count = width * height;
  let alpha: Uint8Array | null = null;
  for (let at = 0; at < count; at++) {
    const opacity = data[4 * at + 3];
    if (opacity < 255) (alpha ??= new Uint8Array(count).fill(255))[at] = opacity;
    for (let c = 0; c < 3; c++) {
      const value = data[4 * at + c];
      rgb.data[3 * at + c] = opacity === 255 ? value : Math.round(255 + ((value - 255) * opacity) / 255);
    }
  }
  return { rgb, alpha, delayMs };
}

/** To draw on, in memory that is read from: a canvas of a GPU may give other values back. */
export function contextOf(width: number, height: number): OffscreenCanvasRenderingContext2D {
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("The browser has not enough memory for this photo: take a smaller one.");
  return context;
}

/** As a canvas takes it. */
export function rgbaOf(rgb: Rgb, alpha: Uint8Array | null): ImageData {
  const made = new ImageData(rgb.width, rgb.height), { data } = made;
  for (let from = 0, to = 0; to < data.length; from += 3, to += 4) {
    data[to] = rgb.data[from];
    data[to + 1] = rgb.data[from + 1];
    data[to + 2] = rgb.data[from + 2];
    data[to + 3] = alpha ? alpha[to >> 2] : 255;
  }
  return made;
}
