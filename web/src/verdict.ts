// Why a pair is as it is, in words: those of docs/operations.md and of `lanyard why`.

import type { Link, PathKind } from "./api/types";
import { type Key, has, t } from "./i18n/t";

export type LinkState = "direct" | "relayed" | "failed" | "trying";

/** Codes that mean that nothing passes between the two. */
const FAILED = new Set([
  "no_relay",
  "refused_here",
  "refused_there",
  "no_shared_network",
  "coordinator_unreachable",
  "peer_offline",
]);

/** Whoever exchanges data says so every 20 seconds: after three of those there is none. */
export const BUSY_MS = 60_000;

/** A pair that has not been heard of for so long is none that talks, but one that did. */
export const RECENT_MS = 5 * 60_000;

/** What each kind of path is. */
const STATE_OF_PATH: Readonly<Record<PathKind, LinkState>> = {
  none: "trying",
  direct: "direct",
  lan: "direct",
  tcp: "direct",
  member: "relayed",
  relay: "relayed",
};

/** How a pair talks: by the path that is used, if that was heard of last, else by the code one end reported. */
export function stateOfLink(link: Pick<Link, "code" | "at" | "report">): LinkState {
  const byCode = stateOfCode(link.code);
  const { report } = link;
  if (!report || report.seen_at < link.at) return byCode;
  return report.path === "none" && byCode === "failed" ? "failed" : STATE_OF_PATH[report.path];
}

/** Whatever is neither direct nor failed goes by a relay. */
function stateOfCode(code: string): LinkState {
  if (code === "direct") return "direct";
  if (code === "trying" || code === "idle") return "trying";
  return FAILED.has(code) ? "failed" : "relayed";
}

/** When either end was heard of last. */
export function heardAt(link: Pick<Link, "at" | "report">): number {
  return Math.max(link.at, link.report?.seen_at ?? 0);
}

/** Whether a pair has been silent for so long that it only talked once; one without a path still has none. */
export function isIdle(link: Pick<Link, "code" | "at" | "report">, now: number): boolean {
  return stateOfLink(link) !== "failed" && now - heardAt(link) > RECENT_MS;
}

/** Bits per second there and back; undefined where nothing is known, zero where nothing flows. */
export function rateOf({ report }: Pick<Link, "report">, now: number): { tx: number; rx: number } | undefined {
  if (!report || report.tx_bps === null || report.rx_bps === null) return undefined;
  if (now - report.seen_at > BUSY_MS) return { tx: 0, rx: 0 };
  return { tx: report.tx_bps, rx: report.rx_bps };
}

/** The words of the path in use: "direct, LAN". */
export function pathInWords(link: Pick<Link, "code" | "at" | "report">): string {
  const state = stateOfLink(link);
  const kind = link.report?.path;
  const isTold = kind === "lan" || kind === "tcp" || kind === "member";
  return isTold && STATE_OF_PATH[kind] === state ? t(`path.${kind}`) : t(`state.${state}`);
}

/** What is to be said of a pair: the code of the last try, unless data goes another way than it found. */
function codeOf(link: Link): string {
  const state = stateOfLink(link);
  if (state === stateOfCode(link.code)) return link.code;
  if (state === "direct") return "direct";
  if (state === "relayed") return link.code === "direct" ? "left" : "untold";
  return link.code;
}

/** What stands in the way, and the one thing that would help. */
export interface Words {
  reason: string;
  advice: string;
}

/** Puts a report into words; a code from a newer server is shown as it is. */
export function inWords(link: Link): Words {
  const names = { here: link.device, there: link.peer };
  const say = (kind: "reason" | "advice") => {
    const key = `why.${kind}.${codeOf(link)}`;
    return has(key) ? t(key as Key, names) : t(`why.${kind}.unknown`, { code: link.code });
  };
  return { reason: say("reason"), advice: say("advice") };
}

/** What was tried, in a sentence; empty when there was no try. */
export function planInWords(link: Link): string {
  if (!link.plan) return "";
  const key = `why.plan.${link.plan}`;
  return has(key) ? t(key as Key) : link.plan;
}
