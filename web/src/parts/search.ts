// A filter over rows: what they can tell is tested here, the rest the server is asked for once the typing rests.

import { effect } from "@preact/signals";
import { useEffect, useMemo, useState } from "preact/hooks";
import { idsOf } from "../api/search";
import { type Fields, type Term, compile, divide, write } from "../query";
import { sentence } from "../store/later";
import { store } from "../store/store";
import { again } from "./again";

const SETTLE_MS = 300;
/** What no answer should depend on makes that the question is asked again all the same, after so long. */
const IDLE_NEWS_MS = 30_000;

/** Rows that can be filtered. */
export interface Searched<R> {
  fields: Fields<R>;
  textOf(row: R): string;
  idOf(row: R): string;
  /** Path of the list in the API that finds them. */
  list: string;
}

export interface Search<R> {
  fits: (row: R) => boolean;
  /** What the server cannot make out in the query. */
  wrong: string;
  /** Whether its answer is still to come. */
  isAsking: boolean;
}

type Found = (id: string) => boolean;

interface Answer {
  question: string;
  found?: Found;
  wrong: string;
}

export function useSearch<R>(text: string, { fields, textOf, idOf, list }: Searched<R>): Search<R> {
  const { local, remote } = useMemo(() => divide(text, fields), [text, fields]);
  const question = write(remote);
  const [answer, setAnswer] = useState<Answer>({ question: "", wrong: "" });
  useEffect(() => {
    if (question === "") return setAnswer((old) => (old.question === "" ? old : { question, wrong: "" }));
    let isWanted = true;
    const tell = (next: Omit<Answer, "question">) => {
      if (isWanted) setAnswer({ question, ...next });
    };
    const asking = again(() => find(list, remote).then((found) => tell({ found, wrong: "" })));
    const timer = setTimeout(() => {
      find(list, remote).then(
        (found) => tell({ found, wrong: "" }),
        (error: unknown) => tell({ wrong: sentence(error) }),
      );
    }, SETTLE_MS);
    const unfollow = follow(asking.plan);
    return () => {
      isWanted = false;
      clearTimeout(timer);
      asking.stop();
      unfollow();
    };
  }, [question, list]);
  const isAsking = answer.question !== question;
  const { found } = answer;
  const fits = useMemo(() => {
    const test = compile(local, fields, textOf);
    if (question === "") return test;
    // Until the first answer nothing is known to fit; after that the last one stands while the next is on its way.
    if (found) return (row: R) => test(row) && found(idOf(row));
    return isAsking ? () => false : test;
  }, [local, fields, question, found, isAsking]);
  return { fits, wrong: isAsking ? "" : answer.wrong, isAsking };
}

/** Plans another asking whenever the stream tells of things that the server finds otherwise now. */
function follow(plan: (within?: number) => void): () => void {
  const heard = [store.news.value, store.idleNews.value];
  return effect(() => {
    const [news, idle] = [store.news.value, store.idleNews.value];
    if (news !== heard[0]) plan();
    else if (idle !== heard[1]) plan(IDLE_NEWS_MS);
    heard.splice(0, 2, news, idle);
  });
}

/** What meets all terms. Those turned round are asked as they are and left out here, so that no answer is all there is. */
async function find(list: string, terms: readonly Term[]): Promise<Found> {
  const wanted = terms.filter(({ not }) => !not);
  const unwanted = terms.filter(({ not }) => not).map((term) => [{ ...term, not: false }]);
  const [within, ...outside] = await Promise.all(
    [wanted, ...unwanted].map((part) => (part.length > 0 ? idsOf(list, write(part)) : undefined)),
  );
  return (id) => (within?.has(id) ?? true) && !outside.some((ids) => ids?.has(id));
}
