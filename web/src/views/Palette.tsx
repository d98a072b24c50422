// ⌘K: any device, person, network, page or action by a few letters of its name.

import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import { idsOf } from "../api/search";
import { t } from "../i18n/t";
import { Icon, type IconName } from "../parts/Icon";
import { isHelpOpen, isPaletteOpen } from "../keys";
import { isServerAdmin } from "../may";
import { go, opening, to } from "../route";
import { nameOf } from "../store/rows";
import { store } from "../store/store";
import { THEMES, paint } from "../theme";
import { entries } from "./Shell";

interface Item {
  id: string;
  icon: IconName;
  name: string;
  about: string;
  /** What is looked in, in small letters. */
  text: string;
  run: () => void;
}

const SHOWN = 12;

/** Items for a text: those whose name begins with it first, then those that have all of its words. */
export function pick(items: readonly Item[], text: string): Item[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return items.slice(0, SHOWN);
  const found = items.filter((item) => words.every((word) => item.text.includes(word)));
  const rank = (item: Item) => (item.name.toLowerCase().startsWith(words[0]!) ? 0 : 1);
  return found.sort((a, b) => rank(a) - rank(b)).slice(0, SHOWN);
}

/** With fewer items than this the server is asked too: it also looks in the metadata. */
const FEW = 5;
const SETTLE_MS = 250;

/** Lists of the API, and what their things are called here. */
const LISTS = [
  ["/devices", "device"],
  ["/users", "user"],
  ["/networks", "network"],
] as const;

/** Items that the server finds. */
function useFar(items: readonly Item[], text: string, isWanted: boolean): readonly Item[] {
  const [found, setFound] = useState<readonly Item[]>([]);
  useEffect(() => {
    setFound([]);
    if (!isWanted || text.trim().length < 2) return;
    let isLate = false;
    const timer = setTimeout(async () => {
      // What it cannot make out is no query: nothing is found.
      const lists = await Promise.all(
        LISTS.map(([list, kind]) =>
          idsOf(list, text.trim(), SHOWN).then(
            (ids) => [...ids].map((id) => `${kind}/${id}`),
            () => [],
          ),
        ),
      );
      const ids = new Set(lists.flat());
      if (!isLate) setFound(items.filter((item) => ids.has(item.id)));
    }, SETTLE_MS);
    return () => {
      isLate = true;
      clearTimeout(timer);
    };
  }, [text, isWanted]);
  return found;
}

export function Palette() {
  return isPaletteOpen.value ? <Open /> : null;
}

function Open() {
  const dialog = useRef<HTMLDialogElement>(null);
  const [text, setText] = useState("");
  const [at, setAt] = useState(0);
  const id = useId();
  const items = useMemo(gather, []);
  const near = useMemo(() => pick(items, text), [items, text]);
  const far = useFar(items, text, near.length < FEW);
  const shown = [...near, ...far.filter((item) => !near.includes(item))].slice(0, SHOWN);
  const close = () => {
    isPaletteOpen.value = false;
  };
  useEffect(() => {
    const from = document.activeElement;
    dialog.current!.showModal();
    return () => {
      if (from instanceof HTMLElement && from.isConnected) from.focus();
    };
  }, []);
  const run = (item: Item | undefined) => {
    if (!item) return;
    close();
    // After the focus went back, or it would leave what the item opens.
    setTimeout(item.run);
  };
  const onKey = (event: KeyboardEvent) => {
    const moves: Readonly<Record<string, number>> = { ArrowDown: 1, ArrowUp: -1 };
    const by = moves[event.key];
    if (by !== undefined && shown.length > 0) {
      event.preventDefault();
      setAt((at + by + shown.length) % shown.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      run(shown[at]);
    }
  };
  return (
    <dialog
      ref={dialog}
      class="palette"
      aria-label={t("palette.open")}
      onCancel={(event) => {
        event.preventDefault();
        close();
      }}
      onClick={(event) => event.target === dialog.current && close()}
    >
      <div class="palette-box">
        <Icon name="search" />
        <input
          type="text"
          role="combobox"
          aria-expanded="true"
          aria-controls={id}
          aria-activedescendant={shown[at] ? `${id}-${at}` : undefined}
          aria-label={t("palette.open")}
          placeholder={t("palette.placeholder")}
          autocomplete="off"
          spellcheck={false}
          autofocus
          value={text}
          onKeyDown={onKey}
          onInput={(event) => {
            setText(event.currentTarget.value);
            setAt(0);
          }}
        />
        <kbd aria-hidden="true">Esc</kbd>
      </div>
      <ul id={id} role="listbox" aria-label={t("palette.results")}>
        {shown.map((item, index) => (
          <li
            key={item.id}
            id={`${id}-${index}`}
            role="option"
            aria-selected={index === at}
            onClick={() => run(item)}
            onPointerMove={() => setAt(index)}
          >
            <Icon name={item.icon} />
            <span class="palette-name">{item.name}</span>
            <span class="palette-about">{item.about}</span>
          </li>
        ))}
      </ul>
      {shown.length === 0 && <p class="palette-none">{t("palette.none", { text })}</p>}
    </dialog>
  );
}

function gather(): Item[] {
  const item = (key: string, icon: IconName, name: string, about: string, run: () => void, more = ""): Item => ({
    id: key,
    icon,
    name,
    about,
    text: `${name}\n${about}\n${more}`.toLowerCase(),
    run,
  });
  const pages = entries().map(({ id, icon, label }) =>
    item(`page/${id}`, icon, label, t("palette.page"), () => go(id === "" ? to() : to(id))),
  );
  const networks = store.networks.all.value.flatMap(({ id, name }) => [
    item(`network/${id}`, "networks", name, t("network"), () => go(to("networks", name))),
    ...(store.mayAdmin(name)
      ? [
          item(`invite/${name}`, "link", t("palette.invite", { network: name }), t("palette.action"), () =>
            go(`${to("networks", name, "invites")}${to().includes("?") ? "&" : "?"}new=1`),
          ),
        ]
      : []),
  ]);
  const people = store.users.all.value.map((user) =>
    item(`user/${user.id}`, "account", nameOf(user), t("user"), () => go(opening("user", user.id)), user.name),
  );
  const devices = store.rows.all.value.map((row) =>
    item(
      `device/${row.device.id}`,
      "devices",
      row.name,
      row.ip4 || t("device"),
      () => go(opening("device", row.device.id)),
      row.text,
    ),
  );
  const actions = [
    ...THEMES.map((theme) =>
      item(`theme/${theme}`, "sun", `${t("theme")}: ${t(`theme.${theme}`)}`, t("palette.action"), () => paint(theme)),
    ),
    item("keys", "key", t("help"), t("palette.action"), () => (isHelpOpen.value = true)),
    ...(isServerAdmin.value
      ? [item("newNetwork", "plus", t("networks.add"), t("palette.action"), () => go(`${to("networks")}?new=1`))]
      : []),
  ];
  return [...pages, ...networks, ...actions, ...people, ...devices];
}
