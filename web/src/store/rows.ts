// Devices as the tables, the filter and the map see them: with their networks, owner and links.
//
// With 10,000 devices, rebuilding every row at each message would be felt at the keyboard. So a row is kept until
// something it is made of changes.

import { type ReadonlySignal, computed, signal } from "@preact/signals";
import type * as T from "../api/types";
import { natural } from "../format";
import { type LinkState, stateOfLink } from "../verdict";
import type { Store } from "./store";

/** What the dot before a device says. */
export type DeviceState = "online" | "offline" | "suspended" | "pending";

export interface DeviceRow {
  device: T.Device;
  /** Its name in a network, if all agree; else the one it gave. */
  name: string;
  members: readonly T.Member[];
  owner: T.User | undefined;
  ownerName: string;
  networks: readonly string[];
  ip4: string;
  state: DeviceState;
  links: Readonly<Record<LinkState, number>>;
  /** Everything that free text is looked for in, in small letters. */
  text: string;
  /** Sorts `nas-2` before `nas-10`. */
  sortName: string;
}

/** Name that others see of a user. */
export function nameOf(user: T.User): string {
  return user.display_name || user.name;
}

export class Rows {
  readonly #members = new Map<string, Set<string>>();
  readonly #links = new Map<string, Set<string>>();
  readonly #rows = new Map<string, DeviceRow>();
  readonly #version = signal(0);
  readonly #linksVersion = signal(0);

  /** Every device the caller sees. */
  readonly all: ReadonlySignal<readonly DeviceRow[]> = computed(() => {
    this.#version.value;
    return this.store.devices.all.value.map((device) => this.#row(device));
  });

  constructor(private readonly store: Store) {
    store.members.onChange = (id, before, after) => {
      this.#index(this.#members, id, before?.device_id, after?.device_id);
    };
    store.links.onChange = (id, before, after) => {
      // What a device reports of its data many times a minute changes no row, unless the path is another.
      if (!before || !after || !isSameForRows(before, after)) {
        this.#index(this.#links, id, before?.device_id, after?.device_id);
        this.#index(this.#links, id, before?.peer_id, after?.peer_id);
      }
      this.#linksVersion.value += 1;
    };
    store.devices.onChange = (id) => this.#forget(id);
    store.users.onChange = () => {
      this.#rows.clear();
      this.#version.value += 1;
    };
  }

  /** One device's row. */
  get(id: string): DeviceRow | undefined {
    this.#version.value;
    const device = this.store.devices.get(id);
    return device && this.#row(device);
  }

  /** Memberships of a device. */
  membersOf(device: string): T.Member[] {
    return things(this.#members.get(device), (id) => this.store.members.peek(id));
  }

  /** Links of a device, whichever end reported. */
  linksOf(device: string): T.Link[] {
    this.#linksVersion.value;
    return things(this.#links.get(device), (id) => this.store.links.peek(id));
  }

  /** Builds the indexes anew, after a snapshot. */
  reset(): void {
    for (const map of [this.#members, this.#links, this.#rows]) map.clear();
    for (const member of this.store.members.all.peek()) add(this.#members, member.device_id, member.id);
    for (const link of this.store.links.all.peek()) {
      const id = this.store.links.idOf(link);
      add(this.#links, link.device_id, id);
      add(this.#links, link.peer_id, id);
    }
    this.#version.value += 1;
    this.#linksVersion.value += 1;
  }

  #index(map: Map<string, Set<string>>, id: string, before: string | undefined, after: string | undefined): void {
    if (before !== undefined && before !== after) map.get(before)?.delete(id);
    if (after !== undefined) add(map, after, id);
    for (const device of [before, after]) if (device !== undefined) this.#forget(device);
  }

  #forget(device: string): void {
    this.#rows.delete(device);
    this.#version.value += 1;
  }

  #row(device: T.Device): DeviceRow {
    const known = this.#rows.get(device.id);
    if (known) return known;
    const row = this.#build(device);
    this.#rows.set(device.id, row);
    return row;
  }

  #build(device: T.Device): DeviceRow {
    const members = this.membersOf(device.id).filter((member) => member.state !== "left" && member.state !== "denied");
    const owner = device.user_id === null ? undefined : this.store.users.peek(device.user_id);
    const ownerName = owner ? nameOf(owner) : "";
    const names = new Set(members.map((member) => member.name));
    const name = names.size === 1 ? [...names][0]! : device.name;
    const networks = members.map((member) => member.network);
    const links: Record<LinkState, number> = { direct: 0, relayed: 0, failed: 0, trying: 0 };
    for (const id of this.#links.get(device.id) ?? []) {
      const link = this.store.links.peek(id);
      if (link) links[stateOfLink(link)] += 1;
    }
    const ips = members.flatMap((member) => [member.ip4 ?? "", member.ip6 ?? ""]);
    const text = [
      name,
      device.name,
      ownerName,
      owner?.name,
      device.os,
      device.agent_version,
      device.number,
      device.last_ip,
    ]
      .concat(networks, ips)
      .join("\n")
      .toLowerCase();
    return {
      device,
      name,
      members,
      owner,
      ownerName,
      networks,
      ip4: members.find((member) => member.ip4)?.ip4 ?? "",
      state: stateOf(device, members),
      links,
      text,
      sortName: natural(name),
    };
  }
}

function isSameForRows(before: T.Link, after: T.Link): boolean {
  return (
    before.device_id === after.device_id &&
    before.peer_id === after.peer_id &&
    stateOfLink(before) === stateOfLink(after)
  );
}

function stateOf(device: T.Device, members: readonly T.Member[]): DeviceState {
  if (device.suspended_at !== null) return "suspended";
  if (members.length > 0 && members.every((member) => member.state === "suspended")) return "suspended";
  if (members.some((member) => member.state === "pending")) return "pending";
  return device.online ? "online" : "offline";
}

function add(map: Map<string, Set<string>>, key: string, id: string): void {
  const set = map.get(key);
  if (set) set.add(id);
  else map.set(key, new Set([id]));
}

function things<V>(ids: Iterable<string> | undefined, of: (id: string) => V | undefined): V[] {
  const found: V[] = [];
  for (const id of ids ?? []) {
    const thing = of(id);
    if (thing !== undefined) found.push(thing);
  }
  return found;
}
