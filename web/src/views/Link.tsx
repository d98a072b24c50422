// Why a pair talks the way it does, and the one thing that would change it.

import type * as T from "../api/types";
import { moment, now, since, span } from "../format";
import { t } from "../i18n/t";
import { Copy } from "../parts/Copy";
import { State } from "../parts/Dot";
import { Empty } from "../parts/Empty";
import { Facts } from "../parts/Page";
import { Retry } from "../parts/Retry";
import { opening } from "../route";
import { inWords, isIdle, pathInWords, planInWords, stateOfLink } from "../verdict";
import { LinkHistory } from "./LinkHistory";
import { Loss, Rates, Rtt } from "./LinkParts";

export function LinkDetail({ link }: { link: T.Link | undefined }) {
  if (!link) return <Empty icon="link" title={t("link.gone")} />;
  const { reason, advice } = inWords(link);
  const state = stateOfLink(link);
  const plan = planInWords(link);
  const { report } = link;
  return (
    <div class="detail">
      <div class="pair">
        <a href={opening("device", link.device_id)}>{link.device}</a>
        <span class={`wire ${state}`} aria-hidden="true" />
        <a href={opening("device", link.peer_id)}>{link.peer}</a>
      </div>
      <p class="pair-state">
        <State state={state} /> {isIdle(link, now.value) && <span class="quiet">{t("link.idle")}</span>}
      </p>
      <Facts
        facts={[
          [t("map.path"), report && pathInWords(link)],
          [t("link.rtt"), report && <Rtt link={link} />],
          [t("link.loss"), report && <Loss link={link} />],
          [t("link.rate"), report && <Rates link={link} here={link.device_id} />],
          [t("link.heard"), report && since(report.seen_at)],
        ]}
      />
      <div class="why">
        <h3>{t("why.because")}</h3>
        <p>{sentence(reason, link)}</p>
        <h3>{t("why.fix")}</h3>
        <p>{sentence(advice, link)}</p>
        <Retry link={link} />
      </div>
      <Facts
        facts={[
          [t("why.tried"), plan],
          [t("why.took"), link.took_ms > 0 ? span(link.took_ms) : null],
          [t("why.reported"), t("why.reportedBy", { name: link.device, ago: since(link.at) })],
          [t("why.at"), moment(link.at)],
          [t("why.code"), <code>{link.code}</code>],
        ]}
      />
      <LinkHistory link={link} />
      <p class="quiet">{t("why.more", { name: link.device })}</p>
      <Copy text={`lanyard why ${link.peer}`} />
    </div>
  );
}

/** As a sentence of its own; a device that begins it keeps its name as it is. */
function sentence(text: string, { device, peer }: T.Link): string {
  if (text.startsWith(device) || text.startsWith(peer)) return `${text}.`;
  return `${text.charAt(0).toLocaleUpperCase()}${text.slice(1)}.`;
}
