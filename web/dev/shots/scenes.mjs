// What is photographed: every page, what can be opened on it, and how it looks when there is nothing to show.
//
// A scene is a path, or does something until there is something to see (`act`). `at` names the server, `as` who has signed in there.
// `before` runs once, in front of all pictures of its scene. What changes the town (`isChanging`) is shown in one look after the other,
// and after everything that only looks.

import { prove } from "./people.mjs";

const button = (page, name) => page.getByRole("button", { name, exact: true }).filter({ visible: true }).first();
const named = (page, name) => page.locator(`[data-key=${name}]`).filter({ visible: true }).first();
const dialog = (page) => page.getByRole("dialog");

/** Opens a path, and then something on it. */
const on = (path, act) => async (page, world) => {
  await page.goto(typeof path === "function" ? path(world) : path);
  await page.locator("main h1").first().waitFor();
  await act(page, world);
};

const overview = [
  { id: "overview", title: "Overview", path: "/" },
  { id: "overview-network", title: "Overview of one network", path: "/?in=workshop" },
  { id: "overview-member", title: "Overview of a member", as: "member", path: "/" },
  {
    id: "account-menu",
    title: "The menu of the account",
    act: on("/settings", (page) => button(page, "Account").click()),
  },
];

const devices = [
  { id: "devices", title: "Devices", path: "/devices" },
  { id: "devices-filtered", title: "Filtered", path: "/devices?q=os:linux+-state:offline+path:relayed" },
  { id: "devices-found", title: "Found by metadata and tags", path: "/devices?q=site:berlin+tag:server" },
  { id: "devices-nothing", title: "Nothing matches", path: "/devices?q=no-such-device" },
  { id: "devices-refused", title: "A filter that says nothing", allows: /400/, path: "/devices?q=is:flying" },
  {
    id: "completing",
    title: "The filter completes",
    act: on("/devices", (page) => page.locator(".filter-box input").pressSequentially("is:")),
  },
  {
    id: "columns",
    title: "Columns",
    isWide: true,
    act: on("/devices", (page) => button(page, "Columns").click()),
  },
  {
    id: "quick-filter",
    title: "Filter by choices",
    act: on("/devices", (page) => button(page, "Filter").click()),
  },
  {
    id: "selected",
    title: "Several selected",
    act: on("/devices", async (page) => {
      for (const at of [1, 2, 4]) await page.locator("tbody input[type=checkbox]").nth(at).click();
    }),
  },
  { id: "device", title: "A device in the drawer", path: ({ device, deviceName }) => `/devices?q=${deviceName}&open=device/${device}` },
  { id: "device-page", title: "A device on its page", path: ({ device }) => `/devices/${device}` },
  {
    id: "device-edit",
    title: "A device, renamed",
    act: on(({ device, deviceName }) => `/devices?q=${deviceName}&open=device/${device}`, (page) => named(page, "edit").click()),
  },
  {
    id: "device-entry",
    title: "An entry of its metadata",
    act: on(
      ({ device, deviceName }) => `/devices?q=${deviceName}&open=device/${device}`,
      (page) => page.locator(".drawer [data-entry]").filter({ visible: true }).first().click(),
    ),
  },
  { id: "device-gone", title: "A device that is gone", path: "/devices?open=device/AAAAAAAAAAAAAAAAAAAAAA" },
  { id: "devices-member", title: "Devices of a member", as: "member", path: "/devices" },
];

const networks = [
  { id: "networks", title: "Networks", path: "/networks" },
  { id: "network-new", title: "A new network", path: "/networks?new=1" },
  { id: "members", title: "Members", path: "/networks/office" },
  { id: "member", title: "A member in the drawer", path: ({ member, memberName }) => `/networks/office?q=${memberName}&open=member/${member}` },
  {
    id: "member-edit",
    title: "A member, changed",
    act: on(({ member, memberName }) => `/networks/office?q=${memberName}&open=member/${member}`, (page) => named(page, "edit").click()),
  },
  {
    id: "members-selected",
    title: "Several selected",
    act: on("/networks/office", async (page) => {
      for (const at of [0, 1, 3]) await page.locator("tbody input[type=checkbox]").nth(at).click();
    }),
  },
  { id: "entries", title: "Metadata of a network", path: "/networks/office/entries" },
  { id: "groups", title: "Groups", path: "/networks/office/groups" },
  {
    id: "group-edit",
    title: "A group, changed",
    act: on("/networks/office/groups", (page) => page.locator(".line .icon-button").first().click()),
  },
  { id: "invites", title: "Invites", path: "/networks/office/invites" },
  { id: "invite-new", title: "A new invite", path: "/networks/office/invites?new=1" },
  { id: "roles", title: "Roles", path: "/networks/office/roles" },
  { id: "network-settings", title: "Settings of a network", path: "/networks/office/settings" },
  {
    id: "network-edit",
    title: "A network, changed",
    act: on("/networks/office/settings", (page) => named(page, "edit").click()),
  },
  { id: "network-locked", title: "A network without members", path: "/networks/archive" },
  { id: "network-gone", title: "A network that is not there", path: "/networks/nowhere" },
  { id: "networks-member", title: "Networks of a member", as: "member", path: "/networks" },
];

const people = [
  { id: "people", title: "People", path: "/people" },
  { id: "person", title: "A person in the drawer", path: ({ person }) => `/people?open=user/${person}` },
  { id: "person-new", title: "A new person", act: on("/people", (page) => button(page, "Add a person").click()) },
  { id: "people-member", title: "For a member", as: "member", path: "/people" },
];

const why = (code, title) => ({
  id: `why-${code.replaceAll("_", "-")}`,
  title,
  path: ({ pairs }) => `/map?view=table&q=name:${pairs[code].names}&open=link/${pairs[code].id}`,
});

const map = [
  { id: "map", title: "Map", path: "/map" },
  { id: "map-network", title: "Map of one network", path: "/map?in=workshop" },
  { id: "map-device", title: "A device of the map", path: ({ device }) => `/map?in=workshop&open=device/${device}` },
  { id: "map-table", title: "The same as a table", path: "/map?view=table" },
  { id: "map-nothing", title: "Nothing matches", path: "/map?q=no-such-device" },
  why("direct", "Why: direct"),
  why("both_mappings_vary", "Why: both routers change ports"),
  why("mapping_varies_here", "Why: one router changes ports"),
  why("udp_blocked_there", "Why: no UDP there"),
  why("udp_blocked_here", "Why: no UDP here"),
  why("probes_lost", "Why: probes are lost"),
  why("no_relay", "Why: no path"),
];

const rest = [
  { id: "rules", title: "Rules", path: "/rules" },
  { id: "activity", title: "Activity", path: "/activity" },
  { id: "activity-filtered", title: "Filtered", path: "/activity?q=code:invite" },
  { id: "activity-nothing", title: "Nothing matches", path: "/activity?q=actor:nobody" },
  { id: "settings", title: "Settings", path: "/settings" },
  { id: "tokens", title: "Tokens", path: "/settings/tokens" },
  { id: "token-new", title: "A new token", act: on("/settings/tokens", (page) => button(page, "New token").click()) },
  { id: "webhooks", title: "Webhooks", path: "/settings/webhooks" },
  {
    id: "webhook-new",
    title: "A new webhook",
    act: on("/settings/webhooks", (page) => button(page, "New webhook").click()),
  },
  { id: "sessions", title: "Where one is signed in", path: "/settings/sessions" },
  { id: "server", title: "The server", path: "/settings/server" },
  {
    id: "palette",
    title: "The palette",
    act: on("/", async (page) => {
      await page.locator(".palette-open").click();
      await page.locator(".palette input").fill("nas");
    }),
  },
  {
    id: "palette-nothing",
    title: "The palette finds nothing",
    act: on("/", async (page) => {
      await page.locator(".palette-open").click();
      await page.locator(".palette input").fill("no such thing");
    }),
  },
  { id: "help", title: "Keys", act: on("/", (page) => page.keyboard.press("?")) },
  { id: "nowhere", title: "A page that is not there", path: "/settings/../devices/nothing" },
  {
    id: "lost",
    title: "The server cannot be reached",
    allows: /ERR_FAILED/,
    act: async (page, { town }) => {
      await page.route("**/api/v1/live*", (route) => route.abort());
      await page.goto("/devices");
      await page.locator(".lost-bar").waitFor();
      // The clock of the page goes on every ten seconds.
      await page.clock.setFixedTime(town.at + 14_000);
      await page.waitForTimeout(10_500);
    },
  },
];

const changing = [
  {
    id: "suspended",
    title: "Several suspended, and undone",
    act: on("/devices?q=build", async (page) => {
      for (const at of [0, 1]) await page.locator("tbody input[type=checkbox]").nth(at).click();
      await button(page, "Suspend").click();
      await page.locator(".note").waitFor();
    }),
    after: (page) => button(page, "Undo").click(),
  },
  {
    id: "invite-made",
    title: "An invite, made",
    act: on("/networks/office/invites?new=1", async (page) => {
      await dialog(page).locator("button[type=submit]").click();
      await page.locator(".qr").waitFor();
    }),
  },
  {
    id: "invite-person-made",
    title: "An invite for a person, made",
    act: on("/networks/office/invites?new=1", async (page) => {
      await dialog(page).locator("select").first().selectOption({ index: 1 });
      await dialog(page).locator("button[type=submit]").click();
      await page.locator(".qr").waitFor();
    }),
  },
  {
    id: "token-made",
    title: "A token, made",
    act: on("/settings/tokens", async (page) => {
      await button(page, "New token").click();
      await dialog(page).getByLabel("Name").fill("monitoring");
      await dialog(page).locator("button[type=submit]").click();
      await dialog(page).locator(".copy").waitFor();
    }),
  },
].map((scene) => ({ isChanging: true, ...scene }));

const doors = [
  { id: "front", title: "The front", as: "nobody", path: "/" },
  { id: "setup", title: "Set-up", at: "fresh", as: "nobody", path: ({ fresh }) => fresh.setup },
  { id: "signin", title: "Sign in", at: "fresh", as: "nobody", path: "/signin" },
  {
    id: "signin-wrong",
    title: "A wrong password",
    as: "nobody",
    allows: /403/,
    act: async (page, { user }) => {
      await page.goto("/signin");
      await page.getByLabel("Name").fill(user);
      await page.getByLabel("Password").fill("three birds");
      await button(page, "Sign in").click();
      await page.locator(".wrong").first().waitFor();
    },
  },
  {
    id: "signin-code",
    title: "The second step",
    as: "nobody",
    act: async (page, world) => {
      await prove(page, world.careful);
      await page.getByRole("textbox", { name: "Code" }).waitFor();
    },
  },
  { id: "signin-elsewhere", title: "A provider that does not answer", at: "fresh", as: "nobody", path: "/signin/oidc/work", allows: /502/ },
  { id: "join", title: "A link for devices", as: "nobody", path: ({ links }) => links.device },
  { id: "invite", title: "A link for people", as: "nobody", path: ({ links }) => links.person },
  { id: "invite-signed-in", title: "The same, signed in", as: "member", path: ({ links }) => links.person },
  { id: "welcome", title: "A link to choose a password", as: "nobody", path: ({ links }) => links.welcome },
  { id: "link-used", title: "A link that was used", as: "nobody", path: "/welcome/AAAA-AAAA", allows: /410/ },
  { id: "account", title: "The account", as: "member", path: "/account" },
  { id: "account-totp", title: "An authenticator app, set up", as: "member", path: "/account/totp" },
  { id: "account-factor", title: "With a second factor", as: "careful", path: "/account/totp" },
  {
    id: "account-recovery",
    title: "Recovery codes",
    as: "careful",
    act: async (page, { careful }) => {
      await page.goto("/account/totp");
      await page.getByLabel("Password").first().fill(careful.password);
      await button(page, "Show ten others").click();
      await page.locator(".codes").waitFor();
    },
  },
  { id: "account-passkeys", title: "Passkeys", at: "fresh", path: "/account/passkeys", before: (world) => world.begin() },
  { id: "account-identities", title: "Accounts elsewhere", at: "fresh", path: "/account/identities" },
];

/** A server that was made a moment ago: first without a network, then with one that nobody is in. */
const empty = [
  { id: "empty-overview", title: "No network", path: "/", before: (world) => world.removeNetwork() },
  { id: "empty-networks", title: "No networks", path: "/networks" },
  { id: "empty-devices", title: "No devices", path: "/devices" },
  { id: "empty-map", title: "No map", path: "/map" },
  { id: "empty-people", title: "One person", path: "/people" },
  { id: "empty-tokens", title: "No tokens", path: "/settings/tokens" },
  { id: "empty-stranger", title: "Somebody without a role", as: "stranger", path: "/" },
  {
    id: "empty-stranger-networks",
    title: "Their networks",
    as: "stranger",
    path: "/networks",
  },
  { id: "empty-first", title: "The first network", path: "/", before: (world) => world.addNetwork() },
  { id: "empty-members", title: "No members", path: "/networks/studio" },
  { id: "empty-invites", title: "No invites", path: "/networks/studio/invites" },
  { id: "empty-groups", title: "No groups", path: "/networks/studio/groups" },
  { id: "empty-entries", title: "No metadata", path: "/networks/studio/entries" },
  { id: "empty-map-table", title: "No links", path: "/map?view=table" },
].map((scene) => ({ at: "fresh", as: "admin", ...scene }));

/** What a page shows elsewhere too: in dark it differs in nothing. */
const DETAILS = [
  "overview-network devices-filtered devices-found devices-nothing devices-refused completing columns quick-filter",
  "selected device-edit device-entry device-gone devices-member network-new member-edit members-selected group-edit",
  "network-edit network-locked network-gone networks-member person-new people-member map-nothing map-device",
  "why-mapping-varies-here why-udp-blocked-there why-udp-blocked-here why-probes-lost activity-filtered activity-nothing",
  "token-new palette-nothing nowhere invite-person-made token-made signin-wrong signin-elsewhere invite-signed-in",
  "link-used account-factor empty-map empty-people empty-tokens empty-stranger-networks empty-members empty-invites",
  "empty-groups empty-entries empty-map-table",
];

/** Whether a scene is shown in a look. */
export const isShown = ({ id }, look) => look !== "dark" || !DETAILS.some((line) => line.split(" ").includes(id));

/** Chapters, in the order they are photographed and shown. */
export const CHAPTERS = {
  "Overview": overview,
  "Devices": devices,
  "Networks": networks,
  "People": people,
  "Map": map,
  "Rules, activity, settings and what is everywhere": rest,
  "What was just changed": changing,
  "Pages in front of the panel": doors,
  "A new server": empty,
};
