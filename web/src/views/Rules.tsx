// What holds now: who reaches whom, who comes in, who decides. There is nothing to change here.

import { useMemo } from "preact/hooks";
import type * as T from "../api/types";
import { n, t } from "../i18n/t";
import { Empty } from "../parts/Empty";
import { Facts, PageHead, Section } from "../parts/Page";
import { opening, scope, to } from "../route";
import { type Standing, refusal, standings } from "../standing";
import { store } from "../store/store";

/** Pairs named of those that refuse each other. */
const SHOWN = 5;

const NONE: Standing = { active: 0, pending: 0, suspended: 0, ending: 0, refusing: [] };

export function Rules() {
  const members = store.members.all.value;
  const links = store.links.all.value;
  const devices = store.devices.all.value;
  const all = useMemo(
    () => standings({ members, links, deviceOf: (id) => store.devices.peek(id) }),
    [members, links, devices],
  );
  const networks = store.networks.all.value
    .filter(({ name }) => scope.value === "" || name === scope.value)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return (
    <div class="page">
      <PageHead title={t("rules")} about={t("rules.about")} />
      <p class="lead">
        {t("rules.text")} {t("rules.admit")} {t("rules.people")}
      </p>
      {networks.length === 0 && <Empty icon="networks" title={t("networks.none")} />}
      {networks.map((network) => (
        <Section
          key={network.id}
          title={network.name}
          action={
            <span class="row-actions">
              <a href={to("networks", network.name)}>{t("network.members")}</a>
              {store.mayAdmin(network.name) && (
                <a href={to("networks", network.name, "roles")}>{t("network.roles")}</a>
              )}
            </span>
          }
        >
          <Holds network={network} standing={all.get(network.name) ?? NONE} />
        </Section>
      ))}
    </div>
  );
}

function Holds({ network, standing }: { network: T.Network; standing: Standing }) {
  const { name, join_mode, role, peer_relay } = network;
  const mayAdmin = store.mayAdmin(name);
  const joining = [t(`join.${join_mode}.hint`), approvalOf(network)].filter(Boolean).join(" ");
  return (
    <Facts
      facts={[
        [t("rules.reach"), standing.active === 0 ? t("rules.reach.none") : n("rules.reach.all", standing.active)],
        // Who is no administrator is not told of all of them.
        [t("rules.outside"), mayAdmin || standing.pending + standing.suspended > 0 ? outsideOf(standing) : null],
        [t("rules.refuse"), <Refusals links={standing.refusing} />],
        [t("rules.joining"), joining],
        [t("rules.you"), t(`role.${role}`)],
        [t("network.peerRelay"), t(peer_relay ? "rules.relay.allowed" : "rules.relay.forbidden")],
        [t("rules.ending"), standing.ending > 0 ? n("rules.ending.count", standing.ending) : null],
      ]}
    />
  );
}

/** How who may join becomes a member. */
function approvalOf({ join_mode, approve }: T.Network): string {
  if (join_mode === "locked") return "";
  if (approve === "manual") return t(join_mode === "request" ? "rules.approve.too" : "rules.approve.manual");
  return t(join_mode === "password" ? "rules.approve.password" : "rules.approve.auto");
}

function outsideOf({ pending, suspended }: Standing): string {
  const parts = [
    pending > 0 && n("rules.pending", pending),
    suspended > 0 && n("rules.suspended", suspended),
  ].filter((part) => part !== false);
  return parts.length === 0 ? t("rules.outside.none") : t("rules.outside.who", { who: parts.join(", ") });
}

function Refusals({ links }: { links: readonly T.Link[] }) {
  return (
    <>
      <p>{t(links.length === 0 ? "rules.refuse.none" : "rules.refuse.some")}</p>
      {links.slice(0, SHOWN).map((link) => (
        <p key={link.id}>
          <a href={opening("link", link.id)}>{t("rules.refuse.pair", refusal(link))}</a>
        </p>
      ))}
      {links.length > SHOWN && <p class="quiet">{n("more", links.length - SHOWN)}</p>}
    </>
  );
}
