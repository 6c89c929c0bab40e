/** Images, and what OpenCV makes of them: grey levels, resizing, warping along the axes. */

/** sRGB, three bytes a pixel. */
export interface Rgb {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** One byte a pixel. */
export interface Gray {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** 0 | 1 */
export type Mask = Gray;

/** `channels` floats a pixel. */
export interface Floats {
  readonly width: number;
  readonly height: number;
  readonly channels: number;
  readonly data: Float32Array;
}

export interface Box {
  readonly top: number;
  readonly left: number;
  readonly bottom: number;
  readonly right: number;
}

/** From x and y of one image to those of another, along the axes; pixel centres lie at integers. */
export interface Affine {
  readonly scaleX: number;
  readonly shiftX: number;
  readonly scaleY: number;
  readonly shiftY: number;
}

export function emptyRgb(width: number, height: number): Rgb {
  return { width, height, data: new Uint8Array(width * height * 3) };
}

export function emptyMask(width: number, height: number): Mask {
  return { width, height, data: new Uint8Array(width * height) };
}

/** Pixels that it has. */
export function areaOf(mask: Mask): number {
  return mask.data.reduce((sum, each) => sum + each, 0);
}

/** What of `image` lies in `box`. */
export function cut(image: Rgb, box: Box): Rgb {
  const made = emptyRgb(box.right - box.left, box.bottom - box.top);
  for (let y = 0; y < made.height; y++) {
    const start = ((box.top + y) * image.width + box.left) * 3;
    made.data.set(image.data.subarray(start, start + made.width * 3), y * made.width * 3);
  }
  return made;
}

/** What writes as `bytes` does, but rounds half to even and clips: as np.rint(…).clip(0, 255). */
export function clamped(bytes: Uint8Array): Uint8ClampedArray {
  return new Uint8ClampedArray(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Half to even, as Python and NumPy round. */
export function rint(value: number): number {
  const above = Math.round(value);
  return above - value === 0.5 && above % 2 !== 0 ? above - 1 : above;
}

/** As Python's %: of the sign of `by`. */
export function modulo(value: number, by: number): number {
  return ((value % by) + by) % by;
}

export function clip(value: number, low: number, high: number): number {
  return value < low ? low : value > high ? high : value;
}

/** Of two whole numbers, without a branch: what the pixels of a photo are cannot be guessed, and wrong guesses cost time. */
export function larger(one: number, other: number): number {
  return one - ((one - other) & ((one - other) >> 31));
}

export function smaller(one: number, other: number): number {
  return other + ((one - other) & ((one - other) >> 31));
}

/** As np.median: of an even number the mean of the two in the middle. `values` are sorted. */
export function medianOf(values: Float32Array | Float64Array | Uint8Array): number {
  values.sort();
  const half = values.length >> 1;
  return values.length % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

/** The sum of some values, added up in the order in which NumPy does it. */
export function sumOf(values: Float64Array): number {
  const { length } = values;
  if (length > 128) {
    const half = (length >> 4) << 3;
    return sumOf(values.subarray(0, half)) + sumOf(values.subarray(half));
  }
  const whole = length & ~7, eight = [0, 0, 0, 0, 0, 0, 0, 0];
  for (let i = 0; i < whole; i++) eight[i & 7] += values[i];
  let sum = eight[0] + eight[1] + (eight[2] + eight[3]) + (eight[4] + eight[5] + (eight[6] + eight[7]));
  for (let i = whole; i < length; i++) sum += values[i];
  return sum;
}

/** As cv2.cvtColor with COLOR_RGB2GRAY. */
export function grey(rgb: Rgb): Gray {
  const { width, height, data } = rgb;
  const made = new Uint8Array(width * height);
  for (let i = 0, at = 0; i < made.length; i++, at += 3) {
    made[i] = (data[at] * 9798 + data[at + 1] * 19235 + data[at + 2] * 3735 + 16384) >> 15;
  }
  return { width, height, data: made };
}

/** Rows as columns. */
export function transposed(image: Gray): Gray {
  const { width, height, data } = image, made = new Uint8Array(data.length), side = 64;
  for (let top = 0; top < height; top += side) { // square by square, as caches like it
    for (let left = 0; left < width; left += side) {
      for (let y = top; y < Math.min(top + side, height); y++) {
        for (let x = left; x < Math.min(left + side, width); x++) made[x * height + y] = data[y * width + x];
      }
    }
  }
  return { width: height, height: width, data: made };
}

// --- resizing and warping: along one axis, then the other

/** Of what each pixel along an axis is made: of `count` pixels `at`, by their `weights`. */
export interface Taps {
  readonly count: number;
  readonly at: Int32Array; // (length * count,)
  readonly weights: Float64Array; // (length * count,)
}

function emptyTaps(length: number, count: number): Taps {
  return { count, at: new Int32Array(length * count), weights: new Float64Array(length * count) };
}

/** Between the two pixels next to each of `positions`, of `length` pixels whose border is repeated. */
export function linearTaps(positions: Float64Array, length: number): Taps {
  const taps = emptyTaps(positions.length, 2);
  positions.forEach((position, k) => {
    const first = Math.floor(position);
    taps.at[2 * k] = clip(first, 0, length - 1);
    taps.at[2 * k + 1] = clip(first + 1, 0, length - 1);
    taps.weights[2 * k] = 1 - (position - first);
    taps.weights[2 * k + 1] = position - first;
  });
  return taps;
}

/** As `linearTaps`, of four pixels: the cubic convolution with a = -0.75 that OpenCV takes. */
function cubicTaps(positions: Float64Array, length: number): Taps {
  const taps = emptyTaps(positions.length, 4), a = -0.75;
  positions.forEach((position, k) => {
    const first = Math.floor(position);
    const after = position - first, before = 1 - after;
    for (let i = 0; i < 4; i++) taps.at[4 * k + i] = clip(first - 1 + i, 0, length - 1);
    const outer = ((a * (after + 1) - 5 * a) * (after + 1) + 8 * a) * (after + 1) - 4 * a;
    const inner = ((a + 2) * after - (a + 3)) * after * after + 1;
    const next = ((a + 2) * before - (a + 3)) * before * before + 1;
    taps.weights.set([outer, inner, next, 1 - outer - inner - next], 4 * k);
  });
  return taps;
}

/** `from` pixels shrunk to `to`: each is made of what it covers. */
function areaTaps(from: number, to: number): Taps {
  const scale = from / to, count = Math.ceil(scale) + 1, taps = emptyTaps(to, count);
  for (let k = 0; k < to; k++) {
    const start = k * scale, end = start + scale, covered = Math.min(scale, from - start);
    const last = Math.min(Math.floor(end), from - 1), first = Math.min(Math.ceil(start), last);
    let place = k * count;
    const add = (at: number, share: number): void => {
      taps.at[place] = at;
      taps.weights[place++] = Math.fround(share / covered);
    };
    if (first - start > 1e-3) add(first - 1, first - start);
    for (let at = first; at < last; at++) add(at, 1);
    if (end - last > 1e-3) add(last, Math.min(end - last, 1, covered));
    for (; place < (k + 1) * count; place++) taps.at[place] = last; // of no weight
  }
  return taps;
}

/** `from` pixels enlarged to `to` with INTER_AREA, as OpenCV does it where the other axis is shrunk. */
function enlargedAreaTaps(from: number, to: number): Taps {
  const positions = new Float64Array(to);
  for (let k = 0; k < to; k++) {
    const at = Math.floor((k * from) / to), beyond = k + 1 - ((at + 1) * to) / from;
    positions[k] = at + (beyond > 0 ? beyond - Math.floor(beyond) : 0);
  }
  return linearTaps(positions, from);
}

/** Where the centres of `to` pixels lie among `from` pixels of the same extent. */
export function centres(from: number, to: number): Float64Array {
  const scale = from / to;
  return Float64Array.from({ length: to }, (_, k) => Math.fround((k + 0.5) * scale - 0.5));
}

/** Weighted sums of `source`, `width` pixels of `channels` values a row: one for each of `across` and `down`. */
export function resample(
  source: Uint8Array | Float32Array, width: number, channels: number, across: Taps, down: Taps,
  out: Uint8ClampedArray | Float32Array,
): void {
  const length = (across.at.length / across.count) * channels, rows = down.at.length / down.count;
  const given = new Float64Array(width * channels), made = new Float64Array(length);
  const kept = Array.from({ length: down.count + 1 }, () => new Float64Array(length)); // rows of the source, after `across`
  const held = new Int32Array(kept.length).fill(-1);
  for (let y = 0; y < rows; y++) {
    for (let i = 0; i < down.count; i++) {
      const at = down.at[y * down.count + i], weight = down.weights[y * down.count + i], place = at % kept.length;
      if (held[place] !== at) {
        given.set(source.subarray(at * width * channels, (at + 1) * width * channels));
        resampleRow(given, channels, across, kept[place]);
        held[place] = at;
      }
      const row = kept[place];
      if (i === 0) for (let x = 0; x < length; x++) made[x] = weight * row[x];
      else if (weight !== 0) for (let x = 0; x < length; x++) made[x] += weight * row[x];
    }
    out.set(made, y * length);
  }
}

function resampleRow(row: Float64Array, channels: number, taps: Taps, made: Float64Array): void {
  const { count, at, weights } = taps;
  for (let channel = 0; channel < channels; channel++) {
    for (let k = 0, x = channel; k < at.length; k += count, x += channels) {
      let sum = 0;
      for (let i = k; i < k + count; i++) sum += weights[i] * row[at[i] * channels + channel];
      made[x] = sum;
    }
  }
}

/** As cv2.resize with INTER_AREA or INTER_CUBIC, but for some halves; images of less than 4 pixels a side differ by a level. */
export function resized(image: Rgb, width: number, height: number, method: "area" | "cubic"): Rgb {
  const { width: w, height: h } = image;
  if (method === "area" && w % width === 0 && h % height === 0) return shrunkWhole(image, w / width, h / height);
  const made = emptyRgb(width, height), shrinks = width <= w && height <= h;
  const tapsOf = (from: number, to: number): Taps =>
    method === "cubic" ? cubicTaps(centres(from, to), from) : shrinks ? areaTaps(from, to) : enlargedAreaTaps(from, to);
  resample(image.data, w, 3, tapsOf(w, width), tapsOf(h, height), clamped(made.data));
  return made;
}

/** `image` shrunk so that each pixel is the mean of `across` x `down`. */
function shrunkWhole(image: Rgb, across: number, down: number): Rgb {
  const made = emptyRgb(image.width / across, image.height / down), out = clamped(made.data);
  const sums = new Int32Array(made.width * 3), share = Math.fround(1 / (across * down));
  const half = across === 2 && down === 2 ? 0.125 : 0; // of four pixels OpenCV rounds half up, of others half to even
  for (let y = 0; y < made.height; y++) {
    sums.fill(0);
    for (let row = y * down; row < (y + 1) * down; row++) {
      for (let x = 0, at = row * image.width * 3; x < sums.length; x += 3) {
        for (let i = 0; i < across; i++, at += 3) {
          sums[x] += image.data[at];
          sums[x + 1] += image.data[at + 1];
          sums[x + 2] += image.data[at + 2];
        }
      }
    }
    for (let x = 0, at = y * sums.length; x < sums.length; x++, at++) out[at] = Math.fround(sums[x] * share) + half;
  }
  return made;
}

/** As cv2.warpAffine with WARP_INVERSE_MAP and BORDER_REPLICATE; `onto` takes pixels of what is made to pixels of `image`. */
export function warped(image: Rgb, onto: Affine, width: number, height: number, method: "linear" | "cubic"): Rgb {
  const tapsOf = method === "cubic" ? cubicTaps : linearTaps, made = emptyRgb(width, height);
  const scale = Math.fround(onto.scaleX), shift = Math.fround(onto.shiftX); // in single precision, as there
  const xs = Float64Array.from({ length: width }, (_, x) => Math.fround(scale * x + shift));
  const ys = Float64Array.from({ length: height }, (_, y) => Math.fround(onto.scaleY * y + onto.shiftY));
  resample(image.data, image.width, 3, tapsOf(xs, image.width), tapsOf(ys, image.height), clamped(made.data));
  return made;
}
