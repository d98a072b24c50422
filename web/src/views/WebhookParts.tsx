// What the list of webhooks and one of them have in common: their state, their fields, their secret.

import { HOOK_EVENTS } from "../api/webhooks";
import type * as T from "../api/types";
import { ago } from "../format";
import { t, word } from "../i18n/t";
import { isServerAdmin } from "../may";
import { Button } from "../parts/Button";
import { Copy } from "../parts/Copy";
import { Dialog } from "../parts/Dialog";
import { TextField } from "../parts/Field";
import { store } from "../store/store";

/** Raised by the stream when somebody changed a webhook: the audit trail tells of it, the webhooks themselves do not come. */
export function webhookNews(): string {
  return store.events.value.find(({ entity_type }) => entity_type === "webhook")?.id ?? "";
}

/** What people call it. */
export function titleOf({ description, url }: T.Webhook): string {
  return description || url || t("webhooks.noUrl");
}

export function eventsInWords(events: readonly string[]): string {
  return events.map((event) => word("hook", event)).join(", ");
}

/** Whether it is on, and whether anything arrives. */
export function WebhookState({ webhook: { disabled_at, failing_since } }: { webhook: T.Webhook }) {
  if (disabled_at !== null) return <span class="tag">{t("webhooks.off")}</span>;
  if (failing_since !== null)
    return <span class="tag revoked">{t("webhooks.failing", { ago: ago(failing_since) })}</span>;
  return <span class="tag open">{t("webhooks.on")}</span>;
}

interface WordsProps {
  value: string;
  onInput: (value: string) => void;
}

export function UrlField({ value, onInput }: WordsProps) {
  return (
    <TextField
      type="url"
      label={t("webhooks.url")}
      hint={t(isServerAdmin.value ? "webhooks.url.anywhere" : "webhooks.url.public")}
      value={value}
      required
      maxLength={2048}
      autofocus
      autocomplete="off"
      onInput={(event) => onInput(event.currentTarget.value.trim())}
    />
  );
}

export function DescriptionField({ value, onInput }: WordsProps) {
  return (
    <TextField
      label={t("webhooks.description")}
      hint={t("webhooks.description.hint")}
      value={value}
      maxLength={200}
      autocomplete="off"
      onInput={(event) => onInput(event.currentTarget.value)}
    />
  );
}

export function EventsField({ value, onPick }: { value: readonly string[]; onPick: (events: string[]) => void }) {
  const toggle = (event: string) =>
    onPick(value.includes(event) ? value.filter((other) => other !== event) : [...value, event]);
  return (
    <fieldset class="choices">
      <legend>{t("webhooks.events")}</legend>
      {HOOK_EVENTS.map((event) => (
        <label key={event} class="quick-line">
          <input type="checkbox" checked={value.includes(event)} onChange={() => toggle(event)} />
          <span>{t(`hook.${event}`)}</span>
        </label>
      ))}
    </fieldset>
  );
}

interface SecretProps {
  webhook: T.Webhook;
  secret: string;
  onClose: () => void;
}

/** What messages are signed with; the server does not show it again. */
export function Secret({ webhook, secret, onClose }: SecretProps) {
  return (
    <Dialog title={t("webhooks.secretOf", { name: titleOf(webhook) })} onClose={onClose}>
      <p>{t("webhooks.shown")}</p>
      <Copy text={secret} label={t("webhooks.secret")} />
      <div class="dialog-foot">
        <Button look="main" onClick={onClose}>
          {t("done")}
        </Button>
      </div>
    </Dialog>
  );
}
