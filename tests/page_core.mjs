// What the core of the page says of the cases that test_page_core.py wrote: node page_core.mjs CORE FOLDER
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [, , bundle, folder] = process.argv;
const core = await import(pathToFileURL(bundle).href);

/** A model that leaves traces of where in its image a pixel lay. */
async function model({ width, height, data }) {
  const made = new Uint8ClampedArray(data.length);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) for (let c = 0; c < 3; c++, at++) made[at] = data[at] + ((5 * x + 3 * y + 11 * c) % 32) - 12;
  }
  return { width, height, data: new Uint8Array(made.buffer) };
}

/** What to do with a case of each kind; an image among what it gives back is written to a file. */
const kinds = {
  grey: ({ rgb }) => ({ grey: core.grey(rgb) }),
  resize: ({ rgb, width, height, method }) => ({ made: core.resized(rgb, width, height, method) }),
  warp: ({ rgb, onto, width, height, method }) => ({ made: core.warped(rgb, onto, width, height, method) }),
  grid: ({ rgb }) => ({ grid: core.estimate(rgb) }),
  means: ({ rgb, grid }) => {
    const means = core.cellMeans(rgb, grid), { width, height } = rgb;
    return {
      means, painted: core.paint(means, grid, width, height), smooth: core.between(means, grid, width, height),
      shown: core.shownIn(rgb, grid, means), even: core.even(means, 32),
    };
  },
  resized: ({ rgb }) => ({ lines: core.estimateResized(rgb) }),
  cells: ({ rgb }) => core.estimated(rgb) ?? {},
  back: ({ rgb, means, onto, weights, restored }) => {
    return { made: core.laidBack(rgb, { means, onto, weights: weights ?? null }, restored) };
  },
  regions: ({ rgb }) => {
    const regions = core.findMosaics(rgb), masks = regions.map(({ mask }, number) => [`mask${number}`, mask]);
    return { regions: regions.map(({ mask, ...rest }) => rest), ...Object.fromEntries(masks) };
  },
  around: async ({ rgb, mask, region, strength }) => {
    const given = { ...region, mask }, made = await core.restoredAround(rgb, given, model, 32);
    const { top, left, pixels, weights } = core.pasted(rgb, given, made, strength);
    return { at: [made.top, made.left], made: made.pixels, top, left, pasted: pixels, weights };
  },
  masked: ({ rgb, mask, grid }) => ({ means: core.maskedMeans(rgb, mask, grid) }),
  tiles: async ({ rgb, size, step }) => {
    return { made: await (size ? core.restoredInTiles(rgb, model, size, step) : core.inTiles(model, rgb)) };
  },
  coloured: ({ rgb }) => ({ has: core.hasColours(rgb) }),
  colours: ({ rgb, size, strength }) => core.colorized(rgb, model, size, 32, strength),
};

const said = [];
for (const [index, { kind, arrays, ...given }] of JSON.parse(readFileSync(join(folder, "cases.json"), "utf8")).entries()) {
  for (const [name, [file, height, width]] of Object.entries(arrays)) {
    given[name] = { width, height, data: new Uint8Array(readFileSync(join(folder, file))) };
  }
  const values = {}, files = {};
  for (const [name, value] of Object.entries(await kinds[kind](given))) {
    if (!value?.data) {
      values[name] = value;
      continue;
    }
    files[name] = [`said-${index}-${name}`, value.height, value.width, value.data instanceof Float32Array ? "float32" : "uint8"];
    writeFileSync(join(folder, files[name][0]), value.data);
  }
  said.push({ values, files });
}
writeFileSync(join(folder, "said.json"), JSON.stringify(said));
