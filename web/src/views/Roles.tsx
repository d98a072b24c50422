// Roles of a network: which users are what in it.

import { useState } from "preact/hooks";
import { roles } from "../api/calls";
import type * as T from "../api/types";
import { ago, since } from "../format";
import { t } from "../i18n/t";
import { mayOwn } from "../may";
import { Button } from "../parts/Button";
import { Dialog } from "../parts/Dialog";
import { Empty } from "../parts/Empty";
import { Select, SelectField } from "../parts/Field";
import { Menu, MenuItem } from "../parts/Menu";
import { Section, Waiting } from "../parts/Page";
import { useLoad } from "../parts/load";
import { opening } from "../route";
import { removeRole } from "../store/actions";
import { complain, note, sentence } from "../store/later";
import { nameOf } from "../store/rows";
import { store } from "../store/store";

const GIVEN: readonly Exclude<T.Role, "owner">[] = ["guest", "member", "admin"];

export function Roles({ network }: { network: T.Network }) {
  const loaded = useLoad(() => roles.of(network.name), [network.name, store.rolesVersion.value]);
  const [isAdding, setAdding] = useState(false);
  const [heir, setHeir] = useState<T.NetworkRole | undefined>(undefined);
  const put = (role: T.NetworkRole) =>
    loaded.set([...(loaded.value ?? []).filter((other) => other.user_id !== role.user_id), role]);
  const change = async (role: T.NetworkRole, next: T.Role) => {
    put({ ...role, role: next });
    try {
      put((await roles.set(network.name, role.user_id, next)).value);
    } catch (error) {
      put(role);
      complain(error);
    }
  };
  const remove = (role: T.NetworkRole) =>
    removeRole(role, () => {
      loaded.set((loaded.value ?? []).filter((other) => other.user_id !== role.user_id));
      return loaded.reload;
    });
  return (
    <Section
      title={t("roles.who")}
      action={
        <Button small icon="plus" onClick={() => setAdding(true)}>
          {t("roles.add")}
        </Button>
      }
    >
      <p class="quiet">{t("roles.about")}</p>
      <Waiting of={loaded}>
        {(list) =>
          list.length === 0 ? (
            <Empty icon="people" title={t("roles.none")} />
          ) : (
            <ul class="lines">
              {[...list].sort(byRank).map((role) => (
                <li key={role.user_id} class="line">
                  <a class="line-main" href={opening("user", role.user_id)}>
                    {displayName(role)}
                  </a>
                  <p class="line-about">
                    {role.expires_at === null
                      ? t("roles.since", { ago: since(role.created_at) })
                      : t("ends", { ago: ago(role.expires_at) })}
                  </p>
                  <RoleActions role={role} onChange={change} onRemove={remove} onHandOver={setHeir} />
                </li>
              ))}
            </ul>
          )
        }
      </Waiting>
      {isAdding && <Add network={network} taken={loaded.value ?? []} onAdded={put} onClose={() => setAdding(false)} />}
      {heir && <HandOver role={heir} onDone={loaded.reload} onClose={() => setHeir(undefined)} />}
    </Section>
  );
}

const RANK: Readonly<Record<T.Role, number>> = { owner: 0, admin: 1, member: 2, guest: 3 };

function byRank(a: T.NetworkRole, b: T.NetworkRole): number {
  return RANK[a.role] - RANK[b.role] || (a.user < b.user ? -1 : 1);
}

function displayName(role: T.NetworkRole): string {
  const user = store.users.get(role.user_id);
  return user ? nameOf(user) : role.user;
}

interface ActionsProps {
  role: T.NetworkRole;
  onChange: (role: T.NetworkRole, next: T.Role) => Promise<void>;
  onRemove: (role: T.NetworkRole) => void;
  onHandOver: (role: T.NetworkRole) => void;
}

function RoleActions({ role, onChange, onRemove, onHandOver }: ActionsProps) {
  if (role.role === "owner") return <span class="tag">{t("role.owner")}</span>;
  return (
    <span class="row-actions">
      <Select
        label={t("roles.of", { name: role.user })}
        value={role.role}
        choices={choices()}
        onPick={(next) => void onChange(role, next)}
      />
      <Menu icon="more" label={t("roles.actions", { name: role.user })}>
        {(close) => (
          <>
            {mayOwn(role.network) && (
              <MenuItem
                icon="key"
                onPick={() => {
                  close();
                  onHandOver(role);
                }}
              >
                {t("roles.handOver")}
              </MenuItem>
            )}
            <MenuItem
              icon="trash"
              danger
              onPick={() => {
                close();
                onRemove(role);
              }}
            >
              {t("roles.remove")}
            </MenuItem>
          </>
        )}
      </Menu>
    </span>
  );
}

function choices() {
  return GIVEN.map((value) => ({ value, label: t(`role.${value}`) }));
}

interface AddProps {
  network: T.Network;
  taken: readonly T.NetworkRole[];
  onAdded: (role: T.NetworkRole) => void;
  onClose: () => void;
}

function Add({ network, taken, onAdded, onClose }: AddProps) {
  const free = store.users.all.value.filter((user) => !taken.some((role) => role.user_id === user.id));
  const [user, setUser] = useState(free[0]?.id ?? "");
  const [role, setRole] = useState<Exclude<T.Role, "owner">>("member");
  const [wrong, setWrong] = useState("");
  const send = async () => {
    try {
      onAdded((await roles.set(network.name, user, role)).value);
      onClose();
    } catch (error) {
      setWrong(sentence(error));
    }
  };
  return (
    <Dialog title={t("roles.addTo", { network: network.name })} onClose={onClose}>
      {free.length === 0 ? (
        <p>{t("roles.nobody")}</p>
      ) : (
        <form
          onSubmit={(event) => {
            event.preventDefault();
            void send();
          }}
        >
          <SelectField
            label={t("user")}
            value={user}
            choices={free.map((one) => ({
              value: one.id,
              label: nameOf(one) === one.name ? one.name : `${nameOf(one)} (${one.name})`,
            }))}
            onPick={setUser}
          />
          <SelectField
            label={t("role")}
            hint={t(`role.${role}.hint`)}
            error={wrong || undefined}
            value={role}
            choices={choices()}
            onPick={setRole}
          />
          <div class="dialog-foot">
            <Button onClick={onClose}>{t("cancel")}</Button>
            <Button type="submit" look="main">
              {t("roles.give")}
            </Button>
          </div>
        </form>
      )}
    </Dialog>
  );
}

function HandOver({ role, onDone, onClose }: { role: T.NetworkRole; onDone: () => void; onClose: () => void }) {
  const send = async () => {
    try {
      await roles.handOver(role.network, role.user_id);
      note("done", t("roles.handedOver", { name: role.user, network: role.network }));
      onDone();
    } catch (error) {
      complain(error);
    }
    onClose();
  };
  return (
    <Dialog title={t("roles.handOver")} onClose={onClose}>
      <p>{t("roles.handOver.text", { name: role.user, network: role.network })}</p>
      <div class="dialog-foot">
        <Button onClick={onClose}>{t("cancel")}</Button>
        <Button look="danger" onClick={() => void send()}>
          {t("roles.handOver")}
        </Button>
      </div>
    </Dialog>
  );
}
