"use strict";
// The arithmetic of the page: from class maps to an answer, as course_utils.methods does it in Python.
// Pure functions. A grid is h x w numbers, a map H x W numbers, both in one array, row by row.

const maps = {
  /** Bytes written as base64 text. */
  bytes: (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0)),

  floats: (text) => new Float32Array(maps.bytes(text).buffer),

  /** p = softmax(y). */
  softmax(y) {
    const top = y.reduce((a, b) => Math.max(a, b), -Infinity);
    const powers = Float64Array.from(y, (value) => Math.exp(value - top));
    const total = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / total);
  },

  /** The question as a vector v = dJ/dy: kind is "why", "absent" or "contrast". */
  cotangent(kind, probabilities, p, q, loss) {
    const v = new Float64Array(probabilities.length);
    if (kind === "why") v[p] = 1;
    else if (kind === "absent") v[p] = -1;
    else {
      if (loss === "cross_entropy") v.set(probabilities);
      else v[p] = 1;
      v[q] -= 1;
    }
    return v;
  },

  /** S = sum_c v_c S^c, on the grid. `classMaps`: classes x h x w. */
  evidence(classMaps, v) {
    const places = classMaps.length / v.length;
    const sum = new Float64Array(places);
    v.forEach((weight, c) => {
      if (weight === 0) return;
      for (let i = 0; i < places; i++) sum[i] += weight * classMaps[c * places + i];
    });
    return sum;
  },

  /** Bilinear enlargement, pixel centres aligned (align_corners=False in PyTorch). */
  upsample(grid, [h, w], [height, width]) {
    const along = (small, large) => {
      const low = new Int32Array(large), high = new Int32Array(large), share = new Float64Array(large);
      for (let i = 0; i < large; i++) {
        const at = Math.max(0, ((i + 0.5) * small) / large - 0.5);
        low[i] = Math.min(Math.floor(at), small - 1);
        high[i] = Math.min(low[i] + 1, small - 1);
        share[i] = at - low[i];
      }
      return { low, high, share };
    };
    const down = along(h, height), across = along(w, width);
    const wide = new Float64Array(h * width), made = new Float64Array(height * width);
    for (let y = 0; y < h; y++) {
      for (let x = 0; x < width; x++) {
        const left = grid[y * w + across.low[x]], right = grid[y * w + across.high[x]];
        wide[y * width + x] = left + across.share[x] * (right - left);
      }
    }
    for (let y = 0; y < height; y++) {
      const top = down.low[y] * width, bottom = down.high[y] * width, share = down.share[y];
      for (let x = 0; x < width; x++) {
        made[y * width + x] = wide[top + x] + share * (wide[bottom + x] - wide[top + x]);
      }
    }
    return made;
  },

  peak(values) {
    let top = 0;
    for (let i = 0; i < values.length; i++) if (values[i] > top) top = values[i];
    return top;
  },

  /** What speaks for, in [0, 1]: ReLU, enlarge, divide by the maximum. All zeros if nothing does. */
  positive(grid, shape, size) {
    const large = maps.upsample(grid.map((value) => Math.max(0, value)), shape, size);
    const top = maps.peak(large);
    return top > 0 ? large.map((value) => value / top) : large;
  },

  /** For and against, in [-1, 1], on the scale of the largest magnitude. */
  signed(grid, shape, size) {
    const large = maps.upsample(grid, shape, size);
    const top = maps.peak(large.map(Math.abs));
    return top > 0 ? large.map((value) => value / top) : large;
  },

  /** The map's peak over the peak of Grad-CAM's of P. 0: empty. NaN: only Grad-CAM's is empty. */
  strength(evidence, gradCam) {
    const own = maps.peak(evidence), whole = maps.peak(gradCam);
    if (own === 0) return 0;
    return whole > 0 ? own / whole : NaN;
  },

  strengthInWords(strength, weak) {
    if (Number.isNaN(strength)) return "strength unknown: Grad-CAM's own map is empty";
    if (strength === 0) return "empty: no positive evidence";
    if (strength > 1 / weak) {
      const times = strength < 1000 ? strength.toFixed(0) : "over 1000";
      return `strength ${times}: Grad-CAM's own map is weak beside it`;
    }
    if (strength >= weak) return `strength ${strength.toFixed(2)}`;
    let percent = "less than 1 %";
    if (strength >= 0.095) percent = `${Math.min(100 * strength, 9.9).toPrecision(2)} %`;
    else if (strength >= 0.01) percent = `${(100 * strength).toFixed(0)} %`;
    return `weak: ${percent} of Grad-CAM's peak`;
  },

  /** The share of the positive evidence that lies inside a mask; NaN without evidence. */
  shareInside(map, mask) {
    let inside = 0, all = 0;
    map.forEach((value, i) => {
      const positive = Math.max(0, value);
      all += positive;
      if (mask[i]) inside += positive;
    });
    return all > 0 ? inside / all : NaN;
  },

  /** Spearman's rank correlation, ties sharing their rank; NaN where either is the same everywhere. */
  rankCorrelation(a, b) {
    const [x, y] = [a, b].map(maps.ranks), middle = (a.length + 1) / 2;
    let xy = 0, xx = 0, yy = 0;
    x.forEach((rank, i) => {
      xy += (rank - middle) * (y[i] - middle);
      xx += (rank - middle) ** 2;
      yy += (y[i] - middle) ** 2;
    });
    return xx > 0 && yy > 0 ? xy / Math.sqrt(xx * yy) : NaN;
  },

  ranks(values) {
    const order = Array.from(values.keys()).sort((i, j) => values[i] - values[j]);
    const made = new Float64Array(values.length);
    for (let start = 0, end; start < order.length; start = end) {
      end = start + 1;
      while (end < order.length && values[order[end]] === values[order[start]]) end++;
      for (let i = start; i < end; i++) made[order[i]] = (start + 1 + end) / 2;
    }
    return made;
  },

  /** The highest place, [x, y] in [0, 1]; of a plateau, the pixel nearest to its middle. Null: none. */
  peakPlace(map, [height, width]) {
    const top = maps.peak(map);
    if (top <= 0) return null;
    const highest = [];
    map.forEach((value, i) => {
      if (value >= 0.99 * top) highest.push([i % width, Math.floor(i / width)]);
    });
    const mean = [0, 1].map((k) => highest.reduce((sum, at) => sum + at[k], 0) / highest.length);
    const far = ([x, y]) => (x - mean[0]) ** 2 + (y - mean[1]) ** 2;
    const [x, y] = highest.reduce((best, at) => (far(at) < far(best) ? at : best));
    return [(x + 0.5) / width, (y + 0.5) / height];
  },

  /** A place, [x, y] in [0, 1], in words: "upper left". */
  ninth([x, y]) {
    const name = (names, at) => names[Math.min(2, Math.floor(3 * at))];
    const words = `${name(["upper", "middle", "lower"], y)} ${name(["left", "centre", "right"], x)}`;
    return words.replace("middle centre", "centre");
  },

  /** From runs (label, length, label, length ...) to one label for each pixel. */
  unrolled(runs) {
    const made = [];
    for (let i = 0; i < runs.length; i += 2) made.push(new Uint8Array(runs[i + 1]).fill(runs[i]));
    const flat = new Uint8Array(made.reduce((sum, run) => sum + run.length, 0));
    let at = 0;
    for (const run of made) {
      flat.set(run, at);
      at += run.length;
    }
    return flat;
  },

  /** The mask, grown by one pixel `times` times; across corners as well, if `corners`. */
  grown(mask, [height, width], times = 1, corners = true) {
    let now = mask;
    for (let turn = 0; turn < times; turn++) {
      const next = now.slice();
      for (let i = 0; i < now.length; i++) {
        if (!now[i]) continue;
        const x = i % width, y = (i - x) / width;
        for (let dy = -1; dy <= 1; dy++) {
          for (let dx = -1; dx <= 1; dx++) {
            const there = y + dy >= 0 && y + dy < height && x + dx >= 0 && x + dx < width;
            if (there && (corners || !dx || !dy)) next[i + dy * width + dx] = 1;
          }
        }
      }
      now = next;
    }
    return now;
  },

  /** The map laid over the picture: RGBA bytes. `tables`: see build_ask.colour_tables. */
  overlay(rgba, map, size, tables, half) {
    const drawn = new Uint8ClampedArray(rgba), above = new Uint8Array(map.length);
    const { dark, light, fade } = tables, [red, green, blue] = [0, 1, 2].map((c) => fade.map((row) => row[c] / 255));
    for (let i = 0; i < map.length; i++) {
      const at = 4 * i, step = 3 * Math.round(255 * Math.min(1, Math.max(0, map[i])));
      for (let k = 0; k < 3; k++) {
        const ground = red[k] * rgba[at] + green[k] * rgba[at + 1] + blue[k] * rgba[at + 2];
        drawn[at + k] = dark[step + k] + ground * (light[step + k] - dark[step + k]);
      }
      above[i] = map[i] >= half ? 1 : 0;
    }
    return maps.lined(drawn, above, maps.grown(above, size, 1, false), 255);
  },

  /** A signed map over the picture in grey: RGBA bytes. */
  signedOverlay(rgba, map, tables) {
    const drawn = rgba.slice(), { signedDark: dark, signedLight: light } = tables;
    const grey = Float64Array.from(map, (_, i) => rgba[4 * i] + rgba[4 * i + 1] + rgba[4 * i + 2]);
    const low = grey.reduce((a, b) => Math.min(a, b)), high = maps.peak(grey);
    map.forEach((value, i) => {
      const step = 3 * Math.round((255 * (Math.min(1, Math.max(-1, value)) + 1)) / 2);
      const ground = high > low ? (grey[i] - low) / (high - low) : 1;
      for (let k = 0; k < 3; k++) {
        drawn[4 * i + k] = dark[step + k] + ground * (light[step + k] - dark[step + k]);
      }
    });
    return drawn;
  },

  /** A white line around a mask, black outside: seen on any ground. */
  outlined(rgba, mask, size, width = 2) {
    const white = maps.grown(mask, size, width), black = maps.grown(white, size);
    return maps.lined(maps.lined(rgba.slice(), white, black, 0), mask, white, 255);
  },

  /** One grey on all that lies in `outer` and not in `inner`. */
  lined(rgba, inner, outer, grey) {
    for (let i = 0; i < outer.length; i++) {
      if (outer[i] && !inner[i]) rgba[4 * i] = rgba[4 * i + 1] = rgba[4 * i + 2] = grey;
    }
    return rgba;
  },
};
