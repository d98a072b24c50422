// Every way in, in a browser, with a real server: password, authenticator app, recovery code, passkey, and a provider (npm's
// oidc-provider) that sends people back. tests/netns/tests/panel.rs starts it beside the server, with the one-time link.

import { createHmac } from "node:crypto";
import OpenIdProvider from "oidc-provider";
import { button, tell, withPage } from "./browser.mjs";

const [link, base, issuer, secret] = process.argv.slice(2);
const PASSWORD = "three birds on a wire";

/** What an authenticator app shows for a key (RFC 6238: SHA-1, six digits, 30 seconds), so many steps from now. */
function codeOf(key, step = 0) {
  const bits = [...key.replace(/ /g, "")].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0"));
  const bytes = bits.join("").match(/.{8}/g).map((byte) => Number.parseInt(byte, 2));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + step));
  const hash = createHmac("sha1", Buffer.from(bytes)).update(counter).digest();
  const at = hash[19] & 15;
  return String((hash.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

const provider = new OpenIdProvider(issuer, {
  clients: [{ client_id: "lanyard", client_secret: secret, redirect_uris: [`${base}/signin/oidc/team/callback`] }],
  claims: { openid: ["sub", "groups", "preferred_username"] },
  conformIdTokenClaims: false,
  findAccount: (_, id) => ({
    accountId: id,
    claims: async () => ({ sub: id, preferred_username: id, groups: ["staff"] }),
  }),
  pkce: { required: () => true },
  cookies: { keys: [secret] },
});
const server = provider.listen(Number(new URL(issuer).port), "127.0.0.1");

const shown = (page) => page.locator("#main h1").first().waitFor();

async function signOut(page) {
  await page.goto(`${base}/account`);
  await button("Sign out", page).click();
  await page.goto(`${base}/signin`);
}

async function byPassword(page) {
  await page.getByLabel("Name").fill("milena");
  await page.getByLabel("Password").fill(PASSWORD);
  await button("Sign in", page).click();
}

await withPage({}, async (page, context) => {
  tell("the one-time link makes the administrator");
  await page.goto(base + new URL(link).pathname);
  await page.getByLabel("Name").fill("milena");
  await page.getByLabel("Password").fill(PASSWORD);
  await button("Make the account", page).click();
  await shown(page);

  tell("an authenticator app is set up, and asked for after the password");
  await page.goto(`${base}/account/totp`);
  await page.getByLabel("Password").fill(PASSWORD);
  await button("Set it up", page).click();
  const key = await page.locator("main p code").innerText();
  await page.getByRole("textbox", { name: "Code" }).fill(codeOf(key));
  await button("Use this app", page).click();
  const recovery = await page.locator(".codes li").first().innerText();
  await signOut(page);
  await byPassword(page);
  await page.getByRole("textbox", { name: "Code" }).fill("000000");
  await button("Sign in", page).click();
  await page.locator(".wrong").first().waitFor();
  // The code that set it up has counted; a server takes one that is half a minute early.
  await page.getByRole("textbox", { name: "Code" }).fill(codeOf(key, 1));
  await button("Sign in", page).click();
  await shown(page);

  tell("a recovery code works once");
  for (const works of [true, false]) {
    await signOut(page);
    await byPassword(page);
    await page.getByRole("textbox", { name: "Code" }).fill(recovery);
    await button("Sign in", page).click();
    if (works) await page.waitForURL(`${base}/`);
    else await page.locator(".wrong").first().waitFor();
  }
  await page.goto(`${base}/signin`);

  tell("a passkey is added, and lets in without a name");
  await byPassword(page);
  await page.getByRole("textbox", { name: "Code" }).fill(await laterCode(key));
  await button("Sign in", page).click();
  await page.waitForURL(`${base}/`);
  const devtools = await context.newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  await page.goto(`${base}/account/passkeys`);
  await page.getByLabel("What you call it").fill("the phone");
  await page.getByLabel("Password").fill(PASSWORD);
  await button("Add a passkey", page).click();
  await page.getByRole("cell", { name: "the phone", exact: true }).waitFor();
  await signOut(page);
  await button("Sign in with a passkey", page).click();
  await page.waitForURL(`${base}/`);

  tell("a provider's account makes a new user, who sees nothing yet");
  await signOut(page);
  await page.getByRole("link", { name: "Sign in with Example Ltd." }).click();
  await page.locator("input[name=login]").fill("anna");
  await page.locator("input[name=password]").fill("any");
  await page.locator("button[type=submit]").click();
  await page.locator("button[type=submit]").click();
  await page.waitForURL(`${base}/`);
  const me = await page.evaluate(async () => (await fetch("/api/v1/me")).json());
  if (me.user.name !== "anna" || me.server_admin) throw new Error(JSON.stringify(me));
  if (me.roles.length !== 1 || me.roles[0].role !== "member") throw new Error(`by group: ${JSON.stringify(me.roles)}`);
});
server.close();
server.closeAllConnections();

/** A code of a step that has not counted yet: the one after those that were shown. */
async function laterCode(key) {
  const begun = Math.floor(Date.now() / 30_000);
  while (Math.floor(Date.now() / 30_000) < begun + 1) await new Promise((done) => setTimeout(done, 500));
  return codeOf(key, 1);
}
