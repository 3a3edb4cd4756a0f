"use strict";
// What the page teaches: three steps, their questions, and the lectures that explain an answer.

const L = "../lectures/";
const LECTURES = {
  why: [`${L}02_gradcam.html#2.-The-derivation,-one-picture-per-step`, "Lecture 2: how this map is made"],
  absent: [`${L}03_counterfactual_cam.html#3.-What-the-map-says`, "Lecture 3: what speaks against"],
  weak: [`${L}03_counterfactual_cam.html#A-whisper-drawn-as-a-shout`, "Lecture 3: a whisper drawn as a shout"],
  empty: [`${L}03_counterfactual_cam.html#5.-Photos-of-one-thing`, "Lecture 3: photos of one thing"],
  bird: [`${L}04_contrast_cam.html#5.-Questions-with-a-known-answer`, "Lecture 4: questions with a known answer"],
  near: [`${L}04_contrast_cam.html#4.-Near-and-far:-what-different-Q-do`, "Lecture 4: near and far, what different Q do"],
  same: [`${L}04_contrast_cam.html#4.-Near-and-far:-what-different-Q-do`, "Lecture 4: when Q is P, why not 100 %?"],
};

const STEPS = [
  {
    name: "A bird", sample: "flamingo", network: "birds",
    title: "A bird whose answer is known",
    intro: "A network names this drawn bird. A flamingo and a spoonbill of our world differ in one part only. So we know what a good answer must show, and you can check the map.",
    next: [
      { kind: "contrast", p: "flamingo", q: "spoonbill", hint: "They differ in one part only. Click where the answer should lie." },
      { kind: "contrast", p: "flamingo", q: "Andean flamingo", hint: "One has red legs, the other yellow ones. Click where the answer should lie." },
      { kind: "why", p: "flamingo", hint: "No other bird is named now. Click where most of the evidence should lie." },
      { kind: "contrast", p: "flamingo", q: "scarlet ibis", hint: "They differ in neck and bill. Which counts more? Click on it." },
    ],
  },
  {
    name: "A cat", sample: "chelsea", network: "photos",
    title: "A cat whose answer nobody knows",
    intro: "This network was trained on a million photos and knows a thousand classes. It calls this cat a tiger cat, but an Egyptian cat is a close second. Ask it why.",
    next: [
      { kind: "why", p: "tiger cat", hint: "Click where most of the evidence should lie." },
      { kind: "contrast", p: "tiger cat", q: "Egyptian cat", hint: "Two kinds of cat, nearly as probable. Click where the answer should lie." },
      { kind: "contrast", p: "tiger cat", q: "espresso", hint: "A far class: no cup in sight. Will the map differ from that of “Why tiger cat”? Click on its peak." },
      { kind: "absent", p: "tiger cat", hint: "What speaks against a tiger cat here? Click on it." },
      { kind: "contrast", p: "tiger cat", q: "tiger cat", hint: "Q is P: why is the network not entirely sure? Click where its doubt should lie." },
    ],
  },
  {
    name: "Your photo", sample: "coffee", network: "photos",
    title: "Your own photo, and others",
    intro: "Choose a picture below, or bring your own. First guess, then look: were you right, and is the map strong enough to be read?",
    next: [
      { kind: "contrast", hint: "The two most probable classes. Click where the answer should lie." },
      { kind: "why", hint: "Click where most of the evidence should lie." },
      { kind: "absent", hint: "What speaks against it? Click on it." },
    ],
  },
];
