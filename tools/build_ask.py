"""Build the page that answers questions in the browser: _site/ask/ (`make lectures`, `make web`).

For every picture the page holds the class maps S^c of all classes. The answer to any question is a
weighted sum of them (see course_utils.methods.forward_pass), so that the page needs no network, no
kernel and no server. All data are scripts: a page opened from a file may fetch nothing else.
"""

import argparse
import base64
import html
import io
import json
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import ask_network
import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = ROOT / "tools" / "site_templates" / "ask"
PAGE = ("ask.css", "maps.js", "lesson.js", "chooser.js", "ask.js")
SPECIES_SHOWN = ("flamingo", "stork", "ibis", "egret", "marabou", "scarlet ibis")
SHOWN, THUMB = 448, 96  # pixels a side of a photo on the page, and in the row to choose from
STEPS = 256  # colours in a table
HOW_TO = """Built {page}, with the network in it.
Look at it:  python3 -m http.server --directory {site}
             and open http://localhost:8000/ask/ in a browser.
Publish it:  copy {site} to any server of files. On GitHub, the workflow
             .github/workflows/pages.yml does so (Settings, Pages, Source: GitHub Actions)."""


def build(out: Path, web: bool | None = None) -> Path:
    """Write the page and its data.

    Args:
        out: the folder of the page, such as _site/ask; it is made anew.
        web: whether the network itself goes with it, for a visitor's own photos. None: if an
            earlier build put it there, it stays.

    Returns:
        The page's path.

    Raises:
        ask_network.WebError: npm or the exporter's packages are missing.
    """
    from course_utils.networks.classifiers import load_classifier

    kept = web is None and all((out / folder).is_dir() for folder in ask_network.FOLDERS)
    _clear(out, ask_network.FOLDERS if kept else ())
    networks = {"photos": load_classifier(), "birds": load_classifier("birds")}
    listed = []
    for name, entry, data in [*_photos(networks["photos"]), *_birds(networks["birds"])]:
        _script(out / "data" / f"{name}.js", f"SAMPLES[{json.dumps(name)}]", data)
        listed.append({"name": name, **entry})
    common = {**_common(networks), "samples": listed}
    if web:
        ask_network.add_network(out, networks["photos"])
    if web or kept:
        common["web"] = ask_network.recipe(out, networks["photos"].preprocess)
    _script(out / "data" / "course.js", "const COURSE", common)
    for name in PAGE + ("photo.js",) * ("web" in common):
        shutil.copy(TEMPLATES / name, out)
    _write_pages(out, "web" in common)
    return out / "index.html"


def _clear(out: Path, kept: tuple[str, ...]) -> None:
    """Empty the page's folder, but for these folders in it."""
    for old in out.iterdir() if out.is_dir() else ():
        if old.is_file():
            old.unlink()
        elif old.name not in kept:
            shutil.rmtree(old)
    (out / "data").mkdir(parents=True)


def _write_pages(out: Path, web: bool) -> None:
    """The page itself, and the one that says whose the photos and networks are."""
    from course_utils.photos import PHOTOS

    page = (TEMPLATES / "ask.html").read_text(encoding="utf-8")
    licences = (TEMPLATES / "licences.html").read_text(encoding="utf-8")
    if web:
        own = (TEMPLATES / "own.html").read_text(encoding="utf-8")
        page = re.sub("<!-- own -->.*<!-- /own -->", lambda _: own, page, flags=re.DOTALL)
        page = page.replace("<!-- web -->", '<script src="photo.js"></script>')
        runtime = (TEMPLATES / "runtime_licence.html").read_text(encoding="utf-8")
        licences = licences.replace("<!-- web -->", runtime.replace("VERSION", ask_network.RUNTIME))
    photos = "".join(f"<li>{name}: {html.escape(p.credit)}</li>" for name, p in PHOTOS.items())
    (out / "index.html").write_text(page, encoding="utf-8")
    licences = licences.replace("<!-- photos -->", photos)
    (out / "licences.html").write_text(licences, encoding="utf-8")


def _script(path: Path, name: str, value: dict) -> None:
    path.write_text(f"{name} = {json.dumps(value, ensure_ascii=False)};\n", encoding="utf-8")


def _common(networks: dict) -> dict:
    """What all questions share: class names, species, colours, the bound of a weak map."""
    from course_utils.birds import SPECIES
    from course_utils.figures import overlays
    from course_utils.methods.strength import WEAK

    return {
        "networks": {name: network.categories for name, network in networks.items()},
        "species": {name: dict(parts) for name, parts in SPECIES.items()},
        "weak": WEAK,
        "half": overlays.HALF,
        "colours": colour_tables(),
    }


# --- pictures -------------------------------------------------------------------------------------


def _photos(classifier) -> Iterable[tuple[str, dict, dict]]:
    """The course's photos: name, what the page lists of each, and what it asks."""
    from course_utils.photos import PHOTOS, load_photo

    for name, photo in PHOTOS.items():
        whole = load_photo(name)
        box = classifier.preprocess.crop_box(whole.size)
        shown = whole.resize((SHOWN, SHOWN), Image.Resampling.BICUBIC, box)
        regions = {
            region: _extent(classifier.preprocess.region_mask(place, whole.size))
            for region, place in photo.regions.items()
        }
        entry = {"network": "photos", "label": name.split("_")[0], "credit": photo.credit}
        entry |= {"alt": photo.alt, "thumb": _jpeg(shown, THUMB)}
        regions = {region: extent for region, extent in regions.items() if extent}
        data = {"picture": _jpeg(shown), "regions": regions, "labels": None}
        yield name, entry, data | _answers(classifier, whole)


def _birds(network) -> Iterable[tuple[str, dict, dict]]:
    """Drawn birds, one of each species, that the network was never shown."""
    from course_utils.birds import draw
    from course_utils.explorers.birds import UNSEEN
    from course_utils.figures.drawn_birds import large

    for number, species in enumerate(SPECIES_SHOWN):
        bird = draw(species, UNSEEN + number)
        fine = large(bird)
        parts = ", ".join(f"{part} {value}" for part, value in bird.attributes.items())
        entry = {"network": "birds", "label": species, "credit": "drawn by the course"}
        entry |= {"alt": f"A drawn {species}: {parts}.", "thumb": _jpeg(fine.image, THUMB)}
        labels = {str(one.image.width): _labels(one) for one in (bird, fine)}
        data = {"picture": _jpeg(fine.image), "regions": {}, "labels": labels, "species": species}
        yield species.replace(" ", "_"), entry, data | _answers(network, bird.image)


def _answers(classifier, picture: Image.Image) -> dict:
    """The class maps and logits of one picture, as the page reads them.

    Float32: with float16 the maps of near classes, differences of large numbers, would be off by up
    to 0.009.
    """
    from course_utils.methods.forward_pass import ForwardPass

    done = ForwardPass(classifier, classifier.preprocess(picture)[None])
    maps = done.class_maps()[0].detach()
    return {
        "grid": list(maps.shape[1:]),
        "size": done.size[0],
        "maps": _base64(maps.numpy().astype("<f4")),
        "logits": _base64(done.logits[0].numpy().astype("<f4")),
    }


def _extent(mask: torch.Tensor) -> list[int] | None:
    """[left, top, right, bottom] of a box's mask, the last two just outside; None: out of sight."""
    rows, columns = mask.any(dim=1).nonzero().flatten(), mask.any(dim=0).nonzero().flatten()
    if not len(rows):
        return None
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]


def _labels(bird) -> list[int]:
    """Which part each pixel shows, row by row, as runs: label, length, label, length ...

    0 is no part, 1 the first of PARTS, and so on.
    """
    from course_utils.birds import PARTS

    flat = np.zeros(bird.outline.size, int)
    for number, part in enumerate(PARTS, 1):
        flat[bird.masks[part].ravel()] = number
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    lengths = np.diff(starts, append=flat.size)
    return np.column_stack([flat[starts], lengths]).ravel().tolist()


def _jpeg(picture: Image.Image, side: int | None = None) -> str:
    content = io.BytesIO()
    picture = picture.resize((side, side)) if side else picture
    picture.save(content, "JPEG", quality=90)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()


def _base64(values: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


# --- colours --------------------------------------------------------------------------------------


def colour_tables() -> dict:
    """The course's overlays (course_utils.figures.overlays) as tables, so that none is typed twice.

    An overlay is linear in the photo. Laid on black and on white, at each value of the map, it says
    all: `dark` and `light` are STEPS x 3 bytes. `fade` says which grey or colour a pixel keeps
    beneath: 3 x 3 numbers, from a pixel's red, green and blue in [0, 1] to the same scale. Signed
    maps lie on the photo in grey, its darkest place 0 and its lightest 1.
    """
    from course_utils.figures.overlays import overlay, signed_overlay

    values = np.linspace(0, 1, STEPS)[None]
    black, white = np.zeros((1, STEPS, 3)), np.ones((1, STEPS, 3))
    primaries, nothing = np.eye(3)[None], np.zeros((1, 3))
    bare = overlay(primaries, nothing, line=False)[0] / overlay(white, 0 * values, line=False)[0, 0]
    both, signs = np.zeros((2, STEPS)), np.repeat(2 * values - 1, 2, axis=0)
    both[1] = 1  # the second row of the picture is white
    signed = signed_overlay(both, signs)
    return {
        "dark": _bytes(overlay(black, values, line=False)[0]),
        "light": _bytes(overlay(white, values, line=False)[0]),
        "fade": bare.T.tolist(),
        "signedDark": _bytes(signed[0]),
        "signedLight": _bytes(signed[1]),
    }


def _bytes(colours: np.ndarray) -> str:
    return _base64((colours * 255).round().clip(0, 255).astype(np.uint8))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, default=ROOT / "_site" / "ask", help="where to build")
    options.add_argument("--web", action="store_true", help="with the network, for own photos")
    chosen = options.parse_args()
    out = chosen.out.resolve()
    try:
        page = build(out, chosen.web)
    except ask_network.WebError as error:
        print(error, file=sys.stderr)
        return 1
    print(HOW_TO.format(site=out.parent, page=page) if chosen.web else f"Built {page}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
