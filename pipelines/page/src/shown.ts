/** Which of the cells of a mosaic an image shows. */

import { eroded } from "./filters.ts";
import { cellsOf, type Grid, paint } from "./grid.ts";
import { emptyMask, type Gray, grey, type Mask, type Rgb, transposed } from "./image.ts";

const UNEXPLAINED = 0.06; // of the variance: four times what JPEG quality 60 leaves beside a mosaic's cells
const EVEN = 0.3; // edges inside of a mosaic's cell, of those at its borders: between those of a mosaic after JPEG and of a photo

/**
 * Where an image shows the mosaic of an estimated `grid`, whose cells have `means`.
 *
 * null where the grid explains nothing of what is there: it is none, or that of a mosaic that was resized since.
 */
export function shownIn(a: Rgb, grid: Grid, means: Rgb): Mask | null {
  const cells = paint(means, grid, a.width, a.height), shown = emptyMask(a.width, a.height);
  if (cells.data.every((value, i) => value === a.data[i])) return { ...shown, data: shown.data.fill(1) }; // every cell is even
  const laid = laidIn(a, grid), ys = cellsOf(a.height, grid.block, grid.phaseY), xs = cellsOf(a.width, grid.block, grid.phaseX);
  for (let row = 0; row < laid.height; row++) {
    for (let column = 0; column < laid.width; column++) {
      if (!laid.data[row * laid.width + column]) continue;
      for (let y = ys[row]; y < ys[row + 1]; y++) shown.data.fill(1, y * a.width + xs[column], y * a.width + xs[column + 1]);
    }
  }
  return explains(a, cells, shown) ? shown : null;
}

/** Whether `cells` are what stands in `a` where they are shown: no coarser grid than that of a resized mosaic. */
function explains(a: Rgb, cells: Rgb, shown: Mask): boolean {
  let count = 0, off = 0;
  const sums = [0, 0, 0], squares = [0, 0, 0];
  for (let i = 0, at = 0; i < shown.data.length; i++, at += 3) {
    if (!shown.data[i]) continue;
    count++;
    for (let c = 0; c < 3; c++) {
      const value = a.data[at + c];
      sums[c] += value;
      squares[c] += value * value;
      off += (value - cells.data[at + c]) ** 2;
    }
  }
  const variance = [0, 1, 2].map((c) => squares[c] / count - (sums[c] / count) ** 2);
  return count > 0 && off / (3 * count) <= (UNEXPLAINED * (variance[0] + variance[1] + variance[2])) / 3;
}

/**
 * Which cells of `grid` are of the mosaic: even inside, by what stands at their borders, as are most around.
 *
 * Evenness alone would take a plain background for a mosaic, and a mosaic after JPEG for none.
 */
function laidIn(a: Rgb, grid: Grid): Mask {
  const image = grey(a), ys = cellsOf(a.height, grid.block, grid.phaseY), xs = cellsOf(a.width, grid.block, grid.phaseX);
  const width = xs.length - 1, height = ys.length - 1;
  const down = edgesOf(image, ys, xs), across = edgesOf(transposed(image), xs, ys);
  const even = emptyMask(width, height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const cell = row * width + column, turned = column * height + row;
      const inside = down.inside[cell] + across.inside[turned], borders = down.around[cell] + across.around[turned];
      const tall = ys[row + 1] - ys[row], wide = xs[column + 1] - xs[column];
      const pixelsInside = (tall - 1) * wide + (wide - 1) * tall;
      const lines = Number(row > 0) + Number(row < height - 1), columns = Number(column > 0) + Number(column < width - 1);
      const pixelsAround = wide * lines + tall * columns;
      even.data[cell] = inside * pixelsAround <= EVEN * borders * pixelsInside ? 1 : 0;
    }
  }
  const laid = mostAround(mostAround(even)), amid = eroded(laid, 1);
  // an uneven cell at the edge of the mosaic shows more than its mean
  return { ...laid, data: laid.data.map((each, i) => each & (even.data[i] | amid.data[i])) };
}

/** The sums of the edges between rows, inside of each cell and at its borders. */
function edgesOf(image: Gray, ys: Int32Array, xs: Int32Array): { inside: Float64Array; around: Float64Array } {
  const { width, data } = image, columns = xs.length - 1, rows = ys.length - 1;
  const inside = new Float64Array(rows * columns), around = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let y = Math.max(ys[row], 1); y < ys[row + 1]; y++) {
      for (let column = 0; column < columns; column++) {
        let sum = 0;
        const end = y * width + xs[column + 1];
        for (let at = y * width + xs[column]; at < end; at++) sum += Math.abs(data[at] - data[at - width]);
        const cell = row * columns + column;
        if (y > ys[row]) inside[cell] += sum;
        else {
          around[cell] += sum;
          around[cell - columns] += sum;
        }
      }
    }
  }
  return { inside, around };
}

/** Of each cell what most of the nine around it are, the border repeated. */
function mostAround(mask: Mask): Mask {
  const { width, height, data } = mask, made = emptyMask(width, height);
  for (let y = 0; y < height; y++) {
    const rows = [Math.max(y - 1, 0), y, Math.min(y + 1, height - 1)];
    for (let x = 0; x < width; x++) {
      const before = Math.max(x - 1, 0), after = Math.min(x + 1, width - 1);
      let sum = 0;
      for (const row of rows) sum += data[row * width + before] + data[row * width + x] + data[row * width + after];
      made.data[y * width + x] = sum > 4 ? 1 : 0;
    }
  }
  return made;
}
