/** The numeric core of the page: what the Python of dataset_tools and pipelines does to a photo, to the same pixels. */

export { maskedMeans, pasted, type Pasted, type Placed, restoredAround } from "./around.ts";
export { grown, laidInto } from "./blend.ts";
export { affineOf, blockOf, CELL, type Cells, estimated, even, laidBack, ofGrid } from "./cells.ts";
export { type Colorized, colorized, hasColours, sizeFor } from "./colours.ts";
export { between, cellMeans, cellsOf, estimate, type Grid, middles, paint } from "./grid.ts";
export { type Affine, type Box, cut, type Floats, type Gray, grey, type Mask, resized, type Rgb, warped } from "./image.ts";
export { findMosaics } from "./finder.ts";
export type { Region } from "./regions.ts";
export { estimate as estimateResized, type Lines } from "./resized.ts";
export { shownIn } from "./shown.ts";
export { inTiles, restoredInTiles, type Run, TILE } from "./tiles.ts";
