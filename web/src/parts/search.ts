// A filter over rows: what they can tell is tested here, the rest the server is asked for once the typing rests.

import { useEffect, useMemo, useState } from "preact/hooks";
import { idsOf } from "../api/search";
import { type Fields, type Term, compile, divide, write } from "../query";
import { sentence } from "../store/later";

const SETTLE_MS = 300;

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
    const timer = setTimeout(() => {
      find(list, remote).then(
        (found) => tell({ found, wrong: "" }),
        (error: unknown) => tell({ wrong: sentence(error) }),
      );
    }, SETTLE_MS);
    return () => {
      isWanted = false;
      clearTimeout(timer);
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

/** What meets all terms. Those turned round are asked as they are and left out here, so that no answer is all there is. */
async function find(list: string, terms: readonly Term[]): Promise<Found> {
  const wanted = terms.filter(({ not }) => !not);
  const unwanted = terms.filter(({ not }) => not).map((term) => [{ ...term, not: false }]);
  const [within, ...outside] = await Promise.all(
    [wanted, ...unwanted].map((part) => (part.length > 0 ? idsOf(list, write(part)) : undefined)),
  );
  return (id) => (within?.has(id) ?? true) && !outside.some((ids) => ids?.has(id));
}
