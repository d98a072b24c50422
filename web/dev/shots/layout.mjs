// What is wrong with how a page is laid out, found in the page itself: things that stick out, are cut off, or lie on each other.
//
// `complaints` is sent to the browser as it stands: it may use nothing from outside itself.

/** A line for each thing that somebody would call broken. */
export function complaints() {
  const found = new Set();
  const modal = [...document.querySelectorAll("dialog:modal, [popover]:popover-open")].pop();
  const root = modal ?? document.body;
  const screen = { left: 0, top: 0, right: innerWidth, bottom: innerHeight };
  const round = (value) => Math.round(value);
  const name = (element) => {
    const text = (element.innerText ?? "").trim().replace(/\s+/g, " ").slice(0, 40);
    const kind = element.getAttribute("class") ?? "";
    return `<${element.localName}${kind ? ` .${kind.trim().replace(/\s+/g, ".")}` : ""}> "${text || (element.ariaLabel ?? element.name ?? "")}"`;
  };
  const styles = new Map();
  const style = (element) => styles.get(element) ?? styles.set(element, getComputedStyle(element)).get(element);
  const isUnseen = (element) =>
    element.closest(".unseen, [hidden], .skip, option") !== null ||
    !element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) ||
    style(element).clipPath !== "none";
  const clips = (element) => style(element).overflowX !== "visible" || style(element).overflowY !== "visible";
  const meet = (a, b) => ({
    left: Math.max(a.left, b.left),
    top: Math.max(a.top, b.top),
    right: Math.min(a.right, b.right),
    bottom: Math.min(a.bottom, b.bottom),
  });
  const width = (box) => box.right - box.left;
  const height = (box) => box.bottom - box.top;

  /** The part of a box that its ancestors leave to be seen. */
  const seen = (element, box) => {
    let left = box;
    for (let at = element.parentElement; at; at = at.parentElement) {
      if (clips(at)) left = meet(left, at.getBoundingClientRect());
      if (style(at).position === "fixed" || at === modal) break;
    }
    return meet(left, screen);
  };

  if (document.documentElement.scrollWidth > innerWidth)
    found.add(`the page is ${document.documentElement.scrollWidth - innerWidth} px too wide`);
  for (const box of root.querySelectorAll("*"))
    if (["auto", "scroll"].includes(style(box).overflowX) && box.scrollWidth > box.clientWidth + 1 && !box.closest("pre"))
      found.add(`${name(box)} scrolls sideways by ${box.scrollWidth - box.clientWidth} px`);

  // Texts: none is cut without an ellipsis, leaves its box, or lies on another.
  const texts = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const element = node.parentElement;
    if (!element || node.data.trim() === "" || isUnseen(element)) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      if (width(box) < 1 || height(box) < 1) continue;
      const part = seen(node, box);
      const isScrolledAway = height(part) <= 0 || part.bottom <= 0;
      let at = element;
      let hasDots = false;
      while (at && at !== document.body) {
        if (style(at).textOverflow === "ellipsis" && clips(at)) hasDots = true;
        if (clips(at) || style(at).display !== "inline") break;
        at = at.parentElement;
      }
      if (hasDots && element.closest("h1, h2, h3, button, .button, label, legend") && width(part) < width(box) - 1)
        found.add(`${name(element)} is shortened, and should not be`);
      if (!isScrolledAway && !hasDots && width(part) < width(box) - 1.5)
        found.add(`${name(element)} is cut off by ${round(width(box) - width(part))} px`);
      const holder = element.closest("td, th, li, button, .button, .tag, .chip, .figure, .card, .section, dd, dt, p");
      const edge = holder?.getBoundingClientRect();
      if (edge && !hasDots && !isScrolledAway && style(holder).display !== "contents" && style(holder).display !== "inline")
        if (box.right > edge.right + 1.5 || box.left < edge.left - 1.5)
          found.add(`${name(element)} sticks out of ${name(holder)} by ${round(Math.max(box.right - edge.right, edge.left - box.left))} px`);
      if (!isScrolledAway && width(part) > 0) texts.push({ element, box: part });
    }
  }
  for (const [n, one] of texts.entries())
    for (const other of texts.slice(n + 1)) {
      if (one.element.contains(other.element) || other.element.contains(one.element)) continue;
      const both = meet(one.box, other.box);
      if (width(both) <= 2 || height(both) <= 5 || isLayered(one.element, other.element)) continue;
      found.add(`${name(one.element)} lies on ${name(other.element)}`);
    }

  /** Whether one of two is in something that is meant to lie above: a drawer, a bar, a head that stays, a note. */
  function isLayered(a, b) {
    const layer = (element) => {
      for (let at = element; at && at !== root; at = at.parentElement)
        if (["fixed", "sticky"].includes(style(at).position) || (style(at).zIndex !== "auto" && style(at).position !== "static")) return at;
      return root;
    };
    return layer(a) !== layer(b);
  }

  // What can be used: nothing lies on it, and it is all on the screen.
  const uses = [...root.querySelectorAll("a[href], button, input, select, textarea, summary, [role=option]")]
    .filter((element) => !isUnseen(element))
    .map((element) => {
      const box = element.getBoundingClientRect();
      return { element, box, part: seen(element, box) };
    })
    .filter(({ part }) => width(part) > 1 && height(part) > 1);
  for (const { element, box, part } of uses) {
    if (width(part) < width(box) - 2) found.add(`${name(element)} is cut off at its side`);
    if (height(part) < height(box) - 2) continue;
    const top = document.elementFromPoint((part.left + part.right) / 2, (part.top + part.bottom) / 2);
    if (top && !element.contains(top) && !top.contains(element) && !top.closest("label"))
      if (!isLayered(element, top) && style(top).pointerEvents !== "none") found.add(`${name(top)} covers ${name(element)}`);
  }
  for (const [n, one] of uses.entries())
    for (const other of uses.slice(n + 1)) {
      if (one.element.contains(other.element) || other.element.contains(one.element)) continue;
      const both = meet(one.part, other.part);
      if (width(both) <= 1 || height(both) <= 1 || isLayered(one.element, other.element)) continue;
      found.add(`${name(one.element)} and ${name(other.element)} overlap`);
    }
  return [...found];
}
