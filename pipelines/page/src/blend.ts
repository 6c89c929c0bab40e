/**
 * What was made for a part of a photo, laid into it so that its edge cannot be seen.
 *
 * Along the edge the photo and what was made differ; that difference is carried on smoothly into the part and taken from it, so
 * that it fades with the distance from the edge: see pipelines/blend.py.
 */

import { blurred, dilated, distances } from "./filters.ts";
import { centres, clamped, clip, emptyRgb, type Floats, linearTaps, type Mask, resample, type Rgb, type Taps } from "./image.ts";

const BEYOND = 2; // pixels around the part that are made as well: there the edges of its cells may have left their traces
const RING = 2; // pixels around those, where photo and part are compared
const SWEEPS = 4; // that make the field smooth at each of its scales

/** The part with what is made around it: all that `laidInto` changes. */
export function grown(mask: Mask): Mask {
  const wide = dilated(mask, BEYOND, 1), high = dilated(mask, 0, BEYOND); // together cv2's ellipse of 5 x 5 pixels
  return { ...mask, data: wide.data.map((each, i) => each | high.data[i]) };
}

/**
 * `photo` with `made` in the part `mask` of it, to which it was made.
 *
 * reach: pixels from the edge over which the difference to the photo fades.
 */
export function laidInto(photo: Rgb, made: Rgb, mask: Mask, reach: number): Rgb {
  const { width, height } = photo, part = grown(mask);
  const further = carriedOn(made, mask); // `made`, carried on a little beyond its edge
  const around = dilated(part, RING), off = emptyFloats(width, height, 3);
  for (let i = 0; i < part.data.length; i++) {
    around.data[i] -= part.data[i];
    if (!around.data[i]) continue;
    for (let at = 3 * i; at < 3 * i + 3; at++) off.data[at] = photo.data[at] - further.data[at];
  }
  const shift = spread(off, around), far = distances(part), blended = emptyRgb(width, height), out = clamped(blended.data);
  blended.data.set(photo.data);
  for (let i = 0; i < part.data.length; i++) {
    if (!part.data[i]) continue;
    const inward = Math.fround(clip(1 - (far[i] - 1) / (BEYOND + reach), 0, 1));
    const share = Math.fround(inward * inward * (3 - 2 * inward)); // level at both ends
    for (let at = 3 * i; at < 3 * i + 3; at++) out[at] = Math.fround(further.data[at] + Math.fround(shift.data[at] * share));
  }
  return blended;
}

function emptyFloats(width: number, height: number, channels: number): Floats {
  return { width, height, channels, data: new Float32Array(width * height * channels) };
}

/** `made` in its part, and around it the mean of what lies near. */
function carriedOn(made: Rgb, mask: Mask): Floats {
  const { width, height } = made, inside = emptyFloats(width, height, 3);
  for (let i = 0; i < mask.data.length; i++) {
    if (mask.data[i]) for (let at = 3 * i; at < 3 * i + 3; at++) inside.data[at] = made.data[at];
  }
  const known = blurred({ width, height, channels: 1, data: new Float32Array(mask.data) }, BEYOND + RING, "zero");
  const near = blurred(inside, BEYOND + RING, "zero");
  for (let i = 0; i < mask.data.length; i++) {
    const share = Math.max(known.data[i], Math.fround(1e-4));
    for (let at = 3 * i; at < 3 * i + 3; at++) near.data[at] = mask.data[i] ? made.data[at] : near.data[at] / share;
  }
  return near;
}

/** `values` where they are known, carried on smoothly to where they are not; 0 where none is. */
function spread(values: Floats, known: Mask): Floats {
  const { width, height } = known;
  const count = known.data.reduce((sum, each) => sum + each, 0);
  if (count === 0 || count === known.data.length || Math.min(width, height) < 2) return filled(values, known, count);
  const [half, some] = halved(values, known), coarse = spread(half, some);
  const wide = coarse.width * 2, high = coarse.height * 2, enlarged = emptyFloats(wide, high, 3);
  const tapsOf = (from: number, to: number): Taps => linearTaps(centres(from, to), from);
  resample(coarse.data, coarse.width, 3, tapsOf(coarse.width, wide), tapsOf(coarse.height, high), enlarged.data);
  let found = emptyFloats(width, height, 3);
  for (let y = 0; y < height; y++) found.data.set(enlarged.data.subarray(y * wide * 3, (y * wide + width) * 3), y * width * 3);
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    keep(values, known, found);
    found = blurred(found, 1, "repeated");
  }
  keep(values, known, found);
  return found;
}

/** `found` where nothing is known, `values` elsewhere. */
function keep(values: Floats, known: Mask, found: Floats): void {
  for (let i = 0; i < known.data.length; i++) {
    if (!known.data[i]) continue;
    found.data[3 * i] = values.data[3 * i];
    found.data[3 * i + 1] = values.data[3 * i + 1];
    found.data[3 * i + 2] = values.data[3 * i + 2];
  }
}

/** Their mean where they are not known. */
function filled(values: Floats, known: Mask, count: number): Floats {
  const made = { ...values, data: values.data.slice() };
  for (let c = 0; c < 3; c++) {
    let sum = 0;
    for (let i = 0; i < known.data.length; i++) if (known.data[i]) sum += values.data[3 * i + c];
    for (let i = 0; i < known.data.length; i++) if (!known.data[i]) made.data[3 * i + c] = count && sum / count;
  }
  return made;
}

/** The mean of what is known of every 2 x 2 pixels, and of which something is. */
function halved(values: Floats, known: Mask): [Floats, Mask] {
  const { width, height } = known, half = emptyFloats((width + 1) >> 1, (height + 1) >> 1, 3);
  const counts = new Uint8Array(half.width * half.height);
  for (let y = 0; y < height; y++) {
    for (let x = 0, at = y * width; x < width; x++, at++) {
      if (!known.data[at]) continue;
      const to = (y >> 1) * half.width + (x >> 1);
      counts[to]++;
      for (let c = 0; c < 3; c++) half.data[3 * to + c] += values.data[3 * at + c];
    }
  }
  for (let i = 0; i < counts.length; i++) if (counts[i]) for (let c = 0; c < 3; c++) half.data[3 * i + c] /= counts[i];
  return [half, { width: half.width, height: half.height, data: counts.map((each) => (each ? 1 : 0)) }];
}
