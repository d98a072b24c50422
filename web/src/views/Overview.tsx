// Overview: how things are, what needs somebody, what happened last.

import { grouped } from "../grouped";
import { computed } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { events, health } from "../api/calls";
import type * as T from "../api/types";
import { number, percent, since } from "../format";
import { n, t, word } from "../i18n/t";
import { isServerAdmin } from "../may";
import { LinkButton } from "../parts/Button";
import { Dot, type DotState } from "../parts/Dot";
import { EventList } from "../parts/Events";
import { Icon } from "../parts/Icon";
import { PageHead, Section, Waiting } from "../parts/Page";
import { useLoad } from "../parts/load";
import { opening, scope, to } from "../route";
import { actOn } from "../store/actions";
import { store } from "../store/store";
import { inWords, stateOfLink } from "../verdict";
import { MemberActions } from "./DeviceParts";
import { NoDevices, inScope } from "./Devices";
import { EndingSoon } from "./MemberParts";

/** Rows of each list; the rest is behind a link. */
const SHOWN = 8;

/** Links between devices in sight, both of them online. */
const links = computed(() => {
  const online = new Set(inScope.value.filter((row) => row.device.online).map((row) => row.device.id));
  return store.links.all.value.filter((link) => online.has(link.device_id) && online.has(link.peer_id));
});

const pending = computed(() =>
  store.members.all.value.filter(
    (member) => member.state === "pending" && (scope.value === "" || member.network === scope.value),
  ),
);

export function Overview() {
  const rows = inScope.value;
  const online = rows.filter((row) => row.device.online).length;
  const byState = useMemo(() => grouped(links.value, stateOfLink), [links.value]);
  const count = (state: "direct" | "relayed" | "failed") => byState.get(state)?.length ?? 0;
  const known = count("direct") + count("relayed") + count("failed");
  const problems = [...(byState.get("failed") ?? []), ...(byState.get("relayed") ?? [])];
  return (
    <div class="page">
      <PageHead title={t("overview")} about={scope.value || t("overview.all")} />
      <div class="numbers">
        <Figure
          label={t("overview.online")}
          value={number(online)}
          about={n("overview.of", rows.length)}
          href={`${to("devices")}${sep()}q=state:online`}
        />
        <Figure
          label={t("overview.direct")}
          value={percent(count("direct"), known)}
          about={n("overview.links", known)}
          href={to("map")}
        />
        <Figure
          label={t("overview.relayed")}
          value={number(count("relayed"))}
          about={n("overview.failed", count("failed"))}
          href={`${to("devices")}${sep()}q=path:relayed`}
        />
        <Figure
          label={t("overview.waiting")}
          value={number(pending.value.length)}
          about={t("overview.approval")}
          href={`${to("devices")}${sep()}q=state:pending`}
          isLoud={pending.value.length > 0}
        />
      </div>
      <div class="columns">
        <div>
          {rows.length === 0 && (
            <Section title={t("devices")}>
              <NoDevices />
            </Section>
          )}
          <Waits members={pending.value} />
          <EndingSoon />
          <Section title={t("overview.pairs")}>
            <Pairs links={problems} direct={count("direct")} />
          </Section>
        </div>
        <div>
          {isServerAdmin.value && <Health />}
          <Versions />
          <Section title={t("overview.latest")} action={<a href={to("activity")}>{t("overview.allEvents")}</a>}>
            <Latest />
          </Section>
        </div>
      </div>
    </div>
  );
}

function sep(): string {
  return scope.value === "" ? "?" : "&";
}

interface FigureProps {
  label: string;
  value: string;
  about: string;
  href: string;
  isLoud?: boolean;
}

function Figure({ label, value, about, href, isLoud = false }: FigureProps) {
  return (
    <a class={isLoud ? "figure loud" : "figure"} href={href}>
      <span class="figure-label">{label}</span>
      <span class="figure-value">{value}</span>
      <span class="figure-about">{about}</span>
    </a>
  );
}

function Waits({ members }: { members: readonly T.Member[] }) {
  if (members.length === 0) return null;
  const mine = members.filter((member) => store.mayAdmin(member.network));
  return (
    <Section
      title={t("overview.waitingList")}
      action={
        mine.length > 1 && (
          <button type="button" class="link" onClick={() => void actOn(mine, "approve")}>
            {t("overview.approveAll")}
          </button>
        )
      }
    >
      <ul class="lines">
        {members.slice(0, SHOWN).map((member) => (
          <li key={member.id} class="line">
            <a class="line-main" href={opening("device", member.device_id)}>
              <Dot state="pending" />
              <span>{member.name}</span>
            </a>
            <p class="line-about">{t("overview.asks", { network: member.network, ago: since(member.created_at) })}</p>
            <MemberActions member={member} onRename={() => {}} />
          </li>
        ))}
      </ul>
      {members.length > SHOWN && (
        <More count={members.length - SHOWN} href={`${to("devices")}${sep()}q=state:pending`} />
      )}
    </Section>
  );
}

function More({ count, href }: { count: number; href: string }) {
  return (
    <p class="more">
      <a href={href}>{n("more", count)}</a>
    </p>
  );
}

function Pairs({ links: list, direct }: { links: readonly T.Link[]; direct: number }) {
  if (list.length === 0) {
    return (
      <p class={direct === 0 ? "quiet" : "good"}>
        {direct > 0 && <Icon name="check" />}
        {direct === 0 ? t("overview.noLinks") : n("overview.allDirect", direct)}
      </p>
    );
  }
  return (
    <>
      <ul class="lines">
        {list.slice(0, SHOWN).map((link) => (
          <li key={link.id} class="line">
            <a class="line-main" href={opening("link", link.id)}>
              <Dot state={stateOfLink(link)} />
              <span>
                {link.device} – {link.peer}
              </span>
              <span class="unseen">{t(`state.${stateOfLink(link)}`)}</span>
            </a>
            <p class="line-about">{inWords(link).reason}</p>
          </li>
        ))}
      </ul>
      {list.length > SHOWN && (
        <More count={list.length - SHOWN} href={`${to("devices")}${sep()}q=path:relayed,failed`} />
      )}
    </>
  );
}

const HEALTH_DOT: Readonly<Record<string, DotState>> = {
  ok: "ok",
  degraded: "warn",
  starting: "trying",
  failed: "failed",
};

/** The services of the server; asked for again each time the stream is opened. */
export function Health() {
  const loaded = useLoad(health, [store.connection.value === "open"]);
  return (
    <Section title={t("health")}>
      <Waiting of={loaded}>
        {({ services }) => (
          <ul class="services">
            {Object.entries(services).map(([name, { state, why }]) => (
              <li key={name}>
                <Dot state={HEALTH_DOT[state] ?? "warn"} />
                <span>{word("service", name)}</span>
                <span class="quiet">{word("health", state)}</span>
                {why && <p class="quiet">{why}</p>}
              </li>
            ))}
          </ul>
        )}
      </Waiting>
    </Section>
  );
}

/** Agents that are older than the newest one here. */
function Versions() {
  const versions = grouped(inScope.value, (row) => row.device.agent_version);
  const list = [...versions].filter(([version]) => version !== "").sort(([a], [b]) => compareVersions(b, a));
  if (list.length < 2) return null;
  const total = list.reduce((sum, [, rows]) => sum + rows.length, 0);
  return (
    <Section title={t("overview.versions")}>
      <ul class="versions">
        {list.slice(0, 4).map(([version, rows]) => (
          <li key={version}>
            <a href={`${to("devices")}${sep()}q=version:${encodeURIComponent(version)}`}>{version}</a>
            <meter min={0} max={total} value={rows.length} aria-label={n("devices.count", rows.length)} />
            <span>{number(rows.length)}</span>
          </li>
        ))}
      </ul>
    </Section>
  );
}

function compareVersions(a: string, b: string): number {
  return a.localeCompare(b, "en", { numeric: true });
}

function Latest() {
  const loaded = useLoad(() => events({ network: scope.value, limit: 10 }), [scope.value]);
  return (
    <Waiting of={loaded}>
      {({ items }) => {
        const fresh = scope.value === "" ? store.events.value : [];
        const seen = new Set(items.map((event) => event.id));
        const list = [...fresh.filter((event) => !seen.has(event.id)), ...items].slice(0, 10);
        return list.length === 0 ? <p class="quiet">{t("activity.none")}</p> : <EventList events={list} />;
      }}
    </Waiting>
  );
}

/** What is shown instead to who sees no network. */
export function Welcome() {
  return (
    <div class="page">
      <PageHead title={t("overview")} />
      <div class="empty">
        <Icon name="networks" size={28} />
        <h2>{t(isServerAdmin.value ? "welcome.title" : "networks.none")}</h2>
        <p>{t(isServerAdmin.value ? "welcome.text" : "networks.none.member")}</p>
        {isServerAdmin.value && (
          <LinkButton icon="plus" look="main" href={`${to("networks")}?new=1`}>
            {t("networks.add")}
          </LinkButton>
        )}
      </div>
    </div>
  );
}
