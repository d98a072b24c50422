// Networks: one card each.

import { useState } from "preact/hooks";
import { networks } from "../api/calls";
import type * as T from "../api/types";
import { number } from "../format";
import { n, t } from "../i18n/t";
import { mayMakeNetworks } from "../may";
import { Button } from "../parts/Button";
import { Dialog } from "../parts/Dialog";
import { Empty } from "../parts/Empty";
import { SelectField, TextField } from "../parts/Field";
import { PageHead } from "../parts/Page";
import { go, here, route, to } from "../route";
import { sentence } from "../store/later";
import { store } from "../store/store";

export function Networks() {
  const list = [...store.networks.all.value].sort((a, b) => (a.name < b.name ? -1 : 1));
  const isNew = route.value.query.has("new");
  const add = mayMakeNetworks.value && (
    <Button icon="plus" look="main" onClick={() => go(here({ new: "1" }))}>
      {t("networks.add")}
    </Button>
  );
  return (
    <div class="page">
      <PageHead title={t("networks")} about={n("networks.count", list.length)}>
        {list.length > 0 && add}
      </PageHead>
      {list.length === 0 && (
        <Empty icon="networks" title={t("networks.none")}>
          <p>{t(mayMakeNetworks.value ? "networks.none.admin" : "networks.none.member")}</p>
          {add}
        </Empty>
      )}
      <ul class="cards-grid">
        {list.map((network) => (
          <Card key={network.id} network={network} />
        ))}
      </ul>
      {isNew && mayMakeNetworks.value && <Add onClose={() => go(here({ new: null }), "replace")} />}
    </div>
  );
}

function Card({ network }: { network: T.Network }) {
  const online = store.members.all.value.filter(
    (member) => member.network === network.name && member.state === "active" && member.online,
  ).length;
  return (
    <li class="card">
      <a class="card-name" href={to("networks", network.name)}>
        {network.name}
      </a>
      <p class="card-about">{network.prefix4}</p>
      <p class="card-numbers">
        <span>
          <strong>{number(online)}</strong> {t("networks.online")}
        </span>
        <span>
          <strong>{number(network.members)}</strong> {t("networks.members")}
        </span>
        {network.pending > 0 && (
          <span class="waiting">
            <strong>{number(network.pending)}</strong> {t("networks.pending")}
          </span>
        )}
      </p>
      <p class="card-foot">
        <span>{t(`join.${network.join_mode}`)}</span>
        <span>{t(`role.${network.role}`)}</span>
      </p>
    </li>
  );
}

function Add({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState("");
  const [mode, setMode] = useState<T.JoinMode>("invite");
  const [wrong, setWrong] = useState("");
  const send = async () => {
    try {
      const { value } = await networks.add({ name, join_mode: mode });
      store.networks.put(value);
      onClose();
      go(to("networks", value.name, "invites"));
    } catch (error) {
      setWrong(sentence(error));
    }
  };
  return (
    <Dialog title={t("networks.add")} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <TextField
          label={t("network.name")}
          hint={t("network.name.hint")}
          error={wrong || undefined}
          value={name}
          required
          maxLength={32}
          pattern="[a-z0-9\-]+"
          autofocus
          onInput={(event) => setName(event.currentTarget.value.toLowerCase())}
        />
        <SelectField
          label={t("network.joinMode")}
          value={mode}
          choices={joinModes(["invite", "request", "locked"])}
          onPick={setMode}
        />
        <div class="dialog-foot">
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button type="submit" look="main">
            {t("networks.make")}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

export function joinModes(modes: readonly T.JoinMode[]) {
  return modes.map((value) => ({ value, label: t(`join.${value}`) }));
}
