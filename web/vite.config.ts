import { defineConfig } from "vite";
import { mock } from "./dev/mock/plugin.ts";
import { texts } from "./dev/texts.ts";

export default defineConfig({
  plugins: [mock(), texts()],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: "es2022",
    // The server serves everything below this folder as never changing: names carry a hash of what is in them.
    assetsDir: "assets/panel",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
  },
  server: { host: "127.0.0.1" },
  preview: { host: "127.0.0.1" },
});
