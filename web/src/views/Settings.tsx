// Settings: how the panel looks, how the server is, tokens of programs, where one is signed in.

import { useState } from "preact/hooks";
import { sessions, tokens } from "../api/calls";
import type * as T from "../api/types";
import { ago, moment, since } from "../format";
import { LANGUAGES } from "../i18n/languages";
import { language, speak, t } from "../i18n/t";
import { isAdmin, isServerAdmin } from "../may";
import { Button, LinkButton } from "../parts/Button";
import { Copy } from "../parts/Copy";
import { Dialog } from "../parts/Dialog";
import { Empty } from "../parts/Empty";
import { SelectField, TextField } from "../parts/Field";
import { Facts, PageHead, Section, Tabs, Waiting } from "../parts/Page";
import { useLoad } from "../parts/load";
import { route, to } from "../route";
import { complain, later, sentence } from "../store/later";
import { store } from "../store/store";
import { THEMES, paint, theme } from "../theme";
import { Health } from "./Overview";
import { Webhooks } from "./Webhooks";

export function Settings() {
  const all = [
    "appearance",
    "tokens",
    "sessions",
    ...(isAdmin.value ? (["webhooks"] as const) : []),
    ...(isServerAdmin.value ? (["server"] as const) : []),
  ] as const;
  const step = route.value.path[1] ?? "appearance";
  const tab = all.find((id) => id === step) ?? "appearance";
  const tabs = all.map((id) => ({
    id,
    label: t(`settings.${id}`),
    href: id === "appearance" ? to("settings") : to("settings", id),
  }));
  return (
    <div class="page">
      <PageHead title={t("settings")} />
      <Tabs tabs={tabs} current={tab} label={t("settings")} />
      {tab === "appearance" && <Appearance />}
      {tab === "tokens" && <Tokens />}
      {tab === "sessions" && <Sessions />}
      {tab === "webhooks" && <Webhooks />}
      {tab === "server" && <Server />}
    </div>
  );
}

function Appearance() {
  return (
    <Section title={t("settings.appearance")}>
      <div class="form">
        <SelectField
          label={t("theme")}
          value={theme.value}
          choices={THEMES.map((value) => ({ value, label: t(`theme.${value}`) }))}
          onPick={paint}
        />
        <SelectField
          label={t("language")}
          value={language.value}
          choices={LANGUAGES.map(({ id, name }) => ({ value: id, label: name }))}
          onPick={(id) => void speak(id).catch(complain)}
        />
      </div>
    </Section>
  );
}

function Server() {
  const me = store.me.value;
  return (
    <>
      <Health />
      <Section title={t("settings.about")}>
        <Facts
          facts={[
            [t("settings.version"), me?.version],
            [
              t("settings.api"),
              <a href="/api/v1/openapi.json" target="_blank" rel="noreferrer">
                {t("settings.openapi")}
              </a>,
            ],
            [t("settings.license"), t("settings.license.text")],
          ]}
        />
      </Section>
    </>
  );
}

function Sessions() {
  const loaded = useLoad(sessions.list, []);
  const end = (session: T.Session) =>
    later({
      text: t("did.endSession"),
      show: () => {
        loaded.set((loaded.value ?? []).filter((other) => other.id !== session.id));
        return loaded.reload;
      },
      send: () => sessions.end(session.id),
    });
  return (
    <Section
      title={t("settings.sessions")}
      action={
        <LinkButton small href="/account">
          {t("account.password")}
        </LinkButton>
      }
    >
      <Waiting of={loaded}>
        {(list) => (
          <ul class="lines">
            {list.map((session) => (
              <li key={session.id} class="line">
                <div class="line-main">
                  <span class="clip">{program(session.user_agent)}</span>
                  {session.is_this && <span class="tag open">{t("session.this")}</span>}
                </div>
                <p class="line-about">
                  {[
                    session.ip,
                    t("session.seen", { ago: since(session.seen_at) }),
                    t("session.ends", { at: moment(session.expires_at) }),
                  ]
                    .filter(Boolean)
                    .join(" · ")}
                </p>
                {!session.is_this && (
                  <Button
                    small
                    onClick={() => end(session)}
                    aria-label={t("session.endWhat", { program: program(session.user_agent) })}
                  >
                    {t("session.end")}
                  </Button>
                )}
              </li>
            ))}
          </ul>
        )}
      </Waiting>
    </Section>
  );
}

/** A browser and its system, out of what it calls itself. */
export function program(agent: string): string {
  const browser = ["Edg", "OPR", "Firefox", "Chrome", "Safari"].find((name) => agent.includes(`${name}/`));
  const system = ["Android", "iPhone", "iPad", "Windows", "Mac OS X", "Linux"].find((name) => agent.includes(name));
  const names: Readonly<Record<string, string>> = { Edg: "Edge", OPR: "Opera", "Mac OS X": "macOS" };
  const found = [browser, system].filter((name) => name !== undefined).map((name) => names[name] ?? name);
  return found.length > 0 ? found.join(", ") : agent || t("unknown");
}

function Tokens() {
  const loaded = useLoad(tokens.list, []);
  const [isAdding, setAdding] = useState(false);
  const [made, setMade] = useState<T.NewToken | undefined>(undefined);
  const end = (token: T.Token) =>
    later({
      text: t("did.endToken", { name: token.name }),
      show: () => {
        loaded.set((loaded.value ?? []).filter((other) => other.id !== token.id));
        return loaded.reload;
      },
      send: () => tokens.end(token.id),
    });
  const add = (
    <Button small icon="plus" onClick={() => setAdding(true)}>
      {t("tokens.add")}
    </Button>
  );
  return (
    <Section title={t("settings.tokens")} action={add}>
      <p class="quiet">{t("tokens.about")}</p>
      <Waiting of={loaded}>
        {(list) =>
          list.length === 0 ? (
            <Empty icon="key" title={t("tokens.none")} />
          ) : (
            <ul class="lines">
              {list.map((token) => (
                <TokenLine key={token.id} token={token} onEnd={() => end(token)} />
              ))}
            </ul>
          )
        }
      </Waiting>
      {isAdding && (
        <AddToken
          onClose={() => setAdding(false)}
          onMade={(token) => {
            setAdding(false);
            setMade(token);
            loaded.reload();
          }}
        />
      )}
      {made && (
        <Dialog title={t("tokens.made", { name: made.name })} onClose={() => setMade(undefined)}>
          <p>{t("tokens.shown")}</p>
          <Copy text={made.secret} label={t("tokens.secret")} />
          <div class="dialog-foot">
            <Button look="main" onClick={() => setMade(undefined)}>
              {t("done")}
            </Button>
          </div>
        </Dialog>
      )}
    </Section>
  );
}

function TokenLine({ token, onEnd }: { token: T.Token; onEnd: () => void }) {
  const network = store.networks.get(token.network_id);
  return (
    <li class="line">
      <div class="line-main">
        <span>{token.name}</span>
        <code>{`${token.prefix}…`}</code>
        <span class="tag">{t(`scope.${token.scope}`)}</span>
        {token.network_id !== null && <span class="tag">{network?.name ?? token.network_id}</span>}
      </div>
      <p class="line-about">
        {t("tokens.used", { ago: since(token.last_used_at) })} ·{" "}
        {token.expires_at === null ? t("tokens.noEnd") : t("ends", { ago: ago(token.expires_at) })}
      </p>
      <Button small onClick={onEnd} aria-label={t("tokens.endWhat", { name: token.name })}>
        {t("tokens.end")}
      </Button>
    </li>
  );
}

/** Seconds. */
const DAY = 86_400;
const LIFETIMES = { "30": 30 * DAY, "90": 90 * DAY, "365": 365 * DAY } as const;
type Lifetime = keyof typeof LIFETIMES | "0";

function AddToken({ onClose, onMade }: { onClose: () => void; onMade: (token: T.NewToken) => void }) {
  const [name, setName] = useState("");
  const [scope, setScope] = useState<"read" | "write">("read");
  const [network, setNetwork] = useState("");
  const [lifetime, setLifetime] = useState<Lifetime>("90");
  const [wrong, setWrong] = useState("");
  const send = async () => {
    try {
      const { value } = await tokens.add({
        name,
        scope,
        ...(network ? { network } : {}),
        ...(lifetime === "0" ? {} : { expires_in: LIFETIMES[lifetime] }),
      });
      onMade(value);
    } catch (error) {
      setWrong(sentence(error));
    }
  };
  return (
    <Dialog title={t("tokens.add")} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <TextField
          label={t("tokens.name")}
          hint={t("tokens.name.hint")}
          error={wrong || undefined}
          value={name}
          required
          autofocus
          autocomplete="off"
          onInput={(event) => setName(event.currentTarget.value)}
        />
        <SelectField
          label={t("tokens.scope")}
          value={scope}
          choices={(["read", "write"] as const).map((value) => ({ value, label: t(`scope.${value}`) }))}
          onPick={setScope}
        />
        <SelectField
          label={t("tokens.network")}
          value={network}
          choices={[
            { value: "", label: t("tokens.allNetworks") },
            ...store.networks.all.value.map(({ name: of }) => ({ value: of, label: of })),
          ]}
          onPick={setNetwork}
        />
        <SelectField
          label={t("invite.lifetime")}
          value={lifetime}
          choices={(["30", "90", "365", "0"] as const).map((value) => ({
            value,
            label: t(`tokens.lifetime.${value}`),
          }))}
          onPick={setLifetime}
        />
        <div class="dialog-foot">
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button type="submit" look="main">
            {t("tokens.make")}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
