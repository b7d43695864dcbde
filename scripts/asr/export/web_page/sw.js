"use strict";
// Offline: what is in the cache is taken from there, for its folder is its version; the page itself from the network
// while there is one, so that a newer version is found. The page fills the cache and empties it.
const PAGE = new URL("./", location).href;
self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(clients.claim()));
self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || !event.request.url.startsWith(PAGE)) return;
  const isPage = event.request.mode === "navigate" || event.request.url === PAGE;
  const fromNetwork = () => fetch(event.request, isPage ? { signal: AbortSignal.timeout(5000) } : {});
  const fromCache = () => caches.match(isPage ? PAGE : event.request);
  event.respondWith(
    isPage
      ? fromNetwork().catch(async () => (await fromCache()) ?? Response.error())
      : fromCache().then((kept) => kept ?? fromNetwork()),
  );
});
