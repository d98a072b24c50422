// Pages that few open, or that are large: each is a file of its own, loaded when it is shown first.
//
// Once the panel stands, all of them are loaded beforehand: a page that is opened later is there at once, also while the server is
// away, and also after an upgrade, when the server no longer has the files of the panel that is open.

import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { t } from "../i18n/t";
import { Button } from "./Button";
import { Empty } from "./Empty";

/** How long after the first page the others are loaded. */
const BEFOREHAND_MS = 4_000;

const all: (() => Promise<unknown>)[] = [];

/** A component that stands in for one which is loaded when it is needed. */
export function lazy(load: () => Promise<ComponentType>): ComponentType {
  let loaded: ComponentType | undefined;
  const fetch = async () => (loaded ??= await load());
  all.push(fetch);
  return function Lazy() {
    const [state, set] = useState<"waiting" | "there" | "missing">(loaded ? "there" : "waiting");
    useEffect(() => {
      if (!loaded)
        fetch().then(
          () => set("there"),
          () => set("missing"),
        );
    }, []);
    const View = loaded;
    if (View) return <View />;
    return <div class="page">{state === "missing" ? <Missing /> : <p class="loading">{t("loading")}</p>}</div>;
  };
}

/** Loads all that was not shown yet, a while after this; what fails is tried again when it is shown. */
export function loadBeforehand(): void {
  setTimeout(() => void Promise.allSettled(all.map((fetch) => fetch())), BEFOREHAND_MS);
}

function Missing() {
  return (
    <Empty icon="warning" title={t("page.missing")}>
      <p>{t("page.missing.text")}</p>
      <Button look="main" onClick={() => location.reload()}>
        {t("page.reload")}
      </Button>
    </Empty>
  );
}
