// The dialog that makes an invite, for devices or for a person, and shows it this once.

import { useState } from "preact/hooks";
import { invites } from "../api/calls";
import type * as T from "../api/types";
import { ago, span } from "../format";
import { n, t, word } from "../i18n/t";
import { mayOwn } from "../may";
import { Button } from "../parts/Button";
import { Copy } from "../parts/Copy";
import { Dialog } from "../parts/Dialog";
import { CheckField, SelectField, TextField } from "../parts/Field";
import { Qr } from "../parts/Qr";
import { TagField } from "../parts/TagField";
import { sentence } from "../store/later";
import { nameOf } from "../store/rows";
import { store } from "../store/store";
import { knownTags } from "./MemberParts";

/** Hours, and the seconds they are. */
const LIFETIMES = { "1": 3_600, "24": 86_400, "168": 604_800, "720": 2_592_000 } as const;
type Lifetime = keyof typeof LIFETIMES;
/** A member's own invites last a week at the most, and bring so many devices. */
const OWN_LIFETIMES: readonly Lifetime[] = ["1", "24", "168"];
const OWN_USES_MAX = 10;
const USES_MAX = 100_000;

/** Seconds that a membership may last; for ever without. */
const DAY = 86_400;
const LASTS = [3_600, DAY, 7 * DAY, 30 * DAY, 365 * DAY];

const TARGETS = ["device", "person"] as const;
const ROLES = ["guest", "member", "admin"] as const;

const keysOf = Object.keys as (of: typeof LIFETIMES) => Lifetime[];

interface Props {
  network: T.Network;
  /** For a member who brings devices of their own. */
  isOwn?: boolean;
  onClose: () => void;
}

export function InviteDialog({ network, isOwn = false, onClose }: Props) {
  const [target, setTarget] = useState<(typeof TARGETS)[number]>("device");
  const [role, setRole] = useState<(typeof ROLES)[number]>("member");
  const [uses, setUses] = useState(1);
  const [lifetime, setLifetime] = useState<Lifetime>("24");
  const [isAuto, setAuto] = useState(network.approve === "auto");
  const [owner, setOwner] = useState(isOwn ? (store.me.value?.user.id ?? "") : "");
  const [tags, setTags] = useState<readonly string[]>([]);
  const [lasts, setLasts] = useState("");
  const [made, setMade] = useState<T.NewInvite | undefined>(undefined);
  const [wrong, setWrong] = useState("");
  const isPerson = target === "person";
  const send = async () => {
    try {
      const { value } = await invites.add(network.name, {
        max_uses: uses,
        expires_in: LIFETIMES[lifetime],
        auto_approve: isAuto,
        ...(isPerson ? { target, role } : {}),
        ...(isPerson || owner === "" ? {} : { owner_id: owner }),
        ...(isPerson || tags.length === 0 ? {} : { tags: [...tags] }),
        ...(lasts === "" ? {} : { member_for: Number(lasts) }),
      });
      const { code: _code, join_string: _join, join_url: _url, ...invite } = value;
      store.invites.put(invite);
      setMade(value);
    } catch (error) {
      setWrong(sentence(error));
    }
  };
  if (made) {
    const Shown = isPerson ? MadeForPerson : Made;
    return <Shown invite={made} onClose={onClose} />;
  }
  return (
    <Dialog
      title={isOwn ? t("devices.addMine") : t("invites.addTo", { network: network.name })}
      onClose={onClose}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        {isOwn ? (
          <p class="quiet lead">{t("invite.own", { network: network.name })}</p>
        ) : (
          <SelectField
            label={t("invite.target")}
            value={target}
            choices={TARGETS.map((value) => ({ value, label: t(`invite.target.${value}`) }))}
            onPick={setTarget}
          />
        )}
        {isPerson && (
          <SelectField
            label={t("role")}
            hint={t(`role.${role}.hint`)}
            value={role}
            choices={ROLES.filter((value) => value !== "admin" || mayOwn(network.name)).map((value) => ({
              value,
              label: t(`role.${value}`),
            }))}
            onPick={setRole}
          />
        )}
        <TextField
          label={t(isPerson ? "people" : "invite.maxUses")}
          hint={t(isPerson ? "invite.people.hint" : "invite.maxUses.hint")}
          type="number"
          min={1}
          max={isOwn ? OWN_USES_MAX : USES_MAX}
          required
          value={uses}
          onInput={(event) => setUses(Number(event.currentTarget.value))}
        />
        <SelectField
          label={t("invite.lifetime")}
          value={lifetime}
          choices={(isOwn ? OWN_LIFETIMES : keysOf(LIFETIMES)).map((value) => ({
            value,
            label: t(`invite.lifetime.${value}`),
          }))}
          onPick={setLifetime}
        />
        {!isOwn && (
          <SelectField
            label={t("invite.memberFor")}
            value={lasts}
            choices={[
              { value: "", label: t("invite.forEver") },
              ...LASTS.map((seconds) => ({ value: String(seconds), label: span(seconds * 1_000) })),
            ]}
            onPick={setLasts}
          />
        )}
        {!isOwn && !isPerson && (
          <>
            <SelectField
              label={t("device.owner")}
              value={owner}
              choices={[
                { value: "", label: t("device.nobody") },
                ...store.users.all.value.map((user) => ({ value: user.id, label: nameOf(user) })),
              ]}
              onPick={setOwner}
            />
            <TagField label={t("tags")} tags={tags} onTags={setTags} known={knownTags.value} />
            <CheckField label={t("invite.auto")} hint={t("invite.auto.hint")} checked={isAuto} onCheck={setAuto} />
          </>
        )}
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

/** What a person opens: the server's page, or its path here where the server does not know its own name. */
function pageOf({ join_url, code }: T.NewInvite): string {
  return join_url ?? new URL(`/invite/${code}`, location.origin).href;
}

function MadeForPerson({ invite, onClose }: { invite: T.NewInvite; onClose: () => void }) {
  const page = pageOf(invite);
  return (
    <Dialog title={t("invite.made", { network: invite.network })} onClose={onClose} wide>
      <div class="made">
        <Qr text={page} label={t("invite.qr", { network: invite.network })} />
        <div class="made-text">
          <p>{n("invite.shownPerson", invite.max_uses, { ago: ago(invite.expires_at) })}</p>
          <h3>{t("invite.link")}</h3>
          <Copy text={page} label={t("invite.link")} />
          <p class="quiet">{t("invite.person.text", { role: word("role", invite.role ?? "") })}</p>
        </div>
      </div>
      <div class="dialog-foot">
        <Button look="main" onClick={onClose}>
          {t("done")}
        </Button>
      </div>
    </Dialog>
  );
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
