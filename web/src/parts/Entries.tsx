// What people write about a thing: values by key, each with who may read it, edited where they stand.

import { useEffect, useRef, useState } from "preact/hooks";
import { type Entries, type Entry, type Subject, VISIBILITIES, type Visibility, metadata } from "../api/metadata";
import { moment, since } from "../format";
import { t } from "../i18n/t";
import { later, sentence } from "../store/later";
import { hidden, hide } from "../store/hidden";
import { nameOf } from "../store/rows";
import { store } from "../store/store";
import { Button, IconButton } from "./Button";
import { SelectField, TextField } from "./Field";
import { Section, Waiting } from "./Page";
import { useLoad } from "./load";

const KEY = /^[a-z][a-z0-9._-]{0,63}$/;
const VALUE_MAX = 1_024;

/** Key of an entry that is not there yet. */
const NEW = "";

export function EntriesCard({ of, mayEdit }: { of: Subject; mayEdit: boolean }) {
  const place = `${of.kind}/${of.id}`;
  const loaded = useLoad(() => metadata.of(of), [place, of.path, store.told(of.kind, of.id)]);
  const [editing, edit] = useState<string | undefined>(undefined);
  const all = loaded.value ?? {};
  const shown = Object.entries(all)
    .filter(([key]) => !hidden.value.has(`${place}/${key}`))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  useGivenBack(place, editing);
  const remove = (key: string) => {
    focus(`${place}/${NEW}`);
    later({
      text: t("did.removeEntry", { key }),
      show: () => hide(`${place}/${key}`),
      send: async (keepalive) => loaded.set(await metadata.set(of, { [key]: null }, keepalive)),
    });
  };
  const form = (key: string) => (
    <Form
      of={of}
      known={all}
      at={key}
      onSaved={(entries) => {
        loaded.set(entries);
        edit(undefined);
      }}
      onClose={() => edit(undefined)}
    />
  );
  if (!mayEdit && shown.length === 0 && loaded.error === undefined) return null;
  return (
    <Section
      title={t("entries")}
      action={
        mayEdit && (
          <Button small icon="plus" onClick={() => edit(NEW)} data-entry={`${place}/${NEW}`}>
            {t("entries.add")}
          </Button>
        )
      }
    >
      <Waiting of={loaded}>
        {() => (
          <>
            {shown.length === 0 && editing === undefined && <p class="quiet">{t("entries.none")}</p>}
            <ul class="lines">
              {shown.map(([key, entry]) => (
                <li key={key} class="line">
                  {key === editing ? (
                    form(key)
                  ) : (
                    <>
                      <p class="line-main entry">
                        <span class="entry-key">{key}</span>
                        <span>{entry.value}</span>
                      </p>
                      <p class="line-about">{written(entry)}</p>
                      {mayEdit && (
                        <span class="row-actions">
                          <IconButton
                            icon="edit"
                            label={t("entries.edit", { key })}
                            onClick={() => edit(key)}
                            data-entry={`${place}/${key}`}
                          />
                          <IconButton
                            icon="trash"
                            label={t("entries.remove", { key })}
                            onClick={() => remove(key)}
                          />
                        </span>
                      )}
                    </>
                  )}
                </li>
              ))}
            </ul>
            {editing === NEW && form(NEW)}
          </>
        )}
      </Waiting>
    </Section>
  );
}

/** Who may read it, who wrote it, and when. */
function written({ visibility, updated_by, updated_at }: Entry) {
  const user = store.users.get(updated_by);
  const name = user ? nameOf(user) : (store.devices.get(updated_by)?.name ?? updated_by);
  return (
    <>
      {t(`visibility.${visibility}`)} ·{" "}
      <time dateTime={new Date(updated_at).toISOString()} title={moment(updated_at)}>
        {t("entries.by", { name, ago: since(updated_at) })}
      </time>
    </>
  );
}

function focus(entry: string): void {
  document.querySelector<HTMLElement>(`[data-entry="${CSS.escape(entry)}"]`)?.focus();
}

/** When a form closes, the button that opened it has the focus again. */
function useGivenBack(place: string, editing: string | undefined): void {
  const before = useRef<string | undefined>(undefined);
  useEffect(() => {
    if (editing === undefined && before.current !== undefined) focus(`${place}/${before.current}`);
    before.current = editing;
  }, [editing]);
}

export interface Draft {
  key: string;
  value: string;
  visibility: Visibility;
}

/** What is wrong with a draft, by field; the server says the same in its own words. */
export function faults({ key, value }: Draft, known: Entries, at: string): Partial<Record<"key" | "value", string>> {
  if (!KEY.test(key)) return { key: t("entries.key.wrong") };
  if (key !== at && Object.hasOwn(known, key)) return { key: t("entries.key.taken", { key }) };
  if (value === "" || new TextEncoder().encode(value).length > VALUE_MAX) return { value: t("entries.value.wrong") };
  return {};
}

interface FormProps {
  of: Subject;
  known: Entries;
  /** Key of the entry. */
  at: string;
  onSaved: (entries: Entries) => void;
  onClose: () => void;
}

function Form({ of, known, at, onSaved, onClose }: FormProps) {
  const form = useRef<HTMLFormElement>(null);
  const old = known[at];
  const [draft, setDraft] = useState<Draft>({
    key: at,
    value: old?.value ?? "",
    visibility: old?.visibility ?? "members",
  });
  const [wrong, setWrong] = useState<ReturnType<typeof faults>>({});
  const [isBusy, setBusy] = useState(false);
  const change = (fields: Partial<Draft>) => setDraft({ ...draft, ...fields });
  useEffect(() => form.current!.querySelector("input")!.focus(), []);
  const send = async () => {
    const wish = { ...draft, key: draft.key.trim().toLowerCase(), value: draft.value.trim() };
    const found = faults(wish, known, at);
    setWrong(found);
    if (Object.keys(found).length > 0) return form.current!.querySelector("input")!.focus();
    setBusy(true);
    try {
      onSaved(await metadata.set(of, { [wish.key]: { value: wish.value, visibility: wish.visibility } }));
    } catch (error) {
      setWrong({ value: sentence(error) });
      setBusy(false);
    }
  };
  return (
    <form
      ref={form}
      class="entry-form"
      aria-label={at === NEW ? t("entries.add") : t("entries.edit", { key: at })}
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void send();
      }}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.preventDefault();
        onClose();
      }}
    >
      {at === NEW ? (
        <TextField
          label={t("entries.key")}
          hint={t("entries.key.hint")}
          error={wrong.key}
          value={draft.key}
          autocomplete="off"
          onInput={(event) => change({ key: event.currentTarget.value })}
        />
      ) : (
        <p class="entry-key">{at}</p>
      )}
      <TextField
        label={t("entries.value")}
        error={wrong.value}
        value={draft.value}
        autocomplete="off"
        onInput={(event) => change({ value: event.currentTarget.value })}
      />
      <SelectField
        label={t("visibility")}
        hint={t(`visibility.${draft.visibility}.hint`)}
        value={draft.visibility}
        choices={VISIBILITIES.map((value) => ({ value, label: t(`visibility.${value}`) }))}
        onPick={(visibility) => change({ visibility })}
      />
      <div class="row-actions">
        <Button small type="submit" look="main" disabled={isBusy}>
          {t("save")}
        </Button>
        <Button small onClick={onClose}>
          {t("cancel")}
        </Button>
      </div>
    </form>
  );
}
