/** What runs a model file in the browser: ONNX Runtime, on the GPU through WebGPU where there is one, else as WebAssembly. */

import type * as Ort from "onnxruntime-web";
import { emptyRgb, type Rgb } from "./image.ts";

export type Device = "webgpu" | "wasm";

/** A model that is ready. */
export interface Engine {
  readonly device: Device;
  /** An image whose sides are multiples of the model's stride -> what the model makes of it. */
  run(image: Rgb): Promise<Rgb>;
  release(): Promise<void>;
}

/** A Float32Array of the shape (1, 3, height, width) and back: what the graph's names and value range ask for. */
const INPUT = "image", OUTPUT = "restored";

/**
 * The model in `data`, on the first device that can run it.
 *
 * base: the address below which ONNX Runtime's own files lie. Throws where the browser can do neither.
 */
export async function openEngine(data: Uint8Array, base: string, devices: readonly Device[] = ["webgpu", "wasm"]): Promise<Engine> {
  let last: unknown = new Error("this browser has no WebAssembly");
  for (const device of devices) {
    try {
      if (device === "webgpu" && !(await hasGpu())) continue;
      return await open(data, base, device);
    } catch (error) {
      last = error;
    }
  }
  throw last;
}

async function hasGpu(): Promise<boolean> {
  const gpu = (globalThis.navigator as { gpu?: { requestAdapter(): Promise<unknown> } }).gpu;
  return gpu !== undefined && (await gpu.requestAdapter().catch(() => null)) !== null;
}

async function open(data: Uint8Array, base: string, device: Device): Promise<Engine> {
  const ort: typeof Ort = device === "webgpu" ? await import("onnxruntime-web/webgpu") : await import("onnxruntime-web/wasm");
  ort.env.wasm.wasmPaths = base;
  ort.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(8, navigator.hardwareConcurrency || 1) : 1;
  const session = await ort.InferenceSession.create(data, { executionProviders: [device] });
  return {
    device,
    async run(image) {
      const given = new ort.Tensor("float32", toFloats(image), [1, 3, image.height, image.width]);
      const made = (await session.run({ [INPUT]: given }))[OUTPUT];
      if (!made) throw new Error("the model makes nothing");
      return toRgb((await made.getData()) as Float32Array, image.width, image.height);
    },
    release: () => session.release(),
  };
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
  const made = emptyRgb(width, height), count = width * height;
  for (let at = 0; at < count; at++) {
    for (let channel = 0; channel < 3; channel++) {
      const level = (values[channel * count + at] + 1) * 127.5;
      made.data[3 * at + channel] = level <= 0 ? 0 : level >= 255 ? 255 : Math.round(level);
    }
  }
  return made;
}
