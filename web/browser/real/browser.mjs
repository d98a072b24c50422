// The browser of the tests with a real server: the system's, with a page that tells what went wrong in it.

import { chromium } from "playwright-core";

const PATIENCE = 60_000;

export function tell(step) {
  process.stderr.write(`browser: ${step}\n`);
}

/** Runs `act` with a page; errors in the page are errors of the test. */
export async function withPage(options, act) {
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
  const context = await browser.newContext({ locale: "en", viewport: { width: 1280, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const complaints = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  try {
    await act(page, context);
    if (complaints.length > 0) throw new Error(complaints.join("\n"));
  } catch (error) {
    tell(`at ${page.url()} the page says:\n${await page.locator("body").innerText().catch(() => "nothing")}`);
    throw error;
  } finally {
    await browser.close();
  }
}

export const button = (name, inside) => inside.getByRole("button", { name, exact: true });
