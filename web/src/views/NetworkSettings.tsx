// Settings of a network: who may join, who carries whom, its end.

import { useState } from "preact/hooks";
import { networks } from "../api/calls";
import type * as T from "../api/types";
import { number } from "../format";
import { t } from "../i18n/t";
import { mayOwn } from "../may";
import { Button } from "../parts/Button";
import { Dialog } from "../parts/Dialog";
import { EditDialog } from "../parts/Edit";
import { CheckField, SelectField, TextField } from "../parts/Field";
import { Facts, Section } from "../parts/Page";
import { go, to } from "../route";
import { removeNetwork } from "../store/actions";
import { store } from "../store/store";
import { joinModes } from "./Networks";

type Draft = Pick<T.Network, "join_mode" | "approve" | "peer_relay"> & { password: string };

/** The password is never shown: an empty one stays as it is. */
const draftOf = ({ join_mode, approve, peer_relay }: T.Network): Draft => ({
  join_mode,
  approve,
  peer_relay,
  password: "",
});

export function NetworkSettings({ network }: { network: T.Network }) {
  const [isEditing, setEditing] = useState(false);
  const [isRemoving, setRemoving] = useState(false);
  return (
    <>
      <Section
        title={t("network.settings")}
        action={
          <Button small icon="edit" onClick={() => setEditing(true)} data-key="edit">
            {t("edit")}
          </Button>
        }
      >
        <Facts
          facts={[
            [t("network.joinMode"), t(`join.${network.join_mode}`)],
            [t("network.approve"), t(`approve.${network.approve}`)],
            [t("network.peerRelay"), t(network.peer_relay ? "allowed" : "forbidden")],
            [t("network.prefix4"), network.prefix4],
            [t("network.prefix6"), network.prefix6],
            [t("network.revision"), number(network.revision)],
          ]}
        />
      </Section>
      {mayOwn(network.name) && (
        <Section title={t("network.end")}>
          <p class="quiet">{t("network.end.text")}</p>
          <Button look="danger" icon="trash" onClick={() => setRemoving(true)}>
            {t("network.remove")}
          </Button>
        </Section>
      )}
      {isEditing && (
        <EditDialog
          title={t("network.edit", { name: network.name })}
          load={() => networks.one(network.name)}
          draftOf={draftOf}
          save={(draft, ifMatch) => networks.set(network.name, draft, ifMatch)}
          onSaved={(saved) => store.networks.put(saved)}
          theirs={(saved) => `${t(`join.${saved.join_mode}`)}, ${t(`approve.${saved.approve}`)}`}
          onClose={() => setEditing(false)}
        >
          {(draft, change) => (
            <>
              <SelectField
                label={t("network.joinMode")}
                hint={t(`join.${draft.join_mode}.hint`)}
                value={draft.join_mode}
                choices={joinModes(["invite", "password", "request", "locked"])}
                onPick={(join_mode) => change({ join_mode })}
              />
              {draft.join_mode === "password" && (
                <TextField
                  label={t(network.has_password ? "network.password.other" : "network.password")}
                  hint={t("network.password.hint")}
                  type="password"
                  autocomplete="new-password"
                  maxLength={64}
                  required={!network.has_password}
                  value={draft.password}
                  onInput={(event) => change({ password: event.currentTarget.value })}
                />
              )}
              <SelectField
                label={t("network.approve")}
                value={draft.approve}
                choices={(["auto", "manual"] as const).map((value) => ({ value, label: t(`approve.${value}`) }))}
                onPick={(approve) => change({ approve })}
              />
              <CheckField
                label={t("network.peerRelay.allow")}
                hint={t("network.peerRelay.hint")}
                checked={draft.peer_relay}
                onCheck={(peer_relay) => change({ peer_relay })}
              />
            </>
          )}
        </EditDialog>
      )}
      {isRemoving && <Remove network={network} onClose={() => setRemoving(false)} />}
    </>
  );
}

/** The name has to be typed: this cuts every tunnel of the network. */
function Remove({ network, onClose }: { network: T.Network; onClose: () => void }) {
  const [typed, setTyped] = useState("");
  const send = () => {
    removeNetwork(network);
    onClose();
    go(to("networks"));
  };
  return (
    <Dialog title={t("network.remove")} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          if (typed === network.name) send();
        }}
      >
        <p>{t("network.remove.text", { name: network.name, count: network.members })}</p>
        <TextField
          label={t("network.remove.type", { name: network.name })}
          value={typed}
          autofocus
          autocomplete="off"
          onInput={(event) => setTyped(event.currentTarget.value)}
        />
        <div class="dialog-foot">
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button type="submit" look="danger" disabled={typed !== network.name}>
            {t("network.remove")}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
