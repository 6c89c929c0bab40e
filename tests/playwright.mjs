// A real browser for tests, driven by Playwright: reads lines of JSON {code, given}, runs the code with `page`, `context` and
// `given`, and answers each with a line {value} or {error}. What the browser asked for and complained of is in `seen`.

import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const [, , modules, executablePath] = process.argv;
const { chromium } = await import(pathToFileURL(`${modules}/playwright-core/index.mjs`));
const args = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
  "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
  // A GPU that is computed by software: the page must not take it, but for the test that hides what it is.
  "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan", "--use-vulkan=swiftshader",
  "--ignore-gpu-blocklist"];
const browser = await chromium.launch({ executablePath, args });
let context, page, seen;
const begin = async (options = {}) => {
  await context?.close();
  seen = { requests: [], complaints: [] };
  context = await browser.newContext({ acceptDownloads: true, ...options });
  page = await context.newPage();
  context.on("request", (request) => seen.requests.push(request.url()));
  page.on("console", (message) => message.type() === "error" && seen.complaints.push(message.text()));
  page.on("pageerror", (error) => seen.complaints.push(String(error)));
};
await begin();
const AsyncFunction = begin.constructor;
for await (const line of createInterface({ input: process.stdin })) {
  const { code, given } = JSON.parse(line);
  try {
    const value = await new AsyncFunction("page", "context", "seen", "begin", "given", code)(page, context, seen, begin, given);
    process.stdout.write(`${JSON.stringify({ value: value ?? null })}\n`);
  } catch (error) {
    process.stdout.write(`${JSON.stringify({ error: error.stack ?? String(error) })}\n`);
  }
}
await browser.close();
