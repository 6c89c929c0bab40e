/** What runs a model file in the browser: ONNX Runtime, on the GPU through WebGPU where there is one, else as WebAssembly. */

import type * as Ort from "onnxruntime-web";
import { type Box, clip, emptyRgb, type Rgb } from "./image.ts";
import { findFaces } from "./faces.ts";
import type { Run } from "./tiles.ts";

export type Device = "webgpu" | "wasm";

/** A model that is ready. */
export interface Engine {
  readonly device: Device;
  readonly threads: number; // of WebAssembly
  readonly run: Run; // images whose sides are multiples of the model's stride
  release(): Promise<void>;
}

const INPUT = "image", OUTPUT = "restored"; // float32 (1, 3, H, W) in [-1, 1]
const THREADS = 8; // at most
const SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11]; // a module that uses it

/**
 * The model in `data`, on the first of `devices` that can run it.
 *
 * base: the address below which ONNX Runtime's own files lie. side: of an image that the model is tried with, pixels. Throws an
 * Error of one sentence where nothing can run it.
 */
export async function openEngine(
  data: Uint8Array, base: string, side: number, devices: readonly Device[] = ["webgpu", "wasm"],
): Promise<Engine> {
  if (typeof WebAssembly === "undefined" || !WebAssembly.validate(Uint8Array.from(SIMD))) {
    throw new Error("This browser has no WebAssembly SIMD, which models need: use a newer one.");
  }
  let reason: unknown = null;
  for (const device of devices) {
    if (device === "webgpu" && !(await hasGpu())) continue;
    try {
      const engine = await open(data, base, device);
      await engine.run(emptyRgb(side, side)); // a graph that does not do what its card says is refused now, not at a photo
      return engine;
    } catch (error) {
      reason = error;
    }
  }
  throw new Error(`The model cannot be run here (${firstLine(reason)}): it may be damaged.`);
}

interface Adapter {
  readonly isFallbackAdapter?: boolean; // older browsers say it here
  readonly info?: { readonly isFallbackAdapter?: boolean; readonly architecture?: string };
}

/** Whether there is a GPU that is one: what is computed by software in its place takes minutes. */
async function hasGpu(): Promise<boolean> {
  const { gpu } = navigator as { gpu?: { requestAdapter(): Promise<Adapter | null> } };
  const adapter = (await gpu?.requestAdapter().catch(() => null)) ?? null;
  return adapter !== null && !(adapter.isFallbackAdapter || adapter.info?.isFallbackAdapter || adapter.info?.architecture === "swiftshader");
}

async function runtime(base: string, device: Device): Promise<typeof Ort> {
  const ort = (await import(`${base}ort.${device}.min.mjs`)) as typeof Ort;
  ort.env.wasm.wasmPaths = base;
  ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(THREADS, navigator.hardwareConcurrency || 1) : 1;
  return ort;
}

async function open(data: Uint8Array, base: string, device: Device): Promise<Engine> {
  const ort = await runtime(base, device);
  const session = await ort.InferenceSession.create(data, { executionProviders: [device], logSeverityLevel: 4 });
  return {
    device,
    threads: ort.env.wasm.numThreads ?? 1,
    async run(image) {
      const given = new ort.Tensor("float32", toFloats(image), [1, 3, image.height, image.width]);
      const made = (await session.run({ [INPUT]: given }))[OUTPUT];
      if (made.dims.join() !== given.dims.join()) throw new Error(`the model makes ${made.dims.join(" × ")} of ${given.dims.join(" × ")}`);
      return toRgb((await made.getData()) as Float32Array, image.width, image.height);
    },
    release: () => session.release(),
  };
}

/** A face finder; `data` is what bench/face_to_onnx.py makes. Boxes lie within the photo. */
export async function openFaces(data: Uint8Array, base: string): Promise<(rgb: Rgb) => Promise<Box[]>> {
  const ort = await runtime(base, "wasm"), session = await ort.InferenceSession.create(data, { logSeverityLevel: 4 });
  const look = async (pixels: Float32Array, shape: readonly number[]): Promise<{ boxes: Float32Array; scores: Float32Array }> => {
    const { boxes, scores } = await session.run({ pixels: new ort.Tensor("float32", pixels, shape) });
    return { boxes: boxes.data as Float32Array, scores: scores.data as Float32Array };
  };
  return async (rgb) => (await findFaces(rgb, look, { search: true })).map(({ box: [x, y, width, height] }) => ({
    top: clip(Math.round(y), 0, rgb.height - 1), left: clip(Math.round(x), 0, rgb.width - 1),
    bottom: clip(Math.round(y + height), 1, rgb.height), right: clip(Math.round(x + width), 1, rgb.width),
  }));
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0].slice(0, 200).replace(/\.$/, "");
}

/** [-1, 1], channels first. */
function toFloats(image: Rgb): Float32Array {
  const count = image.width * image.height, made = new Float32Array(3 * count);
  for (let at = 0; at < count; at++) {
    for (let channel = 0; channel < 3; channel++) made[channel * count + at] = image.data[3 * at + channel] / 127.5 - 1;
  }
  return made;
}

function toRgb(values: Float32Array, width: number, height: number): Rgb {
  const made = emptyRgb(width, height), out = new Uint8ClampedArray(made.data.buffer), count = width * height;
  for (let at = 0; at < count; at++) {
    for (let channel = 0; channel < 3; channel++) out[3 * at + channel] = (values[channel * count + at] + 1) * 127.5; // rounds, clips
  }
  return made;
}
