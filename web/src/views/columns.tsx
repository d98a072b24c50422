// The columns of the table of devices, and which of them are shown.

import { signal } from "@preact/signals";
import { moment, since } from "../format";
import { t } from "../i18n/t";
import { Copy } from "../parts/Copy";
import type { Column } from "../parts/Table";
import type { Searched } from "../parts/search";
import { opening } from "../route";
import type { Fields } from "../query";
import type { DeviceRow } from "../store/rows";
import { DeviceName, Os, Paths } from "./DeviceParts";
import { Ends, Tags, firstEnd, tagsOf } from "./MemberParts";
import { SHARED_FIELDS } from "./fields";

const STORED = "lanyard.columns";

/** What a query may ask of a device. */
export const DEVICE_FIELDS: Fields<DeviceRow> = {
  ...SHARED_FIELDS,
  state: { of: (row) => [row.state, ...(row.device.online ? ["online"] : ["offline"])], exact: true },
  os: { of: (row) => [row.device.os.toLowerCase()] },
  owner: { of: (row) => [row.ownerName.toLowerCase(), row.owner?.name.toLowerCase() ?? ""] },
  in: { of: (row) => row.networks, exact: true },
  network: { of: (row) => row.networks, exact: true },
  version: { of: (row) => [row.device.agent_version] },
  path: { of: (row) => Object.entries(row.links).flatMap(([state, count]) => (count > 0 ? [state] : [])), exact: true },
  ip: { of: (row) => [...row.members.flatMap(({ ip4, ip6 }) => [ip4 ?? "", ip6 ?? ""]), row.device.last_ip ?? ""] },
  number: { of: (row) => [row.device.number, row.device.number.replaceAll("-", "")] },
  name: { of: (row) => [row.name.toLowerCase(), row.device.name.toLowerCase()] },
};

export const textOfRow = (row: DeviceRow): string => row.text;

/** Devices, for filters. */
export const SEARCHED_DEVICES: Searched<DeviceRow> = {
  fields: DEVICE_FIELDS,
  textOf: textOfRow,
  idOf: (row) => row.device.id,
  list: "/devices",
};

interface DeviceColumn extends Column<DeviceRow> {
  /** Shown only when somebody asks for it. */
  off?: boolean;
}

/** All columns; the first is always shown. */
export function deviceColumns(): DeviceColumn[] {
  return [
    {
      id: "name",
      label: t("device.name"),
      card: true,
      sort: (row) => row.sortName,
      cell: (row) => <DeviceName row={row} />,
    },
    {
      id: "address",
      label: t("device.address"),
      width: 150,
      card: true,
      from: 480,
      sort: (row) => address(row.ip4),
      cell: (row) => row.ip4 && <Copy text={row.ip4} />,
    },
    {
      id: "owner",
      label: t("device.owner"),
      width: 150,
      from: 810,
      sort: (row) => row.ownerName.toLowerCase() || "￿",
      cell: Owner,
    },
    {
      id: "networks",
      label: t("device.networks"),
      width: 150,
      from: 960,
      sort: (row) => row.networks.join(),
      cell: (row) => <span class="clip">{row.networks.join(", ")}</span>,
    },
    {
      id: "path",
      label: t("device.paths"),
      width: 120,
      card: true,
      from: 630,
      sort: (row) => -(row.links.relayed + row.links.failed * 1_000),
      cell: (row) => <Paths links={row.links} />,
    },
    { id: "seen", label: t("device.seen"), width: 130, card: true, end: true, sort: (row) => -seenAt(row), cell: Seen },
    {
      id: "os",
      label: t("device.os"),
      width: 110,
      card: true,
      from: 1070,
      sort: (row) => row.device.os,
      cell: (row) => <Os os={row.device.os} />,
    },
    {
      id: "version",
      label: t("device.version"),
      width: 90,
      from: 1155,
      end: true,
      sort: (row) => row.device.agent_version,
      cell: (row) => row.device.agent_version,
    },
    {
      id: "tags",
      label: t("tags"),
      width: 170,
      from: 1340,
      sort: (row) => tagsOf(row).join() || "￿",
      cell: (row) => <Tags tags={tagsOf(row)} />,
    },
    {
      id: "ends",
      label: t("member.ends"),
      width: 140,
      off: true,
      sort: (row) => firstEnd(row) ?? Number.MAX_SAFE_INTEGER,
      cell: (row) => <Ends at={firstEnd(row)} />,
    },
    {
      id: "number",
      label: t("device.number"),
      width: 130,
      off: true,
      sort: (row) => row.device.number,
      cell: (row) => <Copy text={row.device.number} />,
    },
    {
      id: "public",
      label: t("device.public"),
      width: 150,
      off: true,
      sort: (row) => row.device.last_ip ?? "",
      cell: (row) => row.device.last_ip,
    },
    {
      id: "created",
      label: t("device.created"),
      width: 170,
      off: true,
      end: true,
      sort: (row) => -row.device.created_at,
      cell: (row) => moment(row.device.created_at),
    },
  ];
}

/** Columns somebody turned on or off; the rest is as it comes. */
export const choices = signal<Readonly<Record<string, boolean>>>(stored());

export function choose(id: string, isWanted: boolean): void {
  choices.value = { ...choices.value, [id]: isWanted };
  localStorage.setItem(STORED, JSON.stringify(choices.value));
}

/** Whether a column is wanted; one that nobody chose also needs the room. */
export function isShown(column: DeviceColumn, width: number): boolean {
  const choice = choices.value[column.id];
  if (choice !== undefined) return choice;
  return !column.off && width >= (column.from ?? 0);
}

function stored(): Record<string, boolean> {
  try {
    return JSON.parse(localStorage.getItem(STORED) ?? "{}") as Record<string, boolean>;
  } catch {
    return {};
  }
}

function seenAt(row: DeviceRow): number {
  return row.device.online ? Number.MAX_SAFE_INTEGER : (row.device.last_seen_at ?? 0);
}

function Seen(row: DeviceRow) {
  return (
    <span class={row.device.online ? "" : "quiet"}>
      {row.device.online ? t("state.online") : since(row.device.last_seen_at)}
    </span>
  );
}

function Owner(row: DeviceRow) {
  if (!row.owner) return <span class="quiet">{t("device.nobody")}</span>;
  return (
    <a class="clip" href={opening("user", row.owner.id)}>
      {row.ownerName}
    </a>
  );
}

/** An IPv4 address as a number, so that .9 sorts before .10. */
function address(ip: string): number {
  return ip.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}
