// Map: who is connected to whom, and how; as a picture, and as a table for whom a picture is no use.

import { useCallback, useMemo, useRef } from "preact/hooks";
import { now, since } from "../format";
import { n, t } from "../i18n/t";
import { type Edge, type EdgeState, type Node, NODES_MAX, graphOf } from "../map/graph";
import { Button, LinkButton } from "../parts/Button";
import { Dot } from "../parts/Dot";
import { Empty } from "../parts/Empty";
import { Chips, Filter, useFilter } from "../parts/Filter";
import { PageHead } from "../parts/Page";
import { type Column, NARROW, Table } from "../parts/Table";
import { stageWidth, useMedia } from "../parts/media";
import { useSearch } from "../parts/search";
import { go, here, opened, opening, route, to } from "../route";
import { store } from "../store/store";
import { heardAt, inWords, pathInWords, stateOfLink } from "../verdict";
import { inScope } from "./Devices";
import { Loss, Rates, Rtt } from "./LinkParts";
import { MapCanvas } from "./MapCanvas";
import { SEARCHED_DEVICES } from "./columns";
import { DEVICE_WORDS } from "./words";

const STATES = ["direct", "relayed", "failed", "recent"] as const satisfies readonly EdgeState[];

export function MapView() {
  const [text, setText] = useFilter();
  const isTable = route.value.query.get("view") === "table";
  const rows = inScope.value;
  const links = store.links.all.value;
  const places = useRef(new Map<string, Node>());
  const { fits, wrong } = useSearch(text, SEARCHED_DEVICES);
  const moment = now.value;
  const graph = useMemo(() => {
    const next = graphOf(rows.filter(fits), links, places.current, moment);
    places.current = new Map(next.nodes.map((node) => [node.id, node]));
    return next;
  }, [rows, links, fits, moment]);
  const counts = STATES.map((state) => [state, graph.edges.filter((edge) => edge.state === state).length] as const);
  const summary = counts.map(([state, count]) => n(`links.${state}`, count)).join(", ");
  const open = useCallback((id: string) => go(opening("device", id)), []);
  const chosen = opened.value?.kind === "device" ? opened.value.id : undefined;
  return (
    <div class="page fill">
      <PageHead
        title={t("map")}
        about={`${n("devices.count", graph.nodes.length)} · ${n("links.count", graph.edges.length)}`}
      >
        <Button
          icon={isTable ? "map" : "table"}
          data-key="twin"
          onClick={() => go(here({ view: isTable ? null : "table", sort: null }))}
        >
          {t(isTable ? "map.picture" : "map.table")}
        </Button>
      </PageHead>
      <div class="tools">
        <Filter
          text={text}
          onText={setText}
          placeholder={t("devices.filter")}
          words={DEVICE_WORDS}
          wrong={wrong}
        />
        <ul class="legend" aria-label={t("map.legend")}>
          {counts.map(([state, count]) => (
            <li key={state}>
              <span class={`wire ${state}`} aria-hidden="true" />
              {t(`state.${state}`)} <span class="quiet">{count}</span>
            </li>
          ))}
        </ul>
      </div>
      <Chips text={text} onText={setText} />
      {graph.left > 0 && <p class="hint">{t("map.left", { shown: NODES_MAX, left: graph.left })}</p>}
      {graph.nodes.length === 0 ? (
        <Empty icon="map" title={t(text === "" ? "devices.none" : "filter.nothing", { text })}>
          {text === "" ? (
            <LinkButton href={to("networks")}>{t("networks")}</LinkButton>
          ) : (
            <Button onClick={() => setText("")}>{t("filter.clear")}</Button>
          )}
        </Empty>
      ) : isTable ? (
        <Twin edges={graph.edges} isFiltered={text !== ""} />
      ) : (
        <MapCanvas graph={graph} label={t("map.label", { summary })} chosen={chosen} onOpen={open} />
      )}
    </div>
  );
}

const edgeId = (edge: Edge) => edge.id;

/** The edges of the map, one a row. */
function Twin({ edges, isFiltered }: { edges: readonly Edge[]; isFiltered: boolean }) {
  const isNarrow = useMedia(NARROW);
  const width = stageWidth.value;
  const columns = useMemo(
    () => columnsOf().filter((column) => (isNarrow ? column.card : width >= (column.from ?? 0))),
    [isNarrow, width, t("map")],
  );
  return (
    <Table
      label={t("links")}
      columns={columns}
      rows={edges}
      idOf={edgeId}
      sort={route.value.query.get("sort") ?? "state"}
      onSort={(sort) => go(here({ sort }), "replace")}
      cardHeight={168}
      empty={<Empty icon="link" title={t(isFiltered ? "links.noneAmong" : "links.none")} />}
    />
  );
}

const ORDER: Readonly<Record<EdgeState, number>> = { failed: 0, relayed: 1, trying: 2, direct: 3, recent: 4 };

function columnsOf(): Column<Edge>[] {
  return [
    {
      id: "state",
      label: t("map.path"),
      width: 170,
      card: true,
      sort: (edge) => ORDER[edge.state],
      cell: (edge) => (
        <a class="name" href={opening("link", edge.id)}>
          <Dot state={edge.state === "recent" ? "offline" : edge.state} />
          <span class="name-text">{edge.state === "recent" ? t("state.recent") : pathInWords(edge.link)}</span>
          <span class="unseen">{t("map.between", { here: edge.link.device, there: edge.link.peer })}</span>
        </a>
      ),
    },
    {
      id: "here",
      label: t("map.here"),
      width: 130,
      card: true,
      sort: (edge) => edge.link.device,
      cell: (edge) => (
        <a class="clip" href={opening("device", edge.link.device_id)}>
          {edge.link.device}
        </a>
      ),
    },
    {
      id: "there",
      label: t("map.there"),
      width: 130,
      card: true,
      sort: (edge) => edge.link.peer,
      cell: (edge) => (
        <a class="clip" href={opening("device", edge.link.peer_id)}>
          {edge.link.peer}
        </a>
      ),
    },
    {
      id: "rtt",
      label: t("link.rtt"),
      from: 620,
      width: 95,
      end: true,
      card: true,
      sort: (edge) => edge.link.report?.rtt_ms ?? Number.MAX_VALUE,
      cell: (edge) => <Rtt link={edge.link} />,
    },
    {
      id: "loss",
      label: t("link.loss"),
      from: 890,
      width: 65,
      end: true,
      card: true,
      sort: (edge) => -(edge.link.report?.loss_permille ?? -1),
      cell: (edge) => <Loss link={edge.link} />,
    },
    {
      id: "rate",
      label: t("link.rate"),
      from: 830,
      width: 205,
      end: true,
      card: true,
      sort: (edge) => -edge.bps,
      cell: (edge) => <Rates link={edge.link} />,
    },
    {
      id: "reason",
      label: t("why.because"),
      from: 1150,
      cell: (edge) => <span class="clip quiet">{stateOfLink(edge.link) === "direct" ? "" : inWords(edge.link).reason}</span>,
    },
    {
      id: "at",
      label: t("why.at"),
      width: 100,
      from: 990,
      end: true,
      card: true,
      sort: (edge) => -heardAt(edge.link),
      cell: (edge) => since(heardAt(edge.link)),
    },
  ];
}
