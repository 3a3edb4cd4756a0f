"""The page that answers in the browser: its numbers are Python's, and anybody can use it."""

import base64
import random
import re
from pathlib import Path
from urllib.parse import unquote

import ask_network
import build_ask
import nbformat
import numpy as np
import pytest
import torch
from page_check import faults
from scipy.stats import spearmanr

from course_utils.birds import draw
from course_utils.explorers.birds import UNSEEN, known_parts
from course_utils.figures.overlays import outlined, overlay, signed_overlay, where
from course_utils.measures import energy_inside
from course_utils.methods.cams import ContrastCAM, CounterfactualCAM, GradCAM
from course_utils.methods.forward_pass import ForwardPass
from course_utils.methods.maps import positive_maps, signed_maps
from course_utils.methods.strength import strength_in_words
from course_utils.networks.classifiers import load_classifier
from course_utils.photos import PHOTOS, load_photo

BIRDS = {name.replace(" ", "_"): name for name in build_ask.SPECIES_SHOWN}
# what the page's functions make of a question, as JSON can carry it
ANSWER = """async ([name, question]) => {
  const sample = await load(name), answer = answerTo(sample, question);
  const plain = (value) => Number.isNaN(value) ? null : value;
  const inside = Object.fromEntries(Object.entries(answer.inside).map(([k, v]) => [k, plain(v)]));
  const bytes = new Uint8Array(Float32Array.from(answer.map).buffer);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return {map: btoa(text), strength: plain(answer.strength), words: answer.words,
    empty: answer.empty, rank: plain(answer.rank), peak: answer.peak, inside};
}"""


@pytest.fixture(scope="module")
def site(once):
    def make(folder):
        return str(build_ask.build(folder / "ask"))

    return Path(once("ask", make))


@pytest.fixture(scope="module")
def view(site, chromium):
    """The page, opened from its file; `view.asked` holds every address that it asked for."""
    page = chromium.new_page(viewport={"width": 400, "height": 850}, reduced_motion="reduce")
    page.asked, page.errors = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(site.as_uri())
    page.evaluate("ready")
    yield page
    page.close()


@pytest.fixture
def fresh(view):
    """The same page as a visitor finds it."""
    view.reload()
    view.evaluate("ready")
    return view


@pytest.fixture(scope="module")
def networks():
    return {"photos": load_classifier(), "birds": load_classifier("birds")}


@pytest.fixture(scope="module")
def passes(networks):
    """The forward pass of a sample of the page, made once."""
    kept = {}

    def of(name):
        if name not in kept:
            network = networks["birds" if name in BIRDS else "photos"]
            photo = bird(name).image if name in BIRDS else load_photo(name)
            kept[name] = (network, ForwardPass(network, network.preprocess(photo)[None]))
        return kept[name]

    return of


def bird(name):
    return draw(BIRDS[name], UNSEEN + list(BIRDS).index(name))


def python_answer(passes, name, question):
    network, done = passes(name)
    kind, p, q = question["kind"], question["p"], question["q"]
    if kind == "contrast":
        return ContrastCAM(network, loss=question["loss"])(done, why=p, rather_than=q)
    return (GradCAM if kind == "why" else CounterfactualCAM)(network)(done, why=p)


def question(kind, p, q=0, loss="cross_entropy"):
    return {"kind": kind, "p": p, "q": q, "loss": loss}


def same(page, passes, name, asked):
    """The page's answer, after a comparison with Python's."""
    mine = page.evaluate(ANSWER, [name, asked])
    answer = python_answer(passes, name, asked)
    maps = answer.maps[0, 0].numpy()
    drawn_here = np.frombuffer(base64.b64decode(mine["map"]), "<f4").reshape(maps.shape)
    assert np.abs(drawn_here - maps).max() < 1e-3, (name, asked)
    strength = float(answer.strength)
    assert mine["empty"] == bool(answer.empty) and mine["words"] == strength_in_words(strength)
    assert mine["strength"] == pytest.approx(strength, rel=1e-3, abs=1e-6)
    return mine, answer


# --- the numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*PHOTOS, *BIRDS])
def test_the_three_questions_have_pythons_answers(view, passes, name):
    _, done = passes(name)
    p, q = done.logits[0].topk(2).indices.tolist()
    for kind in ("why", "absent", "contrast"):
        asked = question(kind, p, q)
        mine, answer = same(view, passes, name, asked)
        whole = done.class_maps()[0, p].detach().flatten()
        rank = spearmanr(answer.evidence.flatten(), whole).statistic
        assert mine["rank"] == pytest.approx(rank, abs=2e-3)
        if not mine["empty"]:
            words = view.evaluate("place => maps.ninth(place)", mine["peak"])
            assert words == where(answer.maps[0, 0])


def test_a_hundred_random_contrasts_have_pythons_answers(view, passes):
    """Half of them between probable classes, where maps are small differences of large numbers."""
    dice, names = random.Random(19), [*PHOTOS, *BIRDS]
    for turn in range(100):
        name = dice.choice(names)
        logits = passes(name)[1].logits[0]
        likely = logits.topk(10).indices.tolist()
        p = dice.choice(likely)
        q = dice.choice(likely) if turn % 2 else dice.randrange(len(logits))
        loss = dice.choice(["cross_entropy", "logit_difference"])
        same(view, passes, name, question("contrast", p, q, loss))


@pytest.mark.parametrize("name", ["chelsea", "coffee", "flamingo"])
def test_q_equal_to_p_is_empty_by_logit_difference_and_not_by_cross_entropy(view, passes, name):
    p = int(passes(name)[1].logits[0].argmax())
    empty, _ = same(view, passes, name, question("contrast", p, p, "logit_difference"))
    assert empty["empty"] and empty["strength"] == 0 and empty["rank"] is None
    doubt, _ = same(view, passes, name, question("contrast", p, p))
    assert not doubt["empty"]


def test_a_weak_map_is_called_weak(view, passes, networks):
    names = networks["photos"].categories
    asked = question("contrast", names.index("tiger cat"), names.index("Egyptian cat"))
    mine, _ = same(view, passes, "chelsea", asked)
    assert re.fullmatch(r"weak: \d+ % of Grad-CAM's peak", mine["words"])


@pytest.mark.parametrize(
    "strength", [0, 0.004, 0.0149, 0.0949, 0.095, 0.0951, 0.0999, 0.1, 0.5, 10, 12.345, 2e4]
)
def test_strengths_are_put_into_words_as_in_python(view, strength):
    said = view.evaluate("s => maps.strengthInWords(s, COURSE.weak)", strength)
    assert said == strength_in_words(strength)


@pytest.mark.parametrize("name", PHOTOS)
def test_the_share_inside_regions_is_pythons(view, passes, networks, name):
    asked = question("why", int(passes(name)[1].logits[0].argmax()))
    mine, answer = same(view, passes, name, asked)
    size, preprocess = load_photo(name).size, networks["photos"].preprocess
    assert mine["inside"]
    for region, box in PHOTOS[name].regions.items():
        mask = preprocess.region_mask(box, size)
        share = energy_inside(answer.maps[0, 0], mask)
        assert mine["inside"].get(f"the {region}", 0) == pytest.approx(share, abs=1e-3)


@pytest.mark.parametrize("name", BIRDS)
def test_the_known_answer_of_a_bird_is_pythons(view, passes, networks, name):
    species = networks["birds"].categories
    for q, other in enumerate(species):
        mask = known_parts(bird(name), BIRDS[name], other)
        asked = question("contrast", species.index(BIRDS[name]), q)
        if mask is None:
            assert view.evaluate(ANSWER, [name, asked])["inside"] == {}
            continue
        mine, answer = same(view, passes, name, asked)
        share = energy_inside(answer.maps[0, 0], mask)
        assert mine["inside"]["the known answer"] == pytest.approx(share, abs=1e-3)


# --- the pictures ---------------------------------------------------------------------------------


def drawn(view, call, *arguments):
    """Bytes that a function of maps.js makes, H x W x 3 in [0, 1]."""
    values = view.evaluate(f"args => Array.from({call})", list(arguments))
    return np.reshape(values, (24, 24, 4))[..., :3] / 255


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(0)
    evidence = torch.from_numpy(rng.normal(size=(1, 1, 3, 3)))
    pixels = rng.integers(0, 256, (24, 24, 3))
    rgba = np.concatenate([pixels, np.full((24, 24, 1), 255)], axis=2).ravel().tolist()
    return evidence, pixels / 255, rgba


def test_overlays_have_the_courses_colours(view, scene):
    evidence, pixels, rgba = scene
    values = positive_maps(evidence, (24, 24))[0, 0].numpy()
    call = "maps.overlay(Uint8ClampedArray.from(args[0]), args[1], [24, 24], tables, COURSE.half)"
    made = drawn(view, call, rgba, values.ravel().tolist())
    assert np.abs(made - overlay(pixels, values)).max() < 0.015


def test_signed_overlays_have_the_courses_colours(view, scene):
    evidence, pixels, rgba = scene
    values = signed_maps(evidence, (24, 24))[0, 0].numpy()
    call = "maps.signedOverlay(Uint8ClampedArray.from(args[0]), args[1], tables)"
    made = drawn(view, call, rgba, values.ravel().tolist())
    assert np.abs(made - signed_overlay(pixels, values)).max() < 0.025


def test_a_known_answer_is_outlined_as_in_the_course(view, scene):
    _, pixels, rgba = scene
    mask = np.zeros((24, 24), bool)
    mask[5:12, 0:9] = True
    call = "maps.outlined(Uint8ClampedArray.from(args[0]), Uint8Array.from(args[1]), [24, 24])"
    made = drawn(view, call, rgba, mask.ravel().astype(int).tolist())
    assert np.abs(made - outlined(pixels, mask)).max() < 0.005


# --- the page -------------------------------------------------------------------------------------


def test_the_page_has_no_faults_of_its_own(site):
    for page in site.parent.glob("*.html"):
        own = [fault for fault in faults(page) if "../index.html" not in fault]
        assert not own


def test_every_lecture_that_the_page_names_has_that_heading(site, root):
    text = (site.parent / "lesson.js").read_text(encoding="utf-8")
    links = re.findall(r"\$\{L\}(\w+)\.html#([^`]+)`", text)
    assert len(links) >= 6
    for notebook, heading in links:
        cells = nbformat.read(root / "lectures" / f"{notebook}.ipynb", 4).cells
        known = re.findall(r"^#+ (.+)$", "\n".join(c.source for c in cells), re.MULTILINE)
        assert unquote(heading) in [one.replace(" ", "-") for one in known], (notebook, heading)


def test_nothing_is_fetched_but_the_pages_own_files(fresh, site):
    fresh.locator("#show").click()
    fresh.locator("#steps button").nth(1).click()
    fresh.locator("#gallery button").nth(2).click()
    fresh.wait_for_function("state.sample.name === 'camera'")
    own = site.parent.as_uri()
    assert fresh.asked and not fresh.errors
    assert [a for a in fresh.asked if not a.startswith((own, "data:"))] == []


def test_a_guess_comes_first_and_is_judged(fresh):
    assert fresh.locator("#aim").is_visible() and not fresh.locator("#after").is_visible()
    mine = fresh.evaluate("answerTo(state.sample, state).peak")
    box = fresh.locator("#aim").bounding_box()
    fresh.mouse.click(box["x"] + mine[0] * box["width"], box["y"] + mine[1] * box["height"])
    assert "a hit" in fresh.locator("#answer").inner_text()
    said = fresh.locator("#status").text_content()
    assert said.startswith("Why flamingo, rather than spoonbill?") and "Known answer" in said
    assert said in fresh.locator("#photo").get_attribute("aria-label")


def test_the_lesson_goes_on_to_the_next_question_and_the_next_step(fresh):
    fresh.locator("#show").click()
    first, second = (fresh.locator("#next button").nth(n) for n in (0, 1))
    assert first.get_attribute("class") == "done" and not second.get_attribute("class")
    second.click()
    assert fresh.locator("#aim").is_visible() and not fresh.locator("#after").is_visible()
    fresh.locator("#next .on").click()
    fresh.wait_for_function("state.sample.name === 'chelsea'")
    assert fresh.locator("#steps [aria-current=step]").inner_text() == "2 A cat"


def test_a_guess_on_a_bird_is_also_held_against_the_known_answer(fresh):
    mask = known_parts(bird("flamingo"), "flamingo", "spoonbill")
    row, column = np.argwhere(mask)[mask.sum() // 2] / 128
    box = fresh.locator("#aim").bounding_box()
    fresh.mouse.click(box["x"] + column * box["width"], box["y"] + row * box["height"])
    assert "Your guess lies on it." in fresh.locator("#answer").inner_text()
    fresh.locator("#next button").nth(0).click()
    fresh.locator("#aim").click(position={"x": 5, "y": 300})
    assert "Your guess missed it." in fresh.locator("#answer").inner_text()


def test_who_wishes_guesses_before_every_answer(fresh):
    fresh.locator("#show").click()
    fresh.locator("#numbers summary").click()
    fresh.locator("#first").check()
    fresh.locator("#kinds input[value=absent]").check(force=True)
    assert fresh.locator("#aim").is_visible()


def test_the_map_fades_in_but_not_where_motion_is_unwelcome(fresh):
    fresh.locator("#show").click()
    fresh.wait_for_function("$('map').classList.contains('seen')")
    fade = "getComputedStyle($('map')).transitionDuration"
    assert fresh.evaluate(fade) == "0s"
    fresh.emulate_media(reduced_motion="no-preference")
    assert fresh.evaluate(fade) == "0.9s"
    fresh.emulate_media(reduced_motion="reduce")


def test_the_map_can_be_hidden_signed_and_drawn_as_strong_as_it_is(fresh):
    fresh.locator("#show").click()
    fresh.locator("#numbers summary").click()
    pictures = set()
    for value in ("positive", "signed", "none", "shared"):
        fresh.locator(f"input[value={value}]").check(force=True)
        pictures.add(fresh.evaluate("$('map').toDataURL()"))
    assert len(pictures) == 4


def test_with_the_keyboard_alone_a_class_is_found_and_asked_about(fresh):
    press = fresh.keyboard.press
    fresh.locator("#aim").focus()
    for key in ("ArrowUp", "ArrowRight", "Enter"):
        press(key)
    assert "from the peak" in fresh.locator("#answer").inner_text()
    press("Tab")
    assert fresh.evaluate("document.activeElement.id") == "q"
    press("Enter")
    fresh.keyboard.type("heron")
    press("Enter")
    assert fresh.locator("#question").inner_text().startswith("Why flamingo")
    assert (
        fresh.evaluate("sentence(state, state.sample.names)") == "Why flamingo, rather than heron?"
    )
    assert fresh.evaluate("document.activeElement.id") == "q"


def test_a_search_without_a_hit_says_so_and_escape_leaves_the_question(fresh):
    fresh.locator("#p").click()
    fresh.keyboard.type("zebra")
    assert fresh.locator("#count").inner_text() == "No class has this in its name."
    fresh.keyboard.press("Enter")
    fresh.keyboard.press("Escape")
    assert not fresh.locator("#classes").is_visible()
    assert fresh.evaluate("state.sample.names[state.p]") == "flamingo"


@pytest.mark.parametrize("width", [400, 1280])
def test_axe_finds_nothing(fresh, axe, site, width):
    fresh.set_viewport_size({"width": width, "height": 850})
    found = axe(fresh)
    fresh.locator("#show").click()
    fresh.locator("#numbers summary").click()
    found += axe(fresh)
    fresh.locator("#p").click()
    found += axe(fresh)
    fresh.keyboard.press("Escape")
    fresh.locator("#steps button").nth(2).click()
    fresh.wait_for_function("state.sample.name === 'coffee'")
    found += axe(fresh)
    fresh.set_viewport_size({"width": 400, "height": 850})
    assert found == []


@pytest.mark.parametrize("width", [320, 400, 1280])
def test_nothing_is_wider_than_the_window(fresh, width):
    fresh.set_viewport_size({"width": width, "height": 850})
    for step in range(3):
        fresh.locator("#steps button").nth(step).click()
        fresh.wait_for_function(f"state.sample.name === STEPS[{step}].sample")
        fresh.locator("#show").click()
        assert fresh.evaluate("document.documentElement.scrollWidth") <= width
    fresh.set_viewport_size({"width": 400, "height": 850})


def test_every_control_has_a_name_and_is_large_enough_to_touch(fresh):
    fresh.locator("#show").click()
    bare = fresh.evaluate("""[...document.querySelectorAll('button, input, a')].filter(e =>
      !(e.ariaLabel || e.textContent || e.labels?.[0]?.textContent ||
        e.getAttribute('aria-labelledby'))
    ).map(e => e.outerHTML)""")
    assert bare == []
    small = fresh.evaluate("""[...document.querySelectorAll('button, .pills span')].filter(e => {
      const box = e.getBoundingClientRect();
      return e.checkVisibility() && box.width && (box.height < 24 || box.width < 24);
    }).map(e => e.outerHTML)""")
    assert small == []


def test_the_answer_is_quick(fresh):
    """A second to the first answer, 50 ms to a change: ten times that on a busy machine."""
    first = fresh.evaluate("performance.getEntriesByType('navigation')[0].duration")
    fresh.locator("#show").click()
    times = fresh.evaluate("""[...Array(9).keys()].map(q => {
      const start = performance.now();
      change({q});
      return performance.now() - start;
    }).sort((a, b) => a - b)""")
    assert first < 10_000 and times[0] < 500
    print(f"first {first:.0f} ms, change {times[4]:.0f} ms (fastest {times[0]:.0f})")


def test_of_two_pictures_chosen_in_haste_the_last_is_shown(fresh):
    fresh.evaluate("Promise.all([openPicture('china'), openPicture('stork')])")
    assert fresh.evaluate("state.sample.name") == "stork"
    fresh.evaluate("Promise.all([openPicture('camera'), openPicture('stork')])")
    assert fresh.evaluate("state.sample.name") == "stork"


def test_a_missing_file_is_named(fresh):
    fresh.evaluate("openPicture('nobody')")
    fresh.wait_for_function("$('status').textContent.includes('data/nobody.js is missing')")


# --- the build ------------------------------------------------------------------------------------


@pytest.fixture
def few(monkeypatch):
    """A page of one bird is quickly built."""
    monkeypatch.setattr(build_ask, "_photos", lambda classifier: [])
    monkeypatch.setattr(build_ask, "SPECIES_SHOWN", ("flamingo",))


def test_what_an_older_page_left_goes_and_its_network_stays(few, tmp_path):
    files = ("old.js", "data/old.js", "network/classifier.onnx")
    files += ("runtime/ort-wasm-simd-threaded.wasm",)
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1234")
    page = build_ask.build(tmp_path)
    assert [(tmp_path / name).exists() for name in files] == [False, False, True, True]
    assert "photo.js" in page.read_text() and '"modelBytes": 4' in course(tmp_path)
    assert "photo.js" not in build_ask.build(tmp_path, web=False).read_text()
    assert not (tmp_path / "network").exists() and "modelBytes" not in course(tmp_path)


def course(folder):
    return (folder / "data" / "course.js").read_text(encoding="utf-8")


def test_without_npm_the_network_is_refused_in_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setattr(ask_network, "MODULES", tmp_path)
    monkeypatch.setattr(ask_network.shutil, "which", lambda _: None)
    with pytest.raises(ask_network.WebError, match="needs npm"):
        ask_network.fetch_runtime()


def test_the_page_is_small(site):
    data = {path.name: path.stat().st_size for path in (site.parent / "data").iterdir()}
    assert len(data) == len(PHOTOS) + len(BIRDS) + 1 and max(data.values()) < 450_000


def test_a_region_out_of_sight_is_left_out():
    assert build_ask._extent(torch.zeros(8, 8, dtype=torch.bool)) is None
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:5, 1:8] = True
    assert build_ask._extent(mask) == [1, 2, 8, 5]


def test_labels_tell_which_part_each_pixel_shows():
    runs = build_ask._labels(bird("flamingo"))
    flat = np.repeat(runs[::2], runs[1::2]).reshape(128, 128)
    for number, part in enumerate(("body", "neck", "bill", "legs"), 1):
        assert (flat == number).tolist() == bird("flamingo").masks[part].tolist()
