// What was sent to a webhook in the last 7 days, and what became of it. What is under way is asked for again until it is done.

import { useEffect, useState } from "preact/hooks";
import { webhooks } from "../api/webhooks";
import type * as T from "../api/types";
import { ago, second } from "../format";
import { n, t, word } from "../i18n/t";
import { Button } from "../parts/Button";
import { Empty } from "../parts/Empty";
import { Section, Waiting } from "../parts/Page";
import { useLoad } from "../parts/load";
import { complain, note } from "../store/later";

const PAGE = 50;
/** Most that the API gives at once. */
const MOST = 500;
/** How often it is asked while something is under way. */
const AGAIN_MS = 3_000;

interface Props {
  webhook: T.Webhook;
  /** Raised when something was sent. */
  sent: number;
}

export function Deliveries({ webhook, sent }: Props) {
  const [limit, setLimit] = useState(PAGE);
  const loaded = useLoad(() => webhooks.deliveries(webhook.id, limit), [webhook.id, limit, sent]);
  const isWaiting = loaded.value?.items.some(({ state }) => state === "pending") ?? false;
  useEffect(() => {
    if (!isWaiting) return undefined;
    const timer = setInterval(() => document.hidden || loaded.reload(), AGAIN_MS);
    return () => clearInterval(timer);
  }, [isWaiting, loaded.reload]);
  const resend = ({ id }: T.Delivery) =>
    webhooks.resend(webhook.id, id).then(() => {
      note("done", t("webhooks.resent"));
      loaded.reload();
    }, complain);
  return (
    <Section
      title={t("deliveries")}
      action={
        <Button small icon="again" onClick={loaded.reload}>
          {t("deliveries.reload")}
        </Button>
      }
    >
      <Waiting of={loaded}>
        {({ items, next }) => (
          <>
            {items.length === 0 && (
              <Empty icon="activity" title={t("deliveries.none")}>
                <p>{t("deliveries.none.text")}</p>
              </Empty>
            )}
            <ul class="lines">
              {items.map((delivery) => (
                <Line
                  key={delivery.id}
                  delivery={delivery}
                  onResend={webhook.disabled_at === null ? () => void resend(delivery) : undefined}
                />
              ))}
            </ul>
            {next !== null && limit < MOST && (
              <p class="more">
                <Button onClick={() => setLimit(Math.min(MOST, limit * 3))}>{t("activity.older")}</Button>
              </p>
            )}
          </>
        )}
      </Waiting>
    </Section>
  );
}

const LOOKS: Readonly<Record<string, string>> = { delivered: "tag open", failed: "tag revoked", pending: "tag soon" };

function Line({ delivery, onResend }: { delivery: T.Delivery; onResend: (() => void) | undefined }) {
  const event = word("hook", delivery.event);
  return (
    <li class="line">
      <p class="line-main">
        <span>{event}</span>
        <span class={LOOKS[delivery.state] ?? "tag"}>{word("delivery", delivery.state)}</span>
      </p>
      <div class="line-about">
        <p>{fateOf(delivery).join(" · ")}</p>
        {delivery.last_error && <p class="wrong">{delivery.last_error}</p>}
        <details class="raw">
          <summary>{t("deliveries.payload")}</summary>
          <pre>{JSON.stringify(delivery.payload, null, 2)}</pre>
        </details>
      </div>
      {onResend && (
        <Button
          small
          onClick={onResend}
          aria-label={t("deliveries.resendWhat", { event, at: second(delivery.created_at) })}
        >
          {t("deliveries.resend")}
        </Button>
      )}
    </li>
  );
}

/** When it happened, how often it was tried, what came back, when it is tried next. */
export function fateOf(delivery: T.Delivery): string[] {
  const { created_at, tries, last_status, state, next_at } = delivery;
  const parts = [
    ago(created_at),
    tries > 0 && n("deliveries.tries", tries),
    last_status !== null && t("deliveries.answer", { status: last_status }),
    state === "pending" && next_at !== null && t("deliveries.next", { ago: ago(next_at) }),
  ];
  return parts.filter((part) => part !== false);
}
