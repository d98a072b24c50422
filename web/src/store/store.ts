// Everything the panel knows: one snapshot, kept current by the event stream.
//
// Messages are collected and applied together every FLUSH_MS: a hundred devices that come online at once are one
// painting, and a change is on the screen well within 100 ms.

import { type Signal, batch, computed, signal } from "@preact/signals";
import { snapshot } from "../api/calls";
import { Problem, get } from "../api/client";
import { type Kind, Live, type Listener } from "../api/live";
import type * as T from "../api/types";
import { Collection } from "./collection";
import { Rows } from "./rows";

const FLUSH_MS = 40;

/** Audit events kept from the stream, newest first. */
const EVENTS_MAX = 200;

/** How the panel's own stream is. */
export type Connection = "connecting" | "open" | "lost";

export interface Presence {
  device_id?: string;
  id?: string;
  online: boolean;
  last_seen_at?: number | null;
}

export class Store {
  readonly me = signal<T.Me | undefined>(undefined);
  readonly users = new Collection<T.User>((user) => user.id);
  readonly networks = new Collection<T.Network>((network) => network.id);
  readonly devices = new Collection<T.Device>((device) => device.id);
  readonly members = new Collection<T.Member>((member) => member.id);
  readonly links = new Collection<T.Link>((link) => link.id);
  readonly invites = new Collection<T.Invite>((invite) => invite.id);
  /** What came by the stream since the panel is open, newest first. */
  readonly events = signal<readonly T.AuditEvent[]>([]);
  /** Raised when roles of users changed. */
  readonly rolesVersion = signal(0);
  readonly connection = signal<Connection>("connecting");
  /** When the last message, or the last opening, was; epoch milliseconds. */
  readonly heardAt = signal(Date.now());
  /** Why there is no snapshot yet. */
  readonly problem = signal<Problem | undefined>(undefined);
  readonly isReady = computed(() => this.me.value !== undefined);
  readonly rows = new Rows(this);

  /** Raised when the stream told of something that a query of the server may find otherwise now. */
  readonly news = signal(0);
  /** Raised when all that is told anew is who is online, and how many. */
  readonly idleNews = signal(0);

  /** Messages that told of a thing somebody looks at, by kind and id. */
  readonly #told = new Map<string, Signal<number>>();
  #live: Live | undefined;
  #waiting: [Kind, T.Delta<unknown>][] = [];
  #flush: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly takeSnapshot: () => Promise<T.Snapshot> = snapshot,
    private readonly makeLive: (revision: number, listener: Listener) => Live = (revision, listener) =>
      new Live(revision, listener),
    private readonly stillSignedIn: () => Promise<unknown> = () => get("/me"),
  ) {}

  /** Takes a snapshot and follows the stream from there; safe to call again. */
  async start(): Promise<void> {
    this.#live?.stop();
    let taken: T.Snapshot;
    try {
      taken = await this.takeSnapshot();
    } catch (error) {
      const problem = error instanceof Problem ? error : new Problem(0, "internal", String(error));
      this.connection.value = "lost";
      if (!this.isReady.value) this.problem.value = problem;
      this.#again();
      return;
    }
    this.#load(taken);
    this.#live = this.makeLive(taken.revision, {
      onDelta: (kind, data) => this.#take(kind, data),
      onReset: () => void this.start(),
      onOpen: () => {
        this.connection.value = "open";
        this.heardAt.value = Date.now();
      },
      onLost: () => {
        this.connection.value = "lost";
        // The stream does not say why it was refused: if it is for the session, this leads to sign in.
        this.stillSignedIn().catch(() => {});
      },
    });
    this.#live.start();
  }

  /** Tries to reach the server now. */
  retry(): void {
    if (this.#live && this.isReady.value) this.#live.start();
    else void this.start();
  }

  /** Counts what the stream tells of a thing, for what hangs on it and is in no message; a new snapshot counts too. */
  told(kind: Kind, id: string): number {
    const key = `${kind}/${id}`;
    let count = this.#told.get(key);
    if (!count) this.#told.set(key, (count = signal(0)));
    return count.value;
  }

  /** Networks by name, as members know them. */
  network(name: string): T.Network | undefined {
    return this.networks.all.value.find((network) => network.name === name);
  }

  /** Whether the caller may change a network's members and settings. */
  mayAdmin(name: string): boolean {
    const role = this.network(name)?.role;
    return this.me.value?.server_admin === true || role === "admin" || role === "owner";
  }

  /** Applies what waits; tests call it, the panel waits FLUSH_MS. */
  flush(): void {
    clearTimeout(this.#flush);
    this.#flush = undefined;
    const waiting = this.#waiting;
    this.#waiting = [];
    batch(() => {
      for (const [kind, delta] of waiting) this.#apply(kind, delta);
      this.heardAt.value = Date.now();
    });
  }

  #load({ me, users, networks, devices, members, links }: T.Snapshot): void {
    batch(() => {
      this.#waiting = [];
      this.me.value = me;
      this.problem.value = undefined;
      this.users.reset(users);
      this.networks.reset(networks);
      this.devices.reset(devices);
      this.members.reset(members);
      this.links.reset(links);
      this.rows.reset();
      for (const count of this.#told.values()) count.value += 1;
      this.news.value += 1;
      this.heardAt.value = Date.now();
    });
  }

  #again(): void {
    setTimeout(() => void this.start(), 1_000 + Math.random() * 4_000);
  }

  #take(kind: Kind, data: unknown): void {
    if (typeof data !== "object" || data === null || !("op" in data)) return;
    this.#waiting.push([kind, data as T.Delta<unknown>]);
    this.#flush ??= setTimeout(() => this.flush(), FLUSH_MS);
  }

  #apply(kind: Kind, delta: T.Delta<unknown>): void {
    const id = delta.op === "put" ? (delta.item as { id?: string }).id : delta.id;
    const told = this.#told.get(`${kind}/${id}`);
    if (told) told.value += 1;
    this.#hear(kind, delta);
    switch (kind) {
      case "presence":
        if (delta.op === "put") this.#presence(delta.item as Presence);
        return;
      case "event":
        if (delta.op === "put") {
          this.events.value = [delta.item as T.AuditEvent, ...this.events.value].slice(0, EVENTS_MAX);
        }
        return;
      case "role":
        this.rolesVersion.value += 1;
        return;
      case "network":
        return put(this.networks, delta);
      case "device":
        return put(this.devices, delta);
      case "member":
        return put(this.members, delta);
      case "invite":
        return put(this.invites, delta);
      case "user":
        return this.#user(delta as T.Delta<T.User>);
      case "link":
        return put(this.links, delta);
    }
  }

  /** Tells apart what may change what a query finds. A thing told as it was before has something that hangs on it changed. */
  #hear(kind: Kind, delta: T.Delta<unknown>): void {
    const known = { device: this.devices, member: this.members, network: this.networks, user: this.users };
    if (!(kind in known) || delta.op !== "put") return;
    const item = delta.item as Record<string, unknown> & { id: string };
    const before = known[kind as keyof typeof known].peek(item.id) as Record<string, unknown> | undefined;
    const changed = before && Object.keys(item).filter((field) => !isSame(item[field], before[field]));
    if (changed && changed.length > 0 && changed.every((field) => IDLE.has(field))) this.idleNews.value += 1;
    else this.news.value += 1;
  }

  #user(delta: T.Delta<T.User>): void {
    put(this.users, delta);
    const me = this.me.value;
    if (delta.op === "put" && me?.user.id === delta.item.id) {
      this.me.value = { ...me, user: delta.item, server_admin: delta.item.is_server_admin };
    }
  }

  #presence({ device_id, id, online, last_seen_at }: Presence): void {
    const device = device_id ?? id;
    if (device === undefined) return;
    const fields = { online, ...(last_seen_at === undefined ? {} : { last_seen_at }) };
    this.devices.merge(device, fields);
    for (const member of this.rows.membersOf(device)) this.members.merge(member.id, fields);
  }
}

/** Fields that follow who is online, and no more. */
const IDLE = new Set(["online", "last_seen_at", "last_ip", "members", "pending"]);

/** Whether two values of the API are the same; lists of texts are the only ones with something inside. */
function isSame(a: unknown, b: unknown): boolean {
  return Array.isArray(a) && Array.isArray(b) ? a.join("\n") === b.join("\n") : a === b;
}

function put<S extends object>(collection: Collection<S>, delta: T.Delta<unknown>): void {
  if (delta.op === "put") collection.put(delta.item as S);
  else collection.remove(delta.id);
}

/** The store of this page. */
export const store = new Store();
