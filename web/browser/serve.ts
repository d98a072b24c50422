// Serves the built panel over the made-up server, for all browser tests.

import { existsSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { preview } from "vite";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  export interface ProvidedContext {
    base: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  if (!existsSync(new URL("../dist/index.html", import.meta.url))) throw new Error("there is no build: npm run build");
  const server = await preview({ preview: { port: 0 }, logLevel: "error" });
  const { port } = server.httpServer.address() as AddressInfo;
  project.provide("base", `http://127.0.0.1:${port}`);
  return () =>
    new Promise((done) => {
      server.httpServer.close(() => done());
      if ("closeAllConnections" in server.httpServer) server.httpServer.closeAllConnections();
    });
}
