"use strict";
// The page: what is asked (`state`), the answer, and how both are shown. Arithmetic is in maps.js.

const SAMPLES = {}; // pictures with their class maps, each from a script of its own in data/
const $ = (id) => document.getElementById(id);
const tables = Object.fromEntries(Object.entries(COURSE.colours).map(
  ([name, table]) => [name, typeof table === "string" ? maps.bytes(table) : table]));
const state = { step: 0, wanted: "", sample: null, kind: "contrast", p: 0, q: 0, loss: "cross_entropy",
  view: "positive", guess: null, hint: "", hidden: true };
const HIT = 0.1, NEAR = 0.25; // of the picture's width: how far a guess lies from the peak
const HEAD_START = 20; // milliseconds until a fresh map begins to fade in

// --- pictures -----------------------------------------------------------------------------------

/** A picture's data: fetched by a script element, because a page from a file may fetch nothing else. */
async function load(name) {
  if (!SAMPLES[name]) {
    await new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = `data/${name}.js`;
      script.onload = done;
      script.onerror = () => failed(new Error(`The file data/${name}.js is missing: build the page again.`));
      document.head.append(script);
    });
  }
  return SAMPLES[name].pixels ? SAMPLES[name] : prepared(name, SAMPLES[name]);
}

/** Text becomes numbers, once: class maps, probabilities, the picture's pixels. */
async function prepared(name, sample) {
  const listed = COURSE.samples.find((one) => one.name === name) || {};
  Object.assign(sample, { ...listed, ...sample, name });
  if (typeof sample.maps === "string") sample.maps = maps.floats(sample.maps);
  if (typeof sample.logits === "string") sample.logits = maps.floats(sample.logits);
  sample.probabilities = maps.softmax(sample.logits);
  sample.names = COURSE.networks[sample.network];
  const image = new Image();
  image.src = sample.picture;
  await image.decode();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  sample.shown = [canvas.height, canvas.width];
  sample.pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  if (sample.labels) {
    for (const size of Object.keys(sample.labels)) sample.labels[size] = maps.unrolled(sample.labels[size]);
  }
  return sample;
}

/** The parts in which two species differ: the true answer to "why P, rather than Q?". */
function differences(p, q) {
  const [own, other] = [COURSE.species[p], COURSE.species[q]];
  return Object.keys(own).filter((part) => own[part] !== other[part]);
}

/** Where the answer is known to lie, at that size; null where nobody knows. */
function knownAnswer(sample, { kind, p, q }, size) {
  if (!sample.labels || kind !== "contrast" || p === q || sample.names[p] !== sample.species) return null;
  const parts = Object.keys(COURSE.species[sample.species]);
  const known = differences(sample.names[p], sample.names[q]).map((part) => parts.indexOf(part) + 1);
  return sample.labels[size].map((label) => (known.includes(label) ? 1 : 0));
}

function boxMask([left, top, right, bottom], size) {
  const mask = new Uint8Array(size * size);
  for (let y = top; y < bottom; y++) mask.fill(1, y * size + left, y * size + right);
  return mask;
}

// --- the answer ---------------------------------------------------------------------------------

/** All that is known of a question about a picture. `question`: kind, p, q (numbers), loss. */
function answerTo(sample, question) {
  const { kind, p, q, loss } = question, size = [sample.size, sample.size];
  const ask = (what) => maps.evidence(sample.maps, maps.cotangent(what, sample.probabilities, p, q, loss));
  const evidence = ask(kind), gradCam = ask("why");
  const map = maps.positive(evidence, sample.grid, size), strength = maps.strength(evidence, gradCam);
  const mask = knownAnswer(sample, question, sample.size), inside = {};
  if (mask) inside["the known answer"] = maps.shareInside(map, mask);
  for (const [name, box] of Object.entries(sample.regions || {})) {
    inside[`the ${name}`] = maps.shareInside(map, boxMask(box, sample.size));
  }
  return { evidence, map, strength, inside, empty: strength === 0, peak: maps.peakPlace(map, size),
    rank: maps.rankCorrelation(evidence, gradCam),
    words: maps.strengthInWords(strength, COURSE.weak) };
}

function sentence({ kind, p, q }, names) {
  if (kind === "why") return `Why ${names[p]}?`;
  if (kind === "absent") return `What if ${names[p]}'s evidence were absent?`;
  return `Why ${names[p]}, rather than ${names[q]}?`;
}

/** The guess, beside the peak, in words. */
function verdict(sample, answer) {
  if (!state.guess || !answer.peak) return "";
  const far = Math.hypot(state.guess[0] - answer.peak[0], state.guess[1] - answer.peak[1]);
  const percent = `${Math.round(100 * far)} % of the picture's width from the peak`;
  const who = "the known answer" in answer.inside ? "" : " Who is right?";
  let words = `Your guess is ${percent}: the network looked elsewhere.${who}`;
  if (far <= HIT) words = `Your guess is ${percent}: a hit.`;
  else if (far <= NEAR) words = `Your guess is ${percent}: near.`;
  return words;
}

/** The map's strength and what it means, in words. */
function strengthSaid(answer) {
  if (answer.empty) return "The map is empty: no positive evidence. The network has nothing to say to this question.";
  if (answer.strength < COURSE.weak) {
    return `The map is ${answer.words}. It is drawn as bright as any, but there is next to nothing to read.`;
  }
  if (state.kind === "why") return "This is Grad-CAM's map; others are measured by its peak.";
  const said = answer.words;
  const begin = `${said[0].toUpperCase()}${said.slice(1)}${said.includes(":") ? ". The" : ": the"}`;
  return `${begin} peak is ${percentOf(answer.strength)} of Grad-CAM's for ${state.sample.names[state.p]}.`;
}

const percentOf = (share) => (Number.isNaN(share) ? "unknown" : `${Math.round(100 * share)} %`);

/** What the answer says of the known answer, if there is one. */
function knownSaid(sample, answer) {
  const share = answer.inside["the known answer"];
  if (share === undefined || Number.isNaN(share)) return "";
  const parts = differences(sample.names[state.p], sample.names[state.q]).join(" and ");
  const yours = state.guess ? ` Your guess ${onMask(sample, state.guess) ? "lies on it" : "missed it"}.` : "";
  return `Known answer, outlined: ${parts}.${yours} Of the map, ${percentOf(share)} lies there.`;
}

/** Whether a place lies on the known answer, or within a sixteenth of the side, as the course counts. */
function onMask(sample, [x, y]) {
  const side = sample.size, mask = knownAnswer(sample, state, side);
  return mask.some((there, i) => there
    && Math.hypot((i % side) + 0.5 - x * side, Math.floor(i / side) + 0.5 - y * side) <= side / 16);
}

/** Which lecture explains what was just seen. */
function lectureFor(sample, answer) {
  const { kind, p, q } = state;
  if (answer.empty) return LECTURES.empty;
  if (answer.strength < COURSE.weak) return LECTURES.weak;
  if (kind !== "contrast") return LECTURES[kind];
  if (p === q) return LECTURES.same;
  return sample.network === "birds" ? LECTURES.bird : LECTURES.near;
}

// --- what is shown --------------------------------------------------------------------------------

function put(canvas, pixels, [height, width]) {
  [canvas.width, canvas.height] = [width, height];
  canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
}

/** The map over the picture, as large as it is shown. */
function picture(sample, answer) {
  const { shown, pixels } = sample, seen = [sample.size, sample.size];
  const mask = knownAnswer(sample, state, shown[0]);
  let drawn = pixels;
  if (state.view === "signed") {
    drawn = maps.signedOverlay(pixels, maps.signed(answer.evidence, sample.grid, shown), tables);
  } else if (state.view !== "none" && !answer.empty) {
    const share = state.view === "shared" && answer.strength < 1 ? answer.strength : 1;
    const half = mask ? Infinity : COURSE.half; // one line is enough
    const large = maps.upsample(answer.map, seen, shown).map((value) => share * value);
    drawn = maps.overlay(pixels, large, shown, tables, half);
  }
  return mask ? maps.outlined(drawn, mask, shown) : drawn;
}

/** A cross for the guess, a ring for the peak; [x, y] in [0, 1]. */
function drawMarks(guess, peak) {
  const cross = ([x, y]) => `M${100 * x - 4},${100 * y}h8M${100 * x},${100 * y - 4}v8`;
  const ring = ([x, y]) => `M${100 * x - 3},${100 * y}a3,3 0 1,0 6,0a3,3 0 1,0 -6,0`;
  const path = [guess && cross(guess), peak && ring(peak)].filter(Boolean).join("");
  $("marks").innerHTML = `<path class="under" d="${path}"/><path d="${path}"/>`;
}

function drawBar() {
  const values = Float64Array.from({ length: 256 }, (_, i) => i / 255), signed = state.view === "signed";
  const ground = new Uint8ClampedArray(4 * 256).fill(signed ? 255 : 153);
  if (signed) ground.fill(0, 0, 3); // greys run from a picture's darkest place to its lightest
  for (let i = 3; i < ground.length; i += 4) ground[i] = 255; // opaque
  put($("bar"), signed ? maps.signedOverlay(ground, values.map((value) => 2 * value - 1), tables)
    : maps.overlay(ground, values, [1, 256], tables, Infinity), [1, 256]);
  [$("low").textContent, $("high").textContent] = signed ? ["against", "for"] : ["none", "most"];
}

/** The question as a sentence; P and Q in it are buttons. */
function writeQuestion() {
  const { names } = state.sample, name = (which) => {
    const button = document.createElement("button");
    button.type = "button";
    button.id = which;
    button.setAttribute("aria-haspopup", "dialog");
    button.setAttribute("aria-label", `${which.toUpperCase()}: ${names[state[which]]}. Choose another class`);
    button.textContent = names[state[which]];
    button.addEventListener("click", () => chooser.open(`Choose ${which.toUpperCase()}`, names,
      state.sample.probabilities, state[which], (c) => change({ [which]: c }, which)));
    return button;
  };
  const kept = (...together) => { // no line begins with a comma
    const span = Object.assign(document.createElement("span"), { className: "kept" });
    span.append(...together);
    return span;
  };
  const parts = { why: ["Why ", kept(name("p"), "?")],
    absent: ["What if ", kept(name("p"), "’s"), " evidence were absent?"],
    contrast: ["Why ", kept(name("p"), ","), " rather than ", kept(name("q"), "?")] };
  $("question").replaceChildren(...parts[state.kind]);
}

function writeNumbers(sample, answer) {
  const p = chooser.digits(sample.probabilities[state.p]), q = chooser.digits(sample.probabilities[state.q]);
  const rows = [["Strength", Number.isNaN(answer.strength) ? "unknown" : answer.strength.toFixed(3)],
    ...Object.entries(answer.inside).map(([name, share]) => [`Evidence inside ${name}`, percentOf(share)]),
    ["Rank correlation with Grad-CAM", Number.isNaN(answer.rank) ? "none" : answer.rank.toFixed(2)],
    [`Probability of ${sample.names[state.p]} (P)`, p]];
  if (state.kind === "contrast") rows.push([`Probability of ${sample.names[state.q]} (Q)`, q]);
  $("table").replaceChildren(...rows.map(([name, value]) => {
    const row = document.createElement("tr"), head = document.createElement("th"), cell = document.createElement("td");
    head.scope = "row";
    [head.textContent, cell.textContent] = [name, value];
    row.append(head, cell);
    return row;
  }));
  $("losses").hidden = state.kind !== "contrast";
  $("loss-words").innerHTML = state.kind !== "contrast" ? "" : state.loss === "cross_entropy"
    ? "Published loss: Q against all that the network thinks, S = Σ p<sub>c</sub> S<sup>c</sup> − S<sup>Q</sup>. P itself is not in it."
    : "Logit difference: S = S<sup>P</sup> − S<sup>Q</sup>. Only P and Q are in it.";
}

/** The whole answer: picture, words, numbers, link. */
function show() {
  const sample = state.sample, answer = answerTo(sample, state), asked = sentence(state, sample.names);
  const peak = answer.peak, place = peak ? `Strongest at the ${maps.ninth(peak)}.` : "";
  const said = [verdict(sample, answer), knownSaid(sample, answer), place, strengthSaid(answer)].filter(Boolean);
  writeQuestion();
  writeNumbers(sample, answer);
  put($("map"), picture(sample, answer), sample.shown);
  drawMarks(state.guess, ["positive", "shared"].includes(state.view) ? peak : null);
  $("answer").replaceChildren(...said.map((words) => Object.assign(document.createElement("p"), { textContent: words })));
  [$("lecture").href, $("lecture").textContent] = lectureFor(sample, answer);
  $("photo").setAttribute("aria-label", `${sample.alt} A map of the evidence lies over it. ${asked} ${said.join(" ")}`);
  $("status").textContent = `${asked} ${said.join(" ")}`;
  reveal(false);
  drawBar();
  tickOff();
}

/** The question alone, and a cross to place: the map stays hidden until a guess is made. */
function askForGuess() {
  state.guess = null;
  writeQuestion();
  drawMarks(null, null);
  $("hint").textContent = state.hint;
  $("photo").setAttribute("aria-label", state.sample.alt);
  $("status").textContent = `${sentence(state, state.sample.names)} ${state.hint}`;
  reveal(true);
}

/** Turn between the question and its answer. */
function reveal(hidden) {
  const fresh = hidden !== state.hidden;
  state.hidden = hidden;
  [$("aim").hidden, $("before").hidden, $("show").hidden, $("after").hidden] = [!hidden, !hidden, !hidden, hidden];
  $("legend").style.visibility = hidden ? "hidden" : "";
  $("numbers").hidden = hidden;
  if (hidden || fresh) $("map").classList.remove("seen");
  if (!hidden) setTimeout(() => $("map").classList.add("seen"), fresh ? HEAD_START : 0);
}

// --- what the visitor does --------------------------------------------------------------------------

/** Another P, Q, kind or loss: answered at once, or after a guess where the visitor wants that. */
function change(what, focus = null) {
  if (!state.sample) return; // nothing has arrived yet
  Object.assign(state, what);
  syncControls();
  if (state.hidden || ($("first").checked && !("view" in what))) {
    state.hint = "Click where the answer should lie.";
    askForGuess();
  } else {
    state.guess = null;
    show();
  }
  if (focus && $(focus)) $(focus).focus();
}

function syncControls() {
  for (const name of ["kind", "loss", "view"]) {
    document.querySelectorAll(`input[name=${name}]`).forEach((input) => { input.checked = input.value === state[name]; });
  }
}

/** P and Q of a question of the lesson, by number; without names, the most probable classes. */
function numbered(question) {
  const { names, probabilities } = state.sample;
  const order = [...names.keys()].sort((a, b) => probabilities[b] - probabilities[a]);
  const number = (name, place) => (name && names.includes(name) ? names.indexOf(name) : order[place]);
  return { p: number(question.p, 0), q: number(question.q, 1) };
}

/** Put a question of the lesson. */
function pose(question) {
  Object.assign(state, { ...numbered(question), kind: question.kind, view: "positive", hint: question.hint });
  syncControls();
  askForGuess();
}

/** Show a picture and put the first question to it. */
async function openPicture(name) {
  let sample;
  state.wanted = name;
  try {
    sample = await load(name);
  } catch (error) {
    $("status").classList.remove("unseen");
    $("status").textContent = error.message;
    return;
  }
  if (state.wanted !== name) return; // the visitor has chosen another one since
  $("status").classList.add("unseen");
  const lesson = STEPS[state.step];
  const own = name === lesson.sample ? lesson.next : STEPS[2].next;
  state.sample = sample;
  put($("photo"), sample.pixels, sample.shown);
  $("map").classList.remove("seen");
  writeNext(own);
  document.querySelectorAll("#gallery button").forEach((button) => {
    button.setAttribute("aria-pressed", button.dataset.name === name);
  });
  pose(own[0]);
}

/** The questions of this step as buttons, and at their end the way to the next step. */
function writeNext(questions) {
  const button = (words, act) => {
    const made = Object.assign(document.createElement("button"), { type: "button", textContent: words });
    made.addEventListener("click", act);
    return made;
  };
  const buttons = questions.map((one) => {
    const { p, q } = numbered(one);
    return button(sentence({ kind: one.kind, p, q }, state.sample.names), () => {
      pose(one);
      $("aim").focus({ focusVisible: false });
    });
  });
  const next = STEPS[state.step + 1];
  if (next) {
    const on = button(`Step ${state.step + 2}: ${next.title} →`, () => openStep(state.step + 1).then(() => scrollTo(0, 0)));
    on.className = "on";
    buttons.push(on);
  }
  $("next").replaceChildren(...buttons);
}

/** Tick off the question that has just been answered. */
function tickOff() {
  const asked = sentence(state, state.sample.names);
  for (const button of $("next").children) {
    if (button.textContent === asked) button.classList.add("done");
  }
}

function openStep(number) {
  const step = STEPS[number];
  state.step = number;
  [$("title").textContent, $("intro").textContent] = [step.title, step.intro];
  document.querySelectorAll("#steps button").forEach((button, i) => {
    if (i === number) button.setAttribute("aria-current", "step");
    else button.removeAttribute("aria-current");
  });
  $("gallery").replaceChildren(...COURSE.samples.filter((one) => one.network === step.network).map((one) => {
    const item = document.createElement("li"), button = document.createElement("button");
    const image = Object.assign(new Image(96, 96), { src: one.thumb, alt: "" });
    button.type = "button";
    button.dataset.name = one.name;
    button.append(image, one.label);
    button.addEventListener("click", () => openPicture(one.name).then(() => $("stage").scrollIntoView({ block: "nearest" })));
    item.append(button);
    return item;
  }));
  $("own").hidden = number !== STEPS.length - 1;
  return openPicture(step.sample);
}

/** The guess: a click, or the cross moved by the arrow keys and Enter. */
function listenForGuess() {
  const aim = $("aim");
  let cross = [0.5, 0.5];
  aim.addEventListener("focus", () => { if (aim.matches(":focus-visible")) drawMarks(cross, null); });
  aim.addEventListener("blur", () => { if (state.hidden) drawMarks(null, null); });
  aim.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!step) return;
    event.preventDefault();
    cross = cross.map((at, k) => Math.min(0.98, Math.max(0.02, at + 0.04 * step[k])));
    drawMarks(cross, null);
    $("status").textContent = `Cross at the ${maps.ninth(cross)}.`;
  });
  aim.addEventListener("click", (event) => {
    const box = aim.getBoundingClientRect(), byKey = event.detail === 0;
    state.guess = byKey ? cross.slice()
      : [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    show();
    if (byKey) $("p").focus();
  });
}

function start() {
  STEPS.forEach((step, i) => {
    const item = document.createElement("li"), button = document.createElement("button");
    button.type = "button";
    button.innerHTML = `<b>${i + 1}</b> ${step.name}`;
    button.addEventListener("click", () => openStep(i));
    item.append(button);
    $("steps").append(item);
  });
  document.querySelectorAll("input[type=radio]").forEach((input) => {
    input.addEventListener("change", () => change({ [input.name]: input.value }));
  });
  $("show").addEventListener("click", () => {
    if (!state.sample) return;
    show();
    $("p").focus();
  });
  listenForGuess();
  return openStep(0);
}

const ready = start();
