// The page as files in built/: the scripts bundled, ONNX Runtime's own files beside them. Nothing refers to another host.

import { copyFileSync, cpSync, mkdirSync, rmSync } from "node:fs";
import { build } from "esbuild";

const ORT = "node_modules/onnxruntime-web/dist";
const RUNTIME = [ // the first three run on WebAssembly alone; the others are asked for where there is WebGPU
  "ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm",
  "ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm",
];

process.chdir(import.meta.dirname);
rmSync("built", { recursive: true, force: true });
cpSync("static", "built", { recursive: true });
mkdirSync("built/ort");
for (const name of RUNTIME) copyFileSync(`${ORT}/${name}`, `built/ort/${name}`);
await build({
  entryPoints: ["src/app.ts", "src/worker.ts", "src/offline.ts"], outdir: "built", bundle: true, format: "esm", target: "es2022",
  minify: true, legalComments: "none", logLevel: "warning",
});
