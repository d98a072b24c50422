// Where the panel begins.

import { render } from "preact";
import { App } from "./App";
import { tick } from "./format";
import { first } from "./i18n/first";
import { show } from "./i18n/t";
import { listen } from "./keys";
import { loadBeforehand } from "./parts/Lazy";
import { follow } from "./route";
import { sendAll } from "./store/later";
import { store } from "./store/store";
import "./style/base.css";
import "./style/shell.css";
import "./style/table.css";
import "./style/parts.css";
import "./style/views.css";
import { restoreTheme } from "./theme";

restoreTheme();
follow();
listen();
tick();
addEventListener("pagehide", sendAll);
// A tab that slept may have missed that its stream is gone.
addEventListener("online", () => store.retry());
void store.start();
const { id, texts } = await first;
show(id, texts);
document.documentElement.lang = id;
loadBeforehand();
render(<App />, document.getElementById("app")!);
