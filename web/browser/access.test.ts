// Everybody can use it: axe finds nothing on any page in either theme, nothing is cut off at 360 px, motion can be off.

import { describe, expect, it } from "vitest";
import { PHONE, expectFits, expectNoViolations, violations } from "./eyes";
import { open, withBrowser } from "./panel";

const PAGES = [
  "/",
  "/devices",
  "/devices?q=os:linux+-state:offline",
  "/devices?q=nothing-like-this",
  "/devices?q=site:berlin",
  "/devices?open=device/d00000003",
  "/devices/d00000003",
  "/networks",
  "/networks/home",
  "/networks/home/entries",
  "/networks/home/groups",
  "/networks/home/invites",
  "/networks/home/invites?new=1",
  "/networks/home/roles",
  "/networks/home/settings",
  "/networks/nowhere",
  "/people",
  "/people?open=user/u00000001",
  "/map",
  "/map?view=table",
  "/rules",
  "/rules?in=home",
  "/activity",
  "/settings",
  "/settings/tokens",
  "/settings/sessions",
  "/settings/webhooks",
  "/settings/webhooks/w1",
  "/settings/server",
];

withBrowser();

describe("in either theme", () => {
  it.each(PAGES)("axe finds nothing at %s, and a phone shows all of it", async (path) => {
    const page = await open(path, { reducedMotion: "reduce" });
    await expectNoViolations(page);
    await expectFits(page);
  });

  it.each(["direct", "mapping_varies_there"])("axe finds nothing in the reasons and hours of a pair: %s", async (code) => {
    const page = await open("/map", { reducedMotion: "reduce" });
    const { origin } = new URL(page.url());
    const answer = await page.request.get(`${origin}/api/v1/snapshot`);
    const { links } = (await answer.json()) as { links: { id: string; code: string }[] };
    const { id } = links.find((link) => link.code === code)!;
    await page.goto(`${origin}/map?open=link/${encodeURIComponent(id)}`);
    await page.locator(".chart").first().waitFor();
    await page.locator(".history summary").click();
    await page.locator(".history-table tbody tr").first().waitFor();
    await page.getByRole("button", { name: "30 days" }).click();
    await page.waitForFunction(() => document.querySelectorAll(".bar-all").length === 30);
    await expectNoViolations(page);
    await page.setViewportSize(PHONE);
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(PHONE.width);
    const drawer = page.locator(".drawer-body");
    expect(await drawer.evaluate((box) => box.scrollWidth - box.clientWidth)).toBeLessThanOrEqual(1);
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
