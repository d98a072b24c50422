// A browser with the panel in it. The browser is the system's; nothing is downloaded.

import { type Browser, type BrowserContextOptions, type Page, chromium } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, inject } from "vitest";

let browser: Browser;
let page: Page | undefined;
/** What went wrong in the page since it was opened: errors, refusals by the policy, requests to elsewhere. */
let complaints: string[] = [];

/** Starts one browser for a file, and looks after each test that the page had nothing to complain about. */
export function withBrowser(): void {
  beforeAll(async () => {
    browser = await chromium.launch({
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
  });
  afterAll(() => browser.close());
  afterEach(async () => {
    await page?.context().close();
    page = undefined;
    expect(complaints).toEqual([]);
  });
}

export interface Wish extends BrowserContextOptions {
  /** The made-up server: see dev/mock/plugin.ts. */
  world?: string;
}

/** Opens a path of the panel on a server of its own. */
export async function open(path: string, { world = "devices=200&tick=0", ...options }: Wish = {}): Promise<Page> {
  const base = inject("base");
  await page?.context().close();
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, locale: "en", ...options });
  // A word nobody else uses makes a world of now that no other test has changed.
  await context.addCookies([{ name: "mock", value: `${world}&n=${crypto.randomUUID()}`, url: base }]);
  complaints = [];
  page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("request", (request) => {
    if (!request.url().startsWith(base) && !request.url().startsWith("data:"))
      complaints.push(`asked ${request.url()}`);
  });
  await page.goto(base + path);
  // Before the first snapshot there is a heading too, and no page.
  await page.locator("#main h1").first().waitFor();
  return page;
}

/** What the browser may complain about: a test that cuts the line expects it. */
export function forgive(pattern: RegExp): void {
  complaints = complaints.filter((complaint) => !pattern.test(complaint));
}

/** Asks the made-up server for something to happen; answers when it did, by its clock. */
export async function happen(of: Page, what: string): Promise<number> {
  const answer = await of.request.get(`${inject("base")}/api/v1/mock/${what}`);
  return Number(await answer.text());
}

/** What the page sends from now on, as method, path and body. */
export function record(of: Page): string[] {
  const sent: string[] = [];
  of.on("request", (request) => {
    if (request.method() !== "GET")
      sent.push(`${request.method()} ${new URL(request.url()).pathname.slice(7)} ${request.postData() ?? ""}`);
  });
  return sent;
}

/** Something of the snapshot, by its id. */
export async function firstOf(of: Page, kind: string, fits: (one: Record<string, unknown>) => boolean): Promise<string> {
  const { origin } = new URL(of.url());
  const all = (await (await of.request.get(`${origin}/api/v1/snapshot`)).json()) as Record<string, { id: string }[]>;
  return all[kind]!.find((one) => fits(one as unknown as Record<string, unknown>))!.id;
}
