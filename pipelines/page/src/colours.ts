/** The colours that a model gives a photo, at the model's size, on the photo's own luminance. */

import { clamped, cut, emptyRgb, grey, linearTaps, medianOf, resample, resized, type Rgb, rint } from "./image.ts";
import type { Run } from "./tiles.ts";

const LUMA = [0.299, 0.587, 0.114].map(Math.fround); // of R, G, B: ITU-R BT.601
const [RED, GREEN, BLUE] = LUMA;
const STRIP = 256; // rows of the photo that are worked on at once
const TONED = 12; // levels by which the channels of a pixel differ otherwise than those of its luminance do, in a stained print too
const FEW = 0.05; // of the pixels

/** The size at which a model of `size` sees a photo: as many pixels, multiples of `stride`. */
export function sizeFor(width: number, height: number, size: number, stride: number): { width: number; height: number } {
  const scale = size / Math.sqrt(height * width);
  const rounded = (length: number): number => Math.max(stride, rint((length * scale) / stride) * stride);
  return { width: rounded(width), height: rounded(height) };
}

export interface Colorized {
  readonly made: Rgb;
  readonly paler: number; // the share of the pixels whose colour was made paler
}

/**
 * `rgb` in the colours that `restore` gives it at about `size` x `size` pixels.
 *
 * Each pixel keeps its luminance (Y of BT.601) up to rounding: where a colour cannot be shown at that luminance, it is made paler
 * until it can.
 */
export async function colorized(rgb: Rgb, restore: Run, size: number, stride: number, strength = 1): Promise<Colorized> {
  const { width, height } = sizeFor(rgb.width, rgb.height, size, stride);
  const method = height * width < rgb.height * rgb.width ? "area" : "cubic";
  const differences = differencesOf(await restore(resized(rgb, width, height, method)));
  const made = emptyRgb(rgb.width, rgb.height), out = clamped(made.data), across = positions(width, rgb.width, 0, rgb.width);
  const toRed = 2 * (1 - RED), toBlue = 2 * (1 - BLUE); // Cb and Cr -> R, G, B, so that Y of what it gives is 0
  const redToGreen = (-toRed * RED) / GREEN, blueToGreen = (-toBlue * BLUE) / GREEN;
  const enlarged = new Float32Array(Math.min(STRIP, rgb.height) * rgb.width * 2);
  let paler = 0;
  for (let top = 0; top < rgb.height; top += STRIP) {
    const rows = Math.min(STRIP, rgb.height - top), down = positions(height, rgb.height, top, rows);
    resample(differences, width, 2, linearTaps(across, width), linearTaps(down, height), enlarged);
    for (let i = 0, at = top * rgb.width * 3; i < rows * rgb.width; i++, at += 3) {
      const grey = rgb.data[at] * RED + rgb.data[at + 1] * GREEN + rgb.data[at + 2] * BLUE;
      const cb = enlarged[2 * i], cr = enlarged[2 * i + 1]; // what they add to R, G and B:
      const red = strength * cr * toRed, green = strength * (cb * blueToGreen + cr * redToGreen), blue = strength * cb * toBlue;
      const share = Math.min(roomFor(red, grey), roomFor(green, grey), roomFor(blue, grey), 1);
      if (share < 0.99) paler++;
      out[at] = grey + share * red;
      out[at + 1] = grey + share * green;
      out[at + 2] = grey + share * blue;
    }
  }
  return { made, paler: paler / (rgb.width * rgb.height) };
}

/** Whether a photo has colours of its own: not only a tone, which is one colour for each luminance, as sepia is. */
export function hasColours(rgb: Rgb): boolean {
  const side = Math.min(8, rgb.width, rgb.height), width = Math.floor(rgb.width / side), height = Math.floor(rgb.height / side);
  const whole = cut(rgb, { top: 0, left: 0, bottom: height * side, right: width * side });
  const { data } = resized(whole, width, height, "area");
  const levels = grey({ width, height, data }).data.map((value) => value >> 4);
  const red = Float32Array.from(levels, (_, i) => data[3 * i] - data[3 * i + 1]); // less green
  const blue = Float32Array.from(levels, (_, i) => data[3 * i + 2] - data[3 * i + 1]);
  const middle = Array.from({ length: 16 }, (_, level) =>
    [red, blue].map((each) => medianOf(each.filter((_, i) => levels[i] === level)))
  );
  let coloured = 0;
  for (let i = 0; i < levels.length; i++) {
    const [ofRed, ofBlue] = middle[levels[i]];
    if (Math.max(Math.abs(red[i] - ofRed), Math.abs(blue[i] - ofBlue)) > TONED) coloured++;
  }
  return coloured / levels.length > FEW;
}

/** How much of a colour can be added to a luminance. */
function roomFor(colour: number, grey: number): number {
  return (colour > 0 ? 255 - grey : grey) / Math.max(Math.abs(colour), 1e-3);
}

/** Cb and Cr of each pixel. */
function differencesOf(rgb: Rgb): Float32Array {
  const made = new Float32Array(rgb.width * rgb.height * 2);
  for (let i = 0, at = 0; i < made.length; i += 2, at += 3) {
    const luma = Math.fround(rgb.data[at] * RED + rgb.data[at + 1] * GREEN + rgb.data[at + 2] * BLUE);
    made[i] = (rgb.data[at + 2] - luma) / (2 * (1 - BLUE));
    made[i + 1] = (rgb.data[at] - luma) / (2 * (1 - RED));
  }
  return made;
}

/** Where `count` pixels of `to`, from `first` on, lie among `from` of the same extent: in steps of 1/32, as in cv2.warpAffine. */
function positions(from: number, to: number, first: number, count: number): Float64Array {
  const scale = from / to, start = rint(((first + 0.5) * scale - 0.5) * 1024);
  return Float64Array.from({ length: count }, (_, k) => ((start + 16 + rint(scale * k * 1024)) >> 5) / 32);
}
