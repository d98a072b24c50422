// Groups of a network: people under one name, for filters and rules.

import { useState } from "preact/hooks";
import { roles } from "../api/calls";
import { type Group, groups } from "../api/groups";
import type * as T from "../api/types";
import { n, t } from "../i18n/t";
import { Button, IconButton } from "../parts/Button";
import { Dialog } from "../parts/Dialog";
import { Empty } from "../parts/Empty";
import { TextField } from "../parts/Field";
import { Section, Waiting } from "../parts/Page";
import { useLoad } from "../parts/load";
import { hidden, hide } from "../store/hidden";
import { later, sentence } from "../store/later";
import { nameOf } from "../store/rows";
import { store } from "../store/store";
import { isWord } from "../tags";

/** Names shown of a group's users. */
const SHOWN = 6;

export function Groups({ network }: { network: T.Network }) {
  const loaded = useLoad(() => groups.of(network.name), [network.name, store.told("network", network.id)]);
  const [editing, edit] = useState<Group | "new" | undefined>(undefined);
  const remove = (group: Group) =>
    later({
      text: t("did.removeGroup", { name: group.name }),
      show: () => hide(`group/${group.id}`),
      send: async (keepalive) => {
        await groups.remove(network.name, group.name, keepalive);
        loaded.reload();
      },
    });
  return (
    <Section
      title={t("network.groups")}
      action={
        <Button small icon="plus" onClick={() => edit("new")}>
          {t("groups.add")}
        </Button>
      }
    >
      <p class="quiet">{t("groups.about")}</p>
      <Waiting of={loaded}>
        {(all) => {
          const list = all.filter((group) => !hidden.value.has(`group/${group.id}`));
          if (list.length === 0) return <Empty icon="people" title={t("groups.none")} />;
          return (
            <ul class="lines">
              {list.map((group) => (
                <li key={group.id} class="line">
                  <p class="line-main">{group.name}</p>
                  <p class="line-about">{membersOf(group)}</p>
                  <span class="row-actions">
                    <IconButton
                      icon="edit"
                      label={t("groups.edit", { name: group.name })}
                      onClick={() => edit(group)}
                    />
                    <IconButton
                      icon="trash"
                      label={t("groups.remove", { name: group.name })}
                      onClick={() => remove(group)}
                    />
                  </span>
                </li>
              ))}
            </ul>
          );
        }}
      </Waiting>
      {editing && (
        <Edit
          network={network}
          group={editing === "new" ? undefined : editing}
          taken={(loaded.value ?? []).map(({ name }) => name)}
          onDone={loaded.reload}
          onClose={() => edit(undefined)}
        />
      )}
    </Section>
  );
}

function membersOf({ users }: Group): string {
  const names = users.map((id) => {
    const user = store.users.get(id);
    return user ? nameOf(user) : id;
  });
  const more = names.length - SHOWN;
  const shown = names.slice(0, SHOWN).join(", ");
  return more > 0 ? `${shown}, ${n("more", more)}` : shown || t("groups.empty");
}

interface EditProps {
  network: T.Network;
  group: Group | undefined;
  taken: readonly string[];
  onDone: () => void;
  onClose: () => void;
}

function Edit({ network, group, taken, onDone, onClose }: EditProps) {
  const loaded = useLoad(() => roles.of(network.name), [network.name]);
  const [name, setName] = useState(group?.name ?? "");
  const [users, setUsers] = useState<readonly string[]>(group?.users ?? []);
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState("");
  const toggle = (id: string) =>
    setUsers(users.includes(id) ? users.filter((other) => other !== id) : [...users, id]);
  const send = async () => {
    if (!group && !isWord(name)) return setWrong(t("groups.name.hint"));
    if (!group && taken.includes(name)) return setWrong(t("groups.taken", { name }));
    try {
      await groups.set(network.name, name, users);
      onDone();
      onClose();
    } catch (error) {
      setWrong(sentence(error));
    }
  };
  return (
    <Dialog title={group ? t("groups.edit", { name }) : t("groups.add")} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        {!group && (
          <TextField
            label={t("groups.name")}
            hint={t("groups.name.hint")}
            error={wrong || undefined}
            value={name}
            required
            maxLength={32}
            autofocus
            autocomplete="off"
            onInput={(event) => setName(event.currentTarget.value.trim().toLowerCase())}
          />
        )}
        <fieldset class="choices">
          <legend>{n("groups.users", users.length)}</legend>
          <Waiting of={loaded}>
            {(list) => {
              const people = list
                .map(({ user_id, user }) => ({ id: user_id, name: labelOf(user_id, user) }))
                .sort((a, b) => (a.name < b.name ? -1 : 1));
              const shown = people.filter((one) => one.name.toLowerCase().includes(text.toLowerCase()));
              return (
                <>
                  {people.length > 8 && (
                    <input
                      type="search"
                      aria-label={t("people.filter")}
                      placeholder={t("people.filter")}
                      value={text}
                      onInput={(event) => setText(event.currentTarget.value)}
                    />
                  )}
                  {shown.map((one) => (
                    <label key={one.id} class="quick-line">
                      <input type="checkbox" checked={users.includes(one.id)} onChange={() => toggle(one.id)} />
                      <span>{one.name}</span>
                    </label>
                  ))}
                </>
              );
            }}
          </Waiting>
        </fieldset>
        {group && wrong && (
          <p class="wrong" role="alert">
            {wrong}
          </p>
        )}
        <div class="dialog-foot">
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button type="submit" look="main">
            {t("save")}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

function labelOf(id: string, login: string): string {
  const user = store.users.get(id);
  return user && nameOf(user) !== login ? `${nameOf(user)} (${login})` : login;
}
