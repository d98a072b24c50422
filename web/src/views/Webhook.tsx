// One webhook: what it hears of, and what became of each message of the last days.

import { useState } from "preact/hooks";
import { webhooks } from "../api/webhooks";
import type * as T from "../api/types";
import { ago, moment } from "../format";
import { t } from "../i18n/t";
import { Button, LinkButton } from "../parts/Button";
import { Dialog } from "../parts/Dialog";
import { EditDialog } from "../parts/Edit";
import { Facts, Section, Waiting } from "../parts/Page";
import { type Loaded, useLoad } from "../parts/load";
import { go, to } from "../route";
import { hide } from "../store/hidden";
import { complain, later, note } from "../store/later";
import { nameOf } from "../store/rows";
import { store } from "../store/store";
import { Deliveries } from "./Deliveries";
import {
  DescriptionField,
  EventsField,
  Secret,
  UrlField,
  WebhookState,
  eventsInWords,
  titleOf,
  webhookNews,
} from "./WebhookParts";

export function WebhookDetail({ id }: { id: string }) {
  const loaded = useLoad(() => webhooks.one(id).then(({ value }) => value), [id, webhookNews()]);
  return (
    <>
      <p class="more lead">
        <LinkButton small look="bare" icon="back" href={to("settings", "webhooks")}>
          {t("webhooks.all")}
        </LinkButton>
      </p>
      <Waiting of={loaded}>{(webhook) => <Shown webhook={webhook} loaded={loaded} />}</Waiting>
    </>
  );
}

function Shown({ webhook, loaded }: { webhook: T.Webhook; loaded: Loaded<T.Webhook> }) {
  const [doing, setDoing] = useState<"edit" | "draw" | undefined>(undefined);
  const [secret, setSecret] = useState<string | null>(null);
  const [sent, setSent] = useState(0);
  const isOff = webhook.disabled_at !== null;
  const test = () =>
    webhooks.test(webhook.id).then(() => {
      note("done", t("webhooks.tested"));
      setSent((old) => old + 1);
    }, complain);
  return (
    <>
      <Section title={titleOf(webhook)}>
        <About webhook={webhook} />
        <div class="tools">
          <Button small icon="edit" data-key="edit" onClick={() => setDoing("edit")}>
            {t("edit")}
          </Button>
          {!isOff && (
            <Button small icon="activity" onClick={() => void test()}>
              {t("webhooks.test")}
            </Button>
          )}
          <Button small icon={isOff ? "play" : "pause"} onClick={() => void turn(webhook, !isOff, loaded.set)}>
            {t(isOff ? "webhooks.resume" : "webhooks.pause")}
          </Button>
          <Button small icon="key" onClick={() => setDoing("draw")}>
            {t("webhooks.draw")}
          </Button>
          <Button small look="danger" icon="trash" onClick={() => remove(webhook)}>
            {t("webhooks.remove")}
          </Button>
        </div>
      </Section>
      <Deliveries webhook={webhook} sent={sent} />
      {doing === "edit" && <Edit webhook={webhook} onSaved={loaded.set} onClose={() => setDoing(undefined)} />}
      {doing === "draw" && (
        <Draw
          webhook={webhook}
          onDrawn={(changed) => {
            loaded.set(changed);
            setSecret(changed.secret);
          }}
          onClose={() => setDoing(undefined)}
        />
      )}
      {secret !== null && <Secret webhook={webhook} secret={secret} onClose={() => setSecret(null)} />}
    </>
  );
}

function About({ webhook }: { webhook: T.Webhook }) {
  const by = store.users.get(webhook.created_by);
  const made = { ago: ago(webhook.created_at), name: by ? nameOf(by) : webhook.created_by };
  return (
    <Facts
      facts={[
        [t("member.state"), <WebhookState webhook={webhook} />],
        [t("webhooks.url"), webhook.url || t("webhooks.noUrl")],
        [t("webhooks.of"), webhook.network ?? t("webhooks.server")],
        [t("webhooks.events"), eventsInWords(webhook.events)],
        [t("webhooks.reach"), t(webhook.anywhere ? "webhooks.reach.anywhere" : "webhooks.reach.public")],
        [t("webhooks.made"), t("why.reportedBy", made)],
        [t("webhooks.secretAt"), moment(webhook.secret_at)],
        [t("webhooks.offAt"), webhook.disabled_at === null ? null : ago(webhook.disabled_at)],
      ]}
    />
  );
}

/** Off or on, at once, and back. */
async function turn(webhook: T.Webhook, disabled: boolean, show: (webhook: T.Webhook) => void): Promise<void> {
  try {
    show((await webhooks.set(webhook.id, { disabled })).value);
    const text = t(disabled ? "did.pauseWebhook" : "did.resumeWebhook", { name: titleOf(webhook) });
    note("done", text, () => void turn(webhook, !disabled, show), 10_000);
  } catch (error) {
    complain(error);
  }
}

function remove(webhook: T.Webhook): void {
  later({
    text: t("did.removeWebhook", { name: titleOf(webhook) }),
    show: () => hide(`webhook/${webhook.id}`),
    send: async (keepalive) => {
      await webhooks.remove(webhook.id, keepalive);
      // It stays hidden in a list that was read before.
      hide(`webhook/${webhook.id}`);
    },
  });
  go(to("settings", "webhooks"));
}

interface EditProps {
  webhook: T.Webhook;
  onSaved: (webhook: T.Webhook) => void;
  onClose: () => void;
}

function Edit({ webhook, onSaved, onClose }: EditProps) {
  return (
    <EditDialog
      title={t("webhooks.edit", { name: titleOf(webhook) })}
      load={() => webhooks.one(webhook.id)}
      draftOf={({ url, description, events }: T.Webhook) => ({ url, description, events: events as readonly string[] })}
      save={(draft, ifMatch) => webhooks.set(webhook.id, draft, ifMatch)}
      onSaved={onSaved}
      theirs={(saved) => [saved.url, saved.description, eventsInWords(saved.events)].filter(Boolean).join(" · ")}
      onClose={onClose}
    >
      {(draft, change) => (
        <>
          <UrlField value={draft.url} onInput={(url) => change({ url })} />
          <DescriptionField value={draft.description} onInput={(description) => change({ description })} />
          <EventsField value={draft.events} onPick={(events) => change({ events })} />
        </>
      )}
    </EditDialog>
  );
}

interface DrawProps {
  webhook: T.Webhook;
  onDrawn: (changed: T.ChangedWebhook) => void;
  onClose: () => void;
}

/** Asks first: what the receiver knows does not hold any more from then on. */
function Draw({ webhook, onDrawn, onClose }: DrawProps) {
  const draw = () =>
    webhooks
      .set(webhook.id, { new_secret: true })
      .then(({ value }) => onDrawn(value), complain)
      .finally(onClose);
  return (
    <Dialog title={t("webhooks.draw")} onClose={onClose}>
      <p>{t("webhooks.draw.text")}</p>
      <div class="dialog-foot">
        <Button onClick={onClose}>{t("cancel")}</Button>
        <Button look="main" onClick={() => void draw()}>
          {t("webhooks.draw")}
        </Button>
      </div>
    </Dialog>
  );
}
