import { effect } from "@preact/signals";
import { describe, expect, it, vi } from "vitest";
import { Problem } from "../src/api/client";
import { type Listener, Live, type Source, type Surroundings } from "../src/api/live";
import type * as T from "../src/api/types";
import { Collection } from "../src/store/collection";
import { Store } from "../src/store/store";

const user: T.User = {
  id: "u1",
  name: "anna",
  display_name: "Anna",
  email: null,
  kind: "person",
  is_server_admin: true,
  disabled_at: null,
  created_at: 0,
};
const device: T.Device = {
  id: "d1",
  number: "291-044-871",
  name: "nas",
  user_id: "u1",
  os: "linux",
  agent_version: "0.1.0",
  online: false,
  last_seen_at: null,
  last_ip: null,
  suspended_at: null,
  created_at: 0,
};
const member: T.Member = {
  id: "m1",
  network: "home",
  device_id: "d1",
  number: "291-044-871",
  name: "nas",
  state: "active",
  ip4: "10.61.0.1",
  ip6: null,
  joined_via: "invite",
  online: false,
  last_seen_at: null,
  user_id: "u1",
  tags: ["nas"],
  expires_at: null,
  created_at: 0,
};
const network: T.Network = {
  id: "n1",
  name: "home",
  join_mode: "invite",
      has_password: false,
  approve: "auto",
  prefix4: "10.61.0.0/16",
  prefix6: "fd5a::/64",
  peer_relay: true,
  revision: 1,
  members: 1,
  pending: 0,
  created_at: 0,
  role: "owner",
};
const link: T.Link = {
  id: "d1/d2",
  device_id: "d1",
  device: "nas",
  peer_id: "d2",
  peer: "pi",
  code: "direct",
  plan: "plain",
  took_ms: 5,
  at: 1,
  report: null,
};
const report: T.Report = {
  device_id: "d2",
  path: "direct",
  rtt_ms: 12.5,
  loss_permille: 0,
  tx_bps: 1_000,
  rx_bps: 2_000,
  seen_at: 5,
};

function snapshot(revision = 7): T.Snapshot {
  return {
    revision,
    me: { user, roles: [], server_admin: true, via: "session", may_write: true,
      may_make_networks: true, version: "0.1.0" },
    users: [user],
    networks: [network],
    devices: [device, { ...device, id: "d2", name: "pi" }],
    members: [member],
    links: [link],
  };
}

interface Started {
  store: Store;
  listener: () => Listener;
  revisions: number[];
}

async function started(take = () => Promise.resolve(snapshot())): Promise<Started> {
  let listener: Listener | undefined;
  const revisions: number[] = [];
  const store = new Store(take, (revision, heard) => {
    revisions.push(revision);
    listener = heard;
    return { start() {}, stop() {} } as unknown as Live;
  });
  await store.start();
  return { store, listener: () => listener!, revisions };
}

describe("a store", () => {
  it("holds the snapshot and follows the stream from its revision", async () => {
    const { store, revisions } = await started();
    expect(revisions).toEqual([7]);
    expect(store.isReady.value).toBe(true);
    const row = store.rows.get("d1")!;
    expect(row).toMatchObject({
      name: "nas",
      ownerName: "Anna",
      networks: ["home"],
      ip4: "10.61.0.1",
      state: "offline",
    });
    expect(row.links).toEqual({ direct: 1, relayed: 0, failed: 0, trying: 0 });
  });

  it("tells apart who is online from what a query may find otherwise now", async () => {
    const { store, listener } = await started();
    const hear = (kind: Parameters<Listener["onDelta"]>[0], item: object) => {
      const [news, idle] = [store.news.value, store.idleNews.value];
      listener().onDelta(kind, { op: "put", item });
      store.flush();
      return store.news.value > news ? "news" : store.idleNews.value > idle ? "idle" : "nothing";
    };
    expect(hear("device", { ...device, online: true, last_seen_at: 5 })).toBe("idle");
    expect(hear("device", { ...device, online: true, last_seen_at: 5 })).toBe("news");
    expect(hear("member", { ...member, online: true })).toBe("idle");
    expect(hear("member", { ...member, online: true, tags: ["nas", "rack"] })).toBe("news");
    expect(hear("network", { ...network, members: 2 })).toBe("idle");
    expect(hear("network", { ...network, members: 2 })).toBe("news");
    expect(hear("user", user)).toBe("news");
    expect(hear("device", { ...device, id: "d9" })).toBe("news");
    expect(hear("link", { ...link, report })).toBe("nothing");
  });

  it("applies what comes by the stream, all of a burst at once", async () => {
    const { store, listener } = await started();
    let paints = 0;
    const stop = store.rows.all.subscribe(() => (paints += 1));
    for (let n = 0; n < 50; n += 1) listener().onDelta("device", { op: "put", item: { ...device, id: `x${n}` } });
    store.flush();
    expect(store.devices.all.value).toHaveLength(52);
    expect(paints).toBe(2);
    stop();
  });

  it("shows a device online with its members, and its links as they are", async () => {
    const { store, listener } = await started();
    listener().onDelta("presence", { op: "put", item: { device_id: "d1", online: true, last_seen_at: 9 } });
    listener().onDelta("link", { op: "put", item: { ...link, code: "both_mappings_vary" } });
    store.flush();
    expect(store.rows.get("d1")!.state).toBe("online");
    expect(store.members.get("m1")!.online).toBe(true);
    for (const id of ["d1", "d2"]) expect(store.rows.get(id)!.links.relayed, id).toBe(1);
    listener().onDelta("link", { op: "gone", id: "d1/d2" });
    store.flush();
    expect(store.rows.linksOf("d2")).toEqual([]);
  });

  it("shows what a link reports without touching the rows of its devices, unless the path is another", async () => {
    const { store, listener } = await started();
    const rows = store.rows.all.value;
    const seen: (number | null | undefined)[] = [];
    const stop = effect(() => void seen.push(store.rows.linksOf("d1")[0]?.report?.tx_bps));
    for (const tx_bps of [1_000, 3_000]) {
      listener().onDelta("link", { op: "put", item: { ...link, report: { ...report, tx_bps } } });
      store.flush();
    }
    expect(seen).toEqual([undefined, 1_000, 3_000]);
    expect(store.rows.all.value).toBe(rows);
    listener().onDelta("link", { op: "put", item: { ...link, report: { ...report, path: "relay" } } });
    store.flush();
    expect(store.rows.get("d2")!.links).toMatchObject({ direct: 0, relayed: 1 });
    stop();
  });

  it("keeps the row of a device whose network, owner or links did not change", async () => {
    const { store, listener } = await started();
    const before = store.rows.get("d2");
    listener().onDelta("member", { op: "put", item: { ...member, state: "suspended" } });
    store.flush();
    expect(store.rows.get("d2")).toBe(before);
    expect(store.rows.get("d1")!.state).toBe("suspended");
  });

  it("forgets what is gone", async () => {
    const { store, listener } = await started();
    listener().onDelta("member", { op: "gone", id: "m1" });
    listener().onDelta("device", { op: "gone", id: "d2" });
    store.flush();
    expect(store.rows.get("d1")!.networks).toEqual([]);
    expect(store.rows.all.value).toHaveLength(1);
  });

  it("takes a new snapshot when the stream cannot resume", async () => {
    let revision = 7;
    const { listener, revisions } = await started(() => Promise.resolve(snapshot(revision)));
    revision = 99;
    listener().onReset();
    await vi.waitFor(() => expect(revisions).toEqual([7, 99]));
  });

  it("says why there is no snapshot, and keeps the last one when there was", async () => {
    const failing = () => Promise.reject(new Problem(503, "index.busy", "it is overloaded"));
    const { store } = await started(failing);
    expect(store.problem.value?.code).toBe("index.busy");
    let isDown = false;
    const good = await started(() => (isDown ? failing() : Promise.resolve(snapshot())));
    isDown = true;
    await good.store.start();
    expect(good.store.connection.value).toBe("lost");
    expect(good.store.problem.value).toBeUndefined();
    expect(good.store.devices.all.value).toHaveLength(2);
  });

  it("counts what is told of a thing, for what hangs on it", async () => {
    const { store, listener } = await started();
    expect([store.told("device", "d1"), store.told("device", "d2")]).toEqual([0, 0]);
    listener().onDelta("device", { op: "put", item: device });
    listener().onDelta("presence", { op: "put", item: { device_id: "d1", online: true } });
    store.flush();
    expect([store.told("device", "d1"), store.told("device", "d2")]).toEqual([1, 0]);
    await store.start();
    expect(store.told("device", "d2")).toBe(1);
  });

  it("ignores messages that are no deltas", async () => {
    const { store, listener } = await started();
    for (const nonsense of [null, 5, "x", {}, []]) listener().onDelta("device", nonsense);
    store.flush();
    expect(store.devices.all.value).toHaveLength(2);
  });

  it("takes away an administrator's rights as soon as they are told", async () => {
    const { store, listener } = await started();
    listener().onDelta("user", { op: "put", item: { ...user, is_server_admin: false } });
    listener().onDelta("network", { op: "put", item: { ...network, role: "member" } });
    store.flush();
    expect(store.mayAdmin("home")).toBe(false);
  });
});

describe("a change not yet confirmed", () => {
  it("lies on top of what the server says, until it is taken away", () => {
    const things = new Collection<T.Member>(({ id }) => id);
    things.put(member);
    const takeBack = things.patch("m1", { state: "suspended" });
    things.put({ ...member, name: "renamed" });
    expect(things.get("m1")).toMatchObject({ state: "suspended", name: "renamed" });
    takeBack();
    expect(things.get("m1")).toMatchObject({ state: "active", name: "renamed" });
  });

  it("hides what is to go, and shows it again when undone", () => {
    const things = new Collection<T.Member>(({ id }) => id);
    things.put(member);
    const takeBack = things.patch("m1", null);
    expect(things.all.value).toEqual([]);
    things.reset([member]);
    expect(things.all.value).toEqual([]);
    takeBack();
    expect(things.all.value).toHaveLength(1);
  });
});

describe("the stream", () => {
  function world() {
    const sources: (Source & {
      url: string;
      handlers: Map<string, (message: MessageEvent<string>) => void>;
      isClosed: boolean;
    })[] = [];
    const waits: { run: () => void; ms: number }[] = [];
    const surroundings: Surroundings = {
      open(url) {
        const handlers = new Map<string, (message: MessageEvent<string>) => void>();
        const source = {
          url,
          handlers,
          isClosed: false,
          onopen: null,
          onerror: null,
          addEventListener: (kind: string, handler: (message: MessageEvent<string>) => void) =>
            void handlers.set(kind, handler),
          close() {
            this.isClosed = true;
          },
        };
        sources.push(source);
        return source;
      },
      random: () => 0.5,
      later(run, ms) {
        waits.push({ run, ms });
        return () => {};
      },
    };
    const heard: string[] = [];
    const listener: Listener = {
      onDelta: (kind) => void heard.push(kind),
      onReset: () => void heard.push("reset"),
      onOpen: () => void heard.push("open"),
      onLost: () => void heard.push("lost"),
    };
    return { sources, waits, heard, live: new Live(7, listener, surroundings) };
  }
  const message = (data: string, lastEventId: string) => ({ data, lastEventId }) as MessageEvent<string>;

  it("resumes after the last message it heard", () => {
    const { sources, waits, live, heard } = world();
    live.start();
    expect(sources[0]!.url).toBe("/api/v1/live?after=7");
    sources[0]!.handlers.get("device")!(message("{}", "12"));
    sources[0]!.handlers.get("device")!(message("no json", "13"));
    sources[0]!.onerror!(new Event("error"));
    expect(heard).toEqual(["device", "lost"]);
    expect(sources[0]!.isClosed).toBe(true);
    waits[0]!.run();
    expect(sources[1]!.url).toBe("/api/v1/live?after=12");
  });

  it("waits longer each time, never more than fifteen seconds, and begins anew once it is open", () => {
    const { sources, waits, live } = world();
    live.start();
    for (let n = 0; n < 8; n += 1) {
      sources.at(-1)!.onerror!(new Event("error"));
      waits.at(-1)!.run();
    }
    const waited = waits.map(({ ms }) => ms);
    expect(waited[0]).toBe(375);
    expect(waited[1]).toBe(750);
    expect(waited.at(-1)).toBe(11_250);
    sources.at(-1)!.onopen!(new Event("open"));
    sources.at(-1)!.onerror!(new Event("error"));
    expect(waits.at(-1)!.ms).toBe(375);
  });

  it("stops at a reset: what comes next has another beginning", () => {
    const { sources, heard, live } = world();
    live.start();
    sources[0]!.handlers.get("reset")!(message("{}", "90"));
    expect(heard).toEqual(["reset"]);
    expect(sources[0]!.isClosed).toBe(true);
  });
});
