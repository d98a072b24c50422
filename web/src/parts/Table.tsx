// A table of any length: only the rows in sight are in the document, the rest is said by aria-rowcount.
//
// Below NARROW it becomes a list of cards; each cell then shows its label. All rows have one height, so that a row's place
// is a multiplication.

import type { ComponentChildren } from "preact";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { t } from "../i18n/t";
import { type RowKeys, withRows } from "../keys";
import { Icon } from "./Icon";
import { useMedia } from "./media";

export interface Column<R> {
  id: string;
  label: string;
  /** Width in pixels; without, the column shares what is left. */
  width?: number;
  cell: (row: R) => ComponentChildren;
  /** What the column sorts by. */
  sort?: (row: R) => string | number;
  /** Numbers stand at the end. */
  end?: boolean;
  /** Hidden where the page is narrower than this. */
  from?: number;
  /** Whether cards show it. */
  card?: boolean;
}

interface Props<R> {
  label: string;
  columns: readonly Column<R>[];
  rows: readonly R[];
  idOf: (row: R) => string;
  /** Id of the column, with a minus before it for the other way round. */
  sort: string;
  onSort: (sort: string) => void;
  /** Shown rows only. */
  filter?: (row: R) => boolean;
  selected?: ReadonlySet<string>;
  onSelect?: (selected: ReadonlySet<string>) => void;
  /** Name of a row, for its box. */
  nameOf?: (row: R) => string;
  cardHeight?: number;
  /** Told to screen readers of how many rows are shown. */
  says?: (count: number) => ComponentChildren;
  empty?: ComponentChildren;
}

/** Ids of all rows shown, made when they are asked for: most key strokes in a filter need none. */
type Ids = () => readonly string[];

const ROW_HEIGHT = 37;
/** Rows beyond each edge of what is in sight. Each costs time at every key stroke in the filter. */
const AHEAD = 3;
export const NARROW = "(max-width: 719px)";

/** The rows in the order of a column. */
export function sorted<R>(rows: readonly R[], columns: readonly Column<R>[], sort: string): readonly R[] {
  const column = columns.find(({ id }) => id === sort.replace(/^-/, ""));
  if (!column?.sort) return rows;
  const by = column.sort;
  const turn = sort.startsWith("-") ? -1 : 1;
  return rows
    .map((row) => ({ row, key: by(row) }))
    .sort((a, b) => (a.key < b.key ? -turn : a.key > b.key ? turn : 0))
    .map(({ row }) => row);
}

export function Table<R>(props: Props<R>) {
  const { label, columns, rows, idOf, sort, onSort, filter, selected, onSelect, says, empty, cardHeight = 118 } = props;
  const isNarrow = useMedia(NARROW);
  const box = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ first: 0, count: 40 });
  const height = isNarrow ? cardHeight : ROW_HEIGHT;
  const ordered = useMemo(() => sorted(rows, columns, sort), [rows, columns, sort]);
  const shown = useMemo(() => (filter ? ordered.filter(filter) : ordered), [ordered, filter]);

  useLayoutEffect(() => {
    const element = box.current!;
    const measure = () => {
      const first = Math.max(0, Math.floor(element.scrollTop / height) - AHEAD);
      const count = Math.ceil(element.clientHeight / height) + 2 * AHEAD;
      setView((old) => (old.first === first && old.count === count ? old : { first, count }));
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener("scroll", measure, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", measure);
    };
  }, [height]);

  const ids = useMemo(() => once(() => shown.map(idOf)), [shown, idOf]);
  const toggle = useToggle(ids, selected, onSelect);
  useRowKeys(box, ids, height, toggle);

  const first = Math.min(view.first, Math.max(0, shown.length - view.count));
  const part = shown.slice(first, first + view.count);
  const slots = useSlots(part.map(idOf));
  const after = shown.length - first - part.length;
  const width = columns.length + (onSelect ? 1 : 0);
  return (
    <>
      {says && (
        <p class="unseen" role="status">
          {says(shown.length)}
        </p>
      )}
      {isNarrow && <SortChoice columns={columns} sort={sort} onSort={onSort} />}
      <div class="table-box" ref={box} role="region" aria-label={label} tabIndex={0}>
        <table
          role="table"
          class={isNarrow ? "table cards" : "table"}
          style={isNarrow ? undefined : { minWidth: `${least(columns)}px` }}
          aria-label={label}
          aria-rowcount={shown.length + 1}
        >
          <Head {...props} ids={ids} count={shown.length} />
          <tbody role="rowgroup">
            <Gap height={first * height} width={width} />
            {part.map((row, at) => (
              <Row
                key={slots[at]!}
                id={idOf(row)}
                row={row}
                index={first + at + 2}
                columns={columns}
                name={props.nameOf?.(row) ?? ""}
                isSelected={selected?.has(idOf(row))}
                onToggle={onSelect ? toggle : undefined}
                height={height}
              />
            ))}
            <Gap height={after * height} width={width} />
          </tbody>
        </table>
        {shown.length === 0 && empty}
      </div>
    </>
  );
}

/** Narrower than this the columns that share the rest would vanish: the box scrolls then. */
function least<R>(columns: readonly Column<R>[]): number {
  return columns.reduce((sum, column) => sum + (column.width ?? 160), 40);
}

function Head<R>({ columns, sort, onSort, selected, onSelect, ids, count }: Props<R> & { ids: Ids; count: number }) {
  const chosen = selected && selected.size > 0 ? ids().filter((id) => selected.has(id)).length : 0;
  return (
    <thead role="rowgroup">
      <tr role="row" aria-rowindex={1}>
        {onSelect && (
          <th role="columnheader" scope="col" class="pick">
            <input
              type="checkbox"
              aria-label={t("table.all")}
              checked={chosen > 0 && chosen === count}
              ref={(element) => {
                if (element) element.indeterminate = chosen > 0 && chosen < count;
              }}
              onChange={() => onSelect(chosen === count ? new Set() : new Set(ids()))}
            />
          </th>
        )}
        {columns.map((column) => (
          <th
            key={column.id}
            role="columnheader"
            scope="col"
            class={column.end ? "end" : undefined}
            style={column.width ? { width: `${column.width}px` } : undefined}
            aria-sort={ariaSort(column, sort)}
          >
            {column.sort ? (
              <button type="button" class="sort" onClick={() => onSort(turned(column.id, sort))}>
                {column.label}
                {column.id === sort.replace(/^-/, "") && <Icon name={sort.startsWith("-") ? "down" : "up"} size={14} />}
              </button>
            ) : (
              column.label
            )}
          </th>
        ))}
      </tr>
    </thead>
  );
}

function ariaSort<R>(column: Column<R>, sort: string): "ascending" | "descending" | "none" | undefined {
  if (!column.sort) return undefined;
  if (column.id !== sort.replace(/^-/, "")) return "none";
  return sort.startsWith("-") ? "descending" : "ascending";
}

function turned(id: string, sort: string): string {
  return sort === id ? `-${id}` : id;
}

interface RowProps<R> {
  id: string;
  row: R;
  /** Counted from 1, the head is the first. */
  index: number;
  columns: readonly Column<R>[];
  name: string;
  isSelected: boolean | undefined;
  onToggle: ((id: string, isRange: boolean) => void) | undefined;
  height: number;
}

function Row<R>({ id, row, index, columns, name, isSelected, onToggle, height }: RowProps<R>) {
  const element = useRef<HTMLTableRowElement>(null);
  useLayoutEffect(() => () => leave(element.current), [id]);
  return (
    <tr
      ref={element}
      role="row"
      aria-rowindex={index}
      aria-selected={isSelected}
      data-row={id}
      class={isSelected ? "selected" : undefined}
      style={{ height: `${height}px` }}
    >
      {onToggle && (
        <td role="cell" class="pick">
          <input
            type="checkbox"
            aria-label={t("table.pick", { name })}
            checked={isSelected}
            onClick={(event) => onToggle(id, event.shiftKey)}
          />
        </td>
      )}
      <Cells row={row} columns={columns} />
    </tr>
  );
}

/** Apart from the row, whose place in the list changes more often than what it shows. */
function Cells<R>({ row, columns }: Pick<RowProps<R>, "row" | "columns">) {
  return columns.map((column) => (
    <td
      key={column.id}
      role="cell"
      data-column={column.id}
      data-label={column.label}
      class={column.end ? "end" : undefined}
    >
      {column.cell(row)}
    </td>
  ));
}

/** A row is another now: what was begun in the one before, a menu that is open or the focus, is not of it. */
function leave(row: HTMLElement | null): void {
  if (!row) return;
  for (const menu of row.querySelectorAll<HTMLElement>(":popover-open")) menu.hidePopover();
  if (row.contains(document.activeElement)) (document.activeElement as HTMLElement).blur();
}

/**
 * Numbers of places in the document for the rows in sight.
 *
 * A row that stays keeps its place, and one that comes takes that of one that goes: to make elements takes longer than all
 * else at a key stroke.
 */
function useSlots(ids: readonly string[]): readonly number[] {
  const before = useRef(new Map<string, number>());
  return useMemo(() => {
    const old = before.current;
    const wanted = new Set(ids);
    const free = [...old].filter(([id]) => !wanted.has(id)).map(([, slot]) => slot);
    let next = Math.max(-1, ...old.values()) + 1;
    const slots = ids.map((id) => old.get(id) ?? free.shift() ?? next++);
    before.current = new Map(ids.map((id, at) => [id, slots[at]!]));
    return slots;
  }, [ids.join("\n")]);
}

function once<V>(make: () => V): () => V {
  let made: { value: V } | undefined;
  return () => (made ??= { value: make() }).value;
}

function Gap({ height, width }: { height: number; width: number }) {
  if (height <= 0) return null;
  return (
    <tr class="gap" aria-hidden="true">
      <td colSpan={width} style={{ height: `${height}px` }} />
    </tr>
  );
}

function SortChoice<R>({ columns, sort, onSort }: Pick<Props<R>, "columns" | "sort" | "onSort">) {
  return (
    <label class="sort-choice">
      {t("table.sort")}
      <select value={sort} onChange={(event) => onSort(event.currentTarget.value)}>
        {columns
          .filter((column) => column.sort)
          .flatMap(({ id, label }) => [
            <option key={id} value={id} selected={sort === id}>
              {t("table.up", { label })}
            </option>,
            <option key={`-${id}`} value={`-${id}`} selected={sort === `-${id}`}>
              {t("table.down", { label })}
            </option>,
          ])}
      </select>
    </label>
  );
}

/** Selects a row, or with shift all from the last one. The function stays the same, so that rows that did not change are left alone. */
function useToggle(
  ids: Ids,
  selected: ReadonlySet<string> | undefined,
  onSelect: ((selected: ReadonlySet<string>) => void) | undefined,
) {
  const last = useRef<string | undefined>(undefined);
  const state = useRef({ ids, selected, onSelect });
  state.current = { ids, selected, onSelect };
  return useCallback((id: string, isRange: boolean) => {
    const { ids: idsOf, selected: before, onSelect: tell } = state.current;
    if (!before || !tell) return;
    const all = idsOf();
    const next = new Set(before);
    const from = last.current === undefined ? -1 : all.indexOf(last.current);
    const to = all.indexOf(id);
    const range = isRange && from >= 0 ? all.slice(Math.min(from, to), Math.max(from, to) + 1) : [id];
    const isOn = !before.has(id);
    for (const one of range) {
      if (isOn) next.add(one);
      else next.delete(one);
    }
    last.current = id;
    tell(next);
  }, []);
}

/** `j`, `k` and `x`: the row with the focus is the current one. */
function useRowKeys(
  box: { current: HTMLDivElement | null },
  ids: Ids,
  height: number,
  toggle: (id: string, isRange: boolean) => void,
) {
  const state = useRef({ ids, height, toggle });
  state.current = { ids, height, toggle };
  useEffect(() => {
    const current = () => document.activeElement?.closest<HTMLElement>("[data-row]")?.dataset.row;
    const keys: RowKeys = {
      move(by) {
        const { ids: idsOf, height: high } = state.current;
        const all = idsOf();
        const element = box.current;
        if (!element || all.length === 0) return;
        const at = all.indexOf(current() ?? "");
        const next = at < 0 ? 0 : Math.max(0, Math.min(all.length - 1, at + by));
        const top = next * high;
        if (top < element.scrollTop) element.scrollTop = top;
        else if (top + 2 * high > element.scrollTop + element.clientHeight) {
          element.scrollTop = top + 2 * high - element.clientHeight;
        }
        // The row may only now come into the document.
        requestAnimationFrame(() => requestAnimationFrame(() => focusRow(element, all[next]!)));
      },
      select() {
        const id = current();
        if (id !== undefined) state.current.toggle(id, false);
      },
    };
    return withRows(keys);
  }, []);
}

function focusRow(box: HTMLElement, id: string): void {
  box.querySelector<HTMLElement>(`[data-row="${CSS.escape(id)}"] :is(a, button)`)?.focus();
}
