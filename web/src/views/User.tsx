// One person: what they are, where, with which devices.

import { useState } from "preact/hooks";
import { roles, users } from "../api/calls";
import { about } from "../api/metadata";
import type * as T from "../api/types";
import { moment } from "../format";
import { t, word } from "../i18n/t";
import { isServerAdmin } from "../may";
import { Button } from "../parts/Button";
import { Dot } from "../parts/Dot";
import { EditDialog } from "../parts/Edit";
import { Empty } from "../parts/Empty";
import { EntriesCard } from "../parts/Entries";
import { CheckField, TextField } from "../parts/Field";
import { Facts, Section, Waiting } from "../parts/Page";
import { useLoad } from "../parts/load";
import { opening, to } from "../route";
import { disableUser } from "../store/actions";
import { store } from "../store/store";
import { Code, UserTags, codeFor } from "./People";

export function UserDetail({ user }: { user: T.User | undefined }) {
  const [isEditing, setEditing] = useState(false);
  const [url, setUrl] = useState<string | undefined>(undefined);
  if (!user) return <Empty icon="people" title={t("user.gone")} />;
  const devices = store.rows.all.value.filter((row) => row.device.user_id === user.id);
  const isMe = store.me.value?.user.id === user.id;
  return (
    <div class="detail">
      {isServerAdmin.value && (
        <div class="detail-actions">
          <Button small icon="edit" onClick={() => setEditing(true)} data-key="edit">
            {t("edit")}
          </Button>
          {user.kind === "person" && (
            <Button small icon="key" onClick={() => void codeFor(user).then(setUrl)}>
              {t("code.make")}
            </Button>
          )}
          {!isMe && (
            <Button
              small
              look={user.disabled_at === null ? "danger" : "plain"}
              onClick={() => void disableUser(user, user.disabled_at === null)}
            >
              {t(user.disabled_at === null ? "user.disable" : "user.enable")}
            </Button>
          )}
        </div>
      )}
      <UserTags user={user} />
      <Facts
        facts={[
          [t("user.login"), user.name],
          [t("user.display"), user.display_name],
          [t("user.email"), user.email],
          [t("user.kind"), word("kind", user.kind)],
          [t("user.disabledAt"), user.disabled_at === null ? null : moment(user.disabled_at)],
          [t("device.created"), moment(user.created_at)],
        ]}
      />
      <EntriesCard of={about.user(user)} mayEdit={isMe || isServerAdmin.value} />
      <Section title={t("user.roles")}>
        <RolesOf user={user} />
      </Section>
      <Section title={t("devices")}>
        {devices.length === 0 && <p class="quiet">{t("user.noDevices")}</p>}
        <ul class="lines">
          {devices.map((row) => (
            <li key={row.device.id} class="line">
              <a class="line-main" href={opening("device", row.device.id)}>
                <Dot state={row.state} />
                <span>{row.name}</span>
                <span class="unseen">{t(`state.${row.state}`)}</span>
              </a>
              <p class="line-about">{row.networks.join(", ")}</p>
            </li>
          ))}
        </ul>
      </Section>
      {isEditing && <EditUser user={user} onClose={() => setEditing(false)} />}
      {url && <Code user={user} url={url} onClose={() => setUrl(undefined)} />}
    </div>
  );
}

/** Roles in those networks that the caller administers. */
function RolesOf({ user }: { user: T.User }) {
  const names = store.networks.all.value.filter(({ name }) => store.mayAdmin(name)).map(({ name }) => name);
  const loaded = useLoad(async () => {
    const lists = await Promise.all(names.map((name) => roles.of(name)));
    return lists.flat().filter((role) => role.user_id === user.id);
  }, [user.id, names.join(), store.rolesVersion.value]);
  return (
    <Waiting of={loaded}>
      {(list) =>
        list.length === 0 ? (
          <p class="quiet">{t("user.noRoles")}</p>
        ) : (
          <ul class="lines">
            {list.map((role) => (
              <li key={role.network} class="line">
                <a class="line-main" href={to("networks", role.network, "roles")}>
                  {role.network}
                </a>
                <span class="tag">{t(`role.${role.role}`)}</span>
              </li>
            ))}
          </ul>
        )
      }
    </Waiting>
  );
}

function EditUser({ user, onClose }: { user: T.User; onClose: () => void }) {
  return (
    <EditDialog
      title={t("user.edit", { name: user.name })}
      load={() => users.one(user.id)}
      draftOf={({ display_name, email, is_server_admin }) => ({ display_name, email: email ?? "", is_server_admin })}
      save={(draft, ifMatch) => users.set(user.id, draft, ifMatch)}
      onSaved={(saved) => store.users.put(saved)}
      theirs={(saved) => [saved.display_name, saved.email].filter(Boolean).join(", ")}
      onClose={onClose}
    >
      {(draft, change) => (
        <>
          <TextField
            label={t("user.display")}
            value={draft.display_name}
            autofocus
            onInput={(event) => change({ display_name: event.currentTarget.value })}
          />
          <TextField
            label={t("user.email")}
            type="email"
            value={draft.email}
            onInput={(event) => change({ email: event.currentTarget.value })}
          />
          <CheckField
            label={t("user.serverAdmin")}
            hint={t("user.serverAdmin.hint")}
            checked={draft.is_server_admin}
            onCheck={(is_server_admin) => change({ is_server_admin })}
          />
        </>
      )}
    </EditDialog>
  );
}
