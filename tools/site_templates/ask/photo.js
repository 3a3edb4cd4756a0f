"use strict";
// A visitor's own photo: read, prepared as course_utils.networks.preprocess does, run through the network.

const photo = {
  LARGEST: 16e6, // pixels of a canvas that every phone can hold
  session: null, // the network, once it is loaded

  /** A file's picture, upright, on white: {width, height, rgba}. */
  async decoded(file) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
    } catch {
      throw new Error(`${file.name || "This"} is no picture that the browser can read: take a JPEG or PNG.`);
    }
    const scale = Math.min(1, Math.sqrt(photo.LARGEST / (bitmap.width * bitmap.height)));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    bitmap.close();
    const { width, height } = canvas;
    return { canvas, width, height, rgba: context.getImageData(0, 0, width, height).data };
  },

  /** Where the network looks: sides of the resized photo, and the corner of the crop in it. */
  geometry(width, height, { resize, crop }) {
    const shorter = Math.min(width, height);
    const sides = [width, height].map((s) => (s === shorter ? resize : Math.floor((resize * s) / shorter)));
    const even = (x) => (x % 1 === 0.5 ? 2 * Math.round(x / 2) : Math.round(x)); // as Python rounds
    return { sides, corner: sides.map((s) => even((s - crop) / 2)) };
  },

  /** Bicubic weights with antialiasing, as in Pillow: for each of `count` pixels from `start` on. */
  weights(large, small, start, count) {
    const scale = large / small, wide = Math.max(1, scale), a = -0.5;
    const cubic = (distance) => {
      const x = Math.abs(distance);
      if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
      return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
    };
    return Array.from({ length: count }, (_, i) => {
      const centre = (start + i + 0.5) * scale;
      const from = Math.max(0, Math.floor(centre - 2 * wide + 0.5));
      const to = Math.min(large, Math.floor(centre + 2 * wide + 0.5));
      const values = Array.from({ length: to - from }, (_, k) => cubic((from + k - centre + 0.5) / wide));
      const sum = values.reduce((x, y) => x + y, 0);
      return { from, values: values.map((value) => value / sum) };
    });
  },

  /**
   * The photo as the network sees it: crop x crop RGBA bytes.
   *
   * A canvas would resize without Pillow's antialiasing; here each direction is summed in turn, and
   * rounded to whole grey levels in between, as Pillow does.
   */
  cropped({ width, height, rgba }, recipe) {
    const { sides, corner } = photo.geometry(width, height, recipe), { crop } = recipe;
    const across = photo.weights(width, sides[0], corner[0], crop);
    const down = photo.weights(height, sides[1], corner[1], crop);
    const top = down[0].from, bottom = down[crop - 1].from + down[crop - 1].values.length;
    const rows = new Uint8ClampedArray(4 * crop * (bottom - top)), made = new Uint8ClampedArray(4 * crop * crop);
    for (let y = top; y < bottom; y++) {
      across.forEach(({ from, values }, x) => {
        photo.sum(rgba, 4 * (y * width + from), 4, values, rows, 4 * ((y - top) * crop + x));
      });
    }
    down.forEach(({ from, values }, y) => {
      for (let x = 0; x < crop; x++) {
        photo.sum(rows, 4 * ((from - top) * crop + x), 4 * crop, values, made, 4 * (y * crop + x));
      }
    });
    return made;
  },

  /** Write a weighted sum of pixels; a clamped array rounds by itself. */
  sum(source, at, stride, weights, target, place) {
    let r = 0, g = 0, b = 0;
    for (let k = 0; k < weights.length; k++, at += stride) {
      r += weights[k] * source[at];
      g += weights[k] * source[at + 1];
      b += weights[k] * source[at + 2];
    }
    target.set([r, g, b, 255], place);
  },

  /** What the network reads: 3 x crop x crop, normalised. */
  normalised(rgba, { mean, std }) {
    const pixels = rgba.length / 4, x = new Float32Array(3 * pixels);
    for (let i = 0; i < pixels; i++) {
      for (let k = 0; k < 3; k++) x[k * pixels + i] = (rgba[4 * i + k] / 255 - mean[k]) / std[k];
    }
    return x;
  },

  /** Why the network cannot be loaded here, in a sentence; empty if it can. */
  trouble() {
    if (location.protocol === "file:") {
      return "Your own photo needs the network, and a browser loads it over http only. In this folder run "
        + "“python -m http.server”, and open http://localhost:8000/ in the browser.";
    }
    if (typeof WebAssembly !== "object") return "This browser has no WebAssembly, so it cannot run the network.";
    return "";
  },

  /** A file's bytes; `arrived` is called with the number of each piece's. */
  async fetched(path, arrived) {
    const answer = await fetch(path);
    if (!answer.ok) throw new Error(`The file ${path} was not found (${answer.status}): build the page again, make web.`);
    const pieces = [], reader = answer.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      pieces.push(value);
      arrived(value.length);
    }
    return new Uint8Array(await new Blob(pieces).arrayBuffer());
  },

  /** Load the network, once. `progress` is called with the share that has arrived. */
  async load(web, progress) {
    if (photo.session) return;
    let sum = 0;
    const arrived = (bytes) => progress((sum += bytes) / (web.modelBytes + web.wasmBytes));
    const script = new Promise((done, failed) => {
      const tag = document.createElement("script");
      [tag.src, tag.onload, tag.onerror] = [web.runtime, done, () => failed(new Error(`The file ${web.runtime} is missing.`))];
      document.head.append(tag);
    });
    const [wasm, model] = await Promise.all([photo.fetched(web.wasm, arrived), photo.fetched(web.model, arrived), script]);
    Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: wasm.buffer, wasmPaths: new URL("runtime/", location.href).href });
    try {
      photo.session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
    } catch (error) {
      throw new Error(`The browser could not start the network; perhaps its memory is short. Close other pages and try again. (${error.message})`);
    }
  },

  /** A file -> a sample, as those of data/ are: class maps, logits, pixels to show. */
  async asked(file, web, shown) {
    const picture = await photo.decoded(file);
    const x = photo.normalised(photo.cropped(picture, web), web);
    const answer = await photo.session.run({ x: new ort.Tensor("float32", x, [1, 3, web.crop, web.crop]) });
    const { sides, corner } = photo.geometry(picture.width, picture.height, web);
    const scale = picture.width / sides[0], tall = picture.height / sides[1];
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [shown, shown];
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(picture.canvas, corner[0] * scale, corner[1] * tall, web.crop * scale, web.crop * tall, 0, 0, shown, shown);
    return { network: "photos", alt: "Your photo.", regions: {}, labels: null, size: web.crop,
      grid: answer.class_maps.dims.slice(2), maps: answer.class_maps.data, logits: answer.logits.data,
      pixels: context.getImageData(0, 0, shown, shown).data, shown: [shown, shown] };
  },
};

/** The section "Your own photo": choose, take or drop one. */
function listenForPhotos(web) {
  const section = $("own"), bar = $("own-progress"), said = $("own-said");
  const take = async (file) => {
    if (!file) return;
    try {
      if (photo.trouble()) throw new Error(photo.trouble());
      said.textContent = photo.session ? "Looking at your photo ..." : "The network comes to the page; your photo stays here ...";
      bar.hidden = Boolean(photo.session);
      await photo.load(web, (share) => { bar.value = share; });
      const sample = await photo.asked(file, web, 448);
      sample.names = COURSE.networks.photos;
      sample.probabilities = maps.softmax(sample.logits);
      sample.name = "own";
      SAMPLES.own = sample;
      const top = sample.probabilities.indexOf(maps.peak(sample.probabilities));
      said.textContent = `The network calls it ${sample.names[top]} (probability ${chooser.digits(sample.probabilities[top])}).`;
      await openPicture("own");
      $("stage").scrollIntoView({ block: "nearest" });
    } catch (error) {
      said.textContent = error.message;
    } finally {
      bar.hidden = true;
    }
  };
  if (photo.trouble()) said.textContent = photo.trouble();
  section.querySelectorAll("input[type=file]").forEach((input) => {
    input.addEventListener("change", () => {
      take(input.files[0]);
      input.value = ""; // so that the same photo can be chosen again
    });
  });
  // dropped anywhere on the page, so that a photo beside its target does not replace the page
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", async (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file && section.hidden) await openStep(STEPS.length - 1);
    take(file);
  });
}

ready.then(() => listenForPhotos(COURSE.web));
