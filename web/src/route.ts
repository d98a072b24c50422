// Where the panel is: everything that can be shown has an address that can be sent to somebody.
//
// Of the query, `in` is the network the whole panel is limited to, `open` the thing in the drawer, `q` the filter, `sort`
// the order; a page may have more.

import { computed, signal } from "@preact/signals";

export interface Route {
  /** Steps of the path: `["networks", "home", "members"]`. */
  path: readonly string[];
  query: URLSearchParams;
}

/** First steps of paths that belong to the panel; the server's own pages are not among them. */
export const PAGES = ["", "devices", "networks", "people", "map", "rules", "activity", "settings"] as const;
export type PageId = (typeof PAGES)[number];

export function read(url: URL): Route {
  const path = url.pathname.split("/").filter(Boolean).map(decode);
  return { path, query: url.searchParams };
}

export const route = signal<Route>({ path: [], query: new URLSearchParams() });

/** First step of the path. */
export const page = computed(() => route.value.path[0] ?? "");
/** Name of the network everything is limited to. */
export const scope = computed(() => route.value.query.get("in") ?? "");
/** What the drawer shows: kind and id. */
export const opened = computed(() => {
  const [kind, ...id] = (route.value.query.get("open") ?? "").split("/");
  return kind && id.length > 0 ? { kind, id: id.join("/") } : undefined;
});

/** Follows the address bar, and links of the panel without loading a page. */
export function follow(): void {
  const sync = () => {
    route.value = read(new URL(location.href));
  };
  addEventListener("popstate", sync);
  document.addEventListener("click", (event) => {
    const anchor = event.target instanceof Element ? event.target.closest("a") : null;
    if (!anchor || event.defaultPrevented || event.button !== 0) return;
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || anchor.target) return;
    const url = new URL(anchor.href);
    if (url.origin !== location.origin || !isOurs(url)) return;
    event.preventDefault();
    go(url.pathname + url.search);
  });
  sync();
}

/** Whether an address is a page of the panel. */
export function isOurs(url: URL): boolean {
  return (PAGES as readonly string[]).includes(url.pathname.split("/")[1] ?? "");
}

/** Goes to a path, as a link would. */
export function go(where: string, how: "push" | "replace" = "push"): void {
  if (where !== location.pathname + location.search) {
    if (how === "push") history.pushState(null, "", where);
    else history.replaceState(null, "", where);
  }
  route.value = read(new URL(location.href));
}

/** The address of a page; the limit to one network stays. */
export function to(...path: string[]): string {
  return address(path, scope.value ? { in: scope.value } : {});
}

/** The address of this page with some of its query changed; `null` takes a key away. */
export function here(changes: Readonly<Record<string, string | null>>): string {
  const query = new URLSearchParams(route.value.query);
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === "") query.delete(key);
    else query.set(key, value);
  }
  return address(route.value.path, Object.fromEntries(query));
}

/** What stands in `drawer` for the thing. */
const THING = "~";

/** The address of this page with a thing in the drawer, made once for all rows of a table. */
const drawer = computed(() => here({ open: THING }).split(`open=${THING}`));

/** The address of this page with something in the drawer. */
export function opening(kind: string, id: string): string {
  const [before, after] = drawer.value;
  return `${before}open=${kind}/${readable(encodeURIComponent(id))}${after}`;
}

function address(path: readonly string[], query: Readonly<Record<string, string>>): string {
  // Slashes and colons stay readable: both are allowed in a query.
  const text = readable(new URLSearchParams(query).toString());
  return `/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

function readable(text: string): string {
  return text.replaceAll("%2F", "/").replaceAll("%3A", ":").replaceAll("%7E", "~");
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
