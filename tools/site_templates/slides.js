// A slide that is higher than the screen goes on below, as a subslide does.
"use strict";

const WIDTH = 1280, HEIGHT = 720; // of a slide, in CSS pixels
const UNITS = ".cell.text > *, .cell.code > .source, .cell.code > details, .outputs > *";

/** The first thing that does not fit, or the heading just above it; nothing if all does. */
function tooLow(slide) {
  const units = [...slide.querySelectorAll(UNITS)].filter((unit) => unit.offsetHeight);
  const bottom = slide.getBoundingClientRect().top + HEIGHT;
  let at = units.findIndex((unit) => unit.getBoundingClientRect().bottom > bottom);
  if (at > 0 && /^H\d$/.test(units[at - 1].tagName)) at -= 1;
  return at > 0 ? units[at] : undefined;
}

/** Move what does not fit to a new slide below, and so on with that one. */
function fit(slide) {
  const title = slide.querySelector("h1, h2, h3")?.textContent;
  let unit;
  while ((unit = tooLow(slide))) { // ends: each slide keeps one thing at least
    const rest = document.createRange();
    rest.setStartBefore(unit);
    rest.setEndAfter(slide.lastChild);
    const next = document.createElement("section");
    next.append(rest.extractContents());
    if (title && !/^H\d$/.test(unit.tagName)) {
      const again = document.createElement("p");
      again.className = "continued";
      again.textContent = title;
      next.prepend(again);
    }
    slide.after(next);
    slide = next;
  }
}

addEventListener("load", () => {
  const deck = document.querySelector(".reveal");
  deck.classList.add("measuring");
  deck.querySelectorAll(".slides > section > section").forEach(fit);
  deck.classList.remove("measuring");
  Reveal.initialize({
    hash: true, slideNumber: "c/t", transition: "none", center: false,
    width: WIDTH, height: HEIGHT, margin: 0.03, plugins: [RevealNotes],
  });
});
