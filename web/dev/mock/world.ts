// A made-up server: networks, people and devices drawn from a seed, so that every run and every screenshot is alike.

import type * as T from "../../src/api/types";
import type { Group } from "../../src/api/groups";
import type { Entries } from "../../src/api/metadata";
import { grouped } from "../../src/grouped.ts";
import { describe, tagsOf } from "./about.ts";
import { putLink } from "./links.ts";
import { randomOf } from "./random.ts";
import { type Hook, furnishWebhooks } from "./webhooks.ts";

export interface Wish {
  devices: number;
  /** Who asks. */
  as: "admin" | "owner" | "member";
  /** A server just set up: no network, no device. */
  isEmpty: boolean;
}

const PEOPLE = [
  "Anna Berg",
  "Jonas Weber",
  "Mei Lin",
  "Tomás Silva",
  "Priya Nair",
  "Lars Olsen",
  "Ada Okafor",
  "Yusuf Demir",
  "Clara Fontaine",
  "Noah Fischer",
  "Ines Ruiz",
  "Kenji Mori",
];
const NETWORKS = ["home", "lab", "office", "studio"];
const KINDS = [
  ["laptop", "windows"],
  ["thinkpad", "linux"],
  ["nas", "linux"],
  ["server", "linux"],
  ["macbook", "macos"],
  ["desktop", "windows"],
  ["pi", "linux"],
  ["build", "linux"],
] as const;
const PLACES = ["berlin", "den", "attic", "rack", "oslo", "kiosk", "studio", "lab", "shop", "van"];
const VERSIONS = ["0.1.0", "0.1.0", "0.1.0", "0.1.0", "0.0.9", "0.0.8"];
const CODES = [
  "mapping_varies_here",
  "mapping_varies_there",
  "both_mappings_vary",
  "udp_blocked_there",
  "probes_lost",
  "full_size_lost",
];
const HOUR = 3_600_000;

export interface World {
  wish: Wish;
  random: () => number;
  revision: number;
  me: T.Me;
  users: Map<string, T.User>;
  networks: Map<string, T.Network>;
  devices: Map<string, T.Device>;
  members: Map<string, T.Member>;
  links: Map<string, T.Link>;
  invites: Map<string, T.Invite>;
  roles: Map<string, T.NetworkRole>;
  sessions: Map<string, T.Session>;
  tokens: Map<string, T.Token>;
  /** What is written about things, by kind and id. */
  metadata: Map<string, Entries>;
  /** By network and name. */
  groups: Map<string, Group>;
  webhooks: Map<string, Hook>;
  /** Newest first. */
  events: T.AuditEvent[];
  /** Version of a thing, for its ETag. */
  versions: Map<string, number>;
}

export function worldOf(wish: Wish): World {
  const random = randomOf(7);
  const pick = <V>(list: readonly V[]): V => list[Math.floor(random() * list.length)]!;
  const id = (kind: string, n: number) => `${kind}${String(n).padStart(8, "0")}`;
  const now = Date.now();
  const users = new Map<string, T.User>();
  for (const [n, name] of PEOPLE.entries()) {
    const login = name
      .split(" ")[0]!
      .toLowerCase()
      .normalize("NFD")
      .replace(/[^a-z]/g, "");
    users.set(id("u", n), {
      id: id("u", n),
      name: login,
      display_name: name,
      email: `${login}@example.org`,
      kind: "person",
      is_server_admin: n === 0,
      disabled_at: n === 9 ? now - 40 * HOUR : null,
      created_at: now - (300 - n * 20) * 24 * HOUR,
    });
  }
  users.set("u_ci", {
    ...users.get(id("u", 1))!,
    id: "u_ci",
    name: "ci",
    display_name: "",
    email: null,
    kind: "service",
    created_at: now - 90 * 24 * HOUR,
  });
  const mine = { admin: 0, owner: 1, member: 2 }[wish.as];
  const me = users.get(id("u", mine))!;

  const networks = new Map<string, T.Network>();
  const names = wish.isEmpty ? [] : NETWORKS;
  for (const [n, name] of names.entries()) {
    networks.set(id("n", n), {
      id: id("n", n),
      name,
      join_mode: n === 3 ? "locked" : n === 1 ? "request" : "invite",
      has_password: false,
      approve: n === 1 ? "manual" : "auto",
      prefix4: `10.${61 + n}.0.0/16`,
      prefix6: `fd5a:${(n + 17).toString(16)}::/64`,
      peer_relay: n !== 2,
      revision: 40 + n * 17,
      members: 0,
      pending: 0,
      created_at: now - (200 - n) * 24 * HOUR,
      role: wish.as === "admin" || (wish.as === "owner" && n < 2) ? "owner" : "member",
    });
  }

  const devices = new Map<string, T.Device>();
  const members = new Map<string, T.Member>();
  const count = wish.isEmpty ? 0 : wish.devices;
  for (let n = 0; n < count; n += 1) {
    const [kind, os] = pick(KINDS);
    const online = random() < 0.72;
    const number = String(100_000_000 + Math.floor(random() * 899_999_999)).replace(
      /(\d{3})(\d{3})(\d{3})/,
      "$1-$2-$3",
    );
    const device: T.Device = {
      id: id("d", n),
      number,
      name: `${kind}-${pick(PLACES)}-${n}`,
      user_id: random() < 0.85 ? id("u", Math.floor(random() * PEOPLE.length)) : null,
      os,
      agent_version: pick(VERSIONS),
      online,
      last_seen_at: online ? now : now - Math.floor(random() * 400 * HOUR),
      last_ip: `203.0.113.${1 + (n % 250)}`,
      suspended_at: random() < 0.015 ? now - 5 * HOUR : null,
      created_at: now - Math.floor(random() * 180 * 24) * HOUR,
    };
    devices.set(device.id, device);
    const first = Math.floor(random() ** 1.6 * networks.size);
    for (const at of random() < 0.2 ? [first, (first + 1) % networks.size] : [first]) {
      const network = [...networks.values()][at]!;
      const state = random() < 0.02 ? "pending" : random() < 0.02 ? "suspended" : "active";
      const member: T.Member = {
        id: `${id("m", n)}${at}`,
        network: network.name,
        device_id: device.id,
        number,
        name: device.name,
        state,
        ip4: state === "pending" ? null : `10.${61 + at}.${(n >> 8) & 255}.${n & 255}`,
        ip6: state === "pending" ? null : `fd5a:${(at + 17).toString(16)}::${(n + 1).toString(16)}`,
        joined_via: network.join_mode === "request" ? "request" : "invite",
        online: online && state === "active",
        last_seen_at: device.last_seen_at,
        user_id: device.user_id,
        tags: tagsOf(kind, n),
        expires_at: n % 23 === 5 ? now + ((n % 9) + 1) * 36 * HOUR : null,
        created_at: device.created_at,
      };
      members.set(member.id, member);
      if (state === "active") network.members += 1;
      if (state === "pending") network.pending += 1;
    }
  }

  const links = new Map<string, T.Link>();
  const byNetwork = grouped(
    [...members.values()].filter(({ state }) => state === "active"),
    (member) => member.network,
  );
  for (const list of byNetwork.values()) {
    for (let n = 0; n < list.length * 1.4; n += 1) {
      const [a, b] = [pick(list), pick(list)];
      if (a.device_id === b.device_id) continue;
      putLink(links, {
        a,
        b,
        code: random() < 0.84 ? "direct" : random() < 0.08 ? "no_relay" : pick(CODES),
        at: now - Math.floor(random() * 20 * HOUR),
        random,
      });
    }
  }

  const world: World = {
    wish,
    random,
    revision: 1_000,
    me: { user: me, roles: [], server_admin: me.is_server_admin, via: "session", may_write: true, may_make_networks: me.is_server_admin, version: "0.1.0" },
    users,
    networks,
    devices,
    members,
    links,
    invites: new Map(),
    roles: new Map(),
    sessions: new Map(),
    tokens: new Map(),
    metadata: new Map(),
    groups: new Map(),
    webhooks: new Map(),
    events: [],
    versions: new Map(),
  };
  furnish(world, now);
  describe(world, now);
  if (!wish.isEmpty) furnishWebhooks(world, now);
  if (wish.as === "member") narrow(world);
  return world;
}

/** Roles, invites, tokens, sessions and a past. */
function furnish(world: World, now: number): void {
  const users = [...world.users.values()];
  for (const network of world.networks.values()) {
    for (const [n, user] of users.slice(0, 6).entries()) {
      const role: T.Role =
        n === (network.name === "home" ? 1 : 0) ? "owner" : n < 3 ? "admin" : n === 5 ? "guest" : "member";
      const id = `${network.id}/${user.id}`;
      world.roles.set(id, {
        id,
        network: network.name,
        user_id: user.id,
        user: user.name,
        role,
        expires_at: n === 5 ? now + 72 * HOUR : null,
        created_at: now - 90 * 24 * HOUR,
      });
    }
    for (const [n, uses] of [0, 3, 1].entries()) {
      const id = `i_${network.name}_${n}`;
      world.invites.set(id, {
        id,
        network: network.name,
        code_prefix: ["K7", "QX", "M4"][n]!,
        max_uses: [5, 25, 1][n]!,
        uses,
        auto_approve: n !== 1,
        target: n === 2 ? "person" : "device",
        role: n === 2 ? "member" : null,
        owner_id: null,
        tags: n === 1 ? ["lab"] : [],
        member_for: n === 1 ? 30 * 86_400 : null,
        expires_at: now + (n === 1 ? 150 : 20) * HOUR,
        revoked_at: null,
        created_by: users[0]!.id,
        created_at: now - (n + 1) * HOUR,
      });
    }
  }
  const agent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36";
  for (const [n, user_agent] of [
    agent,
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) Version/18.0 Safari/605.1",
    "Mozilla/5.0 (Windows NT 10.0) Firefox/143.0",
  ].entries()) {
    world.sessions.set(`s${n}`, {
      id: `s${n}`,
      user_agent,
      ip: `192.168.1.${20 + n}`,
      created_at: now - n * 50 * HOUR,
      seen_at: now - n * 7 * HOUR,
      expires_at: now + 500 * HOUR,
      is_this: n === 0,
    });
  }
  world.tokens.set("t0", {
    id: "t0",
    name: "backup job",
    prefix: "lyt_8fK2",
    scope: "read",
    network_id: null,
    expires_at: now + 60 * 24 * HOUR,
    last_used_at: now - 2 * HOUR,
    created_at: now - 30 * 24 * HOUR,
  });
  if (world.wish.isEmpty) return;
  const members = [...world.members.values()];
  const codes = [
    "member.join",
    "member.approve",
    "member.rename",
    "invite.add",
    "network.set",
    "user.set",
    "role.set",
    "member.suspend",
    "session.open",
  ];
  for (let n = 0; n < 120; n += 1) {
    const code = codes[Math.floor(world.random() * codes.length)]!;
    const member = members[Math.floor(world.random() * members.length)]!;
    world.events.push(eventOf(world, code, member, now - n * 11 * 60_000));
  }
}

/** An event about a member, a network or a user, whatever its code is about. */
export function eventOf(world: World, code: string, member: T.Member, at: number): T.AuditEvent {
  const users = [...world.users.values()];
  const actor = users[Math.floor(world.random() * 4)]!;
  const kind = code.split(".")[0]!;
  const network = [...world.networks.values()].find(({ name }) => name === member.network)!;
  const subjects: Readonly<Record<string, [string, unknown, unknown]>> = {
    member: [
      member.id,
      code === "member.join" ? null : { state: "pending", name: member.name },
      { state: member.state, name: member.name, network: member.network },
    ],
    network: [
      network.id,
      { join_mode: "invite", approve: "manual", peer_relay: true },
      { join_mode: "invite", approve: "auto", peer_relay: true },
    ],
    invite: [`i_${network.name}_0`, null, { max_uses: 5, code_prefix: "K7", auto_approve: true }],
    user: [actor.id, { display_name: "" }, { display_name: actor.display_name }],
    role: [`${network.id}/${actor.id}`, { role: "member", user: actor.name }, { role: "admin", user: actor.name }],
    session: ["s0", null, null],
  };
  const [entity_id, before, after] = subjects[kind] ?? ["", null, null];
  const isAgent = code === "member.join";
  return {
    id: `e${at}${Math.floor(world.random() * 1e6)}`,
    at,
    actor_kind: isAgent ? "device" : "user",
    actor_id: isAgent ? member.device_id : actor.id,
    via: isAgent ? "agent" : world.random() < 0.7 ? "panel" : "cli",
    code,
    entity_type: kind,
    entity_id,
    before,
    after,
  };
}

/** What a member sees: two networks, the devices in them, no other people. */
function narrow(world: World): void {
  const seen = new Set(["home", "lab"]);
  keep(world.networks, (network) => seen.has(network.name));
  keep(world.members, (member) => seen.has(member.network) && member.state === "active");
  const devices = new Set([...world.members.values()].map((member) => member.device_id));
  keep(world.devices, (device) => devices.has(device.id));
  keep(world.links, (link) => devices.has(link.device_id) && devices.has(link.peer_id));
  keep(world.users, (user) => user.id === world.me.user.id);
  world.events = world.events.filter((event) => event.actor_id === world.me.user.id);
}

function keep<V>(map: Map<string, V>, test: (value: V) => boolean): void {
  for (const [key, value] of map) if (!test(value)) map.delete(key);
}
