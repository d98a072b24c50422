import { defineConfig } from "vitest/config";

// One browser for all files, one after the other: the machine has few cores and some tests measure time.
export default defineConfig({
  test: {
    include: ["browser/**/*.test.ts"],
    globalSetup: "browser/serve.ts",
    fileParallelism: false,
    // What is in the way of a browser on a busy machine is not there twice; what is wrong is.
    retry: 1,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
