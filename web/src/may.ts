// Who may do what, so that nobody is offered what the server would refuse. The server decides; this only hides.

import { computed } from "@preact/signals";
import type * as T from "./api/types";
import type { DeviceRow } from "./store/rows";
import { store } from "./store/store";

/** Whether the caller administers the server or any network. */
export const isAdmin = computed(() => {
  const me = store.me.value;
  if (!me) return false;
  return me.server_admin || store.networks.all.value.some(({ role }) => role === "admin" || role === "owner");
});

export const isServerAdmin = computed(() => store.me.value?.server_admin === true);

/** Whether the caller may make networks. */
export const mayMakeNetworks = computed(() => store.me.value?.may_make_networks === true);

export function mayChangeMember(member: T.Member): boolean {
  return store.mayAdmin(member.network);
}

/** Renaming a member, writing about it and taking it out are its owner's as well. */
export function mayEditMember(member: T.Member): boolean {
  return mayChangeMember(member) || (isMine(member.user_id) && store.network(member.network) !== undefined);
}

/** Whether something belongs to the caller. */
export function isMine(owner: string | null): boolean {
  return owner !== null && owner === store.me.value?.user.id;
}

/** Whether the caller may bring devices of their own into a network, without administering it. */
export function mayBring({ name, role }: T.Network): boolean {
  return role === "member" && !store.mayAdmin(name);
}

/** A device is changed by its owner or by the server's administrators. */
export function mayChangeDevice({ device }: Pick<DeviceRow, "device">): boolean {
  return isServerAdmin.value || isMine(device.user_id);
}

/** Having a pair try again is for who administers a network that both are active in, or owns one of the two. */
export function mayRetry({ device_id, peer_id }: Pick<T.Link, "device_id" | "peer_id">): boolean {
  const ends = [store.rows.get(device_id), store.rows.get(peer_id)];
  const [here, there] = ends.map((row) => (row?.members ?? []).filter(({ state }) => state === "active"));
  const shared = here!.filter(({ network }) => there!.some((member) => member.network === network));
  const isOwn = ends.some((row) => row !== undefined && isMine(row.device.user_id));
  return shared.some(({ network }) => isOwn || store.mayAdmin(network));
}

/** Whether the caller may hand out ownership of a network. */
export function mayOwn(name: string): boolean {
  return isServerAdmin.value || store.network(name)?.role === "owner";
}
