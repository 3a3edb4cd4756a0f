// A slide that is higher than the screen goes on below, as a subslide does. Long code and long
// tables are divided between lines; a picture that is too high even alone is made smaller.
"use strict";

const WIDTH = 1280, HEIGHT = 720; // of a slide, in CSS pixels
const UNITS = ".cell.text > *, .cell.code > .source, .cell.code > details, .parts > figure, " +
  ".outputs > *:not(:has(.quiz)):not(:has(.parts)), .panel-note:has(~ .quiz), .quiz > li";
const LOWEST = HEIGHT - 20; // the last line of a slide ends above it, and above the slide's number
const LEAST_LINES = 4; // what is divided leaves so many lines on each side
const LITTLE = HEIGHT / 3; // a slide with less than that looks empty
const PICTURE = 250; // a picture that is so high, or higher, may be made smaller to stay with its text
const SMALLER = 0.7; // but not below that share of what it would be alone
const SMALLEST = 0.58; // nor below that where a slide would look empty otherwise
const PANEL = 0.9; // the same of a panel with controls
const PANEL_PICTURE = 512; // so wide at most are the pictures of a panel
const SMALL_CODE = 0.85; // code may be made so small to stay in one piece
const ASKED = HEIGHT / 6; // a slide with a question to answer may hold so little
const HIGHEST = 600; // of a picture that has a slide to itself
const LARGER_PRINT = [1, 0.9]; // of the text's size: what is printed, where there is room
const LARGER = 1.5; // than its own pixels it is drawn at most: then its words begin to blur

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

/** The columns keep their widths when the table is divided. */
function freeze(table) {
  for (const head of table.querySelectorAll("thead th, thead td")) {
    head.style.width = getComputedStyle(head).width;
  }
  table.style.width = getComputedStyle(table).width;
  table.style.tableLayout = "fixed";
}

/** The rows of a table that fit above `bottom` stay; the point before the first other one. */
function rowAt(table, bottom) {
  const rows = [...table.querySelectorAll("tbody > tr")];
  const at = rows.findIndex((row) => bottom_(row) > bottom);
  return at > 1 ? rows[at] : undefined;
}

/** Whether a heading, folded code, a line above a list, a question above its choices, or a printed
 *  line above further ones would stand alone at the foot of a slide. */
function leadsIn(before, unit) {
  if (before.matches(".code > details")) return true;
  const choice = ".text > details";
  if (unit.matches(choice)) return before.matches("p, " + choice);
  if (/^my_\w+ = /.test(unit.textContent)) return asks([before]);
  const line = before.matches("p") && before.textContent.length < 90;
  const colon = before.matches("p") && /^.{1,150}:$/.test(before.textContent.trim());
  const printed = before.parentElement === unit.parentElement && before.matches(".outputs > *")
    && !before.querySelector("img") && !before.textContent.trim().includes("\n");
  return /^H\d$/.test(before.tagName) || (line && unit.matches("ul, ol")) || colon || printed;
}

/** Printed lines are often a table, with its heads above: what fits a slide stays in one piece. */
function whole(unit) {
  return unit.matches(".outputs > *") && unit.offsetHeight < LOWEST - LITTLE / 3;
}

/** What goes to the next slide, as a range; nothing if all fits, or if nothing can be done. */
function overflow(slide) {
  const { units, at } = tooLow(slide);
  if (at < 0) return undefined;
  const bottom = top_(slide) + LOWEST, unit = units[at], rest = document.createRange();
  if (makesRoom(slide, units, bottom) || condense(units, bottom)) return undefined;
  if (stays(unit, bottom)) {
    shrink(slide, unit, bottom);
    return overflow(slide);
  }
  if (tighten(unit, bottom)) return overflow(slide);
  const pre = unit.matches("pre") ? unit : unit.querySelector(":scope pre");
  const table = unit.querySelector("table");
  const line = pre && !unit.matches("details") && !whole(unit) && lineAt(pre, bottom, at === units.length - 1);
  const row = !pre && table && rowAt(table, bottom);
  if (line) rest.setStart(...line);
  else if (row) {
    freeze(table);
    rest.setStartBefore(row);
  }
  else {
    let first = at;
    const little = () => bottom_(units.at(-1)) - top_(units[first]) < LITTLE;
    const left = () => bottom_(units[first - 2]) - top_(slide);
    const enough = () => first > 1 && left() > (asks(units.slice(0, first - 1)) ? ASKED : LITTLE);
    while (little() && enough()) first -= 1;
    while (first > 1 && leadsIn(units[first - 1], units[first])) first -= 1;
    if (first === 0 || (first === 1 && /^H\d$/.test(units[0].tagName))) {
      shrink(slide, unit, bottom);
      if (at + 1 >= units.length) return undefined;
      rest.setStartBefore(units[at + 1]);
    } else rest.setStartBefore(units[first]);
  }
  rest.setEndAfter(slide.lastChild);
  return { rest, head: row && table.querySelector("thead, caption") && table };
}

/** Whether somebody has to answer before the next slide. */
const asks = (units) => units.some((unit) => /Predict/.test(unit.textContent));

const loose = "figure img:not(table *):not(.panel *)"; // a picture, not a thumbnail or a widget's

/** How high a picture would be drawn that had a slide to itself. */
function alone(picture, slide) {
  const widest = (slide.clientWidth - 16) * picture.naturalHeight / picture.naturalWidth;
  return Math.min(HIGHEST, widest, picture.naturalHeight * LARGER);
}

/** Whether a picture that is a little too high for its slide stays there, made smaller. */
function stays(unit, bottom) {
  if (unit.querySelector(":scope .panel:not(:has(table))")) { // all of it, a little
    const high = unit.offsetHeight;
    return bottom_(unit) > bottom && high - (bottom_(unit) - bottom) >= PANEL * high;
  }
  const pictures = unit.querySelectorAll(loose);
  if (pictures.length !== 1 || bottom_(unit) <= bottom) return false;
  const high = pictures[0].getBoundingClientRect().height;
  const left = high - (bottom_(unit) - bottom) - 4;
  const slide = unit.closest("section");
  const share = top_(unit) - top_(slide) < ASKED ? SMALLEST : SMALLER;
  return left >= PICTURE && left >= share * alone(pictures[0], slide);
}

/** Whether all fits when the slide's only picture, or panel, is made a little smaller. */
function makesRoom(slide, units, bottom) {
  const over = bottom_(units.at(-1)) - bottom + 4;
  const found = units.filter((unit) => unit.querySelector(loose + ", .panel:not(:has(table))"));
  if (found.length !== 1 || over <= 0) return false;
  const [unit] = found, picture = unit.querySelector(loose);
  const high = (picture ?? unit).getBoundingClientRect().height;
  const most = picture ? alone(picture, slide) : high;
  const before = top_(unit) - top_(slide), after = bottom_(units.at(-1)) - bottom_(unit);
  const share = !picture ? PANEL : before < ASKED && after < LITTLE ? SMALLEST : SMALLER;
  if (high - over < Math.max(PICTURE, share * most)) return false;
  if (picture) picture.style.setProperty("--highest", `${Math.floor(high - over)}px`);
  else unit.style.zoom = (unit.style.zoom || 1) * 0.98 * (high - over) / high;
  return true;
}

/** Whether code that is a little too long for its slide fits there in smaller letters. */
function tighten(unit, bottom) {
  if (!unit.matches(".source") || unit.style.zoom) return false;
  const room = (bottom - top_(unit)) / unit.offsetHeight;
  if (room < SMALL_CODE) return false;
  unit.style.zoom = 0.99 * room;
  return true;
}

/** Whether all fits when the slide's code is set in smaller letters. */
function condense(units, bottom) {
  const code = units.filter((unit) => unit.matches(".source") && !unit.style.zoom);
  const high = code.reduce((sum, unit) => sum + unit.offsetHeight, 0);
  const left = 1 - (bottom_(units.at(-1)) - bottom + 4) / high;
  if (!high || left < SMALL_CODE || left >= 1) return false;
  for (const unit of code) unit.style.zoom = left;
  return true;
}

/** The pictures of a panel are drawn as large as the slide allows. */
function growPanel(slide) {
  const panels = slide.querySelectorAll('.panel:has(figure[style*="flex"]):not(:has(table))');
  const { units } = tooLow(slide);
  if (panels.length !== 1) return;
  const fits = (wide) => {
    panels[0].style.setProperty("--panel-picture", `${wide}px`);
    return bottom_(units.at(-1)) <= top_(slide) + LOWEST - 15; // clear of the arrows
  };
  const row = Math.min(4, panels[0].querySelectorAll('figure[style*="flex"]').length);
  let wide = Math.min(PANEL_PICTURE, Math.floor(panels[0].clientWidth / row) - 20);
  while (!fits(wide) && wide > 120) wide -= 10;
}

/** A picture that has room below it is drawn larger. */
function grow(slide) {
  const pictures = [...slide.querySelectorAll(loose)], { units } = tooLow(slide);
  if (pictures.length !== 1 || !units.length) return;
  const [picture] = pictures, high = picture.getBoundingClientRect().height;
  const room = top_(slide) + LOWEST - bottom_(units.at(-1)) - 4;
  const most = Math.min(high + room, alone(picture, slide));
  if (most > high) picture.style.setProperty("--highest", `${Math.floor(most)}px`);
}

/** Printed lines that have room below them are set larger, if no line is broken by that. */
function growPrinted(slide) {
  const { units } = tooLow(slide);
  const printed = [...slide.querySelectorAll(".outputs pre")].filter((pre) => !pre.querySelector(".claim"));
  if (!printed.length || slide.querySelector(".outputs img, .panel")) return;
  const lines = (pre) => pre.offsetHeight / parseFloat(getComputedStyle(pre).lineHeight);
  const before = printed.map(lines);
  for (const size of LARGER_PRINT) {
    for (const pre of printed) pre.style.fontSize = `${size}em`;
    const kept = printed.every((pre, n) => lines(pre) < before[n] + 0.5);
    if (kept && bottom_(units.at(-1)) <= top_(slide) + LOWEST) return;
  }
  for (const pre of printed) pre.style.fontSize = "";
}

/** The picture, or whatever it is, made small enough for one slide. */
function shrink(slide, unit, bottom) {
  const picture = !unit.querySelector(".panel") && unit.querySelector("img");
  const room = (bottom - top_(unit)) / (bottom_(unit) - top_(unit));
  if (room >= 1) return;
  if (picture) {
    const spare = bottom_(unit) - bottom;
    const high = Math.max(picture.getBoundingClientRect().height - spare - 4, 120);
    for (const one of [unit, ...unit.querySelectorAll(loose)]) {
      one.style.setProperty("--highest", `${Math.floor(high)}px`);
    }
  }
  const left = (bottom - top_(unit)) / (bottom_(unit) - top_(unit));
  if (left < 1) unit.style.zoom = Math.max(left * 0.98, 0.4);
}

/** A slide that begins without a heading says which one it stands under. */
function nameIt(slide) {
  if (/^H\d$/.test(slide.querySelector(UNITS)?.tagName ?? "")) return;
  for (let one = slide; (one = one.previousElementSibling);) {
    const found = [...one.querySelectorAll("h1, h2, h3, .continued")].at(-1);
    if (!found) continue;
    const again = document.createElement("p");
    again.className = "continued";
    again.append(...found.cloneNode(true).childNodes);
    slide.prepend(again);
    return;
  }
}

/** On a slide one empty line between functions is enough. */
function closeUp(slide) {
  for (const pre of slide.querySelectorAll(".source pre")) {
    const walk = document.createTreeWalker(pre, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) walk.currentNode.data = walk.currentNode.data.replace(/\n\n\n/g, "\n\n");
  }
}

/** Pictures begin as large as they would be alone; what stands beside them makes them smaller. */
function enlarge(slide) {
  for (const picture of slide.querySelectorAll(loose)) {
    picture.style.setProperty("--highest", `${Math.floor(alone(picture, slide))}px`);
    picture.classList.add("grown");
  }
}

/** Move what does not fit to a new slide below, and so on with that one. */
function fit(slide) {
  nameIt(slide);
  enlarge(slide);
  for (let found; (found = overflow(slide));) {
    const next = document.createElement("section");
    const heads = found.head ? [...found.head.querySelectorAll("thead")] : [];
    next.append(found.rest.extractContents());
    trim(next);
    if (heads.length) next.querySelector("table")?.prepend(heads[0].cloneNode(true));
    for (const twin of next.querySelectorAll("[id]")) {
      if (slide.querySelector(`#${CSS.escape(twin.id)}`)) twin.removeAttribute("id");
    }
    if (!next.textContent.trim() && !next.querySelector("img")) break;
    slide.after(next);
    nameIt(next);
    unveil(next);
    slide = next;
  }
}

/** Divided code does not begin with an empty line. */
function trim(slide) {
  const code = slide.querySelector(UNITS);
  if (!code?.matches(".source")) return;
  const walk = document.createTreeWalker(code, NodeFilter.SHOW_TEXT);
  while (walk.nextNode() && !walk.currentNode.data.trim()) {
    walk.currentNode.data = walk.currentNode.data.replaceAll("\n", "");
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
  deck.querySelectorAll(".slides > section > section").forEach((slide) => {
    closeUp(slide);
    narrow(slide);
    fit(slide);
  });
  deck.querySelectorAll(".slides > section > section").forEach((slide) => {
    grow(slide);
    growPanel(slide);
    growPrinted(slide);
  });
  deck.classList.remove("measuring");
  Reveal.initialize({
    hash: true, slideNumber: "c/t", transition: "none", center: false,
    width: WIDTH, height: HEIGHT, margin: 0.03, plugins: [RevealNotes],
  });
});
