import { defineConfig } from "vite";
import { mock } from "./dev/mock/plugin.ts";

export default defineConfig({
  plugins: [mock()],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: "es2022",
    // The server serves everything below this folder as never changing: names carry a hash of what is in them.
    assetsDir: "assets/panel",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    cssCodeSplit: false,
    rolldownOptions: {
      output: {
        codeSplitting: {
          groups: [
            // What chooses and loads the catalogue comes before the panel, so that the texts come beside it and not after.
            { name: "first", test: /\/i18n\/(first|languages)\.ts$/, priority: 2 },
            // All else that every page needs is one file.
            { name: "panel", tags: ["$initial"], priority: 1 },
          ],
        },
      },
    },
  },
  server: { host: "127.0.0.1" },
  preview: { host: "127.0.0.1" },
});
