// One network: its members, what is written about it, invites, roles, groups and settings.

import { useMemo, useState } from "preact/hooks";
import { about } from "../api/metadata";
import type * as T from "../api/types";
import { natural, since } from "../format";
import { n, t, word } from "../i18n/t";
import { mayBring } from "../may";
import { Button, LinkButton } from "../parts/Button";
import { Copy } from "../parts/Copy";
import { Empty } from "../parts/Empty";
import { EntriesCard } from "../parts/Entries";
import { Chips, Filter, useFilter } from "../parts/Filter";
import { NoMatch } from "../parts/NoMatch";
import { PageHead, Tabs } from "../parts/Page";
import { type Column, NARROW, Table } from "../parts/Table";
import { stageWidth, useMedia } from "../parts/media";
import { useSearch } from "../parts/search";
import { go, here, opening, route, to } from "../route";
import { actOn, removeMembers } from "../store/actions";
import { store } from "../store/store";
import { MemberActions, MemberState } from "./DeviceParts";
import { Groups } from "./Groups";
import { InviteDialog } from "./InviteDialog";
import { Invites } from "./Invites";
import { EditMember } from "./Member";
import { Bulk, Marks } from "./MemberParts";
import { NetworkSettings } from "./NetworkSettings";
import { Roles } from "./Roles";
import { searchedMembers } from "./fields";
import { MEMBER_WORDS } from "./words";

/** The first two are for everybody in the network. */
const TABS = ["members", "entries", "invites", "roles", "groups", "settings"] as const;
const OPEN = 2;
type TabId = (typeof TABS)[number];

export function Network() {
  const [, name = "", step = "members"] = route.value.path;
  const network = store.network(name);
  if (!network) {
    return (
      <div class="page">
        <PageHead title={name} />
        <Empty icon="networks" title={t("network.gone")}>
          <p>{t("network.gone.text")}</p>
          <LinkButton href={to("networks")}>{t("networks")}</LinkButton>
        </Empty>
      </div>
    );
  }
  const mayAdmin = store.mayAdmin(name);
  const allowed: readonly TabId[] = mayAdmin ? TABS : TABS.slice(0, OPEN);
  const tab = allowed.find((id) => id === step) ?? "members";
  const tabs = allowed.map((id) => ({
    id,
    label: id === "entries" ? t("entries") : t(`network.${id}`),
    href: id === "members" ? to("networks", name) : to("networks", name, id),
    ...(id === "members" ? { count: network.pending } : {}),
  }));
  return (
    <div class={tab === "members" ? "page fill" : "page"}>
      <PageHead title={network.name} about={`${network.prefix4} · ${network.prefix6} · ${t(`role.${network.role}`)}`}>
        {mayAdmin && (
          <LinkButton
            icon="plus"
            look="main"
            href={`${to("networks", name, "invites")}${to().includes("?") ? "&" : "?"}new=1`}
          >
            {t("invites.add")}
          </LinkButton>
        )}
        {mayBring(network) && (
          <Button icon="plus" look="main" onClick={() => go(here({ new: "1" }))}>
            {t("devices.addMine")}
          </Button>
        )}
      </PageHead>
      <Tabs tabs={tabs} current={tab} label={network.name} />
      {tab === "members" && <Members network={network} mayAdmin={mayAdmin} />}
      {tab === "entries" && <EntriesTab network={network} mayAdmin={mayAdmin} />}
      {tab === "invites" && <Invites network={network} />}
      {tab === "roles" && <Roles network={network} />}
      {tab === "groups" && <Groups network={network} />}
      {tab === "settings" && <NetworkSettings network={network} />}
      {mayBring(network) && route.value.query.has("new") && (
        <InviteDialog network={network} isOwn onClose={() => go(here({ new: null }), "replace")} />
      )}
    </div>
  );
}

function EntriesTab({ network, mayAdmin }: { network: T.Network; mayAdmin: boolean }) {
  return (
    <>
      <p class="about lead">{t("entries.ofNetwork")}</p>
      <EntriesCard of={about.network(network)} mayEdit={mayAdmin} />
    </>
  );
}

/** Who waits comes first, then by name. */
const ORDER: Readonly<Record<string, string>> = { pending: "0", active: "1", suspended: "2" };

const nameOf = (member: T.Member) => member.name;

function Members({ network, mayAdmin }: { network: T.Network; mayAdmin: boolean }) {
  const [text, setText] = useFilter();
  const [selected, select] = useState<ReadonlySet<string>>(new Set());
  const [renamed, rename] = useState<T.Member | undefined>(undefined);
  const width = stageWidth.value;
  const isNarrow = useMedia(NARROW);
  const all = store.members.all.value;
  const rows = useMemo(
    () => all.filter(({ network: of, state }) => of === network.name && state !== "left" && state !== "denied"),
    [all, network.name],
  );
  const columns = useMemo(
    () => columnsOf(rename).filter((column) => (isNarrow ? column.card : width >= (column.from ?? 0))),
    [isNarrow, width, t("device.name")],
  );
  const searched = useMemo(() => searchedMembers(network.name), [network.name]);
  const { fits, wrong, isAsking } = useSearch(text, searched);
  const chosen = rows.filter((member) => selected.has(member.id));
  return (
    <>
      <div class="tools">
        <Filter
          text={text}
          onText={setText}
          placeholder={t("members.filter")}
          words={MEMBER_WORDS}
          wrong={wrong}
          quick={[
            {
              key: "state",
              label: t("filter.key.state"),
              choices: (["online", "offline", "pending", "suspended"] as const).map((value) => ({
                value,
                label: t(`state.${value}`),
              })),
            },
          ]}
        />
      </div>
      <Chips text={text} onText={setText} />
      <Table
        label={t("network.members")}
        columns={columns}
        rows={rows}
        idOf={searched.idOf}
        nameOf={nameOf}
        sort={route.value.query.get("sort") ?? "name"}
        onSort={(sort) => go(here({ sort }), "replace")}
        filter={fits}
        cardHeight={160}
        {...(mayAdmin ? { selected, onSelect: select } : {})}
        empty={
          rows.length === 0 ? (
            <Empty icon="devices" title={t("members.none")}>
              <p>{t(mayAdmin ? "members.none.admin" : "devices.none.member")}</p>
            </Empty>
          ) : (
            <NoMatch text={text} total={rows.length} onClear={() => setText("")} isAsking={isAsking} />
          )
        }
      />
      <Bar chosen={chosen} onDone={() => select(new Set())} network={network.name} />
      {renamed && <EditMember member={renamed} onClose={() => rename(undefined)} />}
    </>
  );
}

function columnsOf(onRename: (member: T.Member) => void): Column<T.Member>[] {
  return [
    {
      id: "name",
      label: t("device.name"),
      card: true,
      sort: (member) => (ORDER[member.state] ?? "3") + natural(member.name),
      cell: (member) => (
        <a class="name" href={opening("device", member.device_id)}>
          <span class="name-text">{member.name}</span>
        </a>
      ),
    },
    {
      id: "state",
      label: t("member.state"),
      width: 120,
      card: true,
      sort: (member) => member.state,
      cell: (member) => <MemberState member={member} />,
    },
    {
      id: "address",
      label: t("device.address"),
      width: 150,
      card: true,
      from: 740,
      cell: (member) => member.ip4 && <Copy text={member.ip4} />,
    },
    {
      id: "tags",
      label: t("tags"),
      width: 190,
      card: true,
      from: 940,
      sort: (member) => member.tags.join() || "￿",
      // What ends soon is said where it is seen; the column of all ends needs more room.
      cell: (member) => <Marks member={member} />,
    },
    {
      id: "number",
      label: t("device.number"),
      width: 140,
      from: 1220,
      sort: (member) => member.number,
      cell: (member) => <Copy text={member.number} />,
    },
    {
      id: "via",
      label: t("member.via"),
      width: 110,
      from: 1330,
      sort: (member) => member.joined_via,
      cell: (member) => word("door", member.joined_via),
    },
    {
      id: "seen",
      label: t("device.seen"),
      width: 130,
      end: true,
      card: true,
      from: 1070,
      sort: (member) => -(member.online ? Number.MAX_SAFE_INTEGER : (member.last_seen_at ?? 0)),
      cell: (member) => (member.online ? t("state.online") : since(member.last_seen_at)),
    },
    {
      id: "actions",
      label: t("actions"),
      width: 210,
      end: true,
      card: true,
      cell: (member) => <MemberActions member={member} onRename={onRename} />,
    },
  ];
}

function Bar({ chosen, onDone, network }: { chosen: readonly T.Member[]; onDone: () => void; network: string }) {
  if (chosen.length === 0) return null;
  const of = (state: T.MemberState) => chosen.filter((member) => member.state === state);
  const then = (run: () => void) => () => {
    run();
    onDone();
  };
  const verbs = [
    ["approve", of("pending"), "check"],
    ["deny", of("pending"), "close"],
    ["suspend", of("active"), "pause"],
    ["resume", of("suspended"), "play"],
  ] as const;
  return (
    <div class="bar" role="toolbar" aria-label={t("bar")}>
      <strong>{n("bar.count", chosen.length)}</strong>
      {verbs
        .filter(([, list]) => list.length > 0)
        .map(([verb, list, icon]) => (
          <Button
            key={verb}
            small
            icon={icon}
            look={verb === "approve" ? "main" : "plain"}
            onClick={then(() => void actOn(list, verb))}
          >
            {t(verb)}
          </Button>
        ))}
      <Bulk members={chosen.filter(({ state }) => state !== "pending")} onDone={onDone} />
      <Button small look="danger" icon="trash" onClick={then(() => removeMembers(chosen))}>
        {t("member.remove", { network })}
      </Button>
      <Button small look="bare" onClick={onDone} data-key="unselect">
        {t("bar.clear")}
      </Button>
    </div>
  );
}
