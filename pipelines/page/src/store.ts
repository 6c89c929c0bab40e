/** Pixels that are not looked at now: the browser may put them on the disk. */

import type { Frame } from "./decode.ts";

export const CACHE = "photomend"; // of the page's own files, for when there is no network

export interface Stored {
  readonly width: number;
  readonly height: number;
  readonly delayMs: number;
  readonly rgb: Blob;
  readonly alpha: Blob | null;
}

export function stored({ rgb, alpha, delayMs }: Frame): Stored {
  const { width, height, data } = rgb;
  return { width, height, delayMs, rgb: new Blob([data as BlobPart]), alpha: alpha && new Blob([alpha as BlobPart]) };
}

export async function taken({ width, height, delayMs, rgb, alpha }: Stored): Promise<Frame> {
  const bytes = async (blob: Blob): Promise<Uint8Array> => new Uint8Array(await blob.arrayBuffer());
  return { rgb: { width, height, data: await bytes(rgb) }, alpha: alpha && (await bytes(alpha)), delayMs };
}
