// What several pages show of a pair: how far it is, how much gets lost, how much goes over it.

import type * as T from "../api/types";
import { now, permille, rate, roundTrip } from "../format";
import { t } from "../i18n/t";
import { rateOf } from "../verdict";

type Reported = Pick<T.Link, "report">;

export function Rtt({ link }: { link: Reported }) {
  return <>{roundTrip(link.report?.rtt_ms ?? null)}</>;
}

export function Loss({ link }: { link: Reported }) {
  const loss = link.report?.loss_permille ?? null;
  return <span class={loss !== null && loss >= 20 ? "loud" : undefined}>{permille(loss)}</span>;
}

/** Throughput there and back, as seen from `here`, or from the end that the link names first. */
export function Rates({ link, here }: { link: Reported & Partial<Pick<T.Link, "device_id">>; here?: string }) {
  const rates = rateOf(link, now.value);
  if (!rates) return <>{"–"}</>;
  const isTurned = here !== undefined && here !== link.device_id;
  const [sent, received] = isTurned ? [rates.rx, rates.tx] : [rates.tx, rates.rx];
  if (sent + received === 0) return <span class="quiet">{t("link.still")}</span>;
  return (
    <span class="rates">
      <span class="rate">
        <span aria-hidden="true">↑</span>
        <span class="unseen">{t("link.sent")}</span>
        {rate(sent)}
      </span>{" "}
      <span class="rate">
        <span aria-hidden="true">↓</span>
        <span class="unseen">{t("link.received")}</span>
        {rate(received)}
      </span>
    </span>
  );
}
