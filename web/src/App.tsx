// Which page is shown.

import { sentence } from "./store/later";
import { t } from "./i18n/t";
import { Button } from "./parts/Button";
import { lazy } from "./parts/Lazy";
import { page, route } from "./route";
import { store } from "./store/store";
import { Activity } from "./views/Activity";
import { DevicePage } from "./views/Device";
import { Devices } from "./views/Devices";
import { Help } from "./views/Help";
import { Network } from "./views/Network";
import { Networks } from "./views/Networks";
import { Overview, Welcome } from "./views/Overview";
import { Palette } from "./views/Palette";
import { People } from "./views/People";
import { Lostway, Shell } from "./views/Shell";

const MapView = lazy(() => import("./views/Map").then((module) => module.MapView));
const Rules = lazy(() => import("./views/Rules").then((module) => module.Rules));
const Settings = lazy(() => import("./views/Settings").then((module) => module.Settings));

export function App() {
  if (!store.isReady.value) return <Starting />;
  return (
    <>
      <Shell>
        <View />
      </Shell>
      <Palette />
      <Help />
    </>
  );
}

function View() {
  const hasMore = route.value.path.length > 1;
  const key = route.value.path.slice(0, 2).join("/");
  switch (page.value) {
    case "":
      return store.networks.all.value.length === 0 ? <Welcome /> : <Overview />;
    case "devices":
      return hasMore ? <DevicePage key={key} /> : <Devices />;
    case "networks":
      return hasMore ? <Network key={key} /> : <Networks />;
    case "people":
      return <People />;
    case "map":
      return <MapView />;
    case "rules":
      return <Rules />;
    case "activity":
      return <Activity />;
    case "settings":
      return <Settings />;
    default:
      return <Lostway />;
  }
}

/** Before the first snapshot; there is nothing else to show yet. */
function Starting() {
  const problem = store.problem.value;
  return (
    <main class="starting">
      <h1>{t("brand")}</h1>
      {problem ? (
        <div role="alert">
          <p>{sentence(problem)}</p>
          <Button look="main" onClick={() => store.retry()}>
            {t("retry")}
          </Button>
        </div>
      ) : (
        <p role="status">{t("starting")}</p>
      )}
    </main>
  );
}
