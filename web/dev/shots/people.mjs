// Who looks at the pages: people with and without rights, one with a second factor; and the links that lead to pages of their own.

import { createHmac } from "node:crypto";

const PASSWORD = "three birds on a wire";

/** What an authenticator app shows for a key (RFC 6238: SHA-1, six digits, 30 seconds). */
function codeOf(key) {
  const bits = [...key.replace(/ /g, "")].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0"));
  const bytes = bits.join("").match(/.{8}/g).map((byte) => Number.parseInt(byte, 2));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000)));
  const hash = createHmac("sha1", Buffer.from(bytes)).update(counter).digest();
  const at = hash[19] & 15;
  return String((hash.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

/** Sends name and password. */
export async function prove(page, { user, password }) {
  await page.goto("/signin");
  await page.getByLabel("Name").fill(user);
  await page.getByLabel("Password").fill(password);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
}

/** Everybody there is, and what the scenes ask for by name. */
export async function gather(browser, town, fresh) {
  const world = {
    town,
    fresh,
    user: town.user,
    states: { town: { nobody: undefined }, fresh: { nobody: undefined } },
    links: {},
  };
  const visit = async (server, as, act) => {
    const place = server === town ? "town" : "fresh";
    const context = await browser.newContext({ baseURL: server.base, locale: "en", storageState: world.states[place][as] });
    const page = await context.newPage();
    page.setDefaultTimeout(20_000);
    await act(page, (path, data, method = "post") => ask(context, path, data, method));
    world.states[place][as] = await context.storageState();
    await context.close();
  };

  await visit(town, "admin", async (page, send) => {
    await prove(page, town);
    await page.locator("main h1").first().waitFor();
    choose(world, await send("snapshot", undefined, "get"));
  });
  world.prepare = () => prepare(world, visit);
  world.begin = () => begin(world, visit);
  world.removeNetwork = () => change(fresh, visit, (send) => send("networks/home", undefined, "delete"));
  world.addNetwork = () =>
    change(fresh, visit, (send) => send("networks", { name: "studio", prefix4: "10.61.40.0/22" }));
  return world;
}

/** Links, and people who are nobody's administrator. It is written down in the town, so that its quiet pages come before. */
async function prepare(world, visit) {
  const { town } = world;
  await change(town, visit, async (send) => {
    const link = async (id) => new URL((await send(`users/${id}/code`, {})).url).pathname;
    world.links.welcome = await link(world.users.anna);
    world.links.careful = await link(world.users.ivo);
    world.links.member = await link(world.users.yuki);
    const made = async (more) => {
      const invite = { max_uses: 5, expires_in: 86_400, ...more };
      return new URL((await send("networks/lan-party/invites", invite)).join_url).pathname;
    };
    world.links.device = await made({});
    world.links.person = await made({ target: "person", role: "member", max_uses: 1 });
  });
  const choosing = (path) => async (page) => {
    await page.goto(path);
    await page.getByLabel("Password").fill(PASSWORD);
    await page.locator("form button").first().click();
    await page.locator("main h1").first().waitFor();
  };
  await visit(town, "member", async (page) => {
    await choosing(world.links.member)(page);
    await beginApp(page);
  });
  await visit(town, "careful", async (page) => {
    await choosing(world.links.careful)(page);
    const key = await beginApp(page);
    await page.getByRole("textbox", { name: "Code" }).fill(codeOf(key));
    await page.getByRole("button", { name: "Use this app" }).click();
    await page.locator(".codes").waitFor();
  });
}

/** Changes something as the administrator, who stays signed in. */
function change(server, visit, act) {
  return visit(server, "admin", (_, send) => act(send));
}

/** Asks for an app on a phone to be set up, and gives its key. */
async function beginApp(page) {
  await page.goto("/account/totp");
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Set it up" }).click();
  return page.locator("main p code").innerText();
}

/** Picks who and what the pictures show: what has most to tell. */
function choose(world, { users, devices, members, links }) {
  const linksOf = (device) => links.filter((pair) => [pair.device_id, pair.peer_id].includes(device.id)).length;
  const inNetwork = (device, name) => members.some((member) => member.device_id === device.id && member.network === name);
  const most = (list, rate) => list.reduce((best, one) => (rate(one) > rate(best) ? one : best));
  const device = most(devices.filter((one) => one.user_id && one.online && inNetwork(one, "workshop")), linksOf);
  const marks = ({ tags, expires_at: end }) => tags.length + (end ? 1 : 0);
  const member = most(members.filter(({ network }) => network === "office"), marks);
  Object.assign(world, { device: device.id, deviceName: device.name, member: member.id, memberName: member.name });
  world.users = Object.fromEntries(users.map((user) => [user.name, user.id]));
  world.person = world.users.eva;
  const online = new Set(devices.filter((one) => one.online).map(({ id }) => id));
  const lives = (pair) => Number(online.has(pair.device_id) && online.has(pair.peer_id));
  const live = [...links].sort((a, b) => lives(a) - lives(b));
  world.pairs = Object.fromEntries(live.map((pair) => [pair.code, { id: pair.id, names: `${pair.device},${pair.peer}` }]));
  world.careful = { user: "ivo", password: PASSWORD };
}

/** The fresh server's administrator, and somebody who is nothing there. */
async function begin({ fresh }, visit) {
  let stranger;
  await visit(fresh, "admin", async (page, send) => {
    await page.goto(fresh.setup);
    await page.getByLabel("Name").fill("milena");
    await page.getByLabel("Password").fill(PASSWORD);
    await page.locator("form button").first().click();
    await page.locator("main h1").first().waitFor();
    const { id } = await send("users", { name: "yuki", display_name: "Yuki Tanaka" });
    stranger = new URL((await send(`users/${id}/code`, {})).url).pathname;
  });
  await visit(fresh, "stranger", async (page) => {
    await page.goto(stranger);
    await page.getByLabel("Password").fill(PASSWORD);
    await page.locator("form button").first().click();
    await page.locator("main h1").first().waitFor();
  });
}

async function ask(context, path, data, method) {
  const answer = await context.request[method](`/api/v1/${path}`, data === undefined ? {} : { data });
  if (!answer.ok()) throw new Error(`${method} ${path}: ${answer.status()} ${await answer.text()}`);
  return answer.status() === 204 ? undefined : answer.json();
}
