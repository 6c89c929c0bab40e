/**
 * Keeps the page working without a network. What the network has comes first, so that nothing old is shown where there is something
 * new. Also says what browsers want to hear before WebAssembly may use several threads, which a plain web server does not.
 */

import { CACHE } from "./store.ts";

const HEADERS = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

interface Waiting extends Event {
  waitUntil(done: Promise<unknown>): void;
}
interface Fetching extends Waiting {
  readonly request: Request;
  respondWith(answer: Promise<Response>): void;
}
const scope = globalThis as unknown as { clients: { claim(): Promise<void> }; skipWaiting(): Promise<void>; location: Location } & EventTarget;

scope.addEventListener("install", () => void scope.skipWaiting());
scope.addEventListener("activate", (event) => (event as Waiting).waitUntil(scope.clients.claim()));
scope.addEventListener("fetch", (event) => {
  const asked = event as Fetching, { request } = asked;
  if (request.method === "GET" && new URL(request.url).origin === scope.location.origin) asked.respondWith(answer(asked));
});

async function answer(asked: Fetching): Promise<Response> {
  const { request } = asked, found = await fetch(request, { cache: "no-cache" }).catch(() => null);
  if (found?.ok) { // a full disk is no reason to answer nothing, or late
    const copy = found.clone();
    asked.waitUntil(caches.open(CACHE).then((cache) => cache.put(request, copy)).catch(() => {}));
  }
  if (found?.type === "opaqueredirect") return found;
  const given = found?.ok ? found : ((await caches.match(request, { ignoreSearch: true })) ?? found);
  if (!given) return Response.error();
  const headers = new Headers(given.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(given.body, { status: given.status, statusText: given.statusText, headers });
}
