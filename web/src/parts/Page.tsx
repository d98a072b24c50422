// What every page has: its heading, actions, tabs, lists of facts, and what stands there while something loads.

import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { t } from "../i18n/t";
import { sentence } from "../store/later";
import { Button } from "./Button";
import { Icon } from "./Icon";
import type { Loaded } from "./load";

interface HeadProps {
  title: string;
  about?: ComponentChildren;
  children?: ComponentChildren;
}

export function PageHead({ title, about, children }: HeadProps) {
  useEffect(() => {
    document.title = t("title", { page: title });
  }, [title]);
  return (
    <header class="page-head">
      <div class="page-title">
        <h1 tabIndex={-1}>{title}</h1>
        {about && <p class="about">{about}</p>}
      </div>
      <div class="page-actions">{children}</div>
    </header>
  );
}

export interface Tab {
  id: string;
  label: string;
  href: string;
  count?: number;
}

/** Links to the parts of a page. */
export function Tabs({ tabs, current, label }: { tabs: readonly Tab[]; current: string; label: string }) {
  return (
    <nav class="tabs" aria-label={label}>
      {tabs.map((tab) => (
        <a key={tab.id} href={tab.href} aria-current={tab.id === current ? "page" : undefined}>
          {tab.label}
          {tab.count !== undefined && tab.count > 0 && <span class="count">{tab.count}</span>}
        </a>
      ))}
    </nav>
  );
}

/** Names and values; what is empty is left out. */
export function Facts({ facts }: { facts: readonly (readonly [string, ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {facts
        .filter(([, value]) => value !== null && value !== undefined && value !== "")
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

/** A value once it is there; what went wrong, with another try, if it did. */
export function Waiting<V>({ of, children }: { of: Loaded<V>; children: (value: V) => ComponentChildren }) {
  if (of.value !== undefined) return <>{children(of.value)}</>;
  if (of.error !== undefined) {
    return (
      <div class="trouble" role="alert">
        <Icon name="warning" />
        <span>{sentence(of.error)}</span>
        <Button small onClick={of.reload}>
          {t("retry")}
        </Button>
      </div>
    );
  }
  return <p class="loading">{t("loading")}</p>;
}

export function Section({
  title,
  children,
  action,
}: {
  title: string;
  children: ComponentChildren;
  action?: ComponentChildren;
}) {
  return (
    <section class="section">
      <div class="section-head">
        <h2>{title}</h2>
        {action}
      </div>
      {children}
    </section>
  );
}
