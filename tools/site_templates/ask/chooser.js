"use strict";
// A dialog to choose a class by name: type, use the arrow keys, or touch.

const chooser = {
  MOST: 100, // names shown at once

  /**
   * Let a class be chosen.
   *
   * title: such as "Choose P"; names, probabilities: of all classes; current: a number;
   * chosen: called with the number of the class.
   */
  open(title, names, probabilities, current, chosen) {
    const dialog = document.getElementById("classes"), search = document.getElementById("search");
    const list = document.getElementById("found"), count = document.getElementById("count");
    const order = [...names.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
    let shown = [], active = 0;

    const mark = (to) => {
      active = Math.max(0, Math.min(shown.length - 1, to));
      [...list.children].forEach((item, i) => item.setAttribute("aria-selected", i === active));
      const item = list.children[active];
      if (item) {
        search.setAttribute("aria-activedescendant", item.id);
        item.scrollIntoView({ block: "nearest" });
      } else search.removeAttribute("aria-activedescendant");
    };
    const take = (c) => {
      dialog.close();
      chosen(c);
    };
    const fill = () => {
      const text = search.value.trim().toLowerCase();
      const found = order.filter((c) => names[c].toLowerCase().includes(text));
      shown = found.slice(0, chooser.MOST);
      list.replaceChildren(...shown.map((c, i) => {
        const item = document.createElement("li"), share = document.createElement("span");
        item.id = `class-${i}`;
        item.setAttribute("role", "option");
        share.textContent = chooser.digits(probabilities[c]);
        item.append(names[c], " ", share);
        item.addEventListener("click", () => take(c));
        return item;
      }));
      count.textContent = chooser.counted(found.length, shown.length);
      mark(text ? 0 : Math.max(0, shown.indexOf(current)));
    };
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 };
    search.onkeydown = (event) => {
      if (event.key in moves) mark(active + moves[event.key]);
      else if (event.key === "Enter") {
        if (shown.length) take(shown[active]);
      } else return;
      event.preventDefault();
    };
    document.getElementById("classes-title").textContent = title;
    search.value = "";
    search.oninput = fill;
    dialog.showModal();
    fill();
    search.focus();
  },

  /** A probability as the course writes it: 0.393, or 2e-6 instead of 0. */
  digits: (p) => (p >= 0.001 || p === 0 ? p.toFixed(3) : p.toExponential(0)),

  counted(found, shown) {
    if (found === 0) return "No class has this in its name.";
    const more = found > shown ? `, the ${shown} most probable shown: type to find others` : "";
    return `${found} ${found === 1 ? "class" : "classes"}${more}`;
  },
};

// A click beside the dialog closes it, as on every phone
document.getElementById("classes").addEventListener("click", (event) => {
  if (event.target.id === "classes") event.target.close();
});
