// Tests read English.

import en from "../src/i18n/en.json";
import { show } from "../src/i18n/t";

show("en", en);
