// A slide that is higher than the screen goes on below, as a subslide does. Long code and long
// tables are divided between lines; a picture that is too high even alone is made smaller.
"use strict";

const WIDTH = 1280, HEIGHT = 720; // of a slide, in CSS pixels
const UNITS = ".cell.text > *, .cell.code > .source, .cell.code > details, " +
  ".outputs > *:not(:has(.quiz)), .panel-note:has(~ .quiz), .quiz > li";
const LOWEST = HEIGHT - 12; // the last line of a slide ends above it
const LEAST_LINES = 4; // what is divided leaves so many lines on each side
const LITTLE = HEIGHT / 3; // a slide with less than that looks empty

const top_ = (node) => node.getBoundingClientRect().top;
const bottom_ = (node) => node.getBoundingClientRect().bottom;

/** The slide's things, in order, and the first one that does not fit. */
function tooLow(slide) {
  const units = [...slide.querySelectorAll(UNITS)].filter((unit) => unit.offsetHeight);
  const at = units.findIndex((unit) => bottom_(unit) > top_(slide) + LOWEST);
  return { units, at };
}

/** Where a text is divided so that its first lines end above `bottom`: a point, or nothing.
 *  A text that is the slide's last thing is divided so that little does not stand alone. */
function lineAt(pre, bottom, last) {
  const lines = pre.textContent.replace(/\n$/, "").split("\n").length;
  const height = pre.getBoundingClientRect().height / lines;
  let keep = Math.floor((bottom - top_(pre) - 16) / height);
  keep = Math.min(keep, lines - LEAST_LINES);
  if (last && (lines - keep) * height < LITTLE) keep = Math.min(keep, Math.ceil(lines / 2));
  if (keep < LEAST_LINES) return undefined;
  const walk = document.createTreeWalker(pre, NodeFilter.SHOW_TEXT);
  for (let seen = 0; walk.nextNode();) {
    const text = walk.currentNode.data;
    for (let i = text.indexOf("\n"); i >= 0; i = text.indexOf("\n", i + 1)) {
      if (++seen === keep) return [walk.currentNode, i + 1];
    }
  }
  return undefined;
}

/** The rows of a table that fit above `bottom` stay; the point before the first other one. */
function rowAt(table, bottom) {
  const rows = [...table.querySelectorAll("tbody > tr")];
  const at = rows.findIndex((row) => bottom_(row) > bottom);
  return at > 0 ? rows[at] : undefined;
}

/** Whether a heading, or a line above a list, would stand alone at the foot of a slide. */
function leadsIn(before, unit) {
  const line = before.matches("p") && before.textContent.length < 90;
  return /^H\d$/.test(before.tagName) || (line && unit.matches("ul, ol"));
}

/** What goes to the next slide, as a range; nothing if all fits, or if nothing can be done. */
function overflow(slide) {
  const { units, at } = tooLow(slide);
  if (at < 0) return undefined;
  const bottom = top_(slide) + LOWEST, unit = units[at], rest = document.createRange();
  const pre = unit.matches("pre") ? unit : unit.querySelector(":scope pre");
  const table = unit.querySelector("table");
  const line = pre && !unit.matches("details") && lineAt(pre, bottom, at === units.length - 1);
  const row = !pre && table && rowAt(table, bottom);
  if (line) rest.setStart(...line);
  else if (row) rest.setStartBefore(row);
  else {
    let first = at;
    const little = () => bottom_(units.at(-1)) - top_(units[first]) < LITTLE;
    const enough = () => first > 1 && bottom_(units[first - 2]) - top_(slide) > LITTLE;
    while (little() && enough() && !units[first - 1].querySelector("img")) first -= 1;
    if (first > 1 && leadsIn(units[first - 1], units[first])) first -= 1;
    if (first > 1 && leadsIn(units[first - 1], units[first])) first -= 1;
    if (first === 0 || (first === 1 && /^H\d$/.test(units[0].tagName))) {
      shrink(slide, unit, bottom);
      if (at + 1 >= units.length) return undefined;
      rest.setStartBefore(units[at + 1]);
    } else rest.setStartBefore(units[first]);
  }
  rest.setEndAfter(slide.lastChild);
  return { rest, head: row && table.querySelector("thead, caption") && table };
}

/** The picture, or whatever it is, made small enough for one slide. */
function shrink(slide, unit, bottom) {
  const picture = unit.querySelector("img");
  const room = (bottom - top_(unit)) / (bottom_(unit) - top_(unit));
  if (room >= 1) return;
  if (picture) {
    const spare = bottom_(unit) - bottom;
    const high = Math.max(picture.getBoundingClientRect().height - spare - 4, 120);
    unit.style.setProperty("--highest", `${Math.floor(high)}px`);
  }
  const left = (bottom - top_(unit)) / (bottom_(unit) - top_(unit));
  if (left < 1) unit.style.zoom = Math.max(left * 0.98, 0.4);
}

/** Move what does not fit to a new slide below, and so on with that one. */
function fit(slide) {
  const title = slide.querySelector("h1, h2, h3")?.textContent;
  for (let found; (found = overflow(slide));) {
    const next = document.createElement("section");
    const heads = found.head ? [...found.head.querySelectorAll("thead")] : [];
    next.append(found.rest.extractContents());
    if (heads.length) next.querySelector("table")?.prepend(heads[0].cloneNode(true));
    for (const twin of next.querySelectorAll("[id]")) {
      if (slide.querySelector(`#${CSS.escape(twin.id)}`)) twin.removeAttribute("id");
    }
    if (title && !/^H\d$/.test(next.querySelector(UNITS)?.tagName ?? "")) {
      const again = document.createElement("p");
      again.className = "continued";
      again.textContent = title;
      next.prepend(again);
    }
    if (!next.textContent.trim() && !next.querySelector("img")) break;
    slide.after(next);
    unveil(next);
    slide = next;
  }
}

/** A slide of its own is a step already: what it begins with need not be called again. */
function unveil(slide) {
  const first = slide.querySelector(UNITS)?.closest(".fragment");
  if (first) first.classList.remove("fragment");
}

/** What is wider than the slide, such as a table of seventeen columns, is made smaller. */
function narrow(slide) {
  for (const wide of slide.querySelectorAll("table, .formula math, .text math")) {
    const room = slide.clientWidth - 16, width = wide.getBoundingClientRect().width;
    if (width > room) wide.style.zoom = Math.max(room / width, 0.45);
  }
}

addEventListener("load", () => {
  const deck = document.querySelector(".reveal");
  deck.classList.add("measuring");
  for (const list of deck.querySelectorAll("ol:not([start])")) { // divided, it goes on counting
    [...list.children].forEach((entry, n) => { if (entry.matches("li")) entry.value = n + 1; });
  }
  deck.querySelectorAll(".slides > section > section").forEach((slide) => { narrow(slide); fit(slide); });
  deck.classList.remove("measuring");
  Reveal.initialize({
    hash: true, slideNumber: "c/t", transition: "none", center: false,
    width: WIDTH, height: HEIGHT, margin: 0.03, plugins: [RevealNotes],
  });
});
