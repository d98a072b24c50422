// A first evening with a real server and real devices, in a browser: what happens outside it, tests/netns/tests/panel.rs does.
//
// Started with the one-time link of a new server. It asks for each thing outside by a line of JSON ("want"), and goes on when a line
// "done" comes; what goes wrong ends it with an exit code. The certificate of the server is its own, so it is not looked at.

import { createInterface } from "node:readline";
import { button, tell, withPage } from "./browser.mjs";

const heard = createInterface({ input: process.stdin });
const lines = heard[Symbol.asyncIterator]();

/** Asks for something outside the browser. */
async function want(what, more = {}) {
  process.stdout.write(`${JSON.stringify({ want: what, ...more })}\n`);
  const { value } = await lines.next();
  if (value !== "done") throw new Error(`${what}: ${value}`);
}

await withPage({ ignoreHTTPSErrors: true }, async (page) => {
  const row = (name) => page.getByRole("row").filter({ hasText: name });
  tell("the one-time link makes the administrator");
  await page.goto(process.argv[2]);
  await page.getByLabel("Name").fill("milena");
  await page.getByLabel("Password").fill("three birds on a wire");
  await button("Make the account", page).click();
  await page.locator("#main h1").first().waitFor();

  tell("the first network, where devices are let in by hand");
  await page.getByRole("link", { name: "Networks" }).first().click();
  await button("New network", page).click();
  await page.getByRole("dialog").getByLabel("Name").fill("den");
  await button("Make the network", page).click();
  await button("Invite", page).first().click();
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Devices", { exact: true }).fill("2");
  await dialog.getByLabel("Its holders are members at once").uncheck();
  await button("Make the invite", page).click();
  const join = await dialog.locator(".copy-text").first().innerText();
  if (!join.startsWith("lanyard://")) throw new Error(`no join string: ${join}`);
  await button("Done", dialog).click();

  tell("a device joins with it, and its row appears without a reload");
  await page.getByRole("link", { name: "Members" }).click();
  await page.evaluate(() => (globalThis.isSame = true));
  for (const host of ["a", "b"]) {
    await want("join", { host, join });
    await row(host).getByText("waiting").waitFor({ timeout: 5_000 });
    await row(host).getByRole("button", { name: /^Approve/ }).click();
    await row(host).getByText("waiting").waitFor({ state: "detached" });
  }

  tell("they reach each other, and the map says that it is directly");
  await want("ping");
  await page.getByRole("link", { name: "Map" }).first().click();
  await button("As a table", page).click();
  await page.getByRole("row").filter({ hasText: "direct" }).first().waitFor();

  tell("where the way between them is cut, it says why they are relayed");
  await want("cut");
  const relayed = page.getByRole("row").filter({ hasText: "relayed" });
  await relayed.first().waitFor({ timeout: 120_000 });
  await relayed.first().getByRole("link").first().click();
  await page.getByText("No probe arrives, though both NATs would let it pass.").waitFor();
  await page.keyboard.press("Escape");
  if (!(await page.evaluate(() => globalThis.isSame))) throw new Error("the page was loaded again");

  tell("a device is removed, and its tunnels are cut");
  await page.goBack();
  await page.getByRole("link", { name: "Networks" }).first().click();
  await page.getByRole("link", { name: "den" }).first().click();
  await row("b").getByRole("button", { name: "What to do with b" }).click();
  const gone = page.waitForResponse((answer) => answer.request().method() === "DELETE" && answer.status() === 204);
  await button("Remove from den", page).click();
  await row("b").waitFor({ state: "detached" });
  await gone;
  await want("removed");
  await page.getByRole("link", { name: "Activity" }).first().click();
  await page.getByText("removed").first().waitFor();
});
// Otherwise it would wait for another line.
heard.close();
process.stdin.destroy();
