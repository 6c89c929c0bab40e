/** The grid of a mosaic that was resized after it was laid: cells of any side, their lines between the pixels too. */

import { gainOf, type Moments, momentsOf } from "./grid.ts";
import { clip, type Gray, grey, modulo, type Rgb, rint, smaller, transposed } from "./image.ts";

const LEAST_BLOCK = 4, MOST_BLOCK = 64; // pixels: the smallest and the largest side of a cell that is searched for
const SEARCHED = 512; // pixels: so much of the middle of a larger image is searched at first
const DRIFT = 0.3; // pixels that the last line of a tried grid may lie off, where the first lies right
const BIN = 0.5; // pixels of a folded edge profile
const REACH = 2; // bins to each side of a line that belong to it: resizing spreads an edge over two pixels
const MOST = 8; // grey levels that an edge counts at most, so that those of the photo do not drown the others
const MOST_TIMES = 8; // the largest side that is searched for: so large a cell may be, which shows as a part of it
const FAINT = 0.4; // the edges of lines that are none, of those that are: every eighth line of a JPEG has some
const LEAST_GAIN = 80, MOST_INSIDE = 0.6; // see mosaic_resized.py

/** A grid whose lines lie between pixels or in them: at first + k * block, 0 being the border before the first pixel. */
export interface Lines {
  readonly block: number; // pixels
  readonly firstY: number;
  readonly firstX: number;
}

/** The mean edge before row 1, 2 … of an image, or of its middle, which begins at `start`. */
interface Profile {
  readonly edges: Float64Array;
  readonly start: number;
}

/** The grid of the mosaic that covers an image and was resized; null where there is none. */
export function estimate(rgb: Rgb): Lines | null {
  if (Math.min(rgb.width, rgb.height) < 4 * LEAST_BLOCK) return null;
  const image = grey(rgb);
  const whole = [image, transposed(image)].map((each) => ({ edges: edgesOf(each), start: 0 }));
  const profiles = whole.map((each) => middleOf(each, SEARCHED));
  const blocks = triedBlocks(Math.max(...profiles.map((each) => each.edges.length)));
  let best = -1, found: Lines | null = null;
  const folds = profiles.map((each) => new Folds(each.edges));
  for (const block of blocks) {
    const [down, across] = folds.map((fold) => fold.best(block));
    if (down.gain + across.gain > best) {
      best = down.gain + across.gain;
      found = { block, firstY: profiles[0].start + down.first, firstX: profiles[1].start + across.first };
    }
  }
  if (!found || best < LEAST_GAIN) return null;
  for (let side = SEARCHED; ; side *= 2) { // the more of the image, the closer its grid is known
    found = refined(whole.map((each) => middleOf(each, side)), found);
    if (side >= Math.max(...whole.map((each) => each.edges.length))) return inside(whole, found) <= MOST_INSIDE ? coarser(whole, found) : null;
  }
}

/** The middle `side` edges, or all. */
function middleOf(whole: Profile, side: number): Profile {
  const start = Math.max(0, whole.edges.length - side) >> 1;
  return { edges: whole.edges.subarray(start, start + side), start };
}

function edgesOf(image: Gray): Float64Array {
  const { width, height, data } = image, means = new Float64Array(height - 1);
  for (let row = 0; row < means.length; row++) {
    let sum = 0;
    for (let at = row * width; at < (row + 1) * width; at++) sum += smaller(Math.abs(data[at + width] - data[at]), MOST);
    means[row] = sum / width;
  }
  return means;
}

/** Blocks as close as so many edges want them. */
function triedBlocks(edges: number): number[] {
  const low = Math.log(LEAST_BLOCK), high = Math.log(MOST_BLOCK), step = DRIFT / edges;
  return Array.from({ length: Math.ceil((high - low) / step) }, (_, k) => Math.exp(low + k * (low + step - low)));
}

/** An edge profile folded to the length of one block after the other. */
class Folds {
  private readonly edges: Float64Array;
  private readonly whole: Moments;
  private readonly bins = [0, 1, 2].map(() => new Float64Array(MOST_BLOCK / BIN + 1)); // how many edges, their sum, of squares'

  constructor(edges: Float64Array) {
    this.edges = edges;
    this.whole = momentsOf(edges);
  }

  /** How much likelier the edges are with lines where they are likeliest than without any, and where the first of them lies. */
  best(block: number): { gain: number; first: number } {
    const { edges, whole } = this, count = rint(block / BIN), [counts, sums, squares] = this.bins;
    for (const each of this.bins) each.fill(0);
    for (let i = 0; i < edges.length; i++) {
      const beyond = i + 1 - block * Math.floor((i + 1) / block); // a line
      const bin = Math.min(Math.floor((beyond / block) * count), count - 1);
      counts[bin] += 1;
      sums[bin] += edges[i];
      squares[bin] += edges[i] * edges[i];
    }
    let best = -1, first = 0;
    for (let bin = 0; bin < count; bin++) {
      let lines = 0, on = 0, onSquares = 0;
      for (let step = -REACH; step < REACH; step++) {
        const near = bin + step < 0 ? bin + step + count : bin + step >= count ? bin + step - count : bin + step;
        lines += counts[near];
        on += sums[near];
        onSquares += squares[near];
      }
      const gain = gainOf(whole, Math.min(lines, edges.length - 1), on, onSquares);
      if (gain > best) {
        best = gain;
        first = bin;
      }
    }
    return { gain: best, first: (first / count) * block };
  }
}

/** `number` values from `from` to `to`, as np.linspace. */
function evenly(from: number, to: number, number: number): number[] {
  return Array.from({ length: number }, (_, k) => (k === number - 1 ? to : k * ((to - from) / (number - 1)) + from));
}

/** The lines near `lines` on which most of the edges lie. */
function refined(profiles: readonly Profile[], lines: Lines): Lines {
  const firsts = profiles.map(({ edges, start }, axis) => { // the line in the middle stays, whatever the block
    const first = axis ? lines.firstX : lines.firstY;
    return first + lines.block * rint((start + edges.length / 2 - first) / lines.block);
  });
  const longest = Math.max(...profiles.map((each) => each.edges.length));
  let best = -1, found = lines;
  for (const more of evenly(-2 * DRIFT, 2 * DRIFT, 13)) {
    const side = lines.block * (1 + more / longest);
    const [down, across] = profiles.map((profile, axis) => bestFirst(profile, side, firsts[axis]));
    if (down.on + across.on > best) {
      best = down.on + across.on;
      found = { block: side, firstY: down.first, firstX: across.first };
    }
  }
  return found;
}

/** Of lines `block` apart, those near `first` on which most of the edges lie. */
function bestFirst(profile: Profile, block: number, first: number): { on: number; first: number } {
  let best = -1, found = 0;
  for (const more of evenly(-1, 1, 21)) {
    let on = 0;
    for (let i = 0; i < profile.edges.length; i++) {
      on += clip(1 - away(i, block, first + more - profile.start) / 1.5, 0, 1) * profile.edges[i];
    }
    if (on > best) {
      best = on;
      found = modulo(first + more, block);
    }
  }
  return { on: best, first: found };
}

/** The lines of cells larger than are searched for, where only every so-many-th of `lines` has edges; or `lines`. */
function coarser(profiles: readonly Profile[], lines: Lines): Lines {
  const shortest = Math.min(...profiles.map((each) => each.edges.length));
  for (let times = MOST_TIMES; times > 1; times--) {
    const block = times * lines.block;
    if (block <= MOST_BLOCK || block >= shortest / 3) continue;
    const [firstY, firstX] = profiles.map(({ edges }, axis) => every(edges, lines.block, axis ? lines.firstX : lines.firstY, times));
    if (firstY !== null && firstX !== null) return { block, firstY, firstX };
  }
  return lines;
}

/** The first of the lines that have edges, if every so-many-th has and those between them have hardly more than none. */
function every(edges: Float64Array, block: number, first: number, times: number): number | null {
  const mean = (holds: (index: number) => boolean): number => {
    const some = edges.filter((_, index) => holds(index));
    return some.reduce((sum, each) => sum + each, 0) / some.length;
  };
  const starts = Array.from({ length: times }, (_, step) => first + step * block);
  const on = starts.map((start) => mean((index) => away(index, times * block, start) <= 1));
  const best = on.indexOf(Math.max(...on)), none = mean((index) => away(index, block, first) > 1.6);
  const others = Math.max(...on.filter((_, step) => step !== best));
  return others - none < FAINT * (on[best] - none) ? modulo(starts[best], times * block) : null;
}

/** The mean edge inside of the cells, of those on the lines. */
function inside(profiles: readonly Profile[], lines: Lines): number {
  let within = 0, among = 0, on = 0, lying = 0;
  profiles.forEach(({ edges }, axis) => {
    for (let i = 0; i < edges.length; i++) {
      const far = away(i, lines.block, axis ? lines.firstX : lines.firstY);
      if (far > 1.6) {
        within += edges[i];
        among++;
      } else if (far <= 1) {
        on += edges[i];
        lying++;
      }
    }
  });
  return among && lying ? within / among / Math.max(on / lying, 1e-6) : 1;
}

/** Pixels from edge `index`, which lies before row index + 1, to the nearest line. */
function away(index: number, block: number, first: number): number {
  const cells = (index + 1 - first) / block;
  return Math.abs(cells - rint(cells)) * block;
}
