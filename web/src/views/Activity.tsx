// Activity: the audit, newest first, with what each change was before and after.

import { useEffect, useMemo, useState } from "preact/hooks";
import { events } from "../api/calls";
import type { AuditEvent } from "../api/types";
import { t, word } from "../i18n/t";
import { Button } from "../parts/Button";
import { Empty } from "../parts/Empty";
import { EventList, subjectOf } from "../parts/Events";
import { Chips, Filter, useFilter } from "../parts/Filter";
import { PageHead } from "../parts/Page";
import { type Fields, compile } from "../query";
import { scope } from "../route";
import { complain } from "../store/later";
import { store } from "../store/store";

const FIELDS: Fields<AuditEvent> = {
  actor: {
    of: (event) => [event.actor_id.toLowerCase(), (store.users.peek(event.actor_id)?.name ?? "").toLowerCase()],
  },
  kind: { of: (event) => [event.entity_type] },
  code: { of: (event) => [event.code] },
  via: { of: (event) => [event.via], exact: true },
};

const KINDS = ["member", "device", "network", "invite", "user", "role", "session", "token"];
const DOORS = ["panel", "api", "cli", "agent", "system"];

function textOf(event: AuditEvent): string {
  const actor = store.users.peek(event.actor_id)?.name ?? event.actor_id;
  return [
    actor,
    word("event", event.code),
    event.code,
    event.via,
    subjectOf(event).name,
    JSON.stringify([event.before, event.after]),
  ]
    .join("\n")
    .toLowerCase();
}

export function Activity() {
  const [text, setText] = useFilter();
  const [old, setOld] = useState<AuditEvent[]>([]);
  const [next, setNext] = useState<string | null | undefined>(undefined);
  const [isBusy, setBusy] = useState(false);

  const load = async (after: string | undefined) => {
    setBusy(true);
    try {
      const page = await events({ network: scope.value, after });
      setOld((before) => (after === undefined ? page.items : [...before, ...page.items]));
      setNext(page.next);
    } catch (error) {
      complain(error);
      setNext(null);
    } finally {
      setBusy(false);
    }
  };
  useEffect(() => void load(undefined), [scope.value]);

  const all = useMemo(() => {
    const seen = new Set(old.map((event) => event.id));
    // The stream does not say of which network an event is: limited to one, the list is as it was loaded.
    const fresh = scope.value === "" ? store.events.value : [];
    return [...fresh.filter((event) => !seen.has(event.id)), ...old];
  }, [old, store.events.value, scope.value]);
  const fits = useMemo(() => compile(text, FIELDS, textOf), [text]);
  const shown = all.filter(fits);
  const choice = (prefix: string) => (value: string) => ({ value, label: word(prefix, value) });
  return (
    <div class="page">
      <PageHead title={t("activity")} about={t("activity.about")} />
      <div class="tools">
        <Filter
          text={text}
          onText={setText}
          placeholder={t("activity.filter")}
          quick={[
            { key: "kind", label: t("filter.key.kind"), choices: KINDS.map(choice("entity")) },
            { key: "via", label: t("filter.key.via"), choices: DOORS.map(choice("via")) },
          ]}
        />
      </div>
      <Chips text={text} onText={setText} />
      {shown.length > 0 && <EventList events={shown} />}
      {shown.length === 0 && next !== undefined && (
        <Empty icon="activity" title={t(text === "" ? "activity.none" : "activity.noMatch")}>
          {text !== "" && <Button onClick={() => setText("")}>{t("filter.clear")}</Button>}
        </Empty>
      )}
      {next && (
        <p class="more">
          <Button onClick={() => void load(next)} disabled={isBusy}>
            {t("activity.older")}
          </Button>
        </p>
      )}
    </div>
  );
}
