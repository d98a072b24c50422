// Webhooks in the settings: made, changed, tried, switched off and on, removed, and what was sent.

import { describe, expect, it } from "vitest";
import { expectFits, expectNoViolations } from "./eyes";
import { forgive, happen, open, record, withBrowser } from "./panel";

withBrowser();

const CALM = { reducedMotion: "reduce" } as const;
const OWNER = { ...CALM, world: "devices=200&tick=0&as=owner" };

describe("the list of webhooks", () => {
  it("leads to the making of one by keyboard alone, whose secret is shown this once", async () => {
    const page = await open("/settings/webhooks", CALM);
    await page.getByText("Chat of the admins").waitFor();
    const sent = record(page);
    await page.getByRole("button", { name: "New webhook" }).focus();
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("Hears of").selectOption("lab");
    await dialog.getByLabel("Address").focus();
    await page.keyboard.type("https://example.org/hook");
    await page.keyboard.press("Tab");
    await page.keyboard.type("Script");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Space");
    await expectNoViolations(page);
    await expectFits(page);
    await page.keyboard.press("Enter");
    await page.getByRole("dialog", { name: "Secret of Script" }).waitFor();
    await page.getByRole("button", { name: /^Copy the secret: whsec_/ }).waitFor();
    await expectNoViolations(page);
    await expectFits(page);
    await page.getByRole("button", { name: "Done" }).click();
    await page.locator(".line", { hasText: "Script" }).getByText("lab").waitFor();
    expect(sent).toEqual([
      'POST /webhooks {"url":"https://example.org/hook","description":"Script","events":["device.offline"],"network":"lab"}',
    ]);
  });

  it("says what is wrong with one, by itself and by the server", async () => {
    const page = await open("/settings/webhooks", OWNER);
    await page.getByRole("button", { name: "New webhook" }).click();
    const dialog = page.getByRole("dialog");
    expect(await dialog.getByLabel("Hears of").locator("option").allTextContents()).toEqual(["home", "lab"]);
    await dialog.getByLabel("Address").fill("http://example.org/hook");
    for (const name of ["a device came online", "a device went offline"]) await dialog.getByLabel(name).uncheck();
    await dialog.getByRole("button", { name: "Make the webhook" }).click();
    await dialog.getByText("Choose one event at least").waitFor();
    await dialog.getByLabel("a pair's path changed").check();
    await dialog.getByRole("button", { name: "Make the webhook" }).click();
    await dialog.getByText("url: it begins with https:// (index.invalid)").waitFor();
    await expectNoViolations(page);
    forgive(/422/);
  });

  it("has those of networks that one administers, and is for nobody else", async () => {
    const page = await open("/settings/webhooks", OWNER);
    await page.getByRole("link", { name: "https://monitor.example.org/down" }).waitFor();
    expect(await page.getByText("Chat of the admins").count()).toBe(0);
    const other = await open("/settings/webhooks", { ...CALM, world: "devices=200&tick=0&as=member" });
    await other.getByRole("heading", { name: "Appearance" }).waitFor();
    expect(await other.getByRole("link", { name: "Webhooks" }).count()).toBe(0);
  });

  it("says that there is none, and what went wrong, with another try", async () => {
    const page = await open("/settings/webhooks", { ...CALM, world: "empty=1&tick=0" });
    await page.getByText("No webhooks").waitFor();
    await expectNoViolations(page);
    await expectFits(page);
    await page.route(/\/api\/v1\/webhooks/, (route) => route.abort());
    await page.reload();
    await page.getByText("The server does not answer").waitFor();
    await expectNoViolations(page);
    forgive(/ERR_FAILED/);
    await page.unroute(/\/api\/v1\/webhooks/);
    await page.getByRole("button", { name: "Try again" }).click();
    await page.getByText("No webhooks").waitFor();
  });
});

describe("a webhook", () => {
  it("is tried, and what became of it comes by itself", async () => {
    const page = await open("/settings/webhooks/w0", CALM);
    await page.getByRole("button", { name: "Send a test" }).focus();
    await page.keyboard.press("Enter");
    const line = page.locator(".line", { hasText: /^test/ });
    await line.getByText("under way").waitFor();
    await line.getByText("arrived").waitFor();
    await line.getByText("answered 204").waitFor();
    await line.locator("summary").click();
    await line.getByText('"type": "webhook.test"').waitFor();
    await expectNoViolations(page);
    await expectFits(page);
  });

  it("says of each message how often it was tried, why it failed, when it is tried next, and sends it again", async () => {
    const page = await open("/settings/webhooks/w1", CALM);
    const sent = record(page);
    const waiting = page.locator(".line", { hasText: "tried 3 times" });
    await waiting.getByText(/next try in 1\d min/).waitFor();
    await waiting.getByText("no answer within 10 s").waitFor();
    await page.getByText(/nothing arrives since/).waitFor();
    await expectNoViolations(page);
    const failed = page.locator(".line", { hasText: "tried 10 times" });
    await failed.getByRole("button", { name: /^Send again: a device came online, / }).click();
    await page.getByText("It is sent once more").waitFor();
    expect(sent.map((one) => one.trim())).toEqual(["POST /webhooks/w1/deliveries/w1-0/retry"]);
  });

  it("is edited, and another's edit is not lost", async () => {
    const page = await open("/settings/webhooks/w0", CALM);
    await page.getByRole("heading", { name: "Chat of the admins" }).waitFor();
    const sent = record(page);
    await page.keyboard.press("e");
    const dialog = page.getByRole("dialog");
    await dialog.getByLabel("a device went offline").check();
    await dialog.getByLabel("Description").fill("Chat");
    await expectNoViolations(page);
    await expectFits(page);
    const { origin } = new URL(page.url());
    await page.request.patch(`${origin}/api/v1/webhooks/w0`, { data: { description: "Their chat" } });
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.getByText(/Now it is: .*Their chat/).waitFor();
    forgive(/412/);
    await dialog.getByRole("button", { name: "Save mine" }).click();
    await page.getByRole("heading", { name: "Chat", exact: true }).waitFor();
    expect(sent.at(-1)).toBe(
      'PATCH /webhooks/w0 {"description":"Chat","events":["member.approval_needed","member.joined","device.offline"]}',
    );
  });

  it("is switched off and on again, and says so", async () => {
    const page = await open("/settings/webhooks/w0", CALM);
    await page.getByRole("button", { name: "Switch off" }).click();
    await page.getByText("Chat of the admins is switched off").waitFor();
    expect(await page.getByRole("button", { name: "Send a test" }).count()).toBe(0);
    expect(await page.getByRole("button", { name: /^Send again/ }).count()).toBe(0);
    await page.getByRole("button", { name: "Undo" }).click();
    await page.getByRole("button", { name: "Send a test" }).waitFor();
    await happen(page, "refuse?noun=webhooks&status=403&code=index.forbidden&detail=no");
    await page.getByRole("button", { name: "Switch off" }).click();
    await page.getByText("You may not do this").waitFor();
    forgive(/403/);
  });

  it("gets another secret, which is shown this once, after a question", async () => {
    const page = await open("/settings/webhooks/w0", CALM);
    await page.getByRole("button", { name: "Draw another secret" }).click();
    await expectNoViolations(page);
    await page.getByRole("dialog").getByRole("button", { name: "Draw another secret" }).click();
    await page.getByRole("dialog", { name: /^Secret of/ }).getByText(/^whsec_/).waitFor();
  });

  it("is removed after the time to undo", async () => {
    const page = await open("/settings/webhooks/w0", CALM);
    const sent = record(page);
    await page.getByRole("button", { name: "Remove the webhook" }).click();
    await page.getByText("The webhook Chat of the admins is removed").waitFor();
    await page.getByRole("link", { name: "https://monitor.example.org/down" }).waitFor();
    expect(await page.locator(".line", { hasText: "Chat of the admins" }).count()).toBe(0);
    await page.getByRole("button", { name: "Undo" }).click();
    await page.locator(".line", { hasText: "Chat of the admins" }).waitFor();
    expect(sent).toEqual([]);
  });
});
