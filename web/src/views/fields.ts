// What a query may ask of a device, a member and a user, in the words of the server (coordinator, `index::query`).

import type * as T from "../api/types";
import { isMine } from "../may";
import type { Searched } from "../parts/search";
import type { Fields } from "../query";
import type { DeviceRow } from "../store/rows";
import { store } from "../store/store";
import { tagsOf } from "./MemberParts";
import { IS, IS_USER } from "./words";

const digits = (number: string) => [number, number.replaceAll("-", "")];

/** Names of a user, as they are looked for. */
const namesOf = (id: string | null): string[] => {
  const user = id === null ? undefined : store.users.peek(id);
  return user ? [user.name, user.display_name.toLowerCase()] : [];
};

const owner = { of: (row: DeviceRow) => namesOf(row.device.user_id) };
const net = { of: (row: DeviceRow) => row.networks, exact: true };

/** What a query asks of a device in the server's words; pages have a few more. */
export const SHARED_FIELDS: Fields<DeviceRow> = {
  id: { of: (row) => [row.device.id], exact: true },
  user: owner,
  net,
  tag: { of: tagsOf, exact: true },
  is: {
    of: ({ device, members }) => [
      device.online ? "online" : "offline",
      ...(device.suspended_at === null ? [] : ["suspended"]),
      ...(isMine(device.user_id) ? ["mine"] : []),
      ...members.map(({ state }) => state).filter((state) => state !== "suspended"),
    ],
    exact: true,
    values: IS,
  },
};

const deviceOf = (member: T.Member) => store.devices.peek(member.device_id);

const memberNet = { of: (member: T.Member) => [member.network], exact: true };
const memberOwner = { of: (member: T.Member) => namesOf(member.user_id) };

const MEMBER_FIELDS: Fields<T.Member> = {
  state: {
    of: (member) => [member.state, ...(member.state === "active" ? [member.online ? "online" : "offline"] : [])],
    exact: true,
  },
  is: {
    of: (member) => [member.state, member.online ? "online" : "offline", ...(isMine(member.user_id) ? ["mine"] : [])],
    exact: true,
    values: IS,
  },
  id: { of: (member) => [member.id, member.device_id], exact: true },
  ip: { of: (member) => [member.ip4 ?? "", member.ip6 ?? ""] },
  name: { of: (member) => [member.name.toLowerCase()] },
  number: { of: (member) => digits(member.number) },
  os: { of: (member) => [deviceOf(member)?.os.toLowerCase() ?? ""] },
  version: { of: (member) => [deviceOf(member)?.agent_version.toLowerCase() ?? ""] },
  tag: { of: (member) => member.tags, exact: true },
  net: memberNet,
  network: memberNet,
  owner: memberOwner,
  user: memberOwner,
  via: { of: (member) => [member.joined_via] },
};

/** Members of a network, for its filter. */
export function searchedMembers(network: string): Searched<T.Member> {
  return {
    fields: MEMBER_FIELDS,
    textOf: (member) =>
      [member.name, member.number, member.ip4, member.ip6, member.state, ...member.tags].join("\n").toLowerCase(),
    idOf: (member) => member.id,
    list: `/networks/${encodeURIComponent(network)}/members`,
  };
}

const userName = { of: (user: T.User) => [user.name, user.display_name.toLowerCase()] };

export const SEARCHED_USERS: Searched<T.User> = {
  fields: {
    id: { of: (user) => [user.id], exact: true },
    name: userName,
    owner: userName,
    user: userName,
    kind: { of: (user) => [user.kind], exact: true },
    state: {
      of: (user) => [user.disabled_at === null ? "active" : "disabled", ...(user.is_server_admin ? ["admin"] : [])],
      exact: true,
    },
    is: {
      of: (user) => [
        user.disabled_at === null ? "active" : "disabled",
        ...(user.is_server_admin ? ["admin"] : []),
        ...(isMine(user.id) ? ["mine"] : []),
      ],
      exact: true,
      values: IS_USER,
    },
  },
  textOf: (user) => [user.name, user.display_name, user.email].join("\n").toLowerCase(),
  idOf: (user) => user.id,
  list: "/users",
};
