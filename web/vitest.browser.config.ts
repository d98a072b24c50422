import { defineConfig } from "vitest/config";

// One browser for all files, one after the other: the machine has few cores and some tests measure time.
export default defineConfig({
  test: {
    include: ["browser/**/*.test.ts"],
    globalSetup: "browser/serve.ts",
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
