// Serves /api/v1 in `npm run dev` and in the browser tests from a made-up world. It hangs on Vite's servers alone, so no
// byte of it can come into a build.
//
// The cookie `mock` says which world: `devices=10000&as=member&empty=1&tick=0`. Each combination is a world of its own;
// POST /mock/reset forgets them.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Connect, Plugin } from "vite";
import { Server } from "./server.ts";

/** What the real server sends with the page; the tests show that the panel lives with it. */
export const POLICY =
  "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'";

const servers = new Map<string, Server>();

export function mock(): Plugin {
  return {
    name: "lanyard-mock",
    configureServer: (server) => void server.middlewares.use(handle),
    configurePreviewServer(server) {
      server.middlewares.use((_request, response, next) => {
        response.setHeader("content-security-policy", POLICY);
        next();
      });
      server.middlewares.use(handle);
    },
  };
}

function handle(request: IncomingMessage, response: ServerResponse, next: Connect.NextFunction): void {
  const url = new URL(request.url ?? "/", "http://mock");
  if (url.pathname === "/mock/reset") {
    for (const server of servers.values()) server.stop();
    servers.clear();
    response.end();
    return;
  }
  // Pages that are not the panel's have no icon of their own, and a browser asks for one whenever it likes.
  if (url.pathname === "/favicon.ico") return void response.writeHead(204).end();
  if (["/account", "/signin", "/signout"].includes(url.pathname)) {
    response.setHeader("content-type", "text/html");
    response.end(`<!doctype html><title>${url.pathname}</title><h1>${url.pathname}</h1>`);
    return;
  }
  if (!url.pathname.startsWith("/api/v1/")) return next();
  const wish = /(?:^|;\s*)mock=([^;]*)/.exec(request.headers.cookie ?? "")?.[1] ?? "";
  let server = servers.get(wish);
  if (!server) servers.set(wish, (server = new Server(new URLSearchParams(decodeURIComponent(wish)))));
  void server.answer(request, response, url);
}
