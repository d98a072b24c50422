import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type * as T from "../src/api/types";
import { mayRetry } from "../src/may";
import { asked, retryLink } from "../src/store/actions";
import { notes } from "../src/store/later";
import { store } from "../src/store/store";

const link: T.Link = {
  id: "d1/d2",
  device_id: "d1",
  device: "nas",
  peer_id: "d2",
  peer: "pi",
  code: "probes_lost",
  plan: "plain",
  took_ms: 900,
  at: 0,
  report: null,
};

const device = (id: string, more: Partial<T.Device> = {}): T.Device => ({
  id,
  number: id,
  name: id,
  user_id: null,
  os: "linux",
  agent_version: "0.1.0",
  online: true,
  last_seen_at: null,
  last_ip: null,
  suspended_at: null,
  created_at: 0,
  ...more,
});

const member = (device_id: string, network: string, state: T.MemberState = "active"): T.Member => ({
  id: `${device_id}-${network}`,
  network,
  device_id,
  number: device_id,
  name: device_id,
  state,
  ip4: null,
  ip6: null,
  joined_via: "invite",
  online: true,
  last_seen_at: null,
  user_id: null,
  tags: [],
  expires_at: null,
  created_at: 0,
});

const me = (server_admin: boolean) => ({ user: { id: "u1" }, server_admin }) as T.Me;
const network = (name: string, role: T.Role) => ({ id: name, name, role }) as T.Network;

let answer: Response;
let urls: string[];

beforeEach(() => {
  vi.useFakeTimers();
  answer = new Response(null, { status: 204 });
  urls = [];
  vi.stubGlobal("fetch", (url: string) => {
    urls.push(url);
    return Promise.resolve(answer);
  });
  notes.value = [];
  asked.value = new Set();
  store.me.value = me(false);
  store.networks.reset([network("home", "member"), network("lab", "admin")]);
  store.devices.reset([device("d1"), device("d2")]);
  store.members.reset([member("d1", "home"), member("d2", "home"), member("d1", "lab")]);
  store.rows.reset();
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("who may have a pair try again", () => {
  it("is who administers a network that both are active in", () => {
    expect(mayRetry(link)).toBe(false);
    store.members.put(member("d2", "lab", "suspended"));
    expect(mayRetry(link)).toBe(false);
    store.members.put(member("d2", "lab"));
    expect(mayRetry(link)).toBe(true);
  });

  it("is who owns one of them, and an administrator of the server", () => {
    store.devices.put(device("d2", { user_id: "u1" }));
    expect(mayRetry(link)).toBe(true);
    store.members.remove("d2-home");
    expect(mayRetry(link)).toBe(false);
    store.members.put(member("d2", "home"));
    store.devices.put(device("d2"));
    store.me.value = me(true);
    expect(mayRetry(link)).toBe(true);
  });
});

describe("a pair that is asked", () => {
  it("says who heard of it", async () => {
    await retryLink(link);
    expect(urls).toEqual(["/api/v1/links/d1/d2/retry"]);
    expect(notes.value.at(-1)?.text).toContain("Both ends");
    asked.value = new Set();
    store.devices.put(device("d1", { online: false }));
    await retryLink(link);
    expect(notes.value.at(-1)?.text).toBe("Only pi was asked to try now: nas is offline.");
    asked.value = new Set();
    store.devices.put(device("d2", { online: false }));
    await retryLink(link);
    expect(notes.value.at(-1)?.text).toContain("both offline");
  });

  it("is asked once, until a while has passed", async () => {
    await Promise.all([retryLink(link), retryLink(link)]);
    expect(urls).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(10_000);
    await retryLink(link);
    expect(urls).toHaveLength(2);
  });

  it("says what was refused, and can be asked again at once", async () => {
    const problem = { code: "api.too_many", detail: "too often" };
    answer = new Response(JSON.stringify(problem), { status: 429 });
    await retryLink(link);
    expect(notes.value.at(-1)).toMatchObject({ kind: "wrong", text: "too often (api.too_many)" });
    expect(asked.value.size).toBe(0);
  });
});
