"""What `make lectures` and `make slides` promise of every page, on a course of two lectures."""

import base64
import re

import build_site
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from notebook_page import FormulaError, mathml
from page_check import faults

PIXEL = base64.b64encode(  # a PNG of one pixel
    bytes.fromhex(
        "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415478da63f8cfc0000003010100"
        "c9fe92ef0000000049454e44ae426082"
    )
).decode()
FIRST = [
    new_markdown_cell(
        "# First lecture\n\nThe mean $\\alpha_k^c$ of\n\n$$S^c = \\sum_k \\alpha_k^c A^k$$\n\n"
        "| a | b |\n|---|---|\n| 1 | 2 |\n\nGo on to [why rather than](02_second.ipynb#Why,-rather-than?), "
        "read the [glossary](../docs/glossary.md#Terms) or open [the helper](../course_utils/methods/cams.py).",
        metadata={"slideshow": {"slide_type": "slide"}},
    ),
    new_markdown_cell("<details><summary>Hint</summary>\n\nMind the **sign**.\n\n</details>"),
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
        "def show(change):\n    out.clear_output()\n    with out:\n        print('asked about the', choice.value)\n"
        "choice.observe(show, 'value')\nshow(None)\ndisplay(w.VBox([w.HBox([choice]), out]))"
    ),
    new_code_cell("choice.value = 'cup'"),
    new_markdown_cell(
        "## A long slide\n\n" + "\n\n".join(f"Line {n}." for n in range(40)),
        metadata={"slideshow": {"slide_type": "slide"}},
    ),
    new_code_cell("print('below the lines')"),
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


@pytest.mark.parametrize("width", [1280, 400])
def test_pages_load_without_internet_and_fit_the_window(site, chromium, width):
    for path in sorted(site.out.glob("*/*.html")) + [site.out / "index.html"]:
        view = chromium.new_page(viewport={"width": width, "height": 800})
        troubles = []
        view.on("requestfailed", lambda request: troubles.append(f"failed: {request.url[:99]}"))
        view.on(
            "request",
            lambda request: request.url.startswith("http") and troubles.append(request.url),
        )
        view.on(
            "console", lambda message: message.type == "error" and troubles.append(message.text)
        )
        view.on("pageerror", lambda error: troubles.append(str(error)))
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
    seen, heights = "", []
    for _ in range(view.evaluate("Reveal.getTotalSlides()")):
        heights.append(view.evaluate("Reveal.getCurrentSlide().scrollHeight"))
        seen += view.evaluate("Reveal.getCurrentSlide().innerText")
        view.evaluate("Reveal.next()")
    view.close()
    assert len(heights) > 3 and max(heights) <= 720
    assert re.findall(r"Line (\d+)", seen) == [str(n) for n in range(40)]
    assert seen.count("A long slide") == len(heights) - 1 and "below the lines" in seen


@pytest.mark.parametrize(
    "formula",
    [
        r"\alpha_k^c = \frac{1}{hw}\sum_{i,j} \frac{\partial y_c}{\partial A^k_{ij}}",
        r"\operatorname{ReLU}\left(\sum_c p_c S^c - S^Q\right)",
        r"\begin{aligned} a &= b \\ c &= d \end{aligned}",
        r"\underbrace{\mathbf{1}_Q}_{\text{one-hot}} \in \mathbb{R}^{N \times K}, \quad \lVert x \rVert_2 \ge 0",
    ],
)
def test_formulae_of_the_course_can_be_set(formula):
    assert mathml(formula, "block").count("<math ") == 1


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
