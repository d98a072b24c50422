// Icons, drawn with strokes on a grid of 20. They repeat what a text or a label says, so nothing reads them out.

const PATHS = {
  overview: "M3 11l7-7 7 7M5 9.5V16h3.5v-4h3v4H15V9.5",
  devices: "M3 5h14v8H3zM7 16h6M10 13v3",
  networks:
    "M10 3.5a2 2 0 110 4 2 2 0 010-4zM4.5 12.5a2 2 0 110 4 2 2 0 010-4zM15.5 12.5a2 2 0 110 4 2 2 0 010-4zM9 7.3l-3.4 5.4M11 7.3l3.4 5.4M6.5 14.5h7",
  people:
    "M7.5 4a2.8 2.8 0 110 5.6A2.8 2.8 0 017.5 4zM2.5 16c.4-3 2.3-4.4 5-4.4s4.6 1.4 5 4.4M13 4.4a2.6 2.6 0 010 4.9M14.5 11.9c1.8.5 2.8 1.9 3 4.1",
  map: "M5 5.5a1.5 1.5 0 110 3 1.5 1.5 0 010-3zM15 3.5a1.5 1.5 0 110 3 1.5 1.5 0 010-3zM13 13.5a1.5 1.5 0 110 3 1.5 1.5 0 010-3zM6.5 6.7l7-1.4M6 8.2l6 6M14.7 6.5l-1.4 7",
  rules: "M10 3l6 2.2v4.6c0 3.6-2.5 6-6 7.2-3.5-1.2-6-3.6-6-7.2V5.2zM7.3 10l2 2 3.5-4",
  activity: "M2.5 10h3.5l2.5-6 3.5 12 2.5-6h3",
  settings:
    "M4 6h7M15 6h1M4 14h1M9 14h7M13 4.2a1.8 1.8 0 110 3.6 1.8 1.8 0 010-3.6zM7 12.2a1.8 1.8 0 110 3.6 1.8 1.8 0 010-3.6z",
  search: "M8.8 3.5a5.3 5.3 0 110 10.6 5.3 5.3 0 010-10.6zM12.7 12.7L17 17",
  close: "M5 5l10 10M15 5L5 15",
  check: "M4 10.5l4 4 8-9",
  copy: "M7 7h9v9H7zM4 13V4h9",
  plus: "M10 4v12M4 10h12",
  more: "M4 10a.7.7 0 101.4 0 .7.7 0 10-1.4 0zM9.3 10a.7.7 0 101.4 0 .7.7 0 10-1.4 0zM14.6 10a.7.7 0 101.4 0 .7.7 0 10-1.4 0z",
  down: "M5.5 8l4.5 4.5L14.5 8",
  up: "M5.5 12l4.5-4.5 4.5 4.5",
  back: "M12 5l-5 5 5 5",
  next: "M8 5l5 5-5 5",
  columns: "M3 4h14v12H3zM8 4v12M12.5 4v12",
  filter: "M3 5h14M6 10h8M8.5 15h3",
  sun: "M10 6.5a3.5 3.5 0 110 7 3.5 3.5 0 010-7zM10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1.1 1.1M14.6 14.6l1.1 1.1M4.3 15.7l1.1-1.1M14.6 5.4l1.1-1.1",
  moon: "M16 12.5A6.8 6.8 0 017.5 4a6.8 6.8 0 108.5 8.5z",
  account: "M10 4a3 3 0 110 6 3 3 0 010-6zM4 16.5c.6-3 2.8-4.5 6-4.5s5.4 1.5 6 4.5",
  warning: "M10 3.5l7.5 13h-15zM10 8.5v3.5M10 14.2v.1",
  key: "M13 4a3.5 3.5 0 110 7 3.5 3.5 0 010-7zM10.4 9.6L3.5 16.5M6 14l2 2",
  link: "M8.5 11.5l3-3M7 9l-2.2 2.2a2.8 2.8 0 004 4L11 13M9 7l2.2-2.2a2.8 2.8 0 014 4L13 11",
  trash: "M4 6h12M8 6V4h4v2M5.5 6l.7 10h7.6l.7-10",
  pause: "M7 5v10M13 5v10",
  play: "M6.5 4.5l9 5.5-9 5.5z",
  edit: "M4 16l.6-3L13 4.5l2.5 2.5L7 15.4z",
  fit: "M4 8V4h4M12 4h4v4M16 12v4h-4M8 16H4v-4",
  again: "M15.7 8.2A6 6 0 1016 11.5M16 4v4.3h-4.3",
  table: "M3 4h14v12H3zM3 8h14M3 12h14",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 20 20" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
