/** The square around a face, and what it shows: as dataset_tools/crops.py cuts it. */

import { clip, emptyRgb, type Rgb, resized, rint } from "./image.ts";

const LITTLE = 1.4; // what shrinks by less is interpolated

/** Columns x to x + side - 1 and rows y to y + side - 1 of a photo; may leave it. */
export interface Square {
  readonly x: number;
  readonly y: number;
  readonly side: number;
}

/** Around a face's box [x, y, width, height]; "clamp" moves it inside the photo, and shrinks it where it is larger. */
export function faceSquare(box: readonly [number, number, number, number], photo: Rgb, margin: number, padding: string): Square {
  const [x, y, width, height] = box, whole = Math.max(1, rint(Math.max(width, height) * (1 + 2 * margin)));
  const side = padding === "clamp" ? Math.min(whole, photo.height, photo.width) : whole;
  const left = rint(x + (width - side) / 2), top = rint(y + (height - side) / 2);
  if (padding !== "clamp") return { x: left, y: top, side };
  return { x: clip(left, 0, photo.width - side), y: clip(top, 0, photo.height - side), side };
}

/** The square at `size` x `size`; what lies outside of the photo is its mirror image, whose border pixel is not repeated. */
export function cropped(photo: Rgb, { x, y, side }: Square, size: number): Rgb {
  const square = emptyRgb(side, side);
  for (let row = 0, to = 0; row < side; row++) {
    const line = mirrored(y + row, photo.height) * photo.width;
    for (let column = 0; column < side; column++, to += 3) {
      const from = 3 * (line + mirrored(x + column, photo.width));
      for (let c = 0; c < 3; c++) square.data[to + c] = photo.data[from + c];
    }
  }
  return side === size ? square : resized(square, size, size, side > LITTLE * size ? "area" : "cubic");
}

function mirrored(at: number, length: number): number {
  if (length === 1) return 0;
  const period = 2 * length - 2, first = ((at % period) + period) % period;
  return Math.min(first, period - first);
}
