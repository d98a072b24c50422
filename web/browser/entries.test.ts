// What people write about things, tags and ends of memberships, groups, and whom invites let in.

import type { Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { expectFits, expectNoViolations } from "./eyes";
import { firstOf, forgive, happen, open, record, withBrowser } from "./panel";

withBrowser();

const CALM = { reducedMotion: "reduce" } as const;
const MEMBER = { ...CALM, world: "devices=200&tick=0&as=member" };

describe("details", () => {
  it("are added by keyboard alone, and the focus comes back to where it was", async () => {
    const page = await open("/devices?open=device/d00000001", CALM);
    const sent = record(page);
    const add = page.locator(".drawer").getByRole("button", { name: "Add a detail" });
    await add.focus();
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement?.matches(".entry-form input"));
    await page.keyboard.type("Site 2");
    await page.keyboard.press("Enter");
    await page.getByText("A key has 1 to 64").waitFor();
    await expectNoViolations(page);
    await page.keyboard.press("Control+a");
    await page.keyboard.type("site");
    await page.keyboard.press("Tab");
    await page.keyboard.type("hamburg");
    await page.keyboard.press("Tab");
    await page.keyboard.press("ArrowUp");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await page.locator(".entry", { hasText: "hamburg" }).waitFor();
    await page.waitForFunction(() => document.activeElement?.textContent === "Add a detail");
    expect(sent).toEqual([
      'PATCH /devices/d00000001/metadata {"entries":{"site":{"value":"hamburg","visibility":"admins"}}}',
    ]);
    await page.getByText("administrators · by Anna Berg").waitFor();
  });

  it("are edited where they stand, and Escape leaves them as they were, with the drawer open", async () => {
    const page = await open("/devices?open=device/d00000003", CALM);
    const card = page.locator(".drawer");
    await card.getByRole("button", { name: "Edit site" }).click();
    await expectNoViolations(page);
    await expectFits(page);
    await page.keyboard.press("Escape");
    await page.waitForFunction(() => document.activeElement?.getAttribute("aria-label") === "Edit site");
    await card.getByRole("button", { name: "Edit site" }).click();
    await page.getByLabel("Value").fill("refused");
    await page.keyboard.press("Enter");
    await page.getByText("the server does not like it").waitFor();
    forgive(/422/);
    await page.getByLabel("Value").fill("porto");
    await page.keyboard.press("Enter");
    await card.locator(".entry", { hasText: "porto" }).waitFor();
  });

  it("are removed after the time to undo", async () => {
    const page = await open("/networks/home/entries", CALM);
    const sent = record(page);
    await page.getByRole("button", { name: "Remove purpose" }).click();
    await page.getByText("purpose is removed").waitFor();
    expect(await page.locator(".entry", { hasText: "purpose" }).count()).toBe(0);
    await page.getByRole("button", { name: "Undo" }).click();
    await page.locator(".entry", { hasText: "Family and friends" }).waitFor();
    expect(sent).toEqual([]);
  });

  it("show what others write without a reload", async () => {
    const page = await open("/devices/d00000003", CALM);
    await page.locator(".light.open").waitFor();
    await page.locator(".entry", { hasText: "site" }).waitFor();
    await happen(page, "describe?device=d00000003&key=rack&value=seven");
    await page.locator(".entry", { hasText: "seven" }).waitFor();
  });

  it("are read only for who may not write", async () => {
    const page = await open("/networks/home/entries", MEMBER);
    await page.getByText("Family and friends").waitFor();
    expect(await page.getByRole("button", { name: "Add a detail" }).count()).toBe(0);
    await expectNoViolations(page);
    await page.locator(".top .icon-button").last().click();
    await page.getByRole("link", { name: "Mei Lin" }).click();
    await page.locator(".drawer").getByRole("button", { name: "Add a detail" }).waitFor();
  });
});

describe("a membership", () => {
  it("has tags and an end, which its dialog changes", async () => {
    const page = await open("/networks/home", CALM);
    const id = await firstOf(page, "members", (one) => one.network === "home" && one.state === "active");
    await page.goto(`${new URL(page.url()).origin}/networks/home?open=member/${id}`);
    await page.locator(".drawer .facts").waitFor();
    await expectNoViolations(page);
    const sent = record(page);
    await page.locator(".drawer").getByRole("button", { name: "Edit", exact: true }).click();
    await page.getByLabel("Tags").fill("2nd");
    await page.keyboard.press("Enter");
    await page.getByText("“2nd” is no tag").waitFor();
    await page.getByLabel("Tags").fill("");
    await page.keyboard.type("gpu,shelf ");
    await page.getByLabel("Ends", { exact: true }).selectOption({ index: 3 });
    await expectNoViolations(page);
    await expectFits(page);
    await page.getByRole("button", { name: "Save" }).click();
    await page.locator("dialog").waitFor({ state: "detached" });
    await page.locator(".drawer .facts").getByText("shelf").waitFor();
    await page.locator(".drawer .soon, .drawer time.tag").first().waitFor();
    expect(sent[0]).toContain(`PATCH /networks/home/members/${id} `);
    expect(sent[0]).toMatch(/"tags":\[.*"gpu".*"shelf"/);
    expect(sent[0]).toContain('"expires_at":');
  });

  it("is tagged and ended with others, and undone", async () => {
    const page = await open("/networks/home?q=-tag:rack+is:active", CALM);
    const sent = record(page);
    for (const at of [0, 1, 2]) await page.locator("tbody input[type=checkbox]").nth(at).click();
    await page.locator(".bar").getByRole("button", { name: "Set the end" }).click();
    await expectNoViolations(page);
    await page.keyboard.press("Escape");
    await page.locator(".bar").getByRole("button", { name: "Add tags" }).click();
    await page.getByRole("combobox", { name: "Tags" }).fill("rack");
    await page.keyboard.press("Enter");
    await expectNoViolations(page);
    await page.getByRole("dialog").getByRole("button", { name: "Add tags" }).click();
    await page.getByText("3 devices are tagged rack").waitFor();
    await page.getByRole("button", { name: "Undo" }).click();
    await page.locator(".note").waitFor({ state: "detached" });
    expect(sent).toEqual([]);
  });

  it("that ends soon is said on the overview", async () => {
    const page = await open("/", CALM);
    await page.getByRole("heading", { name: "Memberships that end soon" }).waitFor();
    await page.locator(".soon").first().waitFor();
  });

  it("of one's own device is renamed and left by its owner, and no more", async () => {
    const page = await open("/networks/home?q=is:mine", MEMBER);
    await page.getByRole("button", { name: /What to do/ }).first().click();
    const menu = page.locator(":popover-open");
    expect(await menu.getByRole("button").allTextContents()).toEqual(["Edit", "Remove from home"]);
    await menu.getByRole("button", { name: "Edit" }).click();
    await page.getByRole("dialog").getByLabel("Name").waitFor();
    expect(await page.getByLabel("Tags").count()).toBe(0);
  });
});

describe("groups", () => {
  it("are made of people with a role, changed, and removed with undo", async () => {
    const page = await open("/networks/home/groups", CALM);
    const sent = record(page);
    await page.getByRole("button", { name: "New group" }).click();
    await page.getByRole("dialog").getByLabel("Name").fill("family");
    await page.getByRole("dialog").getByLabel("Mei Lin").check();
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("There is a group family already").waitFor();
    await expectNoViolations(page);
    await expectFits(page);
    await page.getByRole("dialog").getByLabel("Name").fill("ops");
    await page.getByRole("button", { name: "Save" }).click();
    await page.locator(".line", { hasText: "ops" }).getByText("Mei Lin").waitFor();
    expect(sent).toEqual(['PUT /networks/home/groups/ops {"users":["u00000002"]}']);
    await page.getByRole("button", { name: "Remove the group ops" }).click();
    expect(await page.locator(".line", { hasText: "ops" }).count()).toBe(0);
    await page.getByRole("button", { name: "Undo" }).click();
    await page.locator(".line", { hasText: "ops" }).waitFor();
  });
});

describe("invites", () => {
  it("for a person give a role, and are a page to open", async () => {
    const page = await open("/networks/home/invites?new=1", CALM);
    await page.getByLabel("Lets in").selectOption("person");
    await page.getByLabel("Role").selectOption("guest");
    await expectNoViolations(page);
    await expectFits(page);
    await page.getByRole("button", { name: "Make the invite" }).click();
    await page.locator(".qr").waitFor();
    await page.getByText("https://vpn.example.org/invite/R9Q2-MX4D").waitFor();
    expect(await page.getByText("lanyard join").count()).toBe(0);
    await expectNoViolations(page);
    await page.getByRole("button", { name: "Done" }).click();
    await page.locator(".line", { hasText: "R9" }).getByText("guest").waitFor();
  });

  it("for devices carry tags, an owner and how long it lasts", async () => {
    const page = await open("/networks/home/invites?new=1", CALM);
    const sent = record(page);
    await page.getByLabel("Owner").selectOption({ label: "Mei Lin" });
    await page.getByLabel("Tags").fill("kiosk");
    await page.getByLabel("What it gives lasts").selectOption({ label: "30 days" });
    await page.getByRole("button", { name: "Make the invite" }).click();
    await page.locator(".qr").waitFor();
    expect(JSON.parse(sent[0]!.slice(sent[0]!.indexOf("{")))).toMatchObject({
      owner_id: "u00000002",
      tags: ["kiosk"],
      member_for: 2_592_000,
    });
    await page.getByRole("button", { name: "Done" }).click();
    await page.locator(".line", { hasText: "kiosk" }).getByText("for Mei Lin").waitFor();
  });

  it("of a member bring their own devices, a few and soon", async () => {
    const page = await open("/devices", MEMBER);
    const sent = record(page);
    await page.getByRole("link", { name: "Add my device" }).click();
    await page.getByRole("dialog", { name: "Add my device" }).waitFor();
    await expectNoViolations(page);
    await page.getByRole("button", { name: "Make the invite" }).click();
    await page.locator(".qr").waitFor();
    expect(sent[0]).toContain('"owner_id":"u00000002"');
    expect(sent[0]).not.toContain("member_for");
  });
});

describe("the filter", () => {
  const count = (page: Page) => page.locator("table").getAttribute("aria-rowcount").then(Number);

  it("asks the server for what rows do not have, and only for that", async () => {
    const page = await open("/devices", CALM);
    const asked: string[] = [];
    page.on("request", (request) => request.url().includes("q=") && asked.push(new URL(request.url()).search));
    await page.locator(".filter-box input").fill("tag:nas is:online");
    await page.waitForURL(/q=tag/);
    const tagged = await count(page);
    expect(asked).toEqual([]);
    await page.locator(".filter-box input").fill("tag:nas is:online site:ber*");
    await expect.poll(() => asked.length).toBe(1);
    await expect.poll(() => count(page)).toBeGreaterThan(1);
    expect(await count(page)).toBeLessThan(tagged);
    expect(asked.map(decodeURIComponent)).toEqual(["?limit=500&q=site:ber*"]);
    await page.locator(".filter-box input").fill("-site:berlin");
    await expect.poll(() => count(page)).toBeGreaterThan(150);
    await page.locator(".filter-box input").fill("group:family");
    await expect.poll(() => count(page)).toBeLessThan(80);
    expect(page.url()).toContain("q=group");
  });

  it("asks again when things change elsewhere, and not for each of many", async () => {
    const page = await open("/devices?q=site:hamburg", CALM);
    await page.locator(".light.open").waitFor();
    await page.getByText("Nothing matches").waitFor();
    const asked: string[] = [];
    page.on("request", (request) => request.url().includes("q=") && asked.push(request.url()));
    for (let n = 1; n < 9; n += 1) await happen(page, `describe?device=d0000000${n}&key=site&value=hamburg`);
    await expect.poll(() => count(page)).toBe(9);
    await happen(page, "describe?device=d00000003&key=site&value=berlin");
    await expect.poll(() => count(page)).toBe(8);
    expect(asked.length).toBeGreaterThan(0);
    expect(asked.length).toBeLessThan(9);
  });

  it("says below the field what the server cannot make out, and shows the rest", async () => {
    const page = await open("/devices?q=is:tired", CALM);
    await page.getByText('"is:" is followed by one of').waitFor();
    forgive(/400/);
    expect(await count(page)).toBe(201);
    await expectNoViolations(page);
    await expectFits(page);
  });

  it("completes fields and what they say, by keyboard", async () => {
    const page = await open("/devices", CALM);
    await page.keyboard.press("/");
    await page.keyboard.type("ta");
    await page.getByRole("option", { name: "tag:" }).waitFor();
    await expectNoViolations(page);
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await page.keyboard.type("na");
    await page.keyboard.press("ArrowDown");
    await page.keyboard.press("Enter");
    await page.waitForURL(/q=tag:nas/);
    expect(await page.locator(".filter-box input").inputValue()).toBe("tag:nas ");
    await page.keyboard.type("o");
    await page.getByRole("listbox").waitFor();
    await page.keyboard.press("Escape");
    await page.getByRole("listbox").waitFor({ state: "detached" });
    expect(await page.evaluate(() => document.activeElement?.tagName)).toBe("INPUT");
    await page.keyboard.press("Escape");
    expect(await page.evaluate(() => document.activeElement?.tagName)).not.toBe("INPUT");
  });

  it("of members and people asks too", async () => {
    const page = await open("/networks/home?q=site:oslo", CALM);
    await expect.poll(() => count(page)).toBeGreaterThan(1);
    await page.goto(`${new URL(page.url()).origin}/people?q=room:atelier`);
    await expect.poll(() => count(page)).toBe(2);
  });
});

describe("the palette", () => {
  it("finds by what is written about things", async () => {
    const page = await open("/", CALM);
    await page.keyboard.press("Control+k");
    await page.keyboard.type("atelier");
    await page.getByRole("option", { name: "Jonas Weber" }).waitFor();
    await page.keyboard.press("Enter");
    await page.locator(".drawer").getByRole("heading", { name: "Jonas Weber" }).waitFor();
  });
});
