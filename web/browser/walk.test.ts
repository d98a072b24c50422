// What people do with it, most of it without a mouse.

import { describe, expect, it } from "vitest";
import { forgive, happen, open, withBrowser } from "./panel";

withBrowser();

const search = (url: string) => decodeURIComponent(new URL(url).search);

describe("by keyboard alone", () => {
  it("goes to every page by g and a letter", async () => {
    const page = await open("/");
    for (const [key, heading] of [
      ["d", "Devices"],
      ["n", "Networks"],
      ["p", "People"],
      ["m", "Map"],
      ["r", "Rules"],
      ["a", "Activity"],
      ["s", "Settings"],
      ["o", "Overview"],
    ] as const) {
      await page.keyboard.press("g");
      await page.keyboard.press(key);
      await page.getByRole("heading", { level: 1, name: heading }).waitFor();
    }
  });

  it("filters, moves, selects, opens and closes one layer at a time", async () => {
    const page = await open("/devices");
    await page.keyboard.press("/");
    await page.keyboard.type("os:linux");
    await page.waitForURL(/q=os:linux/);
    await page.keyboard.press("Escape");
    await page.keyboard.press("j");
    await page.waitForFunction(() => document.activeElement?.closest("[data-row]"));
    const first = await page.evaluate(() => document.activeElement!.closest<HTMLElement>("[data-row]")!.dataset.row);
    await page.keyboard.press("j");
    await page.waitForFunction(
      (row) => document.activeElement?.closest<HTMLElement>("[data-row]")?.dataset.row !== row,
      first,
    );
    await page.keyboard.press("k");
    await page.waitForFunction(
      (row) => document.activeElement?.closest<HTMLElement>("[data-row]")?.dataset.row === row,
      first,
    );
    await page.keyboard.press("x");
    await page.getByText("1 selected").waitFor();
    await page.keyboard.press("Enter");
    await page.locator(".drawer h2").first().waitFor();
    expect(search(page.url())).toContain(`open=device/${first}`);
    await page.keyboard.press("Escape");
    await page.locator(".drawer").waitFor({ state: "detached" });
    await page.waitForFunction(
      (row) => document.activeElement?.closest<HTMLElement>("[data-row]")?.dataset.row === row,
      first,
    );
    await page.getByText("1 selected").waitFor();
    await page.keyboard.press("Escape");
    await page.getByText("1 selected").waitFor({ state: "detached" });
  });

  it("finds anything with the palette", async () => {
    const page = await open("/");
    await page.keyboard.press("Control+k");
    await page.keyboard.type("invite to lab");
    await page.keyboard.press("Enter");
    await page.getByRole("dialog", { name: "Invite to lab" }).waitFor();
    await page.keyboard.press("Escape");
    await page.keyboard.press("Control+k");
    await page.keyboard.type("mei");
    await page.keyboard.press("Enter");
    await page.locator(".drawer").getByRole("heading", { name: "Mei Lin" }).waitFor();
  });

  it("reaches every control of a page with Tab, and sees where it is", async () => {
    const page = await open("/networks/home/roles");
    await page.locator(".lines select").first().waitFor();
    const names = new Set<string>();
    for (let n = 0; n < 45; n += 1) {
      await page.keyboard.press("Tab");
      const [name, outline] = await page.evaluate(() => {
        const element = document.activeElement as HTMLElement;
        if (element === document.body) return ["", ""];
        return [
          element.getAttribute("aria-label") ?? element.textContent ?? "",
          getComputedStyle(element).outlineStyle,
        ];
      });
      if (name) {
        names.add(name.trim());
        expect(outline, name).not.toBe("none");
      }
    }
    for (const name of ["Skip to the page", "Devices", "Network shown", "Theme", "Account", "Give a role"])
      expect([...names]).toContain(name);
  });

  it("has the map as a table", async () => {
    const page = await open("/map");
    await page.keyboard.press("t");
    await page.waitForURL(/view=table/);
    expect(Number(await page.locator("table").getAttribute("aria-rowcount"))).toBeGreaterThan(50);
    const heads = await page.locator("thead th").allTextContents();
    for (const name of ["Path", "Round trip", "Loss", "Throughput"]) expect(heads).toContain(name);
    await page.getByRole("button", { name: "Throughput" }).click();
    await expect.poll(() => page.locator('td[data-column="rate"]').first().textContent()).toMatch(/bit\/s/);
    await page.keyboard.press("j");
    await page.waitForFunction(() => document.activeElement?.closest("[data-row]"));
    await page.keyboard.press("Enter");
    await page.locator(".why").waitFor();
  });
});

describe("live", () => {
  it("shows a device that joins without a reload, and approves it", async () => {
    const page = await open("/networks/home?q=newcomer");
    await page.locator(".light.open").waitFor();
    await happen(page, "join?name=newcomer-1");
    const row = page.locator("tr", { hasText: "newcomer-1" });
    await row.getByRole("button", { name: "Approve" }).click();
    await row.getByText("online").first().waitFor();
    await page.getByText("newcomer-1 is approved").waitFor();
  });

  it("shows what a pair reports in the table of peers and in its reasons", async () => {
    const page = await open("/map");
    const { origin } = new URL(page.url());
    const answer = await page.request.get(`${origin}/api/v1/snapshot`);
    const { links } = (await answer.json()) as { links: { id: string; device_id: string; code: string }[] };
    const { id, device_id } = links.find((link) => link.code === "direct")!;
    await page.goto(`${origin}/devices/${device_id}`);
    const peer = page.locator(".peers tr", { has: page.locator(`a[href*="${id}"]`) });
    await peer.waitFor();
    await page.locator(".light.open").waitFor();
    await happen(page, `report?id=${id}&bps=42000000`);
    await peer.getByText("42 Mbit/s").waitFor();
    await peer.getByRole("link").click();
    await page.locator(".drawer").getByText("42 Mbit/s").waitFor();
    await page.locator(".chart").first().waitFor();
  });

  it("closes the menu of a row that goes, and leaves no focus with the one that takes its place", async () => {
    const page = await open("/networks/home?q=is:active");
    const { origin } = new URL(page.url());
    await page.locator(".light.open").waitFor();
    const rows = page.locator("tbody tr[data-row]");
    const gone = async (at: number) => {
      const id = (await rows.nth(at).getAttribute("data-row"))!;
      await page.request.delete(`${origin}/api/v1/networks/home/members/${id}`);
      await page.locator(`tr[data-row="${id}"]`).waitFor({ state: "detached" });
    };
    await rows.nth(2).getByRole("button", { name: /What to do/ }).click();
    await page.locator(":popover-open").waitFor();
    await gone(2);
    await page.locator(":popover-open").waitFor({ state: "detached" });
    const focused = () => page.evaluate(() => document.activeElement?.closest("tr")?.dataset.row ?? "");
    const id = await rows.nth(3).getAttribute("data-row");
    await rows.nth(3).locator("a.name").focus();
    await gone(2);
    expect(await focused()).toBe(id);
    await gone(2);
    expect(await focused()).toBe("");
  });

  it("keeps what it has when the server is gone, says so, and comes back by itself", async () => {
    const page = await open("/devices");
    await page.locator(".light.open").waitFor();
    await happen(page, "down");
    await page.locator(".lost-bar").waitFor();
    expect(await page.locator("table").getAttribute("aria-rowcount")).toBe("201");
    expect(await page.locator("tbody tr[data-row]").count()).toBeGreaterThan(10);
    await happen(page, "up");
    await page
      .getByRole("button", { name: "Try now" })
      .click()
      .catch(() => {});
    await page.locator(".lost-bar").waitFor({ state: "detached" });
    await happen(page, "join?name=after-all");
    await page.keyboard.press("/");
    await page.keyboard.type("after-all");
    await page.locator("tr", { hasText: "after-all" }).waitFor();
    forgive(/503/);
  });
});

describe("pages that are files of their own", () => {
  it("are there before they are opened, also while the server is away", async () => {
    const page = await open("/");
    await page.waitForFunction(() =>
      ["Map", "Rules", "Settings"].every((name) =>
        performance.getEntriesByType("resource").some((entry) => entry.name.includes(`/${name}-`)),
      ),
    );
    await page.context().setOffline(true);
    await page.locator(".rail").getByText("Settings").click();
    await page.getByRole("heading", { level: 1, name: "Settings" }).waitFor();
    forgive(/ERR_INTERNET_DISCONNECTED/);
  });

  it("say so when they are not there any more, and how the panel is had anew", async () => {
    const page = await open("/devices");
    await page.route(/\/Settings-[^/]*\.js$/, (route) => route.abort());
    await page.locator(".rail").getByText("Settings").click();
    await page.getByText("This page could not be loaded").waitFor();
    forgive(/ERR_FAILED/);
    await page.unroute(/\/Settings-[^/]*\.js$/);
    await page.getByRole("button", { name: "Load the panel anew" }).click();
    await page.getByRole("heading", { level: 1, name: "Settings" }).waitFor();
  });
});

describe("changes", () => {
  it("are undone before they are sent", async () => {
    const page = await open("/networks/home");
    const deleted: string[] = [];
    page.on("request", (request) => request.method() === "DELETE" && deleted.push(request.url()));
    const count = await page.locator("table").getAttribute("aria-rowcount");
    for (const at of [4, 5, 6]) await page.locator("tbody input[type=checkbox]").nth(at).click();
    await page.locator(".bar").getByRole("button", { name: "Remove from home" }).click();
    await page.getByText("3 devices are removed").waitFor();
    expect(Number(await page.locator("table").getAttribute("aria-rowcount"))).toBe(Number(count) - 3);
    await page.getByRole("button", { name: "Undo" }).click();
    expect(await page.locator("table").getAttribute("aria-rowcount")).toBe(count);
    expect(deleted).toEqual([]);
  });

  it("are sent when the page goes before the time is over", async () => {
    const page = await open("/networks/home");
    const id = await page.locator("tbody tr[data-row]").nth(5).getAttribute("data-row");
    await page.locator("tbody input[type=checkbox]").nth(5).click();
    await page.locator(".bar").getByRole("button", { name: "Remove from home" }).click();
    const { origin } = new URL(page.url());
    await page.goto(`${origin}/account`);
    await expect
      .poll(async () => {
        const { members } = (await (await page.request.get(`${origin}/api/v1/snapshot`)).json()) as {
          members: { id: string }[];
        };
        return members.some((member) => member.id === id);
      })
      .toBe(false);
    forgive(/404/);
  });

  it("that meet another's show both, and overwrite only when asked", async () => {
    const page = await open("/networks/home?q=state:online");
    const row = page.locator("tbody tr[data-row]").first();
    const id = (await row.getAttribute("data-row"))!;
    await row.getByRole("button", { name: /What to do/ }).click();
    await page.locator(":popover-open").getByRole("button", { name: "Edit" }).click();
    const field = page.locator("dialog").getByLabel("Name");
    await field.fill("my-name");
    await happen(page, `rename?id=${id}&name=their-name`);
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText(/Now it is: their-name/).waitFor();
    forgive(/412/);
    await page.getByRole("button", { name: "Save mine" }).click();
    await page.locator("dialog").waitFor({ state: "detached" });
    await page.getByRole("link", { name: "my-name" }).waitFor();
  });

  it("make an invite that is shown once, with a code to scan and lines for each system", async () => {
    const page = await open("/networks/home/invites?new=1");
    await page.getByLabel("Devices", { exact: true }).fill("3");
    await page.getByRole("button", { name: "Make the invite" }).click();
    await page.locator(".qr").waitFor();
    await page.getByRole("button", { name: "Windows" }).click();
    await page.getByText('lanyard join "lanyard://').waitFor();
    await page.getByRole("button", { name: "Done" }).click();
    await page.getByText("0 of 3 uses").waitFor();
    expect(page.url()).not.toContain("new=1");
  });
});

describe("the address", () => {
  it("has filter, order, network and drawer, and going back undoes them", async () => {
    const page = await open("/devices?q=os:linux&sort=-seen&in=lab&open=device/d00000003");
    expect(await page.locator(".filter-box input").inputValue()).toBe("os:linux");
    expect(await page.locator('th[aria-sort="descending"]').textContent()).toContain("Last seen");
    expect(await page.locator(".scope").inputValue()).toBe("lab");
    await page.locator(".drawer").waitFor();
    await page.locator(".scope").selectOption("home");
    await page.waitForURL(/in=home/);
    await page.goBack();
    await page.waitForURL(/in=lab/);
  });
});

describe("the rules", () => {
  it("say of each network what holds now, and follow what changes", async () => {
    const page = await open("/rules");
    const { origin } = new URL(page.url());
    const { members } = (await (await page.request.get(`${origin}/api/v1/snapshot`)).json()) as {
      members: { id: string; name: string; network: string; state: string }[];
    };
    const home = page.locator(".section", { has: page.getByRole("heading", { name: "home" }) });
    await home.getByText(/\d+ active devices: each reaches every other/).waitFor();
    await home.getByText("No device is reported to refuse another.").waitFor();
    const count = async () => Number(/^\d+/.exec((await home.locator("dd").first().textContent())!)![0]);
    const before = await count();
    const { id } = members.find(({ network, state }) => network === "home" && state === "active")!;
    await page.locator(".light.open").waitFor();
    await page.request.post(`${origin}/api/v1/networks/home/members/${id}/suspend`);
    await expect.poll(count).toBe(before - 1);
    await home.getByText(/suspended: they reach nobody/).waitFor();
    await page.locator(".scope").selectOption("lab");
    await expect.poll(() => page.locator(".section").count()).toBe(1);
    await page.getByText("Who has an invite waits too.").waitFor();
  });

  it("lead to a pair of which one refuses the other", async () => {
    const page = await open("/rules");
    const { origin } = new URL(page.url());
    const { links } = (await (await page.request.get(`${origin}/api/v1/snapshot`)).json()) as {
      links: { id: string; device: string; peer: string; code: string }[];
    };
    const { id, device, peer } = links.find(({ code }) => code === "direct")!;
    await page.locator(".light.open").waitFor();
    await happen(page, `verdict?id=${id}&code=refused_there`);
    await page.getByRole("link", { name: `${peer} refuses ${device}` }).first().click();
    await page.locator(".why").getByText(`${peer} was told to refuse ${device}.`).waitFor();
  });

  it("tell a member what they may know", async () => {
    const page = await open("/rules", { world: "devices=200&tick=0&as=member" });
    expect(await page.locator(".section").count()).toBe(2);
    expect(await page.getByText("Nobody waits or is suspended.").count()).toBe(0);
    expect(await page.locator("#main").getByRole("link", { name: "Roles" }).count()).toBe(0);
  });
});

describe("a member", () => {
  it("sees their own networks, no people, and nothing to administer", async () => {
    const page = await open("/", { world: "devices=200&tick=0&as=member" });
    expect(await page.locator(".rail").getByText("People").count()).toBe(0);
    await page.locator(".rail").getByText("Networks").click();
    expect(await page.locator(".card").count()).toBe(2);
    await page.locator(".card-name").first().click();
    await page.locator("tbody tr[data-row]").first().waitFor();
    expect(await page.locator("tbody input[type=checkbox], .tabs a").count()).toBe(2);
    await page.goto(`${new URL(page.url()).origin}/people`);
    await page.getByText("People are for administrators").waitFor();
  });
});

describe("a server just set up", () => {
  it("leads from no network to the first invite", async () => {
    const page = await open("/", { world: "empty=1&tick=0" });
    await page.getByText("No network yet").waitFor();
    await page.getByRole("link", { name: "New network" }).click();
    await page.getByLabel("Name").fill("first");
    await page.getByRole("button", { name: "Make the network" }).click();
    await page.getByText("No invites yet").waitFor();
  });
});
