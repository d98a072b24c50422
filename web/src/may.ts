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

export function mayChangeMember(member: T.Member): boolean {
  return store.mayAdmin(member.network);
}

/** A device is changed by its owner or by the server's administrators. */
export function mayChangeDevice({ device }: Pick<DeviceRow, "device">): boolean {
  const me = store.me.value;
  return me !== undefined && (me.server_admin || (device.user_id !== null && device.user_id === me.user.id));
}

/** Whether the caller may hand out ownership of a network. */
export function mayOwn(name: string): boolean {
  return isServerAdmin.value || store.network(name)?.role === "owner";
}
