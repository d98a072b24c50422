// Pictures of every page of a real server with a made-up town, light, dark and at phone width, into docs/screenshots; and a look at
// whether anything sticks out, is cut off or lies on something else. `make screenshots` builds what this needs.
//
//     npm run screenshots [-- SCENE…]      some of them; PICTURES=folder keeps them as PNG elsewhere
//
// The town does not move, and the pages' clock stands: pictures differ only where the day does, or what a server draws by lot.

import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";
import { write } from "./shots/book.mjs";
import { complaints } from "./shots/layout.mjs";
import { gather } from "./shots/people.mjs";
import { CHAPTERS, isShown } from "./shots/scenes.mjs";
import { fresh, town } from "./shots/servers.mjs";

const DOCS = "../docs/screenshots";
/** Of WebP: text is sharp, and all of it is a few megabytes. */
const QUALITY = 45;
const only = process.argv.slice(2);
const asPng = process.env.PICTURES;

/** How pages are looked at; without a name there is no picture, and only the layout is judged. */
const LOOKS = [
  { width: 1360, height: 860, tallest: 1900, pictures: ["light", "dark"] },
  { width: 360, height: 740, tallest: 2600, hasTouch: true, pictures: ["phone"] },
  { width: 820, height: 760, tallest: 1900, pictures: [] },
  { width: 360, height: 740, tallest: 2600, hasTouch: true, locale: "de", pictures: [] },
];

const wrong = [];
const complain = (where, what) => {
  wrong.push(`${where}: ${what}`);
  process.stderr.write(`${where}: ${what}\n`);
};

/** What would have to be scrolled is shown, too: the window grows as far as the page or the drawer is long. */
async function grow(page, { width, height, tallest }) {
  for (let now = height, tries = 0; now < tallest && tries < 3; tries += 1) {
    const more = await page.evaluate(hidden);
    if (more <= 0) return;
    now = Math.min(tallest, now + more);
    await page.setViewportSize({ width, height: now });
    await page.waitForFunction((tall) => innerHeight === tall, now);
    await settle(page);
  }
}

/** How much there is below what is seen, in the page: lists as long as they like, a map and a menu do not count. */
function hidden() {
  if (document.querySelector(".map canvas, [popover]:popover-open")) return 0;
  const modal = document.querySelector("dialog:modal");
  if (modal) return modal.scrollHeight - modal.clientHeight;
  const boxes = [document.documentElement, ...document.querySelectorAll(".stage, main, .drawer-body")];
  const long = boxes.filter((box) => !box.querySelector(":scope > .page.fill, :scope > main > .page.fill"));
  return Math.max(0, ...long.map((box) => box.scrollHeight - box.clientHeight));
}

/** Waits until nothing changes any more. */
async function settle(page) {
  await page.locator("h1").first().waitFor();
  await page.waitForFunction(() => !document.querySelector("main.starting, .loading, .light.connecting"));
  if ((await page.locator(".map canvas").count()) > 0) await page.locator("canvas[data-settled=yes]").waitFor();
  await page.evaluate(() => document.fonts.ready.then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))));
  await page.waitForTimeout(150);
}

async function photograph(page, file) {
  if (asPng) await page.screenshot({ path: `${join(asPng, file)}.png` });
  else {
    const devtools = await page.context().newCDPSession(page);
    const { data } = await devtools.send("Page.captureScreenshot", { format: "webp", quality: QUALITY });
    writeFileSync(`${join(DOCS, file)}.webp`, Buffer.from(data, "base64"));
    await devtools.detach();
  }
}

/** A scene in one look: its pictures, and what is wrong with it. */
async function show(browser, world, scene, look) {
  const { pictures, tallest: _, ...options } = look;
  const { at = "town", as = "admin" } = scene;
  const server = world[at];
  const where = `${scene.id}, ${look.width} px${look.locale ? ` in ${look.locale}` : ""}`;
  const context = await browser.newContext({
    locale: "en",
    timezoneId: "UTC",
    reducedMotion: "reduce",
    viewport: { width: options.width, height: options.height },
    ...options,
    baseURL: server.base,
    storageState: world.states[at][as],
  });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  await page.clock.setFixedTime(server.at);
  page.on("pageerror", (error) => complain(where, error));
  page.on("console", (message) => {
    if (message.type() === "error" && !scene.allows?.test(message.text())) complain(where, message.text());
  });
  try {
    if (scene.path) await page.goto(typeof scene.path === "function" ? scene.path(world) : scene.path);
    else await scene.act(page, world);
    await settle(page);
    await grow(page, look);
    if ((await page.evaluate(complaints)).length > 0) await page.waitForTimeout(700);
    for (const line of await page.evaluate(complaints)) complain(where, line);
    for (const picture of pictures.filter((name) => isShown(scene, name))) {
      await page.emulateMedia({ colorScheme: picture === "dark" ? "dark" : "light" });
      await page.waitForTimeout(60);
      await photograph(page, `${scene.id}-${picture}`);
    }
    await scene.after?.(page);
  } catch (error) {
    complain(where, error);
    if (asPng) await page.screenshot({ path: join(asPng, `${scene.id}-failed.png`) });
  }
  await context.close();
}

/** A scene in all looks; labels by which scenes find things are English. */
async function showAll(browser, world, scene) {
  const looks = LOOKS.filter((look) => !(look.locale && scene.act) && !(scene.isWide && look.width < 720));
  if (scene.isChanging) for (const look of looks) await show(browser, world, scene, look);
  else await Promise.all(looks.map((look) => show(browser, world, scene, look)));
}

const servers = [];
for (const signal of ["SIGINT", "SIGTERM"])
  process.once(signal, () => void Promise.all(servers.map((server) => server.stop())).then(() => process.exit(1)));
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
try {
  mkdirSync(asPng ?? DOCS, { recursive: true });
  if (!asPng && only.length === 0)
    for (const file of readdirSync(DOCS)) if (file.endsWith(".webp")) rmSync(join(DOCS, file));
  servers.push(await town());
  servers.push(await fresh());
  const world = await gather(browser, ...servers);
  const scenes = Object.values(CHAPTERS).flat().filter((scene) => only.length === 0 || only.includes(scene.id) || scene.before);
  // First what only looks at the town, so that its last events are its own.
  const isQuiet = ({ at = "town", as = "admin", isChanging }) => at === "town" && as === "admin" && !isChanging;
  const others = scenes.filter((scene) => !isQuiet(scene));
  for (const scene of scenes.filter(isQuiet)) await showAll(browser, world, scene);
  if (others.length > 0) await world.prepare();
  for (const scene of others) {
    await scene.before?.(world);
    if (only.length === 0 || only.includes(scene.id)) await showAll(browser, world, scene);
  }
  if (!asPng && only.length === 0) write(DOCS, CHAPTERS);
} finally {
  await browser.close();
  for (const server of servers) await server.stop();
}
if (wrong.length > 0) {
  process.stderr.write(`\n${wrong.length} things are not as they should be:\n${wrong.join("\n")}\n`);
  process.exitCode = 1;
}
