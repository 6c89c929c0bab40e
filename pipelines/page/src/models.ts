/** The models to choose from: those of the site, and those that a person opens. */

import type { Card } from "./card.ts";
import { CACHE } from "./store.ts";

/** models.json, which pipelines/site.py writes. */
interface Site {
  readonly offline: boolean; // whether the page may keep itself for when there is no network
  readonly models: readonly { readonly name: string; readonly file: string }[];
}

export interface Model {
  readonly name: string;
  /** The bytes of its file; what it tells is 0 to 1. */
  bytes(tell: (share: number) => void, signal: AbortSignal): Promise<Uint8Array>;
}

/** A model that is open. */
export interface Open {
  readonly model: Model;
  readonly card: Card;
  readonly sha256: string;
  readonly device: string;
}

export async function modelsOf(site: string): Promise<Model[]> {
  const answer = await fetch(`${site}models.json`);
  if (!answer.ok) throw new Error("The page's list of models is missing: make the page again.");
  const told = (await answer.json()) as Site;
  if (told.offline) keep(site, told.models.map(({ file }) => file)).catch(() => {}); // without it the page works all the same
  return told.models.map(({ name, file }) => ({ name, bytes: (tell, signal) => fetched(`${site}${file}`, tell, signal) }));
}

export function modelOf(file: File): Model {
  return { name: file.name.replace(/\.onnx$/i, ""), bytes: async () => new Uint8Array(await file.arrayBuffer()) };
}

async function fetched(address: string, tell: (share: number) => void, signal: AbortSignal): Promise<Uint8Array> {
  const answer = await fetch(address, { signal }).catch(() => null);
  signal.throwIfAborted();
  if (!answer?.ok || !answer.body) throw new Error("The model's file cannot be had: is the server still there?");
  const total = Number(answer.headers.get("Content-Length")), pieces: Uint8Array[] = [], reader = answer.body.getReader();
  let count = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    pieces.push(part.value);
    count += part.value.length;
    if (total) tell(Math.min(1, count / total));
  }
  return new Uint8Array(await new Blob(pieces as BlobPart[]).arrayBuffer());
}

/** For when there is no network: the page itself; `models` that are opened come by themselves from the next visit on, others go. */
async function keep(site: string, models: readonly string[]): Promise<void> {
  if (!("serviceWorker" in navigator)) return;
  await navigator.serviceWorker.register(`${site}offline.js`);
  const runtime = "gpu" in navigator ? ["ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm"] : [];
  const always = ["ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"];
  const files = ["./", "index.html", "style.css", "icon.svg", "app.js", "worker.js", "models.json", "faces.onnx"];
  const cache = await caches.open(CACHE), wanted = new Set(models.map((file) => new URL(file, site).href));
  for (const { url } of await cache.keys()) if (url.endsWith(".onnx") && !url.endsWith("/faces.onnx") && !wanted.has(url)) await cache.delete(url);
  await Promise.allSettled([...files, ...[...always, ...runtime].map((name) => `ort/${name}`)].map((name) => cache.add(`${site}${name}`)));
}
