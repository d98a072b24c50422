// Everybody can use it: axe finds nothing on any page in either theme, nothing is cut off at 360 px, motion can be off.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { open, withBrowser } from "./panel";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

const PAGES = [
  "/",
  "/devices",
  "/devices?q=os:linux+-state:offline",
  "/devices?q=nothing-like-this",
  "/devices?open=device/d00000003",
  "/devices/d00000003",
  "/networks",
  "/networks/home",
  "/networks/home/invites",
  "/networks/home/invites?new=1",
  "/networks/home/roles",
  "/networks/home/settings",
  "/networks/nowhere",
  "/people",
  "/people?open=user/u00000001",
  "/map",
  "/map?view=table",
  "/activity",
  "/settings",
  "/settings/tokens",
  "/settings/sessions",
  "/settings/server",
];

const PHONE = { width: 360, height: 740 };

interface Violation {
  id: string;
  nodes: { html: string; failureSummary: string }[];
}

/** What axe finds; in the dark theme only colours can differ from the light one. */
async function violations(page: Page, only?: "color-contrast"): Promise<string[]> {
  // The policy forbids scripts from elsewhere in the page; evaluating does not go through it.
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(AXE);
  const found = await page.evaluate(async (rule) => {
    const { axe } = globalThis as unknown as {
      axe: { run: (node: Node, options: object) => Promise<{ violations: Violation[] }> };
    };
    const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
    const runOnly = rule ? { type: "rule", values: [rule] } : { type: "tag", values: tags };
    return (await axe.run(document, { runOnly })).violations;
  }, only);
  return found.map(
    ({ id, nodes }) =>
      `${id}: ${nodes
        .map((node) => `${node.html} (${node.failureSummary})`)
        .slice(0, 2)
        .join("; ")}`,
  );
}

/** In either theme. */
async function expectNoViolations(page: Page): Promise<void> {
  await page.emulateMedia({ colorScheme: "light" });
  expect(await violations(page)).toEqual([]);
  await page.emulateMedia({ colorScheme: "dark" });
  await page.waitForFunction(() => matchMedia("(prefers-color-scheme: dark)").matches);
  expect(await violations(page, "color-contrast")).toEqual([]);
}

withBrowser();

describe("in either theme", () => {
  it.each(PAGES)("axe finds nothing at %s, and a phone shows all of it", async (path) => {
    const page = await open(path, { reducedMotion: "reduce" });
    await expectNoViolations(page);
    await page.setViewportSize(PHONE);
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(PHONE.width);
    // Inside the page as well: a column that sticks out would be cut off or scroll sideways.
    const wide = await page.evaluate(() =>
      [...document.querySelectorAll("main, .drawer-body, .dialog-body, .table-box")]
        .filter((box) => box.scrollWidth > box.clientWidth + 1)
        .map((box) => box.className || box.tagName),
    );
    expect(wide).toEqual([]);
  });

  it("axe finds nothing in the palette, the help, a menu and a message", async () => {
    const page = await open("/devices", { reducedMotion: "reduce" });
    await page.keyboard.press("Control+k");
    await page.keyboard.type("nas");
    await expectNoViolations(page);
    await page.keyboard.press("Escape");
    await page.keyboard.press("?");
    await page.locator("dialog.dialog").waitFor();
    await expectNoViolations(page);
    await page.keyboard.press("Escape");
    await page.locator(".top .icon-button").last().click();
    await expectNoViolations(page);
    await page.keyboard.press("Escape");
    for (const at of [1, 2]) await page.locator("tbody input[type=checkbox]").nth(at).click();
    await page.locator(".bar .danger").click();
    await page.locator(".note").waitFor();
    await expectNoViolations(page);
    await page.locator(".note-undo").click();
  });
});

describe("at the width of a phone", () => {
  it("axe finds nothing, and rows are cards", async () => {
    const page = await open("/devices", { viewport: PHONE, hasTouch: true });
    expect(await violations(page)).toEqual([]);
    expect(await page.locator("table.cards").count()).toBe(1);
  });

  it("works in German too", async () => {
    const page = await open("/", { viewport: PHONE, locale: "de" });
    await page.getByRole("heading", { name: "Überblick" }).waitFor();
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(360);
    expect(await page.evaluate(() => document.documentElement.lang)).toBe("de");
  });
});

describe("the map", () => {
  it("stands still once it has settled", async () => {
    const page = await open("/map");
    const canvas = page.locator("canvas[data-settled=yes]");
    await canvas.waitFor();
    const before = await canvas.screenshot();
    await page.evaluate(() => new Promise((done) => setTimeout(done, 400)));
    expect((await canvas.screenshot()).equals(before)).toBe(true);
  });
});
