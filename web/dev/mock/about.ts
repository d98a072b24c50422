// What the made-up people wrote about the made-up things, and the groups they are in.

import type { Entries, Entry, Visibility } from "../../src/api/metadata";
import { Refused } from "./refused.ts";
import type { World } from "./world.ts";

const HOUR = 3_600_000;
const SITES = ["berlin", "oslo", "lisbon"];

/** Tags of a device's membership by its kind. */
export function tagsOf(kind: string, n: number): string[] {
  if (kind === "nas") return n % 2 === 0 ? ["backup", "nas"] : ["nas"];
  if (kind === "build" || kind === "server") return [kind];
  return [];
}

/** Writes something about a few of all things, and puts people into groups. */
export function describe(world: World, now: number): void {
  const entry = (value: string, visibility: Visibility, hours: number): Entry => ({
    value,
    visibility,
    updated_by: "u00000000",
    updated_at: now - hours * HOUR,
  });
  for (const [n, id] of [...world.devices.keys()].entries()) {
    if (n % 3 !== 0) continue;
    world.metadata.set(`device/${id}`, {
      site: entry(SITES[(n / 3) % SITES.length]!, "members", 20),
      ...(n % 2 === 0 ? {} : { "contact.phone": entry("+49 30 5550 1234", "admins", 90) }),
    });
  }
  const [network] = world.networks.values();
  if (network) {
    world.metadata.set(`network/${network.id}`, {
      purpose: entry("Family and friends", "public", 200),
      contact: entry("anna@example.org", "members", 30),
    });
    putGroup(world, network.name, "family", ["u00000000", "u00000001", "u00000002"]);
    putGroup(world, network.name, "guests", ["u00000005"]);
  }
  world.metadata.set("user/u00000001", { room: entry("atelier", "members", 400) });
}

export function metadataOf(world: World, place: string): Entries {
  return world.metadata.get(place) ?? {};
}

/** Changes entries as the body of a request says. */
export function changeMetadata(world: World, place: string, body: Record<string, unknown>): void {
  const entries: Record<string, Entry> = { ...metadataOf(world, place) };
  for (const [key, wish] of Object.entries(body.entries as Record<string, Partial<Entry> | null>)) {
    if (wish?.value === "refused") throw new Refused(422, "index.invalid", "value: the server does not like it");
    if (wish === null) delete entries[key];
    else
      entries[key] = {
        value: String(wish.value),
        visibility: wish.visibility ?? entries[key]?.visibility ?? "members",
        updated_by: world.me.user.id,
        updated_at: Date.now(),
      };
  }
  world.metadata.set(place, entries);
}

export function putGroup(world: World, network: string, name: string, users: string[]): void {
  const key = `${network}/${name}`;
  const created_at = world.groups.get(key)?.created_at ?? Date.now();
  world.groups.set(key, { id: `g_${network}_${name}`, name, users, created_at });
}
