"""A visitor's own photo, answered by the network in the page: `make test-web`."""

import functools
import http.server
import shutil
import threading
from pathlib import Path

import build_ask
import numpy as np
import pytest
import skimage
from conftest import NOT_TESTED
from PIL import Image

from course_utils.methods.cams import ContrastCAM
from course_utils.methods.forward_pass import ForwardPass
from course_utils.networks.classifiers import load_classifier
from course_utils.photos import load_photo

SIDEWAYS = 6  # EXIF: the camera was turned


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if shutil.which("npm") is None:
        pytest.skip(NOT_TESTED + "npm is missing, which fetches the page's runtime")
    return build_ask.build(tmp_path_factory.mktemp("site") / "ask", web=True)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def address(site):
    handler = functools.partial(Quiet, directory=site.parent)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def view(address, chromium):
    page = chromium.new_page(viewport={"width": 400, "height": 850}, reduced_motion="reduce")
    page.asked, page.errors = [], []
    page.on("request", lambda request: page.asked.append((request.method, request.url)))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(address)
    page.evaluate("ready")
    page.locator("#steps button").nth(2).click()
    yield page
    page.close()


@pytest.fixture(scope="module")
def classifier():
    return load_classifier()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos that are not the course's: one lies on its side, one is larger, one is see-through."""
    folder, data = tmp_path_factory.mktemp("photos"), Path(skimage.__file__).parent / "data"
    made = {name: folder / name for name in ("sideways.jpg", "retina.jpg", "thin.png")}
    exif = Image.Exif()
    exif[0x0112] = SIDEWAYS
    astronaut = Image.open(data / "astronaut.png").crop((20, 0, 420, 512))
    astronaut.transpose(Image.Transpose.ROTATE_90).save(made["sideways.jpg"], exif=exif, quality=95)
    shutil.copy(data / "retina.jpg", made["retina.jpg"])
    clear = Image.open(data / "coins.png").convert("RGBA").resize((900, 100))
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    clear.save(made["thin.png"])
    return made


def shown(view, path):
    """The page's sample of that photo."""
    view.evaluate("delete SAMPLES.own")
    view.locator("input[type=file]").first.set_input_files(path)
    view.wait_for_function(
        "window.eval('SAMPLES.own && state.sample === SAMPLES.own')", timeout=90_000
    )
    assert not view.errors


@pytest.mark.parametrize("name", ["sideways.jpg", "retina.jpg", "thin.png"])
def test_an_own_photo_has_pythons_answer(view, photos, classifier, name):
    shown(view, photos[name])
    done = ForwardPass(classifier, classifier.preprocess(load_photo(photos[name]))[None])
    p, q = done.logits[0].topk(2).indices.tolist()
    assert view.evaluate("[state.p, state.q]") == [p, q]
    asked = {"kind": "contrast", "p": p, "q": q, "loss": "logit_difference"}
    mine = view.evaluate(
        "q => {const a = answerTo(state.sample, q); return [Array.from(a.map), a.peak, a.words]}",
        asked,
    )
    answer = ContrastCAM(classifier, loss="logit_difference")(done, why=p, rather_than=q)
    maps = answer.maps[0, 0].numpy()
    away = np.abs(np.reshape(mine[0], maps.shape) - maps).max()
    print(f"{name}: the map is at most {away:.4f} from Python's; {mine[2]}")
    assert away < 0.05
    row, column = np.unravel_index(maps.argmax(), maps.shape)
    assert mine[1] == pytest.approx([column / 224, row / 224], abs=0.05)


@pytest.mark.parametrize("name", ["sideways.jpg", "retina.jpg", "thin.png"])
def test_the_photo_is_prepared_as_in_python(view, photos, classifier, name):
    shown(view, photos[name])
    content = photos[name].read_bytes()
    mine = view.evaluate(
        """async (bytes) => {
      const picture = await photo.decoded(new Blob([Uint8Array.from(bytes)]));
      return Array.from(photo.cropped(picture, COURSE.web));
    }""",
        list(content),
    )
    pixels = np.reshape(mine, (224, 224, 4))[..., :3].astype(int)
    wanted = np.asarray(classifier.preprocess.crop_photo(load_photo(photos[name]))).astype(int)
    away = np.abs(pixels - wanted)
    print(f"{name}: {away.mean():.3f} grey levels away on average, {away.max()} at most")
    assert away.max() <= 6 and away.mean() < 0.5


def test_nothing_leaves_the_page(view, address, photos):
    shown(view, photos["sideways.jpg"])
    for method, url in view.asked:
        assert method == "GET" and url.startswith((address, "data:", "blob:"))
    assert "never leaves this page" in view.locator("#own").inner_text()


def test_what_is_no_picture_is_refused_in_a_sentence(view, tmp_path):
    text = tmp_path / "letter.jpg"
    text.write_text("Dear network")
    view.locator("input[type=file]").first.set_input_files(text)
    view.get_by_text("letter.jpg is no picture that the browser can read").wait_for()


def test_from_a_file_the_page_says_how_to_serve_it(site, chromium):
    page = chromium.new_page()
    page.goto(site.as_uri())
    page.evaluate("ready")
    page.locator("#steps button").nth(2).click()
    assert "python -m http.server" in page.locator("#own-said").inner_text()
    page.close()


def test_a_browser_without_webassembly_is_told_so(address, chromium):
    page = chromium.new_page()
    page.add_init_script("delete globalThis.WebAssembly")
    page.goto(address)
    page.evaluate("ready")
    page.locator("#steps button").nth(2).click()
    assert "no WebAssembly" in page.locator("#own-said").inner_text()
    page.close()


def test_a_network_that_does_not_arrive_is_named(address, chromium, photos):
    page = chromium.new_page()
    page.route("**/classifier.onnx", lambda route: route.fulfill(status=404))
    page.goto(address)
    page.evaluate("ready")
    page.locator("#steps button").nth(2).click()
    page.locator("input[type=file]").first.set_input_files(photos["sideways.jpg"])
    page.get_by_text("network/classifier.onnx was not found (404)").wait_for()
    page.close()


def test_the_licences_of_what_goes_with_the_page_are_named(site):
    text = (site.parent / "licences.html").read_text(encoding="utf-8")
    for word in ("Apache License 2.0", "MIT License", "onnxruntime-web@", "BSD-3-Clause"):
        assert word in text
