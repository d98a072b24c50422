// What the server finds: for what the panel has no data of its own, as the metadata.

import { get, step } from "./client";
import type * as T from "./types";

/** More pages than this are no answer to a question. */
const PAGES_MAX = 40;

/** Ids of what a query finds in a list of the API. */
export async function idsOf(list: string, query: string, limit = 500): Promise<Set<string>> {
  const ids = new Set<string>();
  let after = "";
  for (let n = 0; n < PAGES_MAX; n += 1) {
    const page = await get<T.Page<{ id: string }>>(`${list}?limit=${limit}&q=${step(query)}${after}`);
    for (const { id } of page.items) ids.add(id);
    if (page.next === null || limit < 500) break;
    after = `&after=${step(page.next)}`;
  }
  return ids;
}
