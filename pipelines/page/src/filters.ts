/** What OpenCV makes of masks and floats: dilation and erosion, blurs, the distance to an edge. */

import { clip, type Floats, type Mask } from "./image.ts";

/** Where something of `mask` lies within `across` columns and `down` rows: as cv2.dilate, with nothing beyond the border. */
export function dilated(mask: Mask, across: number, down = across): Mask {
  return spread(mask, across, down, 1);
}

/** Where all within `reach` rows and columns is of `mask`: as cv2.erode, with all of what lies beyond the border. */
export function eroded(mask: Mask, reach: number): Mask {
  return spread(mask, reach, reach, 0);
}

/** `value` where it lies within `across` columns and `down` rows, the other one elsewhere. */
function spread(mask: Mask, across: number, down: number, value: 0 | 1): Mask {
  const { width, height, data } = mask, other = 1 - value, wide = across ? widened(mask, across, value) : data;
  if (!down) return { width, height, data: wide };
  const made = new Uint8Array(data.length), until = new Int32Array(width).fill(-1); // the row to which the last one reaches
  for (let y = -down; y < height; y++) {
    const start = y * width, next = start + down * width, reached = y + 2 * down;
    if (y + down < height) for (let x = 0; x < width; x++) if (wide[next + x] === value) until[x] = reached;
    if (y >= 0) for (let x = 0; x < width; x++) made[start + x] = until[x] >= y ? value : other;
  }
  return { width, height, data: made };
}

/** Each run of `value` in a row made longer, on both sides. */
function widened(mask: Mask, across: number, value: 0 | 1): Uint8Array {
  const { width, height, data } = mask, made = new Uint8Array(data.length).fill(1 - value);
  for (let y = 0; y < height; y++) {
    const row = data.subarray(y * width, (y + 1) * width), to = made.subarray(y * width, (y + 1) * width);
    for (let start = row.indexOf(value), end = 0; start >= 0; start = row.indexOf(value, end)) {
      end = row.indexOf(1 - value, start);
      if (end < 0) end = width;
      to.fill(value, Math.max(start - across, 0), end + across);
    }
  }
  return made;
}

/** As cv2.blur of floats, over 2 * reach + 1 pixels a side; beyond the border lies 0, or what lies at it. */
export function blurred(image: Floats, reach: number, border: "zero" | "repeated"): Floats {
  const { width, height, channels, data } = image, length = width * channels, made = new Float32Array(data.length);
  const size = 2 * reach + 1, first = reach * channels, share = 1 / size ** 2, zeros = new Float32Array(length);
  const sums = new Float64Array(length), padded = new Float64Array(length + 2 * first + channels); // of `size` rows
  const rowAt = (y: number): Float32Array => {
    if (border === "zero" && (y < 0 || y >= height)) return zeros;
    const start = clip(y, 0, height - 1) * length;
    return data.subarray(start, start + length);
  };
  for (let y = -2 * reach; y < height; y++) {
    const next = rowAt(y + reach), last = y > 0 ? rowAt(y - reach - 1) : zeros;
    for (let x = 0; x < length; x++) sums[x] += next[x] - last[x];
    if (y < 0) continue;
    padded.set(sums, first);
    if (border === "repeated") {
      for (let x = 0; x < first; x++) {
        padded[x] = sums[x % channels];
        padded[first + length + x] = sums[length - channels + (x % channels)];
      }
    }
    for (let channel = 0, to = y * length; channel < channels; channel++) {
      let sum = 0;
      for (let x = channel; x <= 2 * first + channel; x += channels) sum += padded[x];
      for (let x = channel, next = channel + 2 * first + channels; x < length; x += channels, next += channels) {
        made[to + x] = sum * share;
        sum += padded[next] - padded[x];
      }
    }
  }
  return { width, height, channels, data: made };
}

/** As cv2.GaussianBlur of floats with a sigma of 1, the border repeated. */
export function smoothed(data: Float32Array, width: number, height: number): Float32Array {
  const reach = 4, made = new Float32Array(data.length), wide = new Float32Array(data.length);
  const bell = Array.from({ length: reach + 1 }, (_, k) => Math.exp(-k * k / 2));
  const total = bell.reduce((sum, each, k) => sum + (k ? 2 : 1) * each, 0);
  const kernel = bell.map((each) => Math.fround(each / total));
  const line = new Float64Array(width + 2 * reach);
  for (let y = 0; y < height; y++) {
    line.set(data.subarray(y * width, (y + 1) * width), reach);
    line.fill(line[reach], 0, reach).fill(line[width + reach - 1], width + reach);
    for (let x = 0; x < width; x++) {
      let sum = kernel[0] * line[x + reach];
      for (let k = 1; k <= reach; k++) sum += kernel[k] * (line[x + reach - k] + line[x + reach + k]);
      wide[y * width + x] = sum;
    }
  }
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      let sum = kernel[0] * wide[y * width + x];
      for (let k = 1; k <= reach; k++) {
        sum += kernel[k] * (wide[Math.max(y - k, 0) * width + x] + wide[Math.min(y + k, height - 1) * width + x]);
      }
      made[y * width + x] = sum;
    }
  }
  return made;
}

// The distances to the neighbours of a pixel, and to those that a knight would reach, in 1/65536 of a pixel.
const STRAIGHT = 65536, DIAGONAL = Math.round(1.4 * STRAIGHT), KNIGHT = Math.round(2.1969 * STRAIGHT);

/** How far each pixel of `mask` lies from those that are not: as cv2.distanceTransform with DIST_L2 and a mask of 5. */
export function distances(mask: Mask): Float32Array {
  const { width, height, data } = mask, far = 1 << 29;
  const wide = width + 4, away = new Int32Array(wide * (height + 4)).fill(far); // two pixels more on each side
  for (let y = 0; y < height; y++) {
    for (let x = 0, at = (y + 2) * wide + 2; x < width; x++, at++) {
      away[at] = data[y * width + x] && nearer(away, at, -wide, -1);
    }
  }
  const made = new Float32Array(data.length);
  for (let y = height - 1; y >= 0; y--) {
    for (let x = width - 1, at = (y + 2) * wide + 1 + width; x >= 0; x--, at--) {
      if (away[at] > STRAIGHT) away[at] = Math.min(away[at], nearer(away, at, wide, 1));
      made[y * width + x] = away[at] / STRAIGHT;
    }
  }
  return made;
}

/** The shortest way through a neighbour in the rows `row` and 2 * row away, or through the one at `side`. */
function nearer(away: Int32Array, at: number, row: number, side: number): number {
  const near = at + row, far = near + row;
  const onKnight = Math.min(away[far - 1], away[far + 1], away[near - 2], away[near + 2]) + KNIGHT;
  const onDiagonal = Math.min(away[near - 1], away[near + 1]) + DIAGONAL;
  return Math.min(onKnight, onDiagonal, away[near] + STRAIGHT, away[at + side] + STRAIGHT);
}
