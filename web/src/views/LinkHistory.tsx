// What went between two devices: bytes by kind of path and the round trip, as a picture and as a table that says the same.

import { useMemo, useState } from "preact/hooks";
import { HOURS_KEPT, links } from "../api/calls";
import type * as T from "../api/types";
import { bytes, clock, day, now, permille, roundTrip } from "../format";
import { type Bar, HOUR_MS, RANGES, type Range, barsOf, sum } from "../history";
import { t } from "../i18n/t";
import { Section, Waiting } from "../parts/Page";
import { useLoad } from "../parts/load";
import { heardAt } from "../verdict";

/** While the pair talks the chart is asked for again so often. */
const FRESH_MS = 60_000;

export function LinkHistory({ link }: { link: T.Link }) {
  const [range, setRange] = useState<Range>("day");
  const hours = range === "day" ? 24 : HOURS_KEPT;
  const turn = Math.floor(heardAt(link) / FRESH_MS);
  const loaded = useLoad(() => links.history(link, hours), [link.id, link.device_id, hours, turn]);
  return (
    <Section
      title={t("history")}
      action={
        <div class="segments" role="group" aria-label={t("history.range")}>
          {RANGES.map((one) => (
            <button key={one} type="button" aria-pressed={one === range} onClick={() => setRange(one)}>
              {t(`history.${one}`)}
            </button>
          ))}
        </div>
      }
    >
      <Waiting of={loaded}>{(list) => <Chart hours={list} range={range} />}</Waiting>
    </Section>
  );
}

function Chart({ hours, range }: { hours: readonly T.LinkHour[]; range: Range }) {
  const hour = Math.floor(now.value / HOUR_MS) * HOUR_MS;
  const bars = useMemo(() => barsOf(hours, range, hour), [hours, range, hour]);
  const known = bars.filter((bar) => bar.direct + bar.relayed > 0 || bar.rtt !== null);
  if (known.length === 0) return <p class="quiet">{t("history.none")}</p>;
  const most = Math.max(...bars.map((bar) => bar.direct + bar.relayed));
  const slowest = Math.max(...bars.map((bar) => bar.rtt ?? 0));
  const whenOf = range === "day" ? clock : day;
  const direct = bytes(sum(bars.map((bar) => bar.direct)));
  const relayed = bytes(sum(bars.map((bar) => bar.relayed)));
  return (
    <div class="history">
      <p class="history-head">
        <span class="key-direct">{t("history.direct", { amount: direct })}</span>
        <span class="key-relayed">{t("history.relayed", { amount: relayed })}</span>
        <span class="quiet">{t("history.most", { amount: bytes(most) })}</span>
      </p>
      <Amounts bars={bars} most={most} label={t("history.label", { direct, relayed })} whenOf={whenOf} />
      {slowest > 0 && (
        <>
          <p class="history-head">
            <span class="key-rtt">{t("link.rtt")}</span>
            <span class="quiet">{t("history.most", { amount: roundTrip(slowest) })}</span>
          </p>
          <RoundTrips bars={bars} most={slowest} label={t("history.rtt", { most: roundTrip(slowest) })} />
        </>
      )}
      <p class="history-ends quiet" aria-hidden="true">
        <span>{whenOf(bars[0]!.from)}</span>
        <span>{t("history.now")}</span>
      </p>
      <details>
        <summary>{t("map.table")}</summary>
        <Twin bars={known.reverse()} whenOf={whenOf} />
      </details>
    </div>
  );
}

/** Width of a bar with the gap after it, and height of the whole, in units of the picture. */
const STEP = 10;
const HIGH = 100;

interface PictureProps {
  bars: readonly Bar[];
  most: number;
  label: string;
}

function Amounts({ bars, most, label, whenOf }: PictureProps & { whenOf: (at: number) => string }) {
  const heightOf = (amount: number) => (most === 0 ? 0 : (amount / most) * HIGH);
  return (
    <svg
      class="chart"
      viewBox={`0 0 ${bars.length * STEP} ${HIGH}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      {bars.map((bar, at) => {
        const [direct, relayed] = [heightOf(bar.direct), heightOf(bar.relayed)];
        const x = at * STEP + 1;
        return (
          <g key={bar.from}>
            <title>{`${whenOf(bar.from)}: ${bytes(bar.direct + bar.relayed)}`}</title>
            <rect class="bar-all" x={at * STEP} y={0} width={STEP} height={HIGH} />
            <rect class="bar-direct" x={x} y={HIGH - direct} width={STEP - 2} height={direct} />
            <rect class="bar-relayed" x={x} y={HIGH - direct - relayed} width={STEP - 2} height={relayed} />
          </g>
        );
      })}
    </svg>
  );
}

function RoundTrips({ bars, most, label }: PictureProps) {
  // A point of its own is a line of no length, which round ends make visible.
  const path = bars
    .map(({ rtt }, at) => {
      if (rtt === null) return "";
      const x = (at + 0.5) * STEP;
      const y = (HIGH - (rtt / most) * HIGH * 0.9).toFixed(1);
      return bars[at - 1]?.rtt == null ? `M${x} ${y}h0` : `L${x} ${y}`;
    })
    .join("");
  return (
    <svg
      class="chart low"
      viewBox={`0 0 ${bars.length * STEP} ${HIGH}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={label}
    >
      <path d={path} vector-effect="non-scaling-stroke" />
    </svg>
  );
}

function Twin({ bars, whenOf }: { bars: readonly Bar[]; whenOf: (at: number) => string }) {
  return (
    <table class="history-table">
      <thead>
        <tr>
          {(["history.from", "state.direct", "state.relayed", "link.rtt", "link.loss"] as const).map((key) => (
            <th key={key} scope="col">
              {t(key)}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {bars.map((bar) => (
          <tr key={bar.from}>
            <th scope="row">{whenOf(bar.from)}</th>
            <td>{bytes(bar.direct)}</td>
            <td>{bytes(bar.relayed)}</td>
            <td>{roundTrip(bar.rtt)}</td>
            <td>{permille(bar.loss)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
