/** The part of the page that computes, beside the one that is looked at. One thing at a time; to cancel, end it and start another. */

import { type Card, readCard } from "./card.ts";
import { type Engine, openEngine, openFaces } from "./engine.ts";
import type { Box, Rgb } from "./image.ts";
import { type Job, type Outcome, restoreWhole } from "./whole.ts";

export type Request = { readonly id: number } & (
  | { readonly kind: "open"; readonly model: Uint8Array; readonly base: string; readonly faces: string }
  | { readonly kind: "restore"; readonly job: Job; readonly key: string } // of the same key: the same photo and places
  | { readonly kind: "faces"; readonly rgb: Rgb }
);

export interface Opened {
  readonly card: Card;
  readonly device: string;
}

export type Answer = { readonly id: number } & (
  | { readonly kind: "made"; readonly made: Opened | Outcome | readonly Box[] }
  | { readonly kind: "progress"; readonly share: number | null; readonly doing: string }
  | { readonly kind: "failed"; readonly sentence: string }
);

let engine: Engine | null = null, card: Card | null = null, base = "", facesAt = "";
let faceFinder: Promise<(rgb: Rgb) => Promise<Box[]>> | null = null;
let memo: { key: string; images: Rgb[] } = { key: "", images: [] }; // what the model made for the last photo, in order

const scope = globalThis as unknown as {
  onmessage: (event: { data: Request }) => void;
  postMessage(message: Answer, transfer?: Transferable[]): void;
};
let queue = Promise.resolve();
scope.onmessage = ({ data }) => {
  queue = queue.then(() => answer(data));
};

async function answer(asked: Request): Promise<void> {
  const { id } = asked;
  try {
    const made = await (asked.kind === "open" ? open(asked) : asked.kind === "faces" ? faces(asked.rgb) : restore(asked));
    const transfer = "made" in made && made.made ? [made.made.data.buffer as ArrayBuffer] : [];
    scope.postMessage({ id, kind: "made", made }, transfer);
  } catch (error) {
    scope.postMessage({ id, kind: "failed", sentence: sentenceOf(error) });
  }
}

async function open(asked: Request & { kind: "open" }): Promise<Opened> {
  const read = readCard(asked.model);
  ({ base, faces: facesAt } = asked);
  const opened = await openEngine(asked.model, base, read.size);
  await engine?.release();
  [engine, card, memo] = [opened, read, { key: "", images: [] }];
  const device = opened.device === "webgpu" ? "the GPU (WebGPU)" : `WebAssembly, ${opened.threads} thread${opened.threads > 1 ? "s" : ""}`;
  return { card, device };
}

async function restore({ id, job, key }: Request & { kind: "restore" }): Promise<Outcome> {
  if (!engine || !card) throw new Error("No model is open.");
  if (memo.key !== key) memo = { key, images: [] };
  const { run } = engine, { images } = memo;
  let done = 0;
  return restoreWhole(job, {
    card,
    run: async (image) => (images[done++] ??= await run(image)),
    faces,
    tell: (share, doing) => scope.postMessage({ id, kind: "progress", share, doing }),
  });
}

async function faces(rgb: Rgb): Promise<Box[]> {
  faceFinder ??= fetch(facesAt).then(async (answer) => {
    if (!answer.ok) throw new Error("The face finder is missing from this page's files.");
    return openFaces(new Uint8Array(await answer.arrayBuffer()), base);
  });
  try {
    return await (await faceFinder)(rgb);
  } catch (error) {
    faceFinder = null; // the next one may have more luck
    throw error;
  }
}

function sentenceOf(error: unknown): string {
  if (error instanceof RangeError) return "The browser has not enough memory for this photo: make it smaller.";
  return error instanceof Error ? error.message : String(error);
}
