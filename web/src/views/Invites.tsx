// Invites: who may still come in with a code.

import { invites } from "../api/calls";
import type * as T from "../api/types";
import { ago, moment, now, span } from "../format";
import { n, t, word } from "../i18n/t";
import { Button } from "../parts/Button";
import { Empty } from "../parts/Empty";
import { Waiting } from "../parts/Page";
import { useLoad } from "../parts/load";
import { go, here, route } from "../route";
import { revokeInvite } from "../store/actions";
import { nameOf } from "../store/rows";
import { store } from "../store/store";
import { InviteDialog } from "./InviteDialog";
import { Tags } from "./MemberParts";

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
      {route.value.query.has("new") && (
        <InviteDialog network={network} onClose={() => go(here({ new: null }), "replace")} />
      )}
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
  const owner = store.users.get(invite.owner_id);
  return (
    <li class="line">
      <div class="line-main">
        <code>{`${invite.code_prefix}…`}</code>
        <span class={`tag ${state}`}>{t(`invite.${state}`)}</span>
        <span class="tag">{word("invite.target", invite.target)}</span>
        {invite.role !== null && <span class="tag strong">{word("role", invite.role)}</span>}
        {!invite.auto_approve && <span class="tag">{t("invite.byHand")}</span>}
        <Tags tags={invite.tags} />
      </div>
      <p class="line-about">
        {n("invite.uses", invite.max_uses, { uses: invite.uses })} ·{" "}
        <time dateTime={new Date(invite.expires_at).toISOString()} title={moment(invite.expires_at)}>
          {t(state === "expired" ? "ended" : "ends", { ago: ago(invite.expires_at) })}
        </time>
        {" · "}
        {t("invite.by", { name: by ? nameOf(by) : invite.created_by })}
        {owner && ` · ${t("invite.for", { name: nameOf(owner) })}`}
        {invite.member_for !== null && ` · ${t("invite.lasts", { span: span(invite.member_for * 1_000) })}`}
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
