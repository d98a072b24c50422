// People: who can sign in, what they are, which devices are theirs.

import { grouped } from "../grouped";
import { useMemo, useState } from "preact/hooks";
import { users } from "../api/calls";
import type * as T from "../api/types";
import { ago, moment, number } from "../format";
import { n, t, word } from "../i18n/t";
import { isAdmin, isServerAdmin } from "../may";
import { Button } from "../parts/Button";
import { Copy } from "../parts/Copy";
import { Dialog } from "../parts/Dialog";
import { Empty } from "../parts/Empty";
import { CheckField, TextField } from "../parts/Field";
import { Chips, Filter, useFilter } from "../parts/Filter";
import { NoMatch } from "../parts/NoMatch";
import { PageHead } from "../parts/Page";
import { type Column, NARROW, Table } from "../parts/Table";
import { stageWidth, useMedia } from "../parts/media";
import { useSearch } from "../parts/search";
import { go, here, opening, route } from "../route";
import { complain, sentence } from "../store/later";
import { nameOf } from "../store/rows";
import { store } from "../store/store";
import { SEARCHED_USERS } from "./fields";
import { USER_WORDS } from "./words";

export function People() {
  const [text, setText] = useFilter();
  const [isAdding, setAdding] = useState(false);
  const [code, setCode] = useState<{ user: T.User; url: string } | undefined>(undefined);
  const width = stageWidth.value;
  const isNarrow = useMedia(NARROW);
  const rows = store.users.all.value;
  const devices = store.devices.all.value;
  const owned = useMemo(() => grouped(devices, (device) => device.user_id ?? ""), [devices]);
  const columns = useMemo(
    () => columnsOf(owned).filter((column) => (isNarrow ? column.card : width >= (column.from ?? 0))),
    [owned, isNarrow, width, t("people")],
  );
  const { fits, wrong, isAsking } = useSearch(text, SEARCHED_USERS);
  if (!isAdmin.value) {
    return (
      <div class="page">
        <PageHead title={t("people")} />
        <Empty icon="people" title={t("people.forbidden")}>
          <p>{t("people.forbidden.text")}</p>
        </Empty>
      </div>
    );
  }
  return (
    <div class="page fill">
      <PageHead title={t("people")} about={n("people.count", rows.length)}>
        {isServerAdmin.value && (
          <Button icon="plus" look="main" onClick={() => setAdding(true)}>
            {t("people.add")}
          </Button>
        )}
      </PageHead>
      <div class="tools">
        <Filter
          text={text}
          onText={setText}
          placeholder={t("people.filter")}
          words={USER_WORDS}
          wrong={wrong}
          quick={[
            {
              key: "kind",
              label: t("filter.key.kind"),
              choices: ["person", "service"].map((value) => ({ value, label: word("kind", value) })),
            },
            {
              key: "state",
              label: t("filter.key.state"),
              choices: ["active", "admin", "disabled"].map((value) => ({ value, label: word("userState", value) })),
            },
          ]}
        />
      </div>
      <Chips text={text} onText={setText} />
      <Table
        label={t("people")}
        columns={columns}
        rows={rows}
        idOf={SEARCHED_USERS.idOf}
        sort={route.value.query.get("sort") ?? "name"}
        onSort={(sort) => go(here({ sort }), "replace")}
        filter={fits}
        cardHeight={96}
        empty={
          <NoMatch text={text} total={rows.length} onClear={() => setText("")} isAsking={isAsking} />
        }
      />
      {isAdding && (
        <Add
          onClose={() => setAdding(false)}
          onAdded={(user, url) => {
            setAdding(false);
            if (url) setCode({ user, url });
          }}
        />
      )}
      {code && <Code {...code} onClose={() => setCode(undefined)} />}
    </div>
  );
}

function columnsOf(owned: ReadonlyMap<string, readonly T.Device[]>): Column<T.User>[] {
  const count = (user: T.User) => owned.get(user.id)?.length ?? 0;
  return [
    {
      id: "name",
      label: t("user.name"),
      card: true,
      sort: (user) => nameOf(user).toLowerCase(),
      cell: (user) => (
        <a class="name" href={opening("user", user.id)}>
          <span class="face" aria-hidden="true">
            {initials(user)}
          </span>
          <span class="name-text">{nameOf(user)}</span>
        </a>
      ),
    },
    {
      id: "login",
      label: t("user.login"),
      width: 160,
      from: 710,
      sort: (user) => user.name,
      cell: (user) => user.name,
    },
    {
      id: "email",
      label: t("user.email"),
      width: 230,
      from: 1075,
      sort: (user) => user.email ?? "",
      cell: (user) => <span class="clip">{user.email}</span>,
    },
    {
      id: "role",
      label: t("user.is"),
      width: 190,
      card: true,
      sort: (user) => (user.is_server_admin ? 0 : 1),
      cell: (user) => <UserTags user={user} />,
    },
    {
      id: "devices",
      label: t("devices"),
      width: 100,
      end: true,
      card: true,
      sort: (user) => -count(user),
      cell: (user) => number(count(user)),
    },
    {
      id: "created",
      label: t("device.created"),
      width: 140,
      end: true,
      from: 845,
      sort: (user) => -user.created_at,
      cell: (user) => <span title={moment(user.created_at)}>{ago(user.created_at)}</span>,
    },
  ];
}

function initials(user: T.User): string {
  const words = nameOf(user)
    .split(/[\s._-]+/)
    .filter(Boolean);
  return `${words[0]?.[0] ?? "?"}${words.length > 1 ? words.at(-1)![0] : ""}`.toUpperCase();
}

/** What a user is on this server, in short. */
export function UserTags({ user }: { user: T.User }) {
  return (
    <span class="tags">
      {user.is_server_admin && <span class="tag strong">{t("user.serverAdmin")}</span>}
      {user.kind === "service" && <span class="tag">{t("kind.service")}</span>}
      {user.disabled_at !== null && <span class="tag revoked">{t("user.disabled")}</span>}
    </span>
  );
}

/** Makes a one-time link for a user; what went wrong is shown. */
export async function codeFor(user: T.User): Promise<string | undefined> {
  try {
    const { value } = await users.code(user.id);
    return value.url ?? `/welcome/${value.code}`;
  } catch (error) {
    complain(error);
    return undefined;
  }
}

function Add({ onClose, onAdded }: { onClose: () => void; onAdded: (user: T.User, url: string | undefined) => void }) {
  const [name, setName] = useState("");
  const [display, setDisplay] = useState("");
  const [email, setEmail] = useState("");
  const [isServer, setServer] = useState(false);
  const [wrong, setWrong] = useState("");
  const send = async () => {
    try {
      const { value } = await users.add({
        name,
        ...(display ? { display_name: display } : {}),
        ...(email ? { email } : {}),
        is_server_admin: isServer,
      });
      store.users.put(value);
      onAdded(value, await codeFor(value));
    } catch (error) {
      setWrong(sentence(error));
    }
  };
  return (
    <Dialog title={t("people.add")} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <TextField
          label={t("user.login")}
          hint={t("user.login.hint")}
          error={wrong || undefined}
          value={name}
          required
          autofocus
          autocomplete="off"
          onInput={(event) => setName(event.currentTarget.value)}
        />
        <TextField
          label={t("user.display")}
          value={display}
          autocomplete="off"
          onInput={(event) => setDisplay(event.currentTarget.value)}
        />
        <TextField
          label={t("user.email")}
          type="email"
          value={email}
          autocomplete="off"
          onInput={(event) => setEmail(event.currentTarget.value)}
        />
        <CheckField
          label={t("user.serverAdmin")}
          hint={t("user.serverAdmin.hint")}
          checked={isServer}
          onCheck={setServer}
        />
        <div class="dialog-foot">
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button type="submit" look="main">
            {t("people.make")}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

/** A one-time link, shown once. */
export function Code({ user, url, onClose }: { user: T.User; url: string; onClose: () => void }) {
  return (
    <Dialog title={t("code.title", { name: nameOf(user) })} onClose={onClose}>
      <p>{t("code.text")}</p>
      <Copy text={new URL(url, location.origin).href} label={t("code.link")} />
      <div class="dialog-foot">
        <Button look="main" onClick={onClose}>
          {t("done")}
        </Button>
      </div>
    </Dialog>
  );
}
