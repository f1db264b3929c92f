// Service worker: keeps the page for use without a network, and gives it the headers that threads of WebAssembly need.
// `ppadaattn export --web` puts the constants before this text: VERSION, FIRST and REST, which are files of the page, and
// RUNTIME, the address of ONNX Runtime.

const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
};
const here = new URL("./", location).href;
const runtime = new URL(RUNTIME, here).href;

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(VERSION).then((cache) => cache.addAll(FIRST)));
});

self.addEventListener("activate", (event) => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) if (name.startsWith("ppadaattn ") && name !== VERSION) await caches.delete(name);
    await self.clients.claim();
  })());
});

// After the first picture: what the visitor has not needed yet is fetched, too.
self.addEventListener("message", (event) => {
  if (event.data !== "keep") return;
  event.waitUntil((async () => {
    const cache = await caches.open(VERSION);
    for (const file of REST) if (!(await cache.match(file))) await cache.add(file).catch(() => {});
  })());
});

self.addEventListener("fetch", (event) => {
  const { method, url } = event.request;
  if (method === "GET" && (url.startsWith(here) || url.startsWith(runtime))) event.respondWith(answer(event.request));
});

async function answer(request) {
  const cache = await caches.open(VERSION);
  const key = request.url.split(/[?#]/)[0] === here ? `${here}index.html` : request;
  let response = await cache.match(key, { ignoreSearch: true });
  if (!response) {
    response = await fetch(request);
    if (response.status === 200) await cache.put(key, response.clone());
  }
  if (!request.url.startsWith(here)) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(HEADERS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}
