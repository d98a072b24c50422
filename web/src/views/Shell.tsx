// The frame of every page: rail, top bar, the light of the panel's own connection, the drawer.

import type { ComponentChildren } from "preact";
import { useRef } from "preact/hooks";
import { now } from "../format";
import { n, t } from "../i18n/t";
import { Icon, type IconName } from "../parts/Icon";
import { Menu, MenuItem } from "../parts/Menu";
import { Notes } from "../parts/Notes";
import { useStage } from "../parts/media";
import { isPaletteOpen } from "../keys";
import { isAdmin } from "../may";
import { type PageId, go, here, opening, page, scope, to } from "../route";
import { nameOf } from "../store/rows";
import { store } from "../store/store";
import { THEMES, isDark, paint, theme } from "../theme";
import { Drawer } from "./Drawer";

export interface Entry {
  id: PageId;
  icon: IconName;
  label: string;
}

/** The pages there are for the caller. */
export function entries(): Entry[] {
  const all: Entry[] = [
    { id: "", icon: "overview", label: t("overview") },
    { id: "devices", icon: "devices", label: t("devices") },
    { id: "networks", icon: "networks", label: t("networks") },
    { id: "people", icon: "people", label: t("people") },
    { id: "map", icon: "map", label: t("map") },
    { id: "rules", icon: "rules", label: t("rules") },
    { id: "activity", icon: "activity", label: t("activity") },
    { id: "settings", icon: "settings", label: t("settings") },
  ];
  return isAdmin.value ? all : all.filter((entry) => entry.id !== "people");
}

export function Shell({ children }: { children: ComponentChildren }) {
  const stage = useRef<HTMLDivElement>(null);
  useStage(stage);
  const isStale = store.connection.value === "lost";
  return (
    <div class={isStale ? "shell stale" : "shell"}>
      <a class="skip" href="#main" onClick={skip}>
        {t("skip")}
      </a>
      <Rail />
      <TopBar />
      <div class="stage" ref={stage}>
        <Lost />
        <main id="main" tabIndex={-1}>
          {children}
        </main>
      </div>
      <Drawer />
      <Notes />
    </div>
  );
}

function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function Rail() {
  return (
    <nav class="rail" aria-label={t("nav")}>
      <a class="brand" href={to()} aria-label={t("brand")}>
        <svg width="26" height="26" viewBox="0 0 32 32" aria-hidden="true">
          <rect width="32" height="32" rx="8" class="brand-ground" />
          <path d="M10 8v10a6 6 0 0 0 12 0V8" class="brand-line" />
          <circle cx="16" cy="25" r="2.6" class="brand-dot" />
        </svg>
        <span>{t("brand")}</span>
      </a>
      <ul>
        {entries().map(({ id, icon, label }) => (
          <li key={id}>
            <a href={id === "" ? to() : to(id)} aria-current={page.value === id ? "page" : undefined}>
              <Icon name={icon} size={20} />
              <span>{label}</span>
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

function TopBar() {
  return (
    <header class="top">
      <ScopeChoice />
      <button
        type="button"
        class="palette-open"
        data-keys={navigator.platform.startsWith("Mac") ? "⌘K" : "Ctrl K"}
        onClick={() => (isPaletteOpen.value = true)}
      >
        <Icon name="search" size={16} />
        <span>{t("palette.open")}</span>
      </button>
      <span class="top-gap" />
      <Light />
      <ThemeChoice />
      <Account />
    </header>
  );
}

/** Limits everything to one network. */
function ScopeChoice() {
  const names = store.networks.all.value.map(({ name }) => name).sort();
  if (names.length < 2 && scope.value === "") return <span class="scope-one">{names[0]}</span>;
  const pick = (name: string) => go(name === "" ? here({ in: null }) : here({ in: name }));
  return (
    <select
      class="scope"
      aria-label={t("scope")}
      value={scope.value}
      onChange={(event) => pick(event.currentTarget.value)}
    >
      <option value="" selected={scope.value === ""}>
        {t("scope.all")}
      </option>
      {names.map((name) => (
        <option key={name} value={name} selected={scope.value === name}>
          {name}
        </option>
      ))}
    </select>
  );
}

/** Whether what is on the screen is live. */
function Light() {
  const state = store.connection.value;
  return (
    <span class={`light ${state}`} role="img" aria-label={t(`live.${state}`)} title={t(`live.${state}`)}>
      <span class="light-dot" />
      <span class="light-word" aria-hidden="true">
        {t(`live.${state}.short`)}
      </span>
    </span>
  );
}

/** Says that the server cannot be reached, and since when; everything else goes on. */
function Lost() {
  if (store.connection.value !== "lost") return null;
  const seconds = Math.max(0, Math.round((now.value - store.heardAt.value) / 1_000));
  return (
    <div class="lost-bar" role="status">
      <Icon name="warning" size={16} />
      <span>{n("lost", seconds)}</span>
      <button type="button" onClick={() => store.retry()}>
        {t("lost.retry")}
      </button>
    </div>
  );
}

function ThemeChoice() {
  return (
    <Menu icon={theme.value !== "light" && isDark() ? "moon" : "sun"} label={t("theme")}>
      {(close) =>
        THEMES.map((id) => (
          <MenuItem
            key={id}
            {...(theme.value === id ? { icon: "check" as const } : {})}
            onPick={() => {
              paint(id);
              close();
            }}
          >
            {t(`theme.${id}`)}
          </MenuItem>
        ))
      }
    </Menu>
  );
}

function Account() {
  const me = store.me.value;
  if (!me) return null;
  return (
    <Menu icon="account" label={t("account")}>
      {(close) => (
        <>
          <div class="menu-head">
            <strong>
              <a href={opening("user", me.user.id)} onClick={close}>
                {nameOf(me.user)}
              </a>
            </strong>
            <span class="quiet">{me.server_admin ? t("user.serverAdmin") : me.user.name}</span>
          </div>
          <a class="menu-item" href="/account">
            <Icon name="account" size={16} />
            {t("account")}
          </a>
          <MenuItem
            icon="settings"
            onPick={() => {
              close();
              go(to("settings"));
            }}
          >
            {t("settings")}
          </MenuItem>
          <form method="post" action="/signout">
            <button type="submit" class="menu-item">
              <Icon name="back" size={16} />
              {t("signOut")}
            </button>
          </form>
        </>
      )}
    </Menu>
  );
}

/** A page that is not there. */
export function Lostway() {
  return (
    <div class="page">
      <div class="empty">
        <Icon name="search" size={28} />
        <h1>{t("nowhere")}</h1>
        <p>
          <a href={to()}>{t("overview")}</a>
        </p>
      </div>
    </div>
  );
}
