// Catalogues other than the English one come into the build without their keys: those are in the bundle already, in their order.

import { readFileSync } from "node:fs";
import type { Plugin } from "vite";

const ENGLISH = new URL("../src/i18n/en.json", import.meta.url);

export function texts(): Plugin {
  return {
    name: "lanyard-texts",
    apply: "build",
    load(id) {
      if (!/\/i18n\/(?!en\.)\w+\.json$/.test(id)) return null;
      const read = (file: string | URL) => JSON.parse(readFileSync(file, "utf8")) as Record<string, string>;
      const other = read(id);
      return JSON.stringify(Object.keys(read(ENGLISH)).map((key) => other[key]));
    },
  };
}
