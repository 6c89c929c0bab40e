// What the core of the page says of the cases that test_page_core.py wrote: node page_core.mjs CORE FOLDER
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [, , bundle, folder] = process.argv;
const core = await import(pathToFileURL(bundle).href);

/** A model that leaves traces of where in its image a pixel lay. */
async function model({ width, height, data }) {
  const made = new Uint8ClampedArray(data.length);
  for (let i = 0; i < data.length; i++) {
    const c = i % 3, x = ((i - c) / 3) % width, y = Math.floor(i / 3 / width);
    made[i] = data[i] + ((5 * x + 3 * y + 11 * c) % 32) - 12;
  }
  return { width, height, data: new Uint8Array(made.buffer) };
}

const regionOf = ({ grid, box }, mask) => ({ grid, box, mask });

const kinds = {
  grey: ({ rgb }) => ({ grey: core.grey(rgb) }),
  resize: ({ rgb, width, height, method }) => ({ made: core.resized(rgb, width, height, method) }),
  warp: ({ rgb, onto, width, height, method }) => ({ made: core.warped(rgb, onto, width, height, method) }),
  grid: ({ rgb }) => ({ grid: core.estimate(rgb) }),
  means: ({ rgb, grid }) => {
    const means = core.cellMeans(rgb, grid);
    return {
      means, painted: core.paint(means, grid, rgb.width, rgb.height), smooth: core.between(means, grid, rgb.width, rgb.height),
      shown: core.shownIn(rgb, grid, means), even: core.even(means, 32),
    };
  },
  resized: ({ rgb }) => ({ lines: core.estimateResized(rgb) }),
  cells: ({ rgb }) => {
    const cells = core.estimated(rgb);
    return cells ? { onto: cells.onto, block: core.blockOf(cells), means: cells.means, weights: cells.weights } : {};
  },
  back: ({ rgb, means, onto, weights, restored }) => ({ made: core.laidBack(rgb, { means, onto, weights: weights ?? null }, restored) }),
  regions: ({ rgb }) => {
    const regions = core.findRegions(rgb);
    return { regions: regions.map(({ grid, box }) => ({ grid, box })), ...Object.fromEntries(regions.map((each, i) => [`mask${i}`, each.mask])) };
  },
  around: async ({ rgb, mask, region, strength }) => {
    const given = regionOf(region, mask), made = await core.restoredAround(rgb, given, model, 32);
    const { top, left, pixels, weights } = core.pasted(rgb, given, made, strength);
    return { at: [made.top, made.left], made: made.pixels, top, left, pasted: pixels, weights };
  },
  masked: ({ rgb, mask, grid }) => ({ means: core.maskedMeans(rgb, mask, grid) }),
  tiles: async ({ rgb, size, step }) => ({ made: await core.restoredInTiles(rgb, model, size, step) }),
  piece: async ({ rgb }) => ({ made: await core.inTiles(model, rgb) }),
  colours: async ({ rgb, size, strength }) => {
    const { made, paler } = await core.colorized(rgb, model, size, 32, strength);
    return { made, paler };
  },
};

const said = [];
const times = {};
for (const [index, { kind, arrays, ...given }] of JSON.parse(readFileSync(join(folder, "cases.json"), "utf8")).entries()) {
  for (const [name, [file, height, width]] of Object.entries(arrays)) {
    given[name] = { width, height, data: new Uint8Array(readFileSync(join(folder, file))) };
  }
  const start = performance.now(), result = await kinds[kind](given);
  times[kind] = (times[kind] ?? 0) + performance.now() - start;
  const values = {}, files = {};
  for (const [name, value] of Object.entries(result)) {
    if (!value?.data) {
      values[name] = value;
      continue;
    }
    files[name] = [`said-${index}-${name}`, value.height, value.width, value.data instanceof Float32Array ? "float32" : "uint8"];
    writeFileSync(join(folder, files[name][0]), value.data);
  }
  said.push({ values, files });
}
writeFileSync(join(folder, "said.json"), JSON.stringify({ said, times }));
