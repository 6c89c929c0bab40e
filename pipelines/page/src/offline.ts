/**
 * Keeps the page working without a network. What the network has comes first, so that nothing old is shown where there is something
 * new. Also says what browsers want to hear before WebAssembly may use several threads, which a plain web server does not.
 */

import { CACHE } from "./store.ts";

const HEADERS = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

interface Fetching extends Event {
  readonly request: Request;
  respondWith(answer: Promise<Response>): void;
}
const scope = globalThis as unknown as { clients: { claim(): Promise<void> }; skipWaiting(): Promise<void>; location: Location } & EventTarget;

scope.addEventListener("install", () => void scope.skipWaiting());
scope.addEventListener("activate", (event) => (event as Event & { waitUntil(done: Promise<void>): void }).waitUntil(scope.clients.claim()));
scope.addEventListener("fetch", (event) => {
  const { request } = event as Fetching;
  if (request.method === "GET" && new URL(request.url).origin === scope.location.origin) (event as Fetching).respondWith(answer(request));
});

async function answer(request: Request): Promise<Response> {
  const cache = await caches.open(CACHE);
  const found = await fetch(request).catch(() => null);
  if (found?.ok) await cache.put(request, found.clone());
  const given = found ?? (await cache.match(request, { ignoreSearch: true }));
  if (!given) return Response.error();
  const headers = new Headers(given.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(given.body, { status: given.status, statusText: given.statusText, headers });
}
