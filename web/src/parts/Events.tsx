// Lines of the audit: who did what, when, by which door; opened, what it changed.

import { useState } from "preact/hooks";
import type { AuditEvent } from "../api/types";
import { second, since } from "../format";
import { t, word } from "../i18n/t";
import { opening } from "../route";
import { nameOf } from "../store/rows";
import { store } from "../store/store";
import { Icon, type IconName } from "./Icon";

const ICONS: Readonly<Record<string, IconName>> = {
  member: "devices",
  membership: "devices",
  device: "devices",
  network: "networks",
  invite: "link",
  user: "account",
  role: "key",
  session: "key",
  token: "key",
};

export function EventList({ events }: { events: readonly AuditEvent[] }) {
  return (
    <ol class="events">
      {events.map((event) => (
        <EventLine key={event.id} event={event} />
      ))}
    </ol>
  );
}

function EventLine({ event }: { event: AuditEvent }) {
  const [isOpen, setOpen] = useState(false);
  const changes = differences(event.before, event.after);
  const subject = subjectOf(event);
  return (
    <li class="event">
      <span class="event-icon">
        <Icon name={ICONS[event.entity_type] ?? "activity"} size={16} />
      </span>
      <div class="event-text">
        <p>
          <strong>{actorOf(event)}</strong> {word("event", event.code)}{" "}
          {subject.href ? <a href={subject.href}>{subject.name}</a> : subject.name}
        </p>
        <p class="event-about">
          <time dateTime={new Date(event.at).toISOString()} title={second(event.at)}>
            {since(event.at)}
          </time>
          <span>{t("event.via", { via: word("via", event.via) })}</span>
          {changes.length > 0 && (
            <button type="button" class="link" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
              {t(isOpen ? "event.less" : "event.more")}
            </button>
          )}
        </p>
        {isOpen && <Changes changes={changes} />}
      </div>
    </li>
  );
}

function Changes({ changes }: { changes: readonly Difference[] }) {
  return (
    <table class="changes">
      <thead>
        <tr>
          <th scope="col">{t("event.field")}</th>
          <th scope="col">{t("event.before")}</th>
          <th scope="col">{t("event.after")}</th>
        </tr>
      </thead>
      <tbody>
        {changes.map(({ field, before, after }) => (
          <tr key={field}>
            <th scope="row">{field}</th>
            <td class="was">{before}</td>
            <td class="is">{after}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

export interface Difference {
  field: string;
  before: string;
  after: string;
}

/** The fields that differ between two states of a thing. */
export function differences(before: unknown, after: unknown): Difference[] {
  const [old, young] = [fieldsOf(before), fieldsOf(after)];
  const names = new Set([...Object.keys(old), ...Object.keys(young)]);
  return [...names]
    .map((field) => ({ field, before: print(old[field]), after: print(young[field]) }))
    .filter((change) => change.before !== change.after);
}

function fieldsOf(value: unknown): Record<string, unknown> {
  if (value === null || value === undefined) return {};
  return typeof value === "object" && !Array.isArray(value) ? (value as Record<string, unknown>) : { value };
}

function print(value: unknown): string {
  if (value === undefined || value === null || value === "") return "–";
  return typeof value === "string" ? value : JSON.stringify(value);
}

function actorOf({ actor_kind, actor_id }: AuditEvent): string {
  const user = store.users.get(actor_id);
  if (user) return nameOf(user);
  const device = actor_kind === "device" ? store.devices.get(actor_id) : undefined;
  // An operator is called by a name; the number of a user whom the caller may not see says nothing.
  return device?.name ?? (actor_kind === "operator" && actor_id !== "" ? actor_id : word("actor", actor_kind));
}

/** What an event is about: its name now, or the one it had. */
export function subjectOf({ entity_type, entity_id, before, after }: AuditEvent): { name: string; href?: string } {
  if (entity_id === "admin_link") return { name: t("event.adminLink") };
  const member = store.members.get(entity_id);
  if (member) return { name: member.name, href: opening("device", member.device_id) };
  const device = store.devices.get(entity_id);
  if (device) return { name: device.name, href: opening("device", device.id) };
  const user = store.users.get(entity_id);
  if (user) return { name: nameOf(user), href: opening("user", user.id) };
  const network = store.networks.get(entity_id);
  if (network) return { name: network.name, href: `/networks/${encodeURIComponent(network.name)}` };
  const known = { ...fieldsOf(before), ...fieldsOf(after) };
  if (typeof known.code_prefix === "string") return { name: t("event.invite", { code: known.code_prefix }) };
  const name = known.name ?? known.user ?? known.slug;
  if (typeof name === "string" && entity_type === "token") return { name: t("event.token", { name }) };
  if (typeof name === "string" && entity_type === "group") return { name: t("event.group", { name }) };
  return { name: typeof name === "string" ? name : word("entity", entity_type) };
}
