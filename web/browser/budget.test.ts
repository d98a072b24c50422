// What the panel may cost: bytes to load, time from a key to the screen, time from the server to the screen.

import { readFileSync, readdirSync } from "node:fs";
import { gzipSync } from "node:zlib";
import type { Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { happen, open, withBrowser } from "./panel";

const SIZE_MAX = 80_000;
/** At the 95th percentile. The goals are 50 and 100 ms on an idle machine; `make test` allows more. */
const KEY_MAX_MS = Number(process.env.KEY_MAX_MS ?? 100);
const DELTA_MAX_MS = Number(process.env.DELTA_MAX_MS ?? 150);
/** Whatever else the machine does makes a measurement longer, never shorter: the best of so many counts. */
const TRIES = 3;

/** The least that was measured; more is measured only while it is too much. */
async function best(limit: number, measure: () => Promise<number>): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let tries = 0; tries < TRIES && least > limit; tries += 1) least = Math.min(least, await measure());
  return least;
}

/** Milliseconds from a key to the screen while three texts are typed and taken away, at the 95th percentile. */
async function typing(page: Page): Promise<number> {
  await page.evaluate(() => Object.assign(globalThis, { times: [] }));
  for (const text of ["nas-berlin", "os:linux oslo", "laptop 77"]) {
    for (const key of text) await page.keyboard.press(key === " " ? "Space" : key);
    for (const _ of text) await page.keyboard.press("Backspace");
  }
  const times = await page.evaluate(() => (globalThis as unknown as { times: number[] }).times);
  const ordered = times.slice(2).sort((a, b) => a - b);
  const at = (part: number) => ordered[Math.floor(part * (ordered.length - 1))]!;
  console.info(
    `key to paint: median ${at(0.5).toFixed(1)} ms, p95 ${at(0.95).toFixed(1)} ms, most ${at(1).toFixed(1)} ms, ${ordered.length} keys`,
  );
  expect(ordered.length).toBeGreaterThan(55);
  return at(0.95);
}

/** Milliseconds from a device that joins to its row. */
async function joining(page: Page, name: string): Promise<number> {
  await page.evaluate((wanted) => {
    Object.assign(globalThis, { seenAt: undefined });
    const observer = new MutationObserver(() => {
      const names = [...document.querySelectorAll("tbody .name-text")];
      if (!names.some((element) => element.textContent === wanted)) return;
      observer.disconnect();
      requestAnimationFrame(() => Object.assign(globalThis, { seenAt: Date.now() }));
    });
    observer.observe(document.body, { subtree: true, childList: true, characterData: true });
  }, name);
  const happened = await happen(page, `join?name=${name}`);
  await page.waitForFunction(() => (globalThis as { seenAt?: number }).seenAt !== undefined);
  const took = (await page.evaluate(() => (globalThis as unknown as { seenAt: number }).seenAt)) - happened;
  console.info(`server to screen: ${took} ms`);
  return took;
}

withBrowser();

const DIST = new URL("../dist/", import.meta.url);
const languages = readdirSync(new URL("../src/i18n/", import.meta.url))
  .filter((name) => name.endsWith(".json"))
  .map((name) => name.replace(".json", ""));

/** What the page names, and what that imports before it runs, as paths in the build. */
function loadedAtFirst(): string[] {
  const html = readFileSync(new URL("index.html", DIST), "utf8");
  const named = [...html.matchAll(/(?:src|href)="\/(assets\/panel\/[^"]+)"/g)].map(([, path]) => path!);
  const all = new Set<string>();
  for (let path = named.pop(); path !== undefined; path = named.pop()) {
    if (all.has(path)) continue;
    all.add(path);
    const text = path.endsWith(".js") ? readFileSync(new URL(path, DIST), "utf8") : "";
    for (const [, name] of text.matchAll(/(?:^|[;}])(?:import|export)(?:[^"'`();]*from)?["'`]\.\/([^"'`]+)/g))
      named.push(`assets/panel/${name}`);
  }
  return [...all];
}

/** The file of a language's texts. */
function textsOf(language: string): string {
  return `assets/panel/${readdirSync(new URL("assets/panel/", DIST)).find((name) => name.startsWith(`${language}-`) && name.endsWith(".js"))}`;
}

describe("the budget", () => {
  it.each(languages)("of bytes: what a browser loads at first, compressed, in %s", (language) => {
    const files = [...loadedAtFirst(), textsOf(language)];
    const size = files.reduce((sum, name) => sum + gzipSync(readFileSync(new URL(name, DIST)), { level: 9 }).length, 0);
    console.info(`${language}: ${size} bytes gzipped in ${files.length} files`);
    expect(files.filter((name) => /\/(panel|first)-.*\.js$|\.css$/.test(name))).toHaveLength(3);
    expect(size).toBeLessThanOrEqual(SIZE_MAX);
  });

  it("of bytes: a browser asks for no more than that before the page is there, and for no other language", async () => {
    const page = await open("/", { locale: "de" });
    const asked = await page.evaluate(() => performance.getEntriesByType("resource").map(({ name }) => name));
    const files = asked.map((url) => new URL(url).pathname.slice(1)).filter((path) => path.startsWith("assets/panel/"));
    expect(files.sort()).toEqual([...loadedAtFirst(), textsOf("de")].sort());
  });

  it("of time: the texts are asked for while the panel is still on its way", async () => {
    const page = await open("/");
    const asked = page.waitForRequest(/\/en-[^/]*\.js$/);
    await page.route(/\/panel-[^/]*\.js$/, async (route) => {
      await asked;
      await route.continue();
    });
    await page.reload();
    await page.locator("#main h1").first().waitFor();
  });

  it("of bytes: nothing of the made-up server is in the build", () => {
    const folder = new URL("../dist/", import.meta.url);
    const text = readdirSync(folder, { recursive: true })
      .map(String)
      .filter((name) => /\.(js|html)$/.test(name))
      .map((name) => readFileSync(new URL(name, folder), "utf8"))
      .join("");
    expect(text).toContain("/api/v1");
    expect(text).not.toMatch(/mock|example\.org|Clara Fontaine/);
  });

  it("of time: from a key to the screen with 10,000 devices", async () => {
    const page = await open("/devices", { world: "devices=10000&tick=0" });
    await page.locator(".filter-box input").focus();
    await page.evaluate(() => {
      addEventListener("keydown", () => {
        const from = performance.now();
        // The task after the next frame runs when that frame is painted.
        requestAnimationFrame(() => {
          const channel = new MessageChannel();
          channel.port1.onmessage = () =>
            (globalThis as unknown as { times: number[] }).times.push(performance.now() - from);
          channel.port2.postMessage(0);
        });
      });
    });
    expect(await best(KEY_MAX_MS, () => typing(page))).toBeLessThanOrEqual(KEY_MAX_MS);
  });

  it("of time: from the server to the screen with 10,000 devices", async () => {
    const page = await open("/devices?q=newcomer", { world: "devices=10000&tick=0" });
    await page.locator(".light.open").waitFor();
    let joined = 0;
    const took = await best(DELTA_MAX_MS, () => joining(page, `newcomer-${(joined += 1)}`));
    expect(took).toBeLessThanOrEqual(DELTA_MAX_MS);
  });

  it("of rows: only those in sight are in the document, and all are counted", async () => {
    const page = await open("/devices", { world: "devices=10000&tick=0" });
    expect(await page.locator("tbody tr[data-row]").count()).toBeLessThan(60);
    expect(await page.locator("table").getAttribute("aria-rowcount")).toBe("10001");
    await page.locator(".table-box").evaluate((box) => (box.scrollTop = box.scrollHeight));
    await page.locator('tr[aria-rowindex="10001"]').waitFor();
  });
});
