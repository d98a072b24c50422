// Writes a .br and a .gz beside every file of the build that gains by it: the server sends them as they are.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";

const TEXT = new Set([".html", ".js", ".css", ".svg", ".json"]);
const dist = new URL("../dist", import.meta.url).pathname;

for (const name of readdirSync(dist, { recursive: true })) {
  if (!TEXT.has(extname(name))) continue;
  const file = join(dist, name);
  const bytes = readFileSync(file);
  const packed = {
    br: brotliCompressSync(bytes, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }),
    gz: gzipSync(bytes, { level: 9 }),
  };
  for (const [ending, small] of Object.entries(packed)) {
    if (small.length < bytes.length) writeFileSync(`${file}.${ending}`, small);
  }
}
