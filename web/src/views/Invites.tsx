// Invites: who may still come in with a code, and the dialog that makes one.

import { useState } from "preact/hooks";
import { invites } from "../api/calls";
import type * as T from "../api/types";
import { ago, moment, now } from "../format";
import { n, t } from "../i18n/t";
import { Button } from "../parts/Button";
import { Copy } from "../parts/Copy";
import { Dialog } from "../parts/Dialog";
import { Empty } from "../parts/Empty";
import { CheckField, SelectField, TextField } from "../parts/Field";
import { Waiting } from "../parts/Page";
import { Qr } from "../parts/Qr";
import { useLoad } from "../parts/load";
import { go, here, route } from "../route";
import { revokeInvite } from "../store/actions";
import { nameOf } from "../store/rows";
import { sentence } from "../store/later";
import { store } from "../store/store";

type InviteState = "open" | "used" | "expired" | "revoked";

export function stateOfInvite(invite: T.Invite, at: number): InviteState {
  if (invite.revoked_at !== null) return "revoked";
  if (invite.uses >= invite.max_uses) return "used";
  return invite.expires_at <= at ? "expired" : "open";
}

export function Invites({ network }: { network: T.Network }) {
  const loaded = useLoad(async () => {
    const list = await invites.of(network.name);
    for (const invite of list) store.invites.put(invite);
    return list;
  }, [network.name]);
  const list = store.invites.all.value
    .filter((invite) => invite.network === network.name)
    .sort((a, b) => b.created_at - a.created_at);
  const open = list.filter((invite) => stateOfInvite(invite, now.value) === "open");
  const past = list.filter((invite) => stateOfInvite(invite, now.value) !== "open");
  const add = () => go(here({ new: "1" }));
  return (
    <>
      <Waiting of={loaded}>
        {() =>
          list.length === 0 ? (
            <Empty icon="link" title={t("invites.none")}>
              <p>{t("invites.none.text")}</p>
              <Button icon="plus" look="main" onClick={add}>
                {t("invites.add")}
              </Button>
            </Empty>
          ) : (
            <>
              <List title={t("invites.open")} list={open} />
              {past.length > 0 && <List title={t("invites.past")} list={past} />}
            </>
          )
        }
      </Waiting>
      {route.value.query.has("new") && <Add network={network} onClose={() => go(here({ new: null }), "replace")} />}
    </>
  );
}

function List({ title, list }: { title: string; list: readonly T.Invite[] }) {
  return (
    <section class="section">
      <div class="section-head">
        <h2>{title}</h2>
      </div>
      {list.length === 0 && <p class="quiet">{t("invites.noneOpen")}</p>}
      <ul class="lines">
        {list.map((invite) => (
          <Line key={invite.id} invite={invite} />
        ))}
      </ul>
    </section>
  );
}

function Line({ invite }: { invite: T.Invite }) {
  const state = stateOfInvite(invite, now.value);
  const by = store.users.get(invite.created_by);
  return (
    <li class="line">
      <div class="line-main">
        <code>{`${invite.code_prefix}…`}</code>
        <span class={`tag ${state}`}>{t(`invite.${state}`)}</span>
        {!invite.auto_approve && <span class="tag">{t("invite.byHand")}</span>}
      </div>
      <p class="line-about">
        {n("invite.uses", invite.max_uses, { uses: invite.uses })} ·{" "}
        <time dateTime={new Date(invite.expires_at).toISOString()} title={moment(invite.expires_at)}>
          {t(state === "expired" ? "invite.ended" : "invite.ends", { ago: ago(invite.expires_at) })}
        </time>
        {" · "}
        {t("invite.by", { name: by ? nameOf(by) : invite.created_by })}
      </p>
      {state === "open" && (
        <Button
          small
          onClick={() => revokeInvite(invite)}
          aria-label={t("invite.revokeWhat", { code: invite.code_prefix })}
        >
          {t("invite.revoke")}
        </Button>
      )}
    </li>
  );
}

/** Hours, and the seconds they are. */
const LIFETIMES = { "1": 3_600, "24": 86_400, "168": 604_800, "720": 2_592_000 } as const;
type Lifetime = keyof typeof LIFETIMES;

function Add({ network, onClose }: { network: T.Network; onClose: () => void }) {
  const [uses, setUses] = useState(1);
  const [lifetime, setLifetime] = useState<Lifetime>("24");
  const [isAuto, setAuto] = useState(network.approve === "auto");
  const [made, setMade] = useState<T.NewInvite | undefined>(undefined);
  const [wrong, setWrong] = useState("");
  const send = async () => {
    try {
      const { value } = await invites.add(network.name, {
        max_uses: uses,
        expires_in: LIFETIMES[lifetime],
        auto_approve: isAuto,
      });
      const { code: _code, join_string: _join, join_url: _url, ...invite } = value;
      store.invites.put(invite);
      setMade(value);
    } catch (error) {
      setWrong(sentence(error));
    }
  };
  if (made) return <Made invite={made} onClose={onClose} />;
  return (
    <Dialog title={t("invites.addTo", { network: network.name })} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <TextField
          label={t("invite.maxUses")}
          hint={t("invite.maxUses.hint")}
          type="number"
          min={1}
          max={100_000}
          required
          value={uses}
          onInput={(event) => setUses(Number(event.currentTarget.value))}
        />
        <SelectField
          label={t("invite.lifetime")}
          value={lifetime}
          choices={(Object.keys(LIFETIMES) as Lifetime[]).map((value) => ({
            value,
            label: t(`invite.lifetime.${value}`),
          }))}
          onPick={setLifetime}
        />
        <CheckField label={t("invite.auto")} hint={t("invite.auto.hint")} checked={isAuto} onCheck={setAuto} />
        {wrong && (
          <p class="wrong" role="alert">
            {wrong}
          </p>
        )}
        <div class="dialog-foot">
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button type="submit" look="main">
            {t("invites.make")}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

const SYSTEMS = ["linux", "windows", "macos"] as const;
type System = (typeof SYSTEMS)[number];

/** The line that joins, as the shell of each system wants it. */
export function joinCommand(system: System, join: string): string {
  // A join string has a # and may have a ?, which no shell may see.
  if (system === "windows") return `lanyard join "${join}"`;
  return `sudo lanyard join '${join}'`;
}

function Made({ invite, onClose }: { invite: T.NewInvite; onClose: () => void }) {
  const [system, setSystem] = useState<System>(ownSystem());
  // A server that does not know its own name has no join string; the code works in one made by hand.
  const join = invite.join_string ?? invite.code;
  return (
    <Dialog title={t("invite.made", { network: invite.network })} onClose={onClose} wide>
      <div class="made">
        <Qr text={join} label={t("invite.qr", { network: invite.network })} />
        <div class="made-text">
          <p>{n("invite.shown", invite.max_uses, { ago: ago(invite.expires_at) })}</p>
          <h3>{t("invite.string")}</h3>
          <Copy text={join} label={t("invite.string")} />
          {invite.join_url && (
            <>
              <h3>{t("invite.link")}</h3>
              <Copy text={invite.join_url} label={t("invite.link")} />
            </>
          )}
          <h3>{t("invite.command")}</h3>
          <div class="segments" role="group" aria-label={t("device.os")}>
            {SYSTEMS.map((id) => (
              <button key={id} type="button" aria-pressed={id === system} onClick={() => setSystem(id)}>
                {t(`system.${id}`)}
              </button>
            ))}
          </div>
          <Copy text={joinCommand(system, join)} label={t("invite.command")} />
        </div>
      </div>
      <div class="dialog-foot">
        <p class="quiet">{t("invite.listens")}</p>
        <Button look="main" onClick={onClose}>
          {t("done")}
        </Button>
      </div>
    </Dialog>
  );
}

function ownSystem(): System {
  const agent = navigator.userAgent;
  if (agent.includes("Windows")) return "windows";
  return agent.includes("Mac") ? "macos" : "linux";
}
