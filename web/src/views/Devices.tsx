// Devices: every machine the caller may see, filtered, sorted, and changed many at once.

import { computed, signal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { number } from "../format";
import { n, t } from "../i18n/t";
import { Button, LinkButton } from "../parts/Button";
import { Empty } from "../parts/Empty";
import { Chips, Filter, type Quick, useFilter } from "../parts/Filter";
import { Menu } from "../parts/Menu";
import { PageHead } from "../parts/Page";
import { NARROW, Table } from "../parts/Table";
import { stageWidth, useMedia } from "../parts/media";
import { isAdmin, mayChangeDevice, mayChangeMember } from "../may";
import { compile } from "../query";
import { go, here, route, scope, to } from "../route";
import { actOn, removeDevices, removeMembers, suspendDevices } from "../store/actions";
import type { DeviceRow } from "../store/rows";
import { store } from "../store/store";
import { DEVICE_FIELDS, choices, choose, deviceColumns, isShown, textOfRow } from "./columns";

const selected = signal<ReadonlySet<string>>(new Set());

/** Devices of the network everything is limited to. */
export const inScope = computed(() => {
  const rows = store.rows.all.value;
  return scope.value === "" ? rows : rows.filter((row) => row.networks.includes(scope.value));
});

const idOf = (row: DeviceRow) => row.device.id;
const nameOf = (row: DeviceRow) => row.name;

export function Devices() {
  const [text, setText] = useFilter();
  const width = stageWidth.value;
  const isNarrow = useMedia(NARROW);
  const rows = inScope.value;
  const all = deviceColumns();
  const names = all.map((column) => column.label).join();
  const columns = useMemo(
    () => all.filter((column) => (isNarrow ? column.card : isShown(column, width))),
    [names, isNarrow, width, choices.value],
  );
  const filter = useMemo(() => compile(text, DEVICE_FIELDS, textOfRow), [text]);
  const shown = useMemo(() => (text === "" ? rows.length : rows.filter(filter).length), [rows, filter]);
  const online = useMemo(() => rows.filter((row) => row.device.online).length, [rows]);
  return (
    <div class="page fill">
      <PageHead
        title={t("devices")}
        about={`${n("devices.count", rows.length)} · ${t("devices.online", { count: number(online) })}`}
      >
        {isAdmin.value && (
          <LinkButton icon="plus" look="main" href={addHref()}>
            {t("devices.add")}
          </LinkButton>
        )}
      </PageHead>
      <div class="tools">
        <Filter text={text} onText={setText} placeholder={t("devices.filter")} quick={quick()} />
        {!isNarrow && (
          <Menu icon="columns" label={t("table.columns")} shown>
            {() => (
              <div class="quick">
                {all.slice(1).map((column) => (
                  <label key={column.id} class="quick-line">
                    <input
                      type="checkbox"
                      checked={isShown(column, width)}
                      onChange={(event) => choose(column.id, event.currentTarget.checked)}
                    />
                    <span>{column.label}</span>
                  </label>
                ))}
              </div>
            )}
          </Menu>
        )}
      </div>
      <Chips text={text} onText={setText} />
      <p class="unseen" role="status">
        {text !== "" && n("devices.match", shown)}
      </p>
      <Table
        label={t("devices")}
        columns={columns}
        rows={rows}
        idOf={idOf}
        nameOf={nameOf}
        sort={route.value.query.get("sort") ?? "name"}
        onSort={(sort) => go(here({ sort }), "replace")}
        filter={filter}
        selected={selected.value}
        onSelect={(next) => {
          selected.value = next;
        }}
        empty={
          rows.length === 0 ? <NoDevices /> : <NoMatch text={text} total={rows.length} onClear={() => setText("")} />
        }
      />
      <Bar rows={rows} />
    </div>
  );
}

function addHref(): string {
  const name = scope.value || store.networks.all.value.find(({ role }) => role === "admin" || role === "owner")?.name;
  return name === undefined ? to("networks") : `${to("networks", name, "invites")}${scope.value ? "&" : "?"}new=1`;
}

function quick(): Quick[] {
  const oses = [...new Set(store.devices.all.value.map((device) => device.os).filter(Boolean))].sort();
  const state = (value: string) => ({ value, label: t(`state.${value as "online"}`) });
  return [
    { key: "state", label: t("filter.key.state"), choices: ["online", "offline", "pending", "suspended"].map(state) },
    { key: "path", label: t("filter.key.path"), choices: ["direct", "relayed", "failed"].map(state) },
    { key: "os", label: t("filter.key.os"), choices: oses.map((os) => ({ value: os.toLowerCase(), label: os })) },
    {
      key: "in",
      label: t("filter.key.in"),
      choices: store.networks.all.value.map(({ name }) => ({ value: name, label: name })),
    },
  ];
}

function NoDevices() {
  return (
    <Empty icon="devices" title={t("devices.none")}>
      <p>{t(isAdmin.value ? "devices.none.admin" : "devices.none.member")}</p>
      {isAdmin.value && (
        <LinkButton icon="plus" look="main" href={addHref()}>
          {t("devices.add")}
        </LinkButton>
      )}
    </Empty>
  );
}

function NoMatch({ text, total, onClear }: { text: string; total: number; onClear: () => void }) {
  return (
    <Empty icon="search" title={t("filter.nothing", { text })}>
      <p>{n("filter.without", total)}</p>
      <Button onClick={onClear}>{t("filter.clear")}</Button>
    </Empty>
  );
}

/** What can be done with the rows that are selected. */
function Bar({ rows }: { rows: readonly DeviceRow[] }) {
  if (selected.value.size === 0) return null;
  const chosen = rows.filter((row) => selected.value.has(row.device.id));
  if (chosen.length === 0) return null;
  const clear = () => {
    selected.value = new Set();
  };
  const then = (run: () => void) => () => {
    run();
    clear();
  };
  const members = chosen
    .flatMap((row) => row.members)
    .filter((member) => mayChangeMember(member) && (scope.value === "" || member.network === scope.value));
  const pending = members.filter(({ state }) => state === "pending");
  const own = chosen.filter(mayChangeDevice).map((row) => row.device);
  const running = own.filter((device) => device.suspended_at === null);
  const halted = own.filter((device) => device.suspended_at !== null);
  return (
    <div class="bar" role="toolbar" aria-label={t("bar")}>
      <strong>{n("bar.count", chosen.length)}</strong>
      {pending.length > 0 && (
        <Button small look="main" icon="check" onClick={then(() => void actOn(pending, "approve"))}>
          {t("approve")}
        </Button>
      )}
      {running.length > 0 && (
        <Button small icon="pause" onClick={then(() => void suspendDevices(running, true))}>
          {t("suspend")}
        </Button>
      )}
      {halted.length > 0 && (
        <Button small icon="play" onClick={then(() => void suspendDevices(halted, false))}>
          {t("resume")}
        </Button>
      )}
      {scope.value !== "" && members.length > 0 && (
        <Button small look="danger" icon="trash" onClick={then(() => removeMembers(members))}>
          {t("member.remove", { network: scope.value })}
        </Button>
      )}
      {scope.value === "" && own.length > 0 && (
        <Button small look="danger" icon="trash" onClick={then(() => removeDevices(own))}>
          {t("device.remove")}
        </Button>
      )}
      <Button small look="bare" onClick={clear} data-key="unselect">
        {t("bar.clear")}
      </Button>
    </div>
  );
}
