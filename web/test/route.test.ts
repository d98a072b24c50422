import { afterEach, describe, expect, it } from "vitest";
import { here, opened, opening, read, route } from "../src/route";

const at = (path: string) => {
  route.value = read(new URL(path, "https://vpn.example.org"));
};

afterEach(() => at("/"));

describe("the address of a thing in the drawer", () => {
  it("keeps everything else of the page's, whatever it says", () => {
    at("/devices?q=open%3D~+site:berlin&sort=-seen&in=home");
    expect(opening("device", "d1")).toBe("/devices?q=open%3D~+site:berlin&sort=-seen&in=home&open=device/d1");
    expect(opening("device", "d1")).toBe(here({ open: "device/d1" }));
  });

  it("takes the place of what was there, and follows the page", () => {
    at("/map?open=device/d1&view=table");
    expect(opening("link", "d1/d2")).toBe("/map?open=link/d1/d2&view=table");
    at("/people");
    expect(opening("user", "u1")).toBe("/people?open=user/u1");
  });

  it("is read as it was written, also with signs that mean something in addresses", () => {
    at(opening("user", "a b&c=d/é~:+"));
    expect(opened.value).toEqual({ kind: "user", id: "a b&c=d/é~:+" });
  });
});
