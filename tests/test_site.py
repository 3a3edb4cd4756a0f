"""What `make lectures` promises of every page and slide, on a course of two lectures."""

import base64
import io
import re
import shutil
from pathlib import Path

import build_site
import gallery
import nbformat
import page_polish
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from notebook_page import FormulaError, mathml
from page_check import faults
from PIL import Image

PIXEL = base64.b64encode(  # a PNG of one pixel
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415478da63f8cfc0000003010100"
        "c9fe92ef0000000049454e44ae426082"
    )
).decode()

_drawn = io.BytesIO()
Image.new("RGB", (300, 150)).save(_drawn, "png")
GREY = base64.b64encode(_drawn.getvalue()).decode()


def picture(width, height):
    """A figure as a cell of the course shows it: with a width of its own, for pages."""
    style = f"max-width:100%;height:auto;width:{width}px;min-width:min({width}px, 32em)"
    return new_code_cell(
        "import base64, io\nfrom IPython.display import HTML\nfrom PIL import Image\n"
        f"small = Image.effect_noise(({width // 8}, {height // 8}), 60).convert('RGB')\n"
        f"buffer = io.BytesIO()\nsmall.resize(({width}, {height})).save(buffer, 'png')\n"
        "data = base64.b64encode(buffer.getvalue()).decode()\n"
        f"style, alt = '{style}', 'noise, {width} wide'\n"
        "box = 'margin:0.5em 0;overflow-x:auto'\n"
        'words = f\'alt="{alt}" style="{style}"\'\n'
        "source = f'src=\"data:image/png;base64,{data}\"'\n"
        "caption = '<figcaption>A caption.</figcaption>'\n"
        "HTML(f'<figure style=\"{box}\"><img {words} {source}>{caption}</figure>')",
        metadata={"jupyter": {"source_hidden": True}},
    )


TALL, WIDE = picture(931, 1397), picture(1100, 300)
PIECES = picture(900, 600)
PIECES.source = PIECES.source.replace("HTML(f'", "piece = (f'").replace(
    "</figure>')", "</figure>')\n"
)
PIECES.source += "HTML(f\"<div class='parts'>{piece}{piece}</div>\")"
LONG = " + ".join(f"S_{{{n}}}" for n in range(30))
FIRST = [
    new_markdown_cell(
        "# First lecture\n\nThe mean $\\alpha_k^c$ of\n\n$$S^c = \\sum_k \\alpha_k^c A^k$$\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\nGo on to "
        "[why rather than](02_second.ipynb#Why,-rather-than?), "
        "read the [glossary](../docs/glossary.md#Terms) or open "
        "[the helper](../course_utils/methods/cams.py).",
        metadata={"slideshow": {"slide_type": "slide"}},
    ),
    new_markdown_cell(
        "<details><summary>Hint: $u_A$</summary>\n\nMind the **sign**.\n\n</details>"
    ),
    new_markdown_cell("Ask the class first.", metadata={"slideshow": {"slide_type": "notes"}}),
    new_code_cell(f"very_long_name = '{'x' * 300}'\nprint('hello from the kernel')"),
    new_code_cell(
        "from IPython.display import HTML\n"
        f'HTML(\'<img alt="a red dot" width=1200 src="data:image/png;base64,{PIXEL}">\')',
        metadata={"slideshow": {"slide_type": "subslide"}},
    ),
]
SECOND = [
    new_markdown_cell(
        "# Second lecture\n\n## Why, rather than?\n\nBack to the [first lecture](01_first.ipynb)."
    ),
    new_code_cell(
        "import ipywidgets as w\nfrom IPython.display import display\n"
        "out = w.Output()\nchoice = w.Dropdown(description='Class', options=['cat', 'cup'])\n"
        "def show(change):\n    out.clear_output()\n"
        "    with out:\n        print('asked about the', choice.value)\n"
        "choice.observe(show, 'value')\nshow(None)\ndisplay(w.VBox([w.HBox([choice]), out]))"
    ),
    new_code_cell("choice.value = 'cup'"),
    new_markdown_cell(
        "## A long slide\n\n" + "\n\n".join(f"Line {n}." for n in range(40)),
        metadata={"slideshow": {"slide_type": "slide"}},
    ),
    new_code_cell("print('below the lines')"),
    new_markdown_cell(
        f"## A wide formula\n\nIn the text $S = {LONG}$ goes on.\n\n$$S = {LONG}$$\n\n"
        "|  | " + " | ".join(f"a long head {n}" for n in range(9)) + " |\n" + "|---" * 10 + "|\n"
        "| row |" + " 1 |" * 9,
        metadata={"slideshow": {"slide_type": "slide"}},
    ),
    new_markdown_cell(
        "## What will be bright?\n\n**Predict** before you go on.",
        metadata={"slideshow": {"slide_type": "slide"}},
    ),
    new_code_cell("my_prediction = ..."),
    WIDE,
    new_code_cell(
        "\n".join(f"value_{n} = '{'v' * 60}'" for n in range(60))
        + "\nprint('\\n'.join(f'name {n:5}   value {n:5}' + '   column' * 9 for n in range(4)))"
        + "\nprint('A sentence that is printed. ' * 9)",
        metadata={"slideshow": {"slide_type": "slide"}},
    ),
    TALL,
    new_markdown_cell("## Two pieces", metadata={"slideshow": {"slide_type": "slide"}}),
    PIECES,
    new_markdown_cell("A sentence about both."),
    new_markdown_cell("Without a heading.", metadata={"slideshow": {"slide_type": "subslide"}}),
    new_code_cell("for_home = 1\nprint('at home')", metadata={"tags": ["fold-on-slides"]}),
    new_code_cell("import sys\nfor n in range(9):\n    print('row', n)\n    sys.stdout.flush()"),
    new_code_cell(
        "print('holds: A claim.')\nprint('holds: Another one,\\n       as long. (1 photo)')"
    ),
    new_markdown_cell(
        "## Questions\n\n" + "A line.\n\n" * 14 + "Which one?\n\n"
        "<details><summary>This one.</summary>\n\nYes.\n\n</details>",
        metadata={"slideshow": {"slide_type": "slide"}},
    ),
]


@pytest.fixture(scope="module")
def course(tmp_path_factory, root):
    """A course in a folder whose name has a space."""
    folder = tmp_path_factory.mktemp("small course")
    for name in ("lectures", "docs", "course_utils"):
        (folder / name).mkdir()
    nbformat.write(new_notebook(cells=FIRST), folder / "lectures" / "01_first.ipynb")
    nbformat.write(new_notebook(cells=SECOND), folder / "lectures" / "02_second.ipynb")
    (folder / "docs" / "glossary.md").write_text("# Glossary\n\n## Terms\n\n**CAM**: a map $S$.")
    (folder / "course_utils" / "methods").mkdir()
    (folder / "course_utils" / "methods" / "cams.py").write_text("")
    return folder


@pytest.fixture(scope="module")
def site(course):
    built = build_site.Site(course, course / "_site", slides=True)
    built.build()
    return built


def page(site, name):
    return (site.out / name).read_text(encoding="utf-8")


def test_a_good_course_has_no_faults(site):
    assert site.faults == []


def test_every_lecture_and_text_has_a_page_that_the_index_links(site):
    index = page(site, "index.html")
    for name in ("lectures/01_first.html", "lectures/02_second.html", "docs/glossary.html"):
        assert (site.out / name).is_file() and f'href="{name}"' in index


def test_outputs_of_the_run_are_on_the_page(site):
    assert "hello from the kernel" in page(site, "lectures/01_first.html")


def test_links_between_notebooks_lead_to_their_pages(site):
    html = page(site, "lectures/01_first.html")
    assert (
        'href="02_second.html#Why,-rather-than?"' in html
        and 'href="../docs/glossary.html#Terms"' in html
    )


def test_a_link_to_a_file_outside_the_site_becomes_its_name(site):
    html = page(site, "lectures/01_first.html")
    assert (
        '<span title="in the course\'s folder: course_utils/methods/cams.py">the helper</span>'
        in html
    )


@pytest.mark.parametrize("hidden", ["Mind the sign.", "Ask the class first."])
def test_hints_and_notes_for_the_instructor_are_folded_away(site, chromium, hidden):
    view = chromium.new_page()
    view.goto((site.out / "lectures" / "01_first.html").as_uri())
    text = view.get_by_text(hidden)
    assert text.count() == 1 and not text.is_visible()
    view.close()


def test_a_widget_is_shown_as_it_first_appeared_and_says_how_to_run_it(site):
    html = page(site, "lectures/02_second.html")
    panel = html[html.index('class="panel"') :]
    assert "make lab" in panel and "<b>Class</b> cat" in panel and "asked about the cat" in panel
    assert "asked about the cup" not in panel


def test_an_exception_in_a_widget_callback_fails_the_build(course, tmp_path):
    (tmp_path / "lectures").mkdir()
    broken = SECOND[1].source.replace("print('asked about the', choice.value)", "1 / 0")
    cells = [new_markdown_cell("# Broken"), new_code_cell(broken)]
    nbformat.write(new_notebook(cells=cells), tmp_path / "lectures" / "01_broken.ipynb")
    site = build_site.Site(tmp_path, tmp_path / "_site", slides=False)
    site.build()
    assert any("ZeroDivisionError" in fault for fault in site.faults)


def test_the_table_tells_time_and_memory_of_each_notebook(site):
    rows = build_site.table(site.runs).splitlines()
    assert [row.split()[0] for row in rows] == ["notebook", *map(str, site.runs), "together"]
    for run in site.runs.values():
        assert run.seconds > 0 and 20 < run.peak_mib < 2000  # a bare Python kernel: some 60 MiB


def watched(view):
    """What goes wrong on a page, or is asked of a network, as it comes."""
    troubles = []
    view.on("requestfailed", lambda request: troubles.append(f"failed: {request.url[:99]}"))
    view.on(
        "request",
        lambda request: request.url.startswith("http") and troubles.append(request.url),
    )
    view.on("console", lambda message: message.type == "error" and troubles.append(message.text))
    view.on("pageerror", lambda error: troubles.append(str(error)))
    return troubles


@pytest.mark.parametrize("width", [1280, 400])
def test_pages_load_without_internet_and_fit_the_window(site, chromium, width):
    for path in sorted(site.out.glob("*/*.html")) + [site.out / "index.html"]:
        view = chromium.new_page(viewport={"width": width, "height": 800})
        troubles = watched(view)
        view.goto(path.as_uri())
        assert troubles == [], path
        assert view.evaluate("document.documentElement.scrollWidth") <= width, path
        view.close()


def test_slides_turn_and_keep_the_speakers_notes_off_the_screen(site, chromium):
    view = chromium.new_page(viewport={"width": 1280, "height": 720})
    view.goto((site.out / "slides" / "01_first.html").as_uri())
    view.wait_for_function("window.Reveal && Reveal.isReady()")
    assert view.evaluate("Reveal.getTotalSlides()") == 2
    assert not view.get_by_text("Ask the class first.").is_visible()
    view.keyboard.press("Space")
    assert view.get_by_alt_text("a red dot").is_visible()
    view.close()


def test_a_slide_higher_than_the_screen_goes_on_below(site, chromium):
    view = chromium.new_page(viewport={"width": 1600, "height": 900})
    view.goto((site.out / "slides" / "02_second.html").as_uri())
    view.wait_for_function("window.Reveal && Reveal.isReady()")
    seen, heights = [], []
    for _ in range(view.evaluate("Reveal.getTotalSlides()")):
        heights.append(view.evaluate("Reveal.getCurrentSlide().scrollHeight"))
        seen.append(view.evaluate("Reveal.getCurrentSlide().innerText"))
        view.evaluate("Reveal.next()")
    view.close()
    lines = [text for text in seen if "Line " in text]
    assert len(lines) > 1 and max(heights) <= 720
    assert re.findall(r"Line (\d+)", "".join(lines)) == [str(n) for n in range(40)]
    assert all("A long slide" in text for text in lines) and "below the lines" in "".join(seen)


def open_page(site, chromium, name, width=1280, height=800):
    view = chromium.new_page(viewport={"width": width, "height": height})
    view.goto((site.out / name).as_uri())
    if name.startswith("slides/"):
        view.wait_for_function("window.Reveal && Reveal.isReady()")
    return view


SLIDE = """n => {
  const at = Reveal.getIndices(Reveal.getSlides()[n]);
  Reveal.slide(at.h, at.v);
  const slide = Reveal.getCurrentSlide(), top = slide.getBoundingClientRect().top;
  const seen = [...slide.querySelectorAll("*")].filter(e => e.offsetHeight);
  const boxes = seen.map(e => e.getBoundingClientRect());
  return {
    aspects: seen.filter(e => e.matches("img")).map(
      e => e.clientWidth / e.clientHeight / (e.naturalWidth / e.naturalHeight)),
    low: Math.max(...boxes.map(b => b.bottom - top)) / Reveal.getScale(),
    right: Math.max(...boxes.map(b => b.right)),
    scrolling: seen.filter(e => e.scrollHeight > e.clientHeight + 2
      && /auto|scroll/.test(getComputedStyle(e).overflowY)).map(e => e.outerHTML.slice(0, 99)),
  };
}"""


@pytest.mark.parametrize("name", ["slides/01_first.html", "slides/02_second.html"])
def test_on_slides_pictures_keep_their_shape_and_nothing_is_cut(site, chromium, name):
    view = open_page(site, chromium, name, 1280, 720)
    slides = [view.evaluate(SLIDE, n) for n in range(view.evaluate("Reveal.getTotalSlides()"))]
    view.close()
    assert sum(len(slide["aspects"]) for slide in slides) >= 1
    for slide in slides:
        assert slide["aspects"] == pytest.approx([1] * len(slide["aspects"]), abs=0.02)
        assert slide["low"] <= 720 and slide["right"] <= 1281 and slide["scrolling"] == []


def test_a_picture_with_a_slide_to_itself_is_drawn_large(site, chromium):
    view = open_page(site, chromium, "slides/02_second.html", 1280, 720)
    high = view.get_by_alt_text("noise, 931 wide").evaluate(
        "e => { const at = Reveal.getIndices(e.closest('section')); Reveal.slide(at.h, at.v);"
        " return e.getBoundingClientRect().height / Reveal.getScale(); }"
    )
    assert 550 < high <= 600
    view.close()


def test_pieces_of_a_picture_go_to_slides_of_their_own_and_keep_the_text_with_them(site, chromium):
    view = open_page(site, chromium, "slides/02_second.html", 1280, 720)
    slides = view.evaluate(
        "[...document.querySelectorAll('.parts img')].map(e => e.closest('section').innerText)"
    )
    view.close()
    assert len(slides) == 2 and "A sentence" not in slides[0] and "A sentence" in slides[1]


def test_long_code_is_divided_between_slides_and_no_line_is_lost(site, chromium):
    view = open_page(site, chromium, "slides/02_second.html", 1280, 720)
    text = view.evaluate("[...document.querySelectorAll('.source')].map(e => e.innerText)")
    view.close()
    parts = [part for part in text if "value_" in part]
    assert len(parts) > 1
    assert re.findall(r"value_(\d+) =", "\n".join(parts)) == [str(n) for n in range(60)]


def test_on_slides_a_result_comes_one_step_after_the_question(site, chromium):
    view = open_page(site, chromium, "slides/02_second.html", 1280, 720)
    result = view.get_by_alt_text("noise, 1100 wide")
    assert result.evaluate("e => e.closest('.fragment') !== null")
    view.evaluate(
        "Reveal.slide(...Object.values(Reveal.getIndices("
        "document.querySelector('img[alt=\"noise, 1100 wide\"]').closest('section'))).slice(0, 2))"
    )
    opacity = "e => getComputedStyle(e.closest('.fragment')).opacity"
    assert (
        result.evaluate(opacity) == "0"
        and view.get_by_text("my_prediction", exact=True).is_visible()
    )
    view.evaluate("Reveal.next()")
    view.wait_for_function(
        "getComputedStyle(document.querySelector('img[alt=\"noise, 1100 wide\"]')"
        ".closest('.fragment')).opacity === '1'"
    )
    view.close()


def test_a_slide_without_a_heading_says_under_which_one_it_stands(site, chromium):
    view = open_page(site, chromium, "slides/02_second.html", 1280, 720)
    text = view.locator("section > .continued + .cell", has_text="Without a heading.")
    assert text.locator("xpath=preceding-sibling::*[1]").inner_text() == "Two pieces"
    view.close()


def test_code_for_reading_at_home_is_folded_on_slides_only(site):
    folded = r"<details><summary>The code of this cell</summary>.{,99}for_home"
    assert re.search(folded, page(site, "slides/02_second.html"), re.DOTALL)
    assert not re.search(folded, page(site, "lectures/02_second.html"), re.DOTALL)


def test_what_a_cell_prints_piece_by_piece_is_one_piece(site):
    for name in ("lectures/02_second.html", "slides/02_second.html"):
        rows = "\n".join(f"row {n}" for n in range(9))
        assert f"<pre>{rows}\n</pre>" in page(site, name).replace(' class="prose"', "")


def test_on_slides_a_claim_that_holds_is_set_small(site, chromium):
    view = open_page(site, chromium, "slides/02_second.html", 1280, 720)
    size = "e => parseFloat(getComputedStyle(e).fontSize)"
    claim = view.get_by_text("holds: A claim.", exact=True).evaluate(size)
    assert claim < 0.9 * view.get_by_text("at home", exact=True).evaluate(size)
    assert view.get_by_text("holds: Another one, as long. (1 photo)", exact=True).count() == 1
    view.close()


def test_a_question_stays_with_its_choices(site, chromium):
    view = open_page(site, chromium, "slides/02_second.html", 1280, 720)
    slide = view.locator("section section", has_text="Which one?").last
    assert "This one." in slide.inner_text() and slide.get_by_text("A line.").count() < 14
    view.close()


def test_no_line_breaks_inside_a_name_or_before_a_unit():
    words = "<p>Grad-CAM++, Graph-CNN: 50 % of 12 F in 3 s (lecture 4).</p><pre>Grad-CAM 5 %</pre>"
    soup = page_polish.BeautifulSoup(f"<main>{words}</main>", "html.parser")
    before = soup.get_text()
    page_polish.keep_together(soup)
    assert [name.get_text() for name in soup.select(".name")] == ["Grad-CAM++", "Graph-CNN"]
    assert "50\u00a0% of 12\u00a0F in 3\u00a0s (lecture\u00a04)" in soup.p.get_text()
    assert (
        soup.get_text().replace("\u00a0", " ") == before and soup.pre.get_text() == "Grad-CAM 5 %"
    )


@pytest.mark.parametrize("width", [1280, 400])
def test_axe_finds_nothing_on_any_page_or_deck(site, chromium, axe, width):
    for path in sorted(site.out.rglob("*.html")):
        view = open_page(site, chromium, path.relative_to(site.out).as_posix(), width)
        assert axe(view) == [], path
        view.close()


def test_axe_finds_a_control_without_a_name(chromium, axe):
    view = chromium.new_page()
    view.set_content("<html lang='en'><title>t</title><main><h1>t</h1><input></main></html>")
    assert [rule for rule, _ in axe(view)] == ["label"]
    view.close()


SCROLLS = """[...document.querySelectorAll("main *")].filter(
  e => /auto|scroll/.test(getComputedStyle(e).overflowX) && e.scrollWidth > e.clientWidth + 1)"""


@pytest.mark.parametrize("width", [1280, 400])
def test_the_keys_stop_at_what_scrolls_and_nowhere_else(site, chromium, width):
    view = open_page(site, chromium, "lectures/02_second.html", width)
    assert view.evaluate(f"{SCROLLS}.filter(e => e.tabIndex !== 0).length") == 0
    stops = view.evaluate("document.querySelectorAll('main [tabindex]').length")
    assert stops == view.evaluate(f"{SCROLLS}.length") and (width == 1280 or stops > 3)
    view.close()


def test_code_of_ninety_letters_fits_at_1280(site, chromium):
    view = open_page(site, chromium, "lectures/02_second.html")
    wide = (
        "[...document.querySelectorAll('.source pre')].filter("
        "e => e.innerText && e.scrollWidth > e.clientWidth)"
    )
    assert view.evaluate(f"{wide}.map(e => e.innerText)") == []
    view.close()


def test_printed_columns_keep_their_lines_and_printed_sentences_are_wrapped(site, chromium):
    view = open_page(site, chromium, "lectures/02_second.html", 400)
    spaces = "e => getComputedStyle(e.closest('pre')).whiteSpace"
    assert view.get_by_text("name     0   value").last.evaluate(spaces) == "pre"
    html = page(site, "lectures/01_first.html")
    assert re.search(r'<pre class="prose">hello from the kernel', html)
    view.close()


def test_in_print_no_line_of_code_is_cut(site, chromium):
    view = open_page(site, chromium, "lectures/01_first.html", 700)
    view.emulate_media(media="print")
    assert view.evaluate("document.documentElement.scrollWidth") <= 700
    cut = "[...document.querySelectorAll('pre')].filter(e => e.scrollWidth > e.clientWidth + 1)"
    assert view.evaluate(f"{cut}.length") == 0
    assert not view.locator("header").is_visible()
    view.close()


def test_the_contents_follow_the_reader_and_lead_to_each_section(site, chromium):
    view = open_page(site, chromium, "lectures/02_second.html")
    links = view.locator(".contents a")
    heads = [head.strip() for head in view.locator("main h2").all_inner_texts()]
    assert [text.strip() for text in links.all_inner_texts()] == heads
    links.nth(3).click()
    assert view.locator("main h2").nth(3).bounding_box()["y"] < 400
    assert links.nth(3).is_visible() and links.nth(3).bounding_box()["y"] > 0
    view.close()


def test_on_a_phone_the_header_is_one_line_and_the_contents_are_folded(site, chromium):
    view = open_page(site, chromium, "lectures/02_second.html", 400)
    assert view.locator("header").bounding_box()["height"] < 60
    assert not view.locator(".contents a").first.is_visible()
    view.get_by_text("All pages").click()
    assert view.get_by_role("link", name="Glossary").is_visible()
    view.close()


def test_each_lecture_ends_with_a_link_to_the_next(site):
    end = page(site, "lectures/01_first.html").rsplit('class="turns"', 1)[1]
    assert re.search(r'<a href="02_second.html" rel="next">Second lecture', end)


def test_pictures_are_light_on_pages_and_slides(site):
    for name in ("lectures/02_second.html", "slides/02_second.html"):
        html = page(site, name)
        kinds = re.findall(r'<img [^>]*src="data:image/(\w+)', html)
        assert kinds == ["webp"] * 4
    run = site.runs[Path("lectures/02_second.ipynb")]
    assert len(page(site, "lectures/02_second.html")) < 0.25 * len(nbformat.writes(run.notebook))


def test_the_gallery_shows_every_picture_and_leads_to_its_cell(site):
    html = page(site, "gallery.html")
    assert html.count("<figure>") == 4  # the pixel is no picture, and one picture has two pieces
    cells = re.findall(r'href="lectures/02_second.html#(cell-[^"]+)"', html)
    assert [cells[0], cells[1]] == [f"cell-{WIDE.id}", f"cell-{TALL.id}"]
    assert all(f'id="{cell}"' in page(site, "lectures/02_second.html") for cell in cells)
    assert "A caption." in html and "noise, 931 wide" in html


def test_the_index_has_a_card_with_a_picture_for_each_lecture(site):
    index = page(site, "index.html")
    assert index.count("<h3><a href=") == 2 and 'alt="noise, 1100 wide"' in index
    assert 'Start with <a href="lectures/01_first.html">' in index


def test_in_the_gallery_each_piece_of_a_picture_has_the_caption_of_all():
    image = f'<img alt="a" src="data:image/png;base64,{GREY}">'
    html = f"<figure>{image}</figure><figure>{image}<figcaption>Of both.</figcaption></figure>"
    data = {"text/html": f'<div class="parts">{html}</div>'}
    cell = new_code_cell(outputs=[new_output("display_data", data)])
    shown = gallery.pictures(new_notebook(cells=[cell]))
    assert [one.caption for one in shown] == ["Of both."] * 2


def test_a_card_shows_the_picture_of_the_cell_that_is_tagged_so():
    cells = [new_code_cell(metadata={"tags": tags}) for tags in ([], ["hide-input", "card"])]
    for cell in cells:
        html = f'<figure><img alt="a" src="data:image/png;base64,{GREY}"></figure>'
        cell.outputs = [new_output("display_data", {"text/html": html})]
    shown = gallery.pictures(new_notebook(cells=cells))
    assert gallery.card_picture(shown) == 1 and gallery.card_picture(shown[:1]) == 0


def test_only_what_changed_is_run_again(site, course, tmp_path):
    copy = tmp_path / "course"
    shutil.copytree(course, copy)
    again = build_site.Site(copy, copy / "_site")
    again.build()
    assert again.fresh == [] and len(again.runs) == 2 and again.faults == []
    first = copy / "lectures" / "01_first.ipynb"
    first.write_text(first.read_text().replace("hello from the kernel", "hello again"))
    changed = build_site.Site(copy, copy / "_site")
    changed.build()
    assert [path.name for path in changed.fresh] == ["01_first.ipynb"]
    assert "hello again" in (copy / "_site" / "lectures" / "01_first.html").read_text()
    (copy / "course_utils" / "methods" / "cams.py").write_text("x = 1")
    keys = [build_site.LectureCache(root, root / "_site/.cache")._rest for root in (course, copy)]
    assert keys[0] != keys[1]  # every lecture rests on the package


@pytest.mark.parametrize(
    "formula",
    [
        r"\alpha_k^c = \frac{1}{hw}\sum_{i,j} \frac{\partial y_c}{\partial A^k_{ij}}",
        r"\operatorname{ReLU}\left(\sum_c p_c S^c - S^Q\right)",
        r"\begin{aligned} a &= b \\ c &= d \end{aligned}",
        r"\underbrace{\mathbf{1}_Q}_{\text{one-hot}} \in \mathbb{R}^{N \times K}, \quad "
        r"\lVert x \rVert_2 \ge 0",
    ],
)
def test_formulae_of_the_course_can_be_set(formula):
    assert mathml(formula, "block").count("<math ") == 1


def test_formulae_in_a_summary_are_set(site):
    assert '<summary>Hint: <math alttext="u_A"' in page(site, "lectures/01_first.html")


def test_bars_stay_as_high_as_the_text():
    assert mathml(r"\lVert x \rVert = |y|", "inline").count('<mo stretchy="false">') == 4


def test_bold_digits_are_letters_of_their_own_since_browsers_ignore_mathvariant():
    assert "\U0001d7cf" in mathml(r"\mathbf{1}", "inline")


@pytest.mark.parametrize("formula", [r"\nosuchcommand{x}", r"a & b", r"a \\ b", r"x^{a"])
def test_a_formula_that_cannot_be_set_is_refused(formula):
    with pytest.raises(FormulaError, match="cannot be set"):
        mathml(formula, "inline")


GOOD = (
    '<main><h1>T</h1><h2 id="a">A</h2><img alt="a cat" src="cat.png"><a href="#a">part A</a></main>'
)


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        (' alt="a cat"', "", "no alt text"),
        ("a cat", "No description has been provided for this image", "no alt text"),
        ("cat.png", "https://example.org/cat.png", "fetched from the internet"),
        ("<main>", "<main><script src='//example.org/x.js'></script>", "fetched from the internet"),
        ("#a", "#b", "heading that does not exist"),
        ("#a", "missing.html", "leads nowhere"),
        ("part A", "here", "does not say where it leads"),
        ("h2", "h3", "level 3 follows level 1"),
        ("h1", "h2", "one first-level heading"),
    ],
)
def test_each_fault_of_a_page_is_told(tmp_path, before, after, fault):
    page = tmp_path / "page.html"
    page.write_text(GOOD)
    assert faults(page) == []
    page.write_text(GOOD.replace(before, after))
    assert re.search(fault, "\n".join(faults(page)))
