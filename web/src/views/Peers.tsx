// The peers of a device: how it reaches each, how far that is, what goes over it. Where there is little room a peer is two lines.

import type * as T from "../api/types";
import { now, since } from "../format";
import { t } from "../i18n/t";
import { Dot } from "../parts/Dot";
import { Retry } from "../parts/Retry";
import { opening } from "../route";
import { store } from "../store/store";
import { heardAt, inWords, isIdle, pathInWords, stateOfLink } from "../verdict";
import { Loss, Rates, Rtt } from "./LinkParts";

/** Relayed and failed first: those are why somebody looks. */
const RANK = { failed: 0, relayed: 1, trying: 2, direct: 3 } as const;

export function Peers({ device }: { device: T.Device }) {
  const links = store.rows
    .linksOf(device.id)
    .sort((a, b) => RANK[stateOfLink(a)] - RANK[stateOfLink(b)] || heardAt(b) - heardAt(a));
  if (links.length === 0) return <p class="quiet">{t("links.none")}</p>;
  return (
    <div class="peers-box">
      <table class="peers" role="table" aria-label={t("links")}>
        <thead role="rowgroup">
          <tr role="row">
            {(["link.peer", "map.path", "link.rtt", "link.loss", "link.rate", "link.heard"] as const).map((key) => (
              <th key={key} role="columnheader" scope="col">
                {t(key)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody role="rowgroup">
          {links.map((link) => (
            <Peer key={link.id} link={link} here={device.id} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Peer({ link, here }: { link: T.Link; here: string }) {
  const state = stateOfLink(link);
  const isOld = isIdle(link, now.value);
  return (
    <tr role="row">
      <td role="cell" class="peer-name">
        <a class="name" href={opening("link", link.id)}>
          <Dot state={isOld ? "offline" : state} />
          <span class="name-text">{link.device_id === here ? link.peer : link.device}</span>
        </a>
        {state !== "direct" && (
          <p class="peer-why">
            {inWords(link).reason} <Retry link={link} inline />
          </p>
        )}
      </td>
      <td role="cell" data-label={t("map.path")}>
        {isOld ? t("state.recent") : pathInWords(link)}
      </td>
      <td role="cell" data-label={t("link.rtt")}>
        <Rtt link={link} />
      </td>
      <td role="cell" data-label={t("link.loss")}>
        <Loss link={link} />
      </td>
      <td role="cell" data-label={t("link.rate")}>
        <Rates link={link} here={here} />
      </td>
      <td role="cell" data-label={t("link.heard")}>
        {since(heardAt(link))}
      </td>
    </tr>
  );
}
