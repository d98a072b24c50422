// Why a pair is as it is, in words: those of docs/operations.md and of `lanyard why`.

import type { Link } from "./api/types";
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

/** How a pair talks, by the code one end reported. Whatever is neither direct nor failed goes by a relay. */
export function stateOfLink(link: Pick<Link, "code">): LinkState {
  if (link.code === "direct") return "direct";
  if (link.code === "trying" || link.code === "idle") return "trying";
  return FAILED.has(link.code) ? "failed" : "relayed";
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
    const key = `why.${kind}.${link.code}`;
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
