// Who reaches whom in a network, as the members and links that the panel knows of tell it.

import type * as T from "./api/types";

export interface Standing {
  /** Devices that reach each other. */
  active: number;
  /** Those that wait for approval. */
  pending: number;
  /** Those that are suspended, here or everywhere. */
  suspended: number;
  /** Memberships that end by themselves. */
  ending: number;
  /** Pairs of which one was told to refuse the other. */
  refusing: readonly T.Link[];
}

interface Known {
  members: readonly T.Member[];
  links: readonly T.Link[];
  deviceOf: (id: string) => T.Device | undefined;
}

/** The standing of each network, by name; one without members has none. */
export function standings({ members, links, deviceOf }: Known): ReadonlyMap<string, Standing> {
  const all = new Map<string, Standing & { refusing: T.Link[] }>();
  const active = new Map<string, Set<string>>();
  for (const { network, device_id, state, expires_at } of members) {
    if (state === "left" || state === "denied") continue;
    let standing = all.get(network);
    if (!standing) {
      all.set(network, (standing = { active: 0, pending: 0, suspended: 0, ending: 0, refusing: [] }));
      active.set(network, new Set());
    }
    const isOff = state === "suspended" || (state === "active" && deviceOf(device_id)?.suspended_at != null);
    if (state === "pending") standing.pending += 1;
    else if (isOff) standing.suspended += 1;
    else {
      standing.active += 1;
      active.get(network)!.add(device_id);
    }
    if (expires_at !== null) standing.ending += 1;
  }
  for (const link of links) {
    if (link.code !== "refused_here" && link.code !== "refused_there") continue;
    for (const [network, devices] of active)
      if (devices.has(link.device_id) && devices.has(link.peer_id)) all.get(network)!.refusing.push(link);
  }
  return all;
}

/** Of a pair of which one refuses the other: who, and whom. */
export function refusal({ code, device, peer }: T.Link): { here: string; there: string } {
  return code === "refused_here" ? { here: device, there: peer } : { here: peer, there: device };
}
