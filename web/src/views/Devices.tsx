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
import { NoMatch } from "../parts/NoMatch";
import { stageWidth, useMedia } from "../parts/media";
import { useSearch } from "../parts/search";
import { isAdmin, isServerAdmin, mayBring, mayChangeDevice, mayChangeMember } from "../may";
import { go, here, route, scope, to } from "../route";
import { actOn, removeDevices, removeMembers, suspendDevices } from "../store/actions";
import type { DeviceRow } from "../store/rows";
import { store } from "../store/store";
import { Bulk } from "./MemberParts";
import { SEARCHED_DEVICES, choices, choose, deviceColumns, isShown } from "./columns";
import { DEVICE_WORDS, systems } from "./words";

const selected = signal<ReadonlySet<string>>(new Set());

/** Devices of the network everything is limited to. */
export const inScope = computed(() => {
  const rows = store.rows.all.value;
  return scope.value === "" ? rows : rows.filter((row) => row.networks.includes(scope.value));
});

const { idOf } = SEARCHED_DEVICES;
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
  const { fits, wrong, isAsking } = useSearch(text, SEARCHED_DEVICES);
  const online = useMemo(() => rows.filter((row) => row.device.online).length, [rows]);
  return (
    <div class="page fill">
      <PageHead
        title={t("devices")}
        about={`${n("devices.count", rows.length)} · ${t("devices.online", { count: number(online) })}`}
      >
        <AddLink />
      </PageHead>
      <div class="tools">
        <Filter
          text={text}
          onText={setText}
          placeholder={t("devices.filter")}
          quick={quick()}
          words={DEVICE_WORDS}
          wrong={wrong}
        />
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
      <Table
        label={t("devices")}
        columns={columns}
        rows={rows}
        idOf={idOf}
        nameOf={nameOf}
        sort={route.value.query.get("sort") ?? "name"}
        onSort={(sort) => go(here({ sort }), "replace")}
        filter={fits}
        says={(count) => text !== "" && n("devices.match", count)}
        selected={selected.value}
        onSelect={(next) => {
          selected.value = next;
        }}
        empty={
          rows.length === 0 ? (
            <NoDevices />
          ) : (
            <NoMatch text={text} total={rows.length} onClear={() => setText("")} isAsking={isAsking} />
          )
        }
      />
      <Bar rows={rows} />
    </div>
  );
}

/** To the dialog that brings a device in: of any device for administrators, of their own for members. */
function AddLink() {
  const networks = store.networks.all.value.filter(({ name }) => scope.value === "" || name === scope.value);
  const network =
    networks.find(({ role }) => role === "admin" || role === "owner") ??
    networks.find((one) => isServerAdmin.value || mayBring(one));
  if (!network && !isServerAdmin.value) return null;
  const isOwn = network !== undefined && mayBring(network);
  const at = to("networks", ...(network ? [network.name, ...(isOwn ? [] : ["invites"])] : []));
  return (
    <LinkButton icon="plus" look="main" href={`${at}${scope.value ? "&" : "?"}new=1`}>
      {t(isOwn ? "devices.addMine" : "devices.add")}
    </LinkButton>
  );
}

function quick(): Quick[] {
  const state = (value: string) => ({ value, label: t(`state.${value as "online"}`) });
  return [
    { key: "state", label: t("filter.key.state"), choices: ["online", "offline", "pending", "suspended"].map(state) },
    { key: "path", label: t("filter.key.path"), choices: ["direct", "relayed", "failed"].map(state) },
    { key: "os", label: t("filter.key.os"), choices: systems.value.map((os) => ({ value: os.toLowerCase(), label: os })) },
    {
      key: "in",
      label: t("filter.key.in"),
      choices: store.networks.all.value.map(({ name }) => ({ value: name, label: name })),
    },
  ];
}

/** What is said where there are no devices, and what brings the first one. */
export function NoDevices() {
  return (
    <Empty icon="devices" title={t("devices.none")}>
      <p>{t(isAdmin.value ? "devices.none.admin" : "devices.none.member")}</p>
      <AddLink />
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
      <Bulk members={members.filter(({ state }) => state !== "pending")} onDone={clear} />
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
