// What style sheets cannot do: see what overflows, and where the reader is.
"use strict";

const SCROLLERS = "main pre, .formula, .scrolls, main figure, .wide-math, main [style*=overflow-x], .contents";

/** A formula in the text that is wider than the text scrolls in a box of its own. */
function boxWideFormulae() {
  for (const math of document.querySelectorAll("main math")) {
    if (math.closest(".formula, .wide-math, .scrolls, pre")) continue;
    const room = math.parentElement.closest("p, li, td, th, h1, h2, h3, h4, figcaption, div");
    if (!room || math.getBoundingClientRect().width <= room.clientWidth) continue;
    const box = document.createElement("span");
    box.className = "wide-math";
    math.replaceWith(box);
    box.append(math);
  }
}

/** What scrolls can be reached by the keys; what does not is no stop on their way. */
function reachable() {
  for (const box of document.querySelectorAll(SCROLLERS)) {
    const scrolls = box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1;
    if (scrolls && getComputedStyle(box).overflowX !== "visible") box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

/** The entry of the contents that stands for the section on the screen. */
function follow() {
  const links = [...document.querySelectorAll(".contents a")];
  const heads = links.map((link) => document.getElementById(decodeURIComponent(link.hash.slice(1))));
  const mark = () => {
    const above = heads.filter((head) => head && head.getBoundingClientRect().top < innerHeight / 3);
    links.forEach((link, n) => {
      if (n === above.length - 1) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    });
  };
  addEventListener("scroll", mark, { passive: true });
  mark();
}

function fit() {
  boxWideFormulae();
  reachable();
}

const contents = document.querySelector(".contents details");
if (contents && innerWidth < 1200) contents.open = false;
fit();
follow();
addEventListener("load", fit); // pictures and letters have their sizes now
addEventListener("resize", fit);
document.addEventListener("toggle", fit, true); // what was folded had no size
document.addEventListener("click", (event) => { // a menu closes when one goes elsewhere
  const menu = document.querySelector("header .pages");
  if (menu && !menu.contains(event.target)) menu.open = false;
});
