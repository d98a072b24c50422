// What axe finds on a page, and whether a phone shows all of it.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Page } from "playwright-core";
import { expect } from "vitest";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const PHONE = { width: 360, height: 740 };

interface Violation {
  id: string;
  nodes: { html: string; failureSummary: string }[];
}

/** What axe finds; in the dark theme only colours can differ from the light one. */
export async function violations(page: Page, only?: "color-contrast"): Promise<string[]> {
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
export async function expectNoViolations(page: Page): Promise<void> {
  await page.emulateMedia({ colorScheme: "light" });
  expect(await violations(page)).toEqual([]);
  await page.emulateMedia({ colorScheme: "dark" });
  await page.waitForFunction(() => matchMedia("(prefers-color-scheme: dark)").matches);
  expect(await violations(page, "color-contrast")).toEqual([]);
}

/** At the width of a phone nothing sticks out of the page, nor inside of it, where it would be cut off or scroll sideways. */
export async function expectFits(page: Page): Promise<void> {
  await page.setViewportSize(PHONE);
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(PHONE.width);
  const wide = await page.evaluate(() =>
    [...document.querySelectorAll("main, .drawer-body, .dialog-body, .table-box")]
      .filter((box) => box.scrollWidth > box.clientWidth + 1)
      .map((box) => box.className || box.tagName),
  );
  expect(wide).toEqual([]);
}
