// Webhooks: addresses that are told what happens. The list, and a new one.

import { useState } from "preact/hooks";
import { webhooks } from "../api/webhooks";
import type * as T from "../api/types";
import { t } from "../i18n/t";
import { isServerAdmin } from "../may";
import { Button } from "../parts/Button";
import { Dialog } from "../parts/Dialog";
import { Empty } from "../parts/Empty";
import { SelectField } from "../parts/Field";
import { Section, Waiting } from "../parts/Page";
import { useLoad } from "../parts/load";
import { route, to } from "../route";
import { hidden } from "../store/hidden";
import { sentence } from "../store/later";
import { store } from "../store/store";
import { WebhookDetail } from "./Webhook";
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

export function Webhooks() {
  const id = route.value.path[2];
  return id === undefined ? <List /> : <WebhookDetail key={id} id={id} />;
}

function List() {
  const loaded = useLoad(webhooks.list, [webhookNews()]);
  const [isAdding, setAdding] = useState(false);
  const [made, setMade] = useState<T.ChangedWebhook | undefined>(undefined);
  const add = (
    <Button small icon="plus" onClick={() => setAdding(true)}>
      {t("webhooks.add")}
    </Button>
  );
  return (
    <Section title={t("settings.webhooks")} action={add}>
      <p class="quiet">{t("webhooks.about")}</p>
      <Waiting of={loaded}>
        {(all) => {
          const list = all.filter((webhook) => !hidden.value.has(`webhook/${webhook.id}`));
          if (list.length === 0)
            return (
              <Empty icon="link" title={t("webhooks.none")}>
                <p>{t("webhooks.none.text")}</p>
              </Empty>
            );
          return (
            <ul class="lines">
              {list.map((webhook) => (
                <Line key={webhook.id} webhook={webhook} />
              ))}
            </ul>
          );
        }}
      </Waiting>
      {isAdding && (
        <Add
          onClose={() => setAdding(false)}
          onMade={(webhook) => {
            setAdding(false);
            setMade(webhook);
            loaded.reload();
          }}
        />
      )}
      {made?.secret && <Secret webhook={made} secret={made.secret} onClose={() => setMade(undefined)} />}
    </Section>
  );
}

function Line({ webhook }: { webhook: T.Webhook }) {
  return (
    <li class="line">
      <div class="line-main">
        <a href={to("settings", "webhooks", webhook.id)}>{titleOf(webhook)}</a>
        <span class="tag">{webhook.network ?? t("webhooks.server")}</span>
        <WebhookState webhook={webhook} />
      </div>
      <p class="line-about">
        {[webhook.description && webhook.url, eventsInWords(webhook.events)].filter(Boolean).join(" · ")}
      </p>
    </li>
  );
}

interface AddProps {
  onClose: () => void;
  onMade: (webhook: T.ChangedWebhook) => void;
}

function Add({ onClose, onMade }: AddProps) {
  const administered = store.networks.all.value.filter(({ name }) => store.mayAdmin(name)).map(({ name }) => name);
  const [url, setUrl] = useState("");
  const [description, setDescription] = useState("");
  const [network, setNetwork] = useState(isServerAdmin.value ? "" : (administered[0] ?? ""));
  const [events, setEvents] = useState<readonly string[]>(["device.online", "device.offline"]);
  const [wrong, setWrong] = useState("");
  const send = async () => {
    if (events.length === 0) return setWrong(t("webhooks.noEvent"));
    try {
      onMade((await webhooks.add({ url, description, events, ...(network ? { network } : {}) })).value);
    } catch (error) {
      setWrong(sentence(error));
    }
  };
  return (
    <Dialog title={t("webhooks.add")} onClose={onClose}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <SelectField
          label={t("webhooks.of")}
          value={network}
          choices={[
            ...(isServerAdmin.value ? [{ value: "", label: t("webhooks.server") }] : []),
            ...administered.map((name) => ({ value: name, label: name })),
          ]}
          onPick={setNetwork}
        />
        <UrlField value={url} onInput={setUrl} />
        <DescriptionField value={description} onInput={setDescription} />
        <EventsField value={events} onPick={setEvents} />
        {wrong && (
          <p class="hint wrong" role="alert">
            {wrong}
          </p>
        )}
        <div class="dialog-foot">
          <Button onClick={onClose}>{t("cancel")}</Button>
          <Button type="submit" look="main">
            {t("webhooks.make")}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
