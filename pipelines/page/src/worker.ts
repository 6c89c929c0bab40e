/** The part of the page that computes, beside the one that is looked at. One photo at a time; to cancel, end it and start another. */

import { type Card, readCard } from "./card.ts";
import { type Engine, openEngine } from "./engine.ts";
import type { Rgb } from "./image.ts";
import type { Region } from "./regions.ts";
import { restoreWhole } from "./whole.ts";

export type Request =
  | { readonly kind: "open"; readonly id: number; readonly model: Uint8Array; readonly base: string }
  | { readonly kind: "restore"; readonly id: number; readonly image: Rgb; readonly strength: number; readonly regions?: readonly Region[] };

export type Answer =
  | { readonly kind: "opened"; readonly id: number; readonly card: Card; readonly device: string }
  | { readonly kind: "progress"; readonly id: number; readonly share: number; readonly doing: string }
  | { readonly kind: "restored"; readonly id: number; readonly made: Rgb; readonly mask: Uint8Array; readonly regions: readonly Region[]; readonly notes: readonly string[]; readonly seconds: number }
  | { readonly kind: "nothing"; readonly id: number }
  | { readonly kind: "failed"; readonly id: number; readonly sentence: string };

let engine: Engine | null = null, card: Card | null = null;

const scope = globalThis as unknown as {
  onmessage: (event: { data: Request }) => void;
  postMessage(message: Answer, transfer?: Transferable[]): void;
};

scope.onmessage = ({ data }) => void answer(data);

async function answer(asked: Request): Promise<void> {
  try {
    if (asked.kind === "open") {
      card = readCard(asked.model);
      await engine?.release();
      engine = await openEngine(asked.model, asked.base);
      scope.postMessage({ kind: "opened", id: asked.id, card, device: engine.device });
      return;
    }
    if (!engine || !card) throw new Error("no model is open");
    const began = performance.now(), opened = engine;
    const outcome = await restoreWhole(asked.image, card, (image) => opened.run(image), asked.strength, (share, doing) => {
      scope.postMessage({ kind: "progress", id: asked.id, share, doing });
    }, asked.regions);
    if (!outcome) {
      scope.postMessage({ kind: "nothing", id: asked.id });
      return;
    }
    const { made, mask, regions, notes } = outcome, seconds = (performance.now() - began) / 1000;
    scope.postMessage({ kind: "restored", id: asked.id, made, mask: mask.data, regions, notes, seconds },
      [made.data.buffer as ArrayBuffer, mask.data.buffer as ArrayBuffer]);
  } catch (error) {
    scope.postMessage({ kind: "failed", id: asked.id, sentence: error instanceof Error ? error.message : String(error) });
  }
}
