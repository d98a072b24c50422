// A pair is asked to try for a direct path now.

import type { Page } from "playwright-core";
import { describe, expect, it } from "vitest";
import { expectFits, expectNoViolations } from "./eyes";
import { forgive, happen, open, record, withBrowser } from "./panel";

withBrowser();

const CALM = { reducedMotion: "reduce" } as const;

interface Pair {
  id: string;
  device_id: string;
  peer_id: string;
  code: string;
}

/** A pair that goes by a relay, of which so many are online. */
async function relayed(page: Page, online: number): Promise<Pair> {
  const { origin } = new URL(page.url());
  const { links, devices } = (await (await page.request.get(`${origin}/api/v1/snapshot`)).json()) as {
    links: Pair[];
    devices: { id: string; online: boolean }[];
  };
  const isOnline = new Map(devices.map((device) => [device.id, device.online]));
  const count = ({ device_id, peer_id }: Pair) => [device_id, peer_id].filter((id) => isOnline.get(id)).length;
  return links.find((link) => link.code !== "direct" && link.code !== "no_relay" && count(link) === online)!;
}

async function show(page: Page, { id }: Pair): Promise<void> {
  await page.goto(`${new URL(page.url()).origin}/devices?open=link/${encodeURIComponent(id)}`);
  await page.locator(".why").waitFor();
}

describe("Retry now", () => {
  it("asks both ends by keyboard, says so, keeps the focus, and asks once", async () => {
    const page = await open("/devices", CALM);
    const pair = await relayed(page, 2);
    await show(page, pair);
    const sent = record(page);
    const button = page.locator(".why .button");
    await button.focus();
    await page.keyboard.press("Enter");
    await page.getByText("Both ends were asked to try now").waitFor();
    await page.waitForFunction(() => document.activeElement?.textContent === "Asked");
    await page.keyboard.press("Enter");
    await expectNoViolations(page);
    await expectFits(page);
    expect(sent.map((one) => one.trim())).toEqual([`POST /links/${pair.device_id}/${pair.peer_id}/retry`]);
  });

  it("says which end is offline", async () => {
    const page = await open("/devices", CALM);
    await show(page, await relayed(page, 1));
    await page.getByRole("button", { name: "Retry now" }).click();
    await page.getByText(/^Only .+ was asked to try now: .+ is offline/).waitFor();
  });

  it("says what the server refuses, and can be pressed again", async () => {
    const page = await open("/devices", CALM);
    await show(page, await relayed(page, 2));
    await happen(page, "refuse?noun=links&status=429&code=api.too_many&detail=wait+a+minute");
    await page.getByRole("button", { name: "Retry now" }).click();
    await page.getByText("wait a minute (api.too_many)").waitFor();
    forgive(/429/);
    await page.getByRole("button", { name: "Retry now" }).click();
    await page.getByText("Both ends were asked to try now").waitFor();
  });

  it("is beside each peer of a device that is not reached directly", async () => {
    const page = await open("/devices", CALM);
    const pair = await relayed(page, 2);
    await page.goto(`${new URL(page.url()).origin}/devices/${pair.device_id}`);
    const peer = page.locator(".peers tr", { has: page.locator(`a[href*="${pair.id}"]`) });
    await peer.getByRole("button", { name: /^Retry now: / }).click();
    await page.getByText("Both ends were asked to try now").waitFor();
    await expectNoViolations(page);
    await expectFits(page);
  });

  it("is not offered to who may not", async () => {
    const page = await open("/devices", { ...CALM, world: "devices=200&tick=0&as=member" });
    const { origin } = new URL(page.url());
    const { links, devices, me } = (await (await page.request.get(`${origin}/api/v1/snapshot`)).json()) as {
      links: Pair[];
      devices: { id: string; user_id: string | null }[];
      me: { user: { id: string } };
    };
    const own = new Set(devices.filter(({ user_id }) => user_id === me.user.id).map(({ id }) => id));
    const bad = links.filter(({ code }) => code !== "direct" && code !== "no_relay");
    const isOwn = ({ device_id, peer_id }: Pair) => own.has(device_id) || own.has(peer_id);
    await show(page, bad.find((link) => !isOwn(link))!);
    expect(await page.getByRole("button", { name: "Retry now" }).count()).toBe(0);
    await show(page, bad.find(isOwn)!);
    await page.getByRole("button", { name: "Retry now" }).waitFor();
  });
});
