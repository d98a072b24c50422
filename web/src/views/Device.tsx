// One device: where it is, its networks, whom it talks to and how, what happened to it. In the drawer and on its own page.

import { useState } from "preact/hooks";
import { devices, events } from "../api/calls";
import { about } from "../api/metadata";
import type * as T from "../api/types";
import { moment, since } from "../format";
import { t } from "../i18n/t";
import { mayChangeDevice } from "../may";
import { Button, LinkButton } from "../parts/Button";
import { Copy } from "../parts/Copy";
import { State } from "../parts/Dot";
import { EditDialog } from "../parts/Edit";
import { Empty } from "../parts/Empty";
import { EntriesCard } from "../parts/Entries";
import { EventList } from "../parts/Events";
import { TextField } from "../parts/Field";
import { Facts, PageHead, Section, Waiting } from "../parts/Page";
import { useLoad } from "../parts/load";
import { opening, route, to } from "../route";
import { removeDevices, suspendDevices } from "../store/actions";
import type { DeviceRow } from "../store/rows";
import { store } from "../store/store";
import { MemberActions, MemberState } from "./DeviceParts";
import { EditMember } from "./Member";
import { Marks } from "./MemberParts";
import { Peers } from "./Peers";

/** `/devices/ID` */
export function DevicePage() {
  const row = store.rows.get(route.value.path[1] ?? "");
  if (!row) {
    return (
      <div class="page">
        <PageHead title={t("device")} />
        <Empty icon="devices" title={t("device.gone")}>
          <LinkButton href={to("devices")}>{t("devices")}</LinkButton>
        </Empty>
      </div>
    );
  }
  return (
    <div class="page">
      <PageHead title={row.name} about={<State state={row.state} />} />
      <DeviceDetail row={row} />
    </div>
  );
}

type Editing = { kind: "device" } | { kind: "member"; member: T.Member } | undefined;

export function DeviceDetail({ row }: { row: DeviceRow }) {
  const [editing, setEditing] = useState<Editing>(undefined);
  const { device } = row;
  const done = () => setEditing(undefined);
  return (
    <div class="detail">
      {mayChangeDevice(row) && (
        <div class="detail-actions">
          <Button small icon="edit" onClick={() => setEditing({ kind: "device" })} data-key="edit">
            {t("rename")}
          </Button>
          {device.suspended_at === null ? (
            <Button small icon="pause" onClick={() => void suspendDevices([device], true)}>
              {t("suspend")}
            </Button>
          ) : (
            <Button small icon="play" onClick={() => void suspendDevices([device], false)}>
              {t("resume")}
            </Button>
          )}
          <Button small look="danger" icon="trash" onClick={() => removeDevices([device])}>
            {t("device.remove")}
          </Button>
        </div>
      )}
      <Facts facts={factsOf(row)} />
      <EntriesCard of={about.device(device)} mayEdit={mayChangeDevice(row)} />
      <Section title={t("device.networks")}>
        <Networks members={row.members} onRename={(member) => setEditing({ kind: "member", member })} />
      </Section>
      <Section title={t("links")}>
        <Peers device={device} />
      </Section>
      <Section title={t("device.events")}>
        <Events device={device} />
      </Section>
      <details class="raw">
        <summary>{t("device.raw")}</summary>
        <pre>{JSON.stringify({ device, members: row.members }, null, 2)}</pre>
      </details>
      {editing?.kind === "device" && <RenameDevice device={device} onClose={done} />}
      {editing?.kind === "member" && <EditMember member={editing.member} onClose={done} />}
    </div>
  );
}

function factsOf({ device, owner, ownerName }: DeviceRow) {
  return [
    [t("device.seen"), device.online ? t("state.online") : since(device.last_seen_at)],
    [t("device.suspended"), device.suspended_at === null ? null : moment(device.suspended_at)],
    [t("device.owner"), owner ? <a href={opening("user", owner.id)}>{ownerName}</a> : t("device.nobody")],
    [t("device.number"), <Copy text={device.number} />],
    [t("device.public"), device.last_ip && <Copy text={device.last_ip} />],
    [t("device.os"), device.os],
    [t("device.version"), device.agent_version],
    [t("device.created"), moment(device.created_at)],
  ] as const;
}

function Networks({ members: list, onRename }: { members: readonly T.Member[]; onRename: (member: T.Member) => void }) {
  if (list.length === 0) return <p class="quiet">{t("device.noNetwork")}</p>;
  return (
    <ul class="lines">
      {list.map((member) => (
        <li key={member.id} class="line">
          <div class="line-main">
            <a href={to("networks", member.network)}>{member.network}</a>
            <MemberState member={member} />
          </div>
          <div class="line-about line-addresses">
            <Marks member={member} />
            {member.ip4 && <Copy text={member.ip4} />}
            {member.ip6 && <Copy text={member.ip6} />}
            <a class="link" href={opening("member", member.id)}>
              {t("member")}
              <span class="unseen">{member.network}</span>
            </a>
          </div>
          <MemberActions member={member} onRename={onRename} />
        </li>
      ))}
    </ul>
  );
}

function Events({ device }: { device: T.Device }) {
  const loaded = useLoad(() => events({ entity: `device:${device.id}`, limit: 10 }), [device.id]);
  return (
    <Waiting of={loaded}>
      {(page) =>
        page.items.length === 0 ? <p class="quiet">{t("activity.none")}</p> : <EventList events={page.items} />
      }
    </Waiting>
  );
}

function RenameDevice({ device, onClose }: { device: T.Device; onClose: () => void }) {
  return (
    <EditDialog
      title={t("device.rename", { name: device.name })}
      load={() => devices.one(device.id)}
      draftOf={({ name }) => ({ name })}
      save={(changed, ifMatch) => devices.set(device.id, changed, ifMatch)}
      onSaved={(saved) => store.devices.put(saved)}
      theirs={({ name }) => name}
      onClose={onClose}
    >
      {(draft, change) => <NameField value={draft.name} onName={(name) => change({ name })} />}
    </EditDialog>
  );
}

function NameField({ value, onName }: { value: string; onName: (name: string) => void }) {
  return (
    <TextField
      label={t("device.name")}
      hint={t("name.hint")}
      value={value}
      required
      maxLength={63}
      autofocus
      onInput={(event) => onName(event.currentTarget.value)}
    />
  );
}
