// Screenshots of every page, light, dark and at phone width, of the built panel over the made-up server.
//
//     npm run build && npm run screenshots [-- FOLDER [PAGE…]]

import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { preview } from "vite";

const [folder = "screenshots", ...only] = process.argv.slice(2);

const PAGES = {
  overview: "/",
  devices: "/devices",
  filtered: "/devices?q=os:linux+-state:offline",
  nothing: "/devices?q=no-such-device",
  device: "/devices?open=device/d00000003",
  devicepage: "/devices/d00000003",
  networks: "/networks",
  members: "/networks/home",
  entries: "/networks/home/entries",
  groups: "/networks/home/groups",
  found: "/devices?q=site:berlin+tag:nas",
  invites: "/networks/home/invites",
  roles: "/networks/home/roles",
  network: "/networks/home/settings",
  people: "/people",
  person: "/people?open=user/u00000001",
  map: "/map",
  twin: "/map?view=table",
  link: "/map?open=link/RELAYED",
  rules: "/rules",
  activity: "/activity",
  settings: "/settings",
  tokens: "/settings/tokens",
  sessions: "/settings/sessions",
  webhooks: "/settings/webhooks",
  webhook: "/settings/webhooks/w1",
  server: "/settings/server",
};

/** Things that have to be opened. */
const ACTS = {
  invite: async (page, base) => {
    await page.goto(`${base}/networks/home/invites?new=1`);
    await page.locator("dialog button[type=submit]").click();
    await page.locator(".qr").waitFor();
  },
  invitedialog: async (page, base) => {
    await page.goto(`${base}/networks/home/invites?new=1`);
  },
  membership: async (page, base) => {
    const { members } = await (await page.request.get(`${base}/api/v1/snapshot`)).json();
    const { id } = members.find((member) => member.tags.length > 1 && member.network === "home");
    await page.goto(`${base}/networks/home?open=member/${id}`);
    await page.locator(".drawer [data-key=edit]").click();
  },
  entryform: async (page, base) => {
    await page.goto(`${base}/devices?open=device/d00000003`);
    await page.locator(".drawer [data-entry]").first().click();
  },
  completing: async (page, base) => {
    await page.goto(`${base}/devices`);
    await page.locator(".filter-box input").pressSequentially("tag:");
  },
  palette: async (page, base) => {
    await page.goto(`${base}/`);
    await page.locator(".palette-open").click();
    await page.locator(".palette input").fill("nas");
  },
  selected: async (page, base) => {
    await page.goto(`${base}/devices`);
    for (const at of [1, 2, 4]) await page.locator("tbody input[type=checkbox]").nth(at).click();
  },
  lost: async (page, base) => {
    await page.goto(`${base}/devices`);
    await page.locator(".light.open").waitFor();
    await page.request.get(`${base}/api/v1/mock/down`);
    await page.locator(".lost-bar").waitFor();
    await page.waitForTimeout(300);
    await page.request.get(`${base}/api/v1/mock/up`);
  },
  empty: async (page, base) => {
    await page.context().addCookies([{ name: "mock", value: "empty=1&tick=0", url: base }]);
    await page.goto(`${base}/`);
  },
  member: async (page, base) => {
    await page.context().addCookies([{ name: "mock", value: "as=member&tick=0", url: base }]);
    await page.goto(`${base}/`);
  },
};

const LOOKS = {
  light: { colorScheme: "light", viewport: { width: 1360, height: 860 } },
  dark: { colorScheme: "dark", viewport: { width: 1360, height: 860 } },
  phone: { colorScheme: "light", viewport: { width: 360, height: 740 }, hasTouch: true },
  middle: { colorScheme: "light", viewport: { width: 900, height: 760 } },
};

const server = await preview({ preview: { port: 0 } });
const base = `http://127.0.0.1:${server.httpServer.address().port}`;
const profile = mkdtempSync(join(tmpdir(), "panel-"));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
mkdirSync(folder, { recursive: true });
const looks = Object.entries(LOOKS).filter(([look]) =>
  (process.env.LOOKS ?? "light,dark,phone").split(",").includes(look),
);
for (const [look, options] of looks) {
  for (const name of [...Object.keys(PAGES), ...Object.keys(ACTS)]) {
    if (only.length > 0 && !only.includes(name)) continue;
    const context = await browser.newContext({ ...options, locale: process.env.LANGUAGE_SHOWN ?? "en" });
    await context.addCookies([{ name: "mock", value: "devices=200&tick=0", url: base }]);
    const page = await context.newPage();
    page.on("pageerror", (error) => process.stderr.write(`${look} ${name}: ${error}\n`));
    page.on(
      "console",
      (message) => message.type() === "error" && process.stderr.write(`${look} ${name}: ${message.text()}\n`),
    );
    try {
      if (PAGES[name]) {
        let path = PAGES[name];
        if (path.includes("RELAYED")) {
          const { links } = await (await context.request.get(`${base}/api/v1/snapshot`)).json();
          path = path.replace("RELAYED", links.find((link) => link.code === "mapping_varies_there").id);
        }
        await page.goto(base + path);
      } else {
        await ACTS[name](page, base);
      }
      await page.locator("h1").first().waitFor({ timeout: 8_000 });
      if (name.startsWith("map") || name === "link")
        await page.locator("canvas[data-settled=yes]").waitFor({ timeout: 15_000 });
      await page.waitForTimeout(250);
      const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (wide > 0) process.stderr.write(`${look} ${name}: ${wide} px too wide\n`);
      await page.screenshot({ path: join(folder, `${name}-${look}.png`) });
    } catch (error) {
      process.stderr.write(`${look} ${name}: ${error}\n`);
      await page.screenshot({ path: join(folder, `${name}-${look}-failed.png`) });
    }
    await context.close();
  }
}
await browser.close();
await new Promise((done) => server.httpServer.close(done));
rmSync(profile, { recursive: true, force: true });
process.exit(0);
