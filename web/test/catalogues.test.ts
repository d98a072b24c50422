// The catalogues say everything in every language, and nothing on the screen is said outside of them.

import { readFileSync, readdirSync } from "node:fs";
import { parseSync } from "rolldown/utils";
import { describe, expect, it } from "vitest";
import de from "../src/i18n/de.json";
import en from "../src/i18n/en.json";

const SOURCES = new URL("../src/", import.meta.url);

/** Attributes that people read or hear. */
const SPOKEN = new Set(["title", "label", "placeholder", "alt", "aria-label", "about", "hint"]);

/** Keys of keyboards are the same in every language. */
const NAMES = new Set(["⌘K", "Ctrl K", "Esc", "/"]);

const params = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!).sort();

describe("the catalogues", () => {
  it("have the same keys in every language", () => {
    expect(Object.keys(de).sort()).toEqual(Object.keys(en).sort());
  });

  it("use the same parameters for each key", () => {
    for (const [key, text] of Object.entries(en)) {
      expect(new Set(params(de[key as keyof typeof de])), key).toEqual(new Set(params(text)));
    }
  });

  it("are translated, but for names and words that are the same", () => {
    const same = Object.entries(en).filter(
      ([key, text]) => de[key as keyof typeof de] === text && /[a-z]{3}/.test(text),
    );
    expect(same.length).toBeLessThan(40);
  });

  it("have one and other for each counted key, and no empty text", () => {
    for (const key of Object.keys(en)) {
      if (key.endsWith(".one")) expect(en).toHaveProperty([key.replace(/one$/, "other")]);
    }
    for (const text of [...Object.values(en), ...Object.values(de)]) expect(text.trim()).not.toBe("");
  });
});

describe("the sources", () => {
  const files = readdirSync(SOURCES, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith(".tsx"));

  it("have no text of their own in JSX", () => {
    const found = files.flatMap((name) => literals(name, readFileSync(new URL(name, SOURCES), "utf8")));
    expect(files.length).toBeGreaterThan(20);
    expect(found).toEqual([]);
  });

  it("would be caught if they had", () => {
    expect(literals("x.tsx", 'const a = <p title="Hello there">Some <b>words</b> {`and ${1}`}</p>;')).toHaveLength(4);
    expect(literals("x.tsx", 'const a = <p class="x" title={t("a")}>{t("b")} · {1}</p>;')).toEqual([]);
  });

  it("use every key of the catalogue", () => {
    const all = readdirSync(SOURCES, { recursive: true })
      .map(String)
      .filter((name) => /\.tsx?$/.test(name));
    const text = all.map((name) => readFileSync(new URL(name, SOURCES), "utf8")).join("\n");
    // A key whose end is made at run time: its beginning is in a template, or in a call of word().
    const made = [
      ...text.matchAll(/`([a-zA-Z.]+\.)\$\{/g),
      ...text.matchAll(/word\("([a-zA-Z.]+)"/g),
      ...text.matchAll(/choice\("([a-z]+)"/g),
    ].map(([, begin]) => begin!);
    const isUsed = (key: string) => text.includes(`"${key}"`) || made.some((begin) => key.startsWith(begin));
    const unused = Object.keys(en)
      .map((key) => key.replace(/\.(one|other)$/, ""))
      .filter((key) => !isUsed(key) && !key.startsWith("problem."));
    expect(unused).toEqual([]);
  });
});

type Syntax = { type: string; [field: string]: unknown };

/** Texts in JSX and in attributes people read. */
function literals(name: string, source: string): string[] {
  const found: string[] = [];
  const keep = (text: unknown) => {
    if (typeof text === "string" && /\p{Letter}{2}/u.test(text) && !NAMES.has(text.trim()))
      found.push(`${name}: ${text.trim()}`);
  };
  const visit = (node: unknown, inJsx: boolean): void => {
    if (Array.isArray(node)) return node.forEach((one) => visit(one, inJsx));
    if (typeof node !== "object" || node === null || !("type" in node)) return;
    const syntax = node as Syntax;
    if (syntax.type === "JSXText") keep(syntax.value);
    if (syntax.type === "JSXAttribute") {
      const { name: attribute, value } = syntax as unknown as { name: { name: string }; value: Syntax | null };
      if (value?.type === "Literal" && SPOKEN.has(attribute.name)) keep(value.value);
      return visit(value, false);
    }
    if (syntax.type === "JSXExpressionContainer" && inJsx) {
      const expression = syntax.expression as Syntax;
      if (expression.type === "Literal") keep(expression.value);
      if (expression.type === "TemplateLiteral") {
        for (const { value } of expression.quasis as { value: { cooked: string } }[]) keep(value.cooked);
      }
    }
    const isElement = syntax.type === "JSXElement" || syntax.type === "JSXFragment";
    for (const [field, value] of Object.entries(syntax)) {
      if (field !== "type") visit(value, isElement && field === "children");
    }
  };
  const parsed = parseSync(name, source);
  expect(parsed.errors, name).toEqual([]);
  visit(parsed.program, false);
  return found;
}
