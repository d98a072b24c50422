// What a query finds in the made-up world: enough of the server's language for the panel to lean on.

import type * as T from "../../src/api/types";
import { type Term, parse } from "../../src/query.ts";
import { metadataOf } from "./about.ts";
import { Refused } from "./refused.ts";
import type { World } from "./world.ts";

type Kind = "device" | "member" | "user" | "network";
/** Texts of a thing under a word before a colon, or under none. */
type Says = (key: string | null) => string[];

const STATES = ["online", "offline", "suspended", "pending", "active", "admin", "disabled", "mine"];

/** A page of the things that a query finds. */
export function listed(world: World, kind: Kind, asked: URLSearchParams, network?: string): T.Page<{ id: string }> {
  const text = asked.get("q") ?? "";
  const terms = parse(text);
  check(text, terms);
  const all = thingsOf(world, kind, network).filter(([, says]) => terms.every((term) => meets(term, says)));
  const from = Number(asked.get("after") ?? 0);
  const to = from + Number(asked.get("limit") ?? 100);
  return { items: all.slice(from, to).map(([thing]) => thing), next: to < all.length ? String(to) : null };
}

function check(text: string, terms: readonly Term[]): void {
  const refuse = (detail: string) => {
    throw new Refused(400, "index.query", detail);
  };
  if ((text.match(/"/g)?.length ?? 0) % 2 === 1) refuse("a quotation mark is not closed");
  if (terms.length > 16) refuse("it has at most 16 terms");
  for (const { key, values } of terms) {
    if (key === "is" && !values.every((value) => STATES.includes(value)))
      refuse(`"is:" is followed by one of: ${STATES.join(", ")}`);
  }
}

function meets({ key, values, not }: Term, says: Says): boolean {
  const own = says(key).map((text) => text.toLowerCase());
  const fits = values.some((value) => {
    const pattern = value.split("*").map((part) => part.replace(/[^\w\s]/g, "\\$&"));
    const whole = new RegExp(key === null ? pattern.join(".*") : `^${pattern.join(".*")}$`, "s");
    return own.some((text) => whole.test(text));
  });
  return fits !== not;
}

function thingsOf(world: World, kind: Kind, network: string | undefined): [{ id: string }, Says][] {
  const noted = (place: string, key: string | null): string[] => {
    const entries = metadataOf(world, place);
    if (key === null) return Object.values(entries).map(({ value }) => value);
    const entry = entries[key.replace(/^meta\./, "")];
    return entry ? [entry.value] : [];
  };
  const groupsOf = (user: string | null) =>
    [...world.groups.values()].filter(({ users }) => user !== null && users.includes(user)).map(({ name }) => name);
  switch (kind) {
    case "device":
      return [...world.devices.values()].map((device) => [
        device,
        (key) => {
          if (key === "group") return groupsOf(device.user_id);
          return [...(key === null ? [device.name, device.number] : []), ...noted(`device/${device.id}`, key)];
        },
      ]);
    case "member":
      return [...world.members.values()]
        .filter((member) => member.network === network)
        .map((member) => [
          member,
          (key) => {
            if (key === "group") return groupsOf(member.user_id);
            const of = [`member/${member.id}`, `device/${member.device_id}`];
            return [...(key === null ? [member.name] : []), ...of.flatMap((place) => noted(place, key))];
          },
        ]);
    case "user":
      return [...world.users.values()].map((user) => [
        user,
        (key) => {
          if (key === "group") return groupsOf(user.id);
          return [...(key === null ? [user.name, user.display_name] : []), ...noted(`user/${user.id}`, key)];
        },
      ]);
    case "network":
      return [...world.networks.values()].map((one) => [
        one,
        (key) => [...(key === null ? [one.name] : []), ...noted(`network/${one.id}`, key)],
      ]);
  }
}
