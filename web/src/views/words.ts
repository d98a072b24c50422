// What the filters of the pages can be made of, for their completions.

import { computed } from "@preact/signals";
import type { Words } from "../complete";
import { store } from "../store/store";
import { knownTags } from "./MemberParts";

/** States of devices and members; the server knows the same. */
export const IS = ["online", "offline", "suspended", "pending", "active", "mine"] as const;
/** States of people. */
export const IS_USER = ["active", "admin", "disabled", "mine"] as const;

const distinct = (of: () => readonly string[]) => computed(() => [...new Set(of())].filter(Boolean).sort());

export const systems = distinct(() => store.devices.all.value.map(({ os }) => os));
const versions = distinct(() => store.devices.all.value.map(({ agent_version }) => agent_version));
const networks = distinct(() => store.networks.all.value.map(({ name }) => name));
const users = distinct(() => store.users.all.value.map(({ name }) => name));

const VALUES: Readonly<Record<string, () => readonly string[]>> = {
  os: () => systems.value,
  version: () => versions.value,
  net: () => networks.value,
  owner: () => users.value,
  tag: () => knownTags.value,
  path: () => ["direct", "relayed", "failed"],
  is: () => IS,
};

const SHARED = ["name", "number", "os", "version", "owner", "net", "tag", "group", "ip", "is"];

function words(keys: readonly string[], is: readonly string[] = IS): Words {
  return { keys, valuesOf: (key) => (key === "is" ? is : (VALUES[key]?.() ?? [])) };
}

export const DEVICE_WORDS = words([...SHARED, "path"]);
export const MEMBER_WORDS = words(SHARED);
export const USER_WORDS = words(["name", "net", "group", "is", "kind"], IS_USER);
