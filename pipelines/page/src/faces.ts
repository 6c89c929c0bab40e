/**
 * Finds the faces of a photo with BlazeFace (Bazarevsky et al. 2019), as dataset_tools/faces.py does through MediaPipe: one look
 * at the whole photo and, where that is asked for, a search for what it misses. bench/face_to_onnx.py makes the model.
 */

/** Rows from the top, three bytes (sRGB) a pixel. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

export type Point = readonly [x: number, y: number];

/** One face, in pixels of the picture. */
export interface Face {
  readonly box: readonly [x: number, y: number, width: number, height: number]; // may reach past the picture's edge
  readonly score: number; // 0 to 1
  readonly keypoints: readonly Point[]; // right eye, left eye, nose tip, mouth, right ear, left ear
}

/** What the model says of one square: the values of its outputs, by name. */
export interface Outputs {
  readonly boxes: Float32Array; // [1, 2304, 16]
  readonly scores: Float32Array; // [1, 2304, 1]
}

/** Runs the model on `pixels`, whose shape is [1, 192, 192, 3] and whose values lie between -1 and 1. */
export type Run = (pixels: Float32Array, shape: readonly number[]) => Promise<Outputs>;

export interface Options {
  readonly confidence?: number; // least score of a face: 0.5 unless told otherwise
  readonly search?: boolean; // look for faces that one look misses, too
}

const SIDE = 192; // of the square that the model takes
const CELLS = 48; // a side of the square, each with an anchor in its middle
const LONGEST = 640; // pixels of the longer side of what one look at the whole picture is sampled from
const VALUES = 16; // of an anchor: middle, width and height of the box, six keypoints
const SAME = 0.3; // intersection over union above which two boxes are of one face

const WIDE = 1.5; // side of a square around the picture, in longer sides: shows faces that fill the picture
const TILE = 0.6; // side of a tile, in shorter sides of the picture: shows small faces
const STRIDE = 0.7; // most sides between two tiles
const MENTIONED = 0.25; // score that is worth a second look
const ROOM = 2.8; // side of the second look's square, in sides of the candidate
const CONFIRMED = 0.6; // least score of a second look

/** In pixels of what is looked at. */
interface Square {
  readonly left: number;
  readonly top: number;
  readonly side: number;
}

/** All faces, the largest first. */
export async function findFaces(picture: Picture, run: Run, options: Options = {}): Promise<Face[]> {
  const { confidence = 0.5, search = false } = options;
  const { width, height, data } = picture;
  if (!(width > 0 && height > 0) || data.length !== width * height * 3) {
    throw new RangeError(`a picture of ${width} x ${height} has not ${data.length} bytes`);
  }
  const scale = LONGEST / Math.max(width, height);
  const fit = (length: number): number => Math.max(1, Math.round(length * scale));
  const shown = scale < 1 ? shrink(picture, fit(width), fit(height)) : picture;
  const side = Math.max(shown.width, shown.height);
  const whole = { left: (shown.width - side) / 2, top: (shown.height - side) / 2, side };
  const found = await look(picture, shown, whole, run, confidence);
  if (search) {
    await searchMore(found, picture, run, Math.max(confidence, CONFIRMED));
  }
  const area = ({ box }: Face): number => box[2] * box[3];
  return found.sort((a, b) => area(b) - area(a) || a.box[0] - b.box[0] || a.box[1] - b.box[1]);
}

// --- one look

/** What the model sees in a square of `shown`, which is the picture or a smaller copy of it, the best first. */
async function look(picture: Picture, shown: Picture, square: Square, run: Run, least: number): Promise<Face[]> {
  const { left, top, side } = square;
  const outputs = await run(sample(shown, square), [1, SIDE, SIDE, 3]);
  const across = picture.width / shown.width;
  const down = picture.height / shown.height;
  return suppress(decode(outputs, least)).map(({ box: [x, y, width, height], score, keypoints }) => ({
    box: [(left + x * side) * across, (top + y * side) * down, width * side * across, height * side * down],
    score,
    keypoints: keypoints.map(([px, py]): Point => [(left + px * side) * across, (top + py * side) * down]),
  }));
}

/** A square as the model takes it: bilinear at 1/32 of a pixel, black outside of the picture, as MediaPipe does it. */
function sample({ width, height, data }: Picture, { left, top, side }: Square): Float32Array {
  const made = new Float32Array(SIDE * SIDE * 3);
  const at = (x: number, y: number, channel: number): number =>
    x < 0 || y < 0 || x >= width || y >= height ? 0 : data[(y * width + x) * 3 + channel];
  for (let row = 0, to = 0; row < SIDE; row++) {
    const y = Math.round((top + (row * side) / SIDE) * 32) / 32;
    const y0 = Math.floor(y);
    for (let column = 0; column < SIDE; column++) {
      const x = Math.round((left + (column * side) / SIDE) * 32) / 32;
      const x0 = Math.floor(x);
      for (let channel = 0; channel < 3; channel++) {
        const above = at(x0, y0, channel) * (1 - x + x0) + at(x0 + 1, y0, channel) * (x - x0);
        const below = at(x0, y0 + 1, channel) * (1 - x + x0) + at(x0 + 1, y0 + 1, channel) * (x - x0);
        made[to++] = Math.round(above * (1 - y + y0) + below * (y - y0)) / 127.5 - 1;
      }
    }
  }
  return made;
}

/** What the model mentions, in sides of its square, the best first. */
function decode({ boxes, scores }: Outputs, least: number): Face[] {
  if (scores.length !== CELLS * CELLS || boxes.length !== scores.length * VALUES) {
    throw new RangeError(`a model that gives ${scores.length} scores and ${boxes.length} values of boxes is another one`);
  }
  const faces: Face[] = [];
  scores.forEach((raw, anchor) => {
    const score = 1 / (1 + Math.exp(-raw));
    const value = (index: number): number => boxes[anchor * VALUES + index] / SIDE;
    const point = (index: number): Point => [
      value(index) + ((anchor % CELLS) + 0.5) / CELLS,
      value(index + 1) + (Math.floor(anchor / CELLS) + 0.5) / CELLS,
    ];
    const width = value(2);
    const height = value(3);
    if (score >= least && width > 0 && height > 0) {
      const [x, y] = point(0);
      faces.push({ box: [x - width / 2, y - height / 2, width, height], score, keypoints: [4, 6, 8, 10, 12, 14].map(point) });
    }
  });
  return faces.sort((a, b) => b.score - a.score);
}

/** Weighted non-maximum suppression: what overlaps the best box becomes one face with it, their mean by score. The best first. */
function suppress(faces: Face[]): Face[] {
  const kept: Face[] = [];
  for (let rest = faces; rest.length > 0; ) {
    const best: Face = rest[0];
    const same = rest.filter((face) => face === best || union(face, best) > SAME);
    rest = rest.filter((face) => !same.includes(face));
    const total = same.reduce((sum, face) => sum + face.score, 0);
    const mean = (value: (face: Face) => number): number => same.reduce((sum, face) => sum + value(face) * face.score, 0) / total;
    kept.push({
      box: [mean(({ box }) => box[0]), mean(({ box }) => box[1]), mean(({ box }) => box[2]), mean(({ box }) => box[3])],
      score: best.score,
      keypoints: best.keypoints.map((_, index): Point => [
        mean(({ keypoints }) => keypoints[index][0]),
        mean(({ keypoints }) => keypoints[index][1]),
      ]),
    });
  }
  return kept;
}

/** Area that two boxes share. */
function shared({ box: a }: Face, { box: b }: Face): number {
  const width = Math.min(a[0] + a[2], b[0] + b[2]) - Math.max(a[0], b[0]);
  const height = Math.min(a[1] + a[3], b[1] + b[3]) - Math.max(a[1], b[1]);
  return Math.max(0, width) * Math.max(0, height);
}

/** Intersection over union. */
function union(a: Face, b: Face): number {
  const both = shared(a, b);
  return both / (a.box[2] * a.box[3] + b.box[2] * b.box[3] - both);
}

// --- the search

/** Adds what the model sees in other squares and, since these bring false boxes, once more in a square around each of it. */
async function searchMore(found: Face[], picture: Picture, run: Run, confirmed: number): Promise<void> {
  const { width, height } = picture;
  const levels = [picture]; // each half as large as the one before
  const closer = async ([x, y]: Point, side: number, least: number): Promise<Face[]> => {
    const level = Math.max(0, Math.round(Math.log2(side / SIDE)));
    for (let last = levels.at(-1)!; levels.length <= level && Math.min(last.width, last.height) > 1; last = levels.at(-1)!) {
      levels.push(shrink(last, last.width >> 1, last.height >> 1));
    }
    const shown = levels[Math.min(level, levels.length - 1)];
    const across = shown.width / width;
    const square = { left: (x - side / 2) * across, top: ((y - side / 2) * shown.height) / height, side: side * across };
    return look(picture, shown, square, run, least);
  };
  const candidates = await closer([width / 2, height / 2], WIDE * Math.max(width, height), MENTIONED);
  const tile = TILE * Math.min(width, height);
  if (tile >= SIDE / 2) {
    for (const y of centres(height, tile)) {
      for (const x of centres(width, tile)) {
        candidates.push(...(await closer([x, y], tile, MENTIONED)));
      }
    }
  }
  for (const candidate of candidates.sort((a, b) => b.score - a.score)) {
    if (found.some((face) => within(candidate, face) > 0.5)) {
      continue;
    }
    const size = candidate.box[2];
    const [x, y] = centre(candidate);
    const face = (await closer([x, y], ROOM * size, confirmed)).find((other) => {
      const [otherX, otherY] = centre(other);
      return Math.hypot(otherX - x, otherY - y) < 0.6 * size && other.box[2] > 0.4 * size && other.box[2] < 2.2 * size;
    });
    if (face && found.every((other) => within(face, other) <= 0.5)) {
      found.push(face);
    }
  }
}

/** Centres of squares that cover a length evenly, at most STRIDE of their side apart. */
function centres(length: number, side: number): number[] {
  const steps = Math.max(1, Math.ceil((length - side) / (side * STRIDE)));
  return Array.from({ length: steps + 1 }, (_, step) => side / 2 + ((length - side) * step) / steps);
}

function centre({ box: [x, y, width, height] }: Face): Point {
  return [x + width / 2, y + height / 2];
}

/** The area that two boxes share, as a share of the smaller one's. */
function within(a: Face, b: Face): number {
  return shared(a, b) / Math.min(a.box[2] * a.box[3], b.box[2] * b.box[3]);
}

// --- pixels

/** A smaller copy, whose pixels are means of the area that they cover. */
function shrink({ width, height, data }: Picture, toWidth: number, toHeight: number): Picture {
  const across = cover(width, toWidth);
  const down = cover(height, toHeight);
  const line = (toWidth + 1) * 3; // beyond the last pixel goes what has no weight
  const sums = new Float32Array(line * (toHeight + 1));
  const row = new Float32Array(line);
  for (let y = 0, from = 0; y < height; y++) {
    row.fill(0);
    for (let x = 0; x < width; x++) {
      const to = across.first[x] * 3;
      const weight = across.weight[x];
      const rest = across.rest[x];
      for (let channel = 0; channel < 3; channel++) {
        const value = data[from++];
        row[to + channel] += value * weight;
        row[to + channel + 3] += value * rest;
      }
    }
    const to = down.first[y] * line;
    const weight = down.weight[y];
    const rest = down.rest[y];
    for (let each = 0; each < line; each++) {
      sums[to + each] += row[each] * weight;
      sums[to + each + line] += row[each] * rest;
    }
  }
  const made = new Uint8Array(toWidth * toHeight * 3);
  for (let y = 0, to = 0; y < toHeight; y++) {
    for (let each = 0; each < toWidth * 3; each++) {
      const value = sums[y * line + each];
      const least = Math.floor(value);
      made[to++] = value - least > (least & 1 ? 0.4999 : 0.5001) ? least + 1 : least; // a half goes to the even number
    }
  }
  return { width: toWidth, height: toHeight, data: made };
}

/** For each pixel of a length: the first of at most two that it goes to, by which weight, and by which to the second. */
function cover(length: number, to: number): { first: Uint32Array; weight: Float64Array; rest: Float64Array } {
  const scale = length / to;
  const first = Uint32Array.from({ length }, (_, x) => Math.min(to - 1, Math.floor(x / scale)));
  const weight = Float64Array.from(first, (cell, x) => Math.min(1, Math.max(0, (cell + 1) * scale - x)) / scale);
  return { first, weight, rest: weight.map((each) => 1 / scale - each) };
}
