// What the panel changes: shown at once, confirmed by the answer, taken back when it is refused.

import { signal } from "@preact/signals";
import { devices, invites, links, members, networks, roles, users, type MemberEdit, type MemberVerb } from "../api/calls";
import type { Answer } from "../api/client";
import type * as T from "../api/types";
import { ago } from "../format";
import { n, t } from "../i18n/t";
import { union } from "../tags";
import type { Collection, Patch } from "./collection";
import { complain, later, note } from "./later";
import { store } from "./store";

/** Shows a change, sends it, and keeps what the server made of it. Whether it was taken. */
async function change<S extends object>(
  collection: Collection<S>,
  id: string,
  patch: Patch<S>,
  send: () => Promise<Answer<S | void>>,
): Promise<boolean> {
  const takeBack = collection.patch(id, patch);
  try {
    settle(collection, id, patch, await send());
    return true;
  } catch (error) {
    complain(error);
    return false;
  } finally {
    takeBack();
  }
}

function settle<S extends object>(
  collection: Collection<S>,
  id: string,
  patch: Patch<S>,
  { value }: Answer<S | void>,
): void {
  if (patch === null) collection.remove(id);
  else if (value && typeof value === "object" && "id" in value) collection.put(value as S);
  else collection.merge(id, patch);
}

const STATE_AFTER: Readonly<Record<MemberVerb, T.MemberState>> = {
  approve: "active",
  deny: "denied",
  suspend: "suspended",
  resume: "active",
};

/** Undoes a verb where the API can. */
const BACK: Partial<Record<MemberVerb, MemberVerb>> = { suspend: "resume", resume: "suspend" };

/** Approves, suspends or resumes at once; denying waits for the time to undo. */
export async function actOn(list: readonly T.Member[], verb: MemberVerb): Promise<void> {
  const text = n(`did.${verb}`, list.length, { name: list[0]?.name ?? "" });
  const patch = { state: STATE_AFTER[verb] };
  const back = BACK[verb];
  if (list.length === 0) return;
  if (back === undefined && (verb === "deny" || list.length > 1)) {
    later({
      text,
      show: () => each(list, (member) => store.members.patch(member.id, patch)),
      send: (keepalive) =>
        all(list, async (member) =>
          settle(store.members, member.id, patch, await members.act(member, verb, keepalive)),
        ),
    });
    return;
  }
  const taken = await Promise.all(
    list.map((member) => change(store.members, member.id, patch, () => members.act(member, verb))),
  );
  const done = list.filter((_, at) => taken[at]);
  if (done.length > 0) note("done", text, back && (() => void actOn(done, back)), 10_000);
}

/** Takes devices out of a network, after the time to undo. */
export function removeMembers(list: readonly T.Member[]): void {
  if (list.length === 0) return;
  later({
    text: n("did.remove", list.length, { name: list[0]!.name }),
    show: () => each(list, (member) => store.members.patch(member.id, null)),
    send: (keepalive) =>
      all(list, async (member) => settle(store.members, member.id, null, await members.remove(member, keepalive))),
  });
}

/** Gives members more tags, after the time to undo. */
export function tagMembers(list: readonly T.Member[], tags: readonly string[]): void {
  const text = n("did.tag", list.length, { name: list[0]?.name ?? "", tags: tags.join(", ") });
  edit(list, text, (member) => ({ tags: union(member.tags, tags) }));
}

/** Says when members end by themselves, after the time to undo. */
export function endMembers(list: readonly T.Member[], expires_at: number | null): void {
  const params = { name: list[0]?.name ?? "", ago: ago(expires_at) };
  edit(list, n(expires_at === null ? "did.noEnd" : "did.end", list.length, params), () => ({ expires_at }));
}

function edit(list: readonly T.Member[], text: string, editOf: (member: T.Member) => MemberEdit): void {
  if (list.length === 0) return;
  const edits = list.map((member) => ({ member, body: editOf(member) }));
  later({
    text,
    show: () => each(edits, ({ member, body }) => store.members.patch(member.id, body)),
    send: (keepalive) =>
      all(edits, async ({ member, body }) =>
        settle(store.members, member.id, body, await members.set(member, body, { keepalive })),
      ),
  });
}

/** Removes devices from every network, after the time to undo. */
export function removeDevices(list: readonly T.Device[]): void {
  if (list.length === 0) return;
  later({
    text: n("did.removeDevice", list.length, { name: list[0]!.name }),
    show: () => each(list, (device) => store.devices.patch(device.id, null)),
    send: (keepalive) =>
      all(list, async (device) => settle(store.devices, device.id, null, await devices.remove(device.id, keepalive))),
  });
}

/** Suspends devices everywhere, or lets them in again. */
export async function suspendDevices(list: readonly T.Device[], suspended: boolean): Promise<void> {
  const patch = { suspended_at: suspended ? Date.now() : null };
  const taken = await Promise.all(
    list.map((device) => change(store.devices, device.id, patch, () => devices.set(device.id, { suspended }))),
  );
  const done = list.filter((_, at) => taken[at]);
  if (done.length === 0) return;
  const text = n(suspended ? "did.suspend" : "did.resume", done.length, { name: done[0]!.name });
  note("done", text, () => void suspendDevices(done, !suspended), 10_000);
}

/** How long a pair that was asked to try again is left alone. */
const REST_MS = 8_000;

/** Pairs that were asked just now, by id. */
export const asked = signal<ReadonlySet<string>>(new Set());

/** Has both ends of a pair try for a direct path now; whoever is offline hears nothing of it. */
export async function retryLink(link: T.Link): Promise<void> {
  if (asked.value.has(link.id)) return;
  asked.value = new Set([...asked.value, link.id]);
  const forget = () => {
    asked.value = new Set([...asked.value].filter((id) => id !== link.id));
  };
  try {
    await links.retry(link);
    note("done", whoHeard(link));
    setTimeout(forget, REST_MS);
  } catch (error) {
    complain(error);
    forget();
  }
}

function whoHeard({ device_id, device, peer_id, peer }: T.Link): string {
  const isAway = (id: string) => store.devices.peek(id)?.online === false;
  const [here, there] = isAway(device_id) && !isAway(peer_id) ? [peer, device] : [device, peer];
  if (isAway(device_id) && isAway(peer_id)) return t("retry.neither", { here, there });
  return t(isAway(device_id) || isAway(peer_id) ? "retry.half" : "retry.both", { here, there });
}

export function revokeInvite(invite: T.Invite): void {
  later({
    text: t("did.revoke", { code: invite.code_prefix }),
    show: () => store.invites.patch(invite.id, { revoked_at: Date.now() }),
    send: async (keepalive) => {
      await invites.revoke(invite, keepalive);
      store.invites.merge(invite.id, { revoked_at: Date.now() });
    },
  });
}

export function removeNetwork(network: T.Network): void {
  later({
    text: t("did.removeNetwork", { name: network.name }),
    show: () => store.networks.patch(network.id, null),
    send: async (keepalive) => {
      await networks.remove(network.name, keepalive);
      store.networks.remove(network.id);
    },
  });
}

/** Takes a role away; `hide` shows the list without it. */
export function removeRole(role: T.NetworkRole, hide: () => () => void): void {
  later({
    text: t("did.removeRole", { name: role.user, network: role.network }),
    show: hide,
    send: async (keepalive) => {
      await roles.remove(role.network, role.user_id, keepalive);
      store.rolesVersion.value += 1;
    },
  });
}

/** Shuts a user out, or lets them in again. */
export async function disableUser(user: T.User, disabled: boolean): Promise<void> {
  const patch = { disabled_at: disabled ? Date.now() : null };
  if (!(await change(store.users, user.id, patch, () => users.set(user.id, { disabled })))) return;
  note(
    "done",
    t(disabled ? "did.disable" : "did.enable", { name: user.name }),
    () => void disableUser(user, !disabled),
    10_000,
  );
}

function each<S>(list: readonly S[], show: (one: S) => () => void): () => void {
  const hides = list.map(show);
  return () => {
    for (const hide of hides) hide();
  };
}

/** Sends for each of a list, five at a time; the first refusal is thrown when all are through. */
async function all<S>(list: readonly S[], send: (one: S) => Promise<unknown>): Promise<void> {
  const left = [...list];
  const refused: unknown[] = [];
  const work = async () => {
    for (let one = left.shift(); one !== undefined; one = left.shift()) {
      try {
        await send(one);
      } catch (error) {
        refused.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: 5 }, work));
  if (refused.length > 0) throw refused[0];
}
