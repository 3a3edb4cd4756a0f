"""Notebooks as web pages and slides that need no internet: nothing is fetched.

Formulae become MathML, which browsers set by themselves, and pictures lie inside the page.
nbconvert does the rest.
"""

import re
import unicodedata
from copy import deepcopy
from html import escape, unescape
from pathlib import Path
from urllib.parse import quote

from jinja2 import pass_context
from latex2mathml.converter import convert as to_mathml
from nbconvert.exporters import HTMLExporter
from nbconvert.exporters.slides import _RevealMetadataPreprocessor
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbformat import NotebookNode

TEMPLATES = Path(__file__).resolve().parent / "site_templates"


class FormulaError(ValueError):
    """A formula that cannot be set."""


def mathml(formula: str, display: str) -> str:
    """One LaTeX formula as MathML, its source kept beside it for copying and for screen readers.

    Args:
        formula: without its dollar signs.
        display: `inline` or `block`.

    Raises:
        FormulaError: it holds a command or an environment that is not known.
    """
    source = formula.strip()
    braces = re.sub(r"\\\\|\\[{}]", "", source)
    if braces.count("{") != braces.count("}"):
        raise FormulaError(f"this formula cannot be set (its braces do not match): {source}")
    known = re.sub(r"\\(begin|end)\{aligned\}", r"\\\1{align*}", source)
    try:
        math = to_mathml(known, display=display)
    except Exception as error:  # the converter has many kinds, one for each mistake
        raise FormulaError(
            f"this formula cannot be set ({type(error).__name__}): {source}"
        ) from error
    if lost := re.search(r"<m[a-z]+>(\\[A-Za-z]+|&(?!#|\w+;))|linebreak", math):
        what = lost[1] or r"\\ outside an environment"
        raise FormulaError(f"this formula cannot be set ({what} is not known): {source}")
    # Bars are as high as the text, unless \left and \right ask for more; ReLU(x) has no gap
    math = re.sub("<mo>(&#x02016;|&#x0007C;)</mo>", r'<mo stretchy="false">\1</mo>', math)
    math = re.sub(r"<mo>([A-Za-z]+)</mo>(?=(<mrow>)?<mo[^>]*>&#x00028;)", r"<mi>\1</mi>", math)
    math = re.sub(r'<(m[ino])([^>]*) mathvariant="([a-z-]+)"([^>]*)>([^<]+)<', _letters, math)
    math = math.replace("<math ", f'<math alttext="{escape(source)}" ', 1)
    return f'<div class="formula">{math}</div>' if display == "block" else math


def _formulae(found: re.Match) -> str:
    return re.sub(r"\$([^$\n]+)\$", lambda formula: mathml(formula[1], "inline"), found[0])


def _letters(found: re.Match) -> str:
    """A bold 1 for `<mn mathvariant="bold">1<`: browsers know no mathvariant but `normal`."""
    tag, before, variant, after, text = found.groups()
    if variant == "normal":
        return found[0]
    return f"<{tag}{before}{after}>{''.join(_letter(char, variant) for char in unescape(text))}<"


def _letter(char: str, variant: str) -> str:
    name = unicodedata.name(char).replace("LATIN ", "").replace("GREEK ", "").replace("LETTER ", "")
    try:
        return unicodedata.lookup(f"MATHEMATICAL {variant.upper()} {name}")
    except KeyError:  # it has no such form
        return char


class Renderer(IPythonRenderer):
    """Markdown to HTML with MathML, heading ids as in JupyterLab."""

    def block_math(self, body: str) -> str:
        return mathml(body, "block")

    def inline_math(self, body: str) -> str:
        return mathml(body, "inline")

    def latex_environment(self, name: str, body: str) -> str:
        return mathml(rf"\begin{{{name}}}{body}\end{{{name}}}", "block")

    def heading(self, text: str, level: int, **attributes) -> str:
        plain = re.sub(r"<[^>]+>", "", text).replace(" ", "-")
        return f'<h{level} id="{quote(plain, safe="?/:@!$&()*+,;=")}">{text}</h{level}>\n'

    def block_html(self, html: str) -> str:
        """Formulae in a <summary> are set too, as in JupyterLab."""
        return re.sub(r"<summary>.*?</summary>", _formulae, super().block_html(html), flags=re.S)

    def _html_embed_images(self, html: str) -> str:
        """nbconvert's own would close a tag that this piece opens, such as a hint's <details>."""
        return re.sub(r'(<img\b[^>]*\bsrc=")([^"]+)', self._embedded, html)

    def _embedded(self, found: re.Match) -> str:
        return found[1] + (self._src_to_base64(found[2]) or found[2])


class PageExporter(HTMLExporter):
    """A notebook as one page of the site."""

    def __init__(self, **options):
        super().__init__(
            extra_template_basedirs=[str(TEMPLATES)],
            template_name="page",
            exclude_input_prompt=True,
            exclude_output_prompt=True,
            **options,
        )

    @pass_context
    def markdown2html(self, context, source):
        attachments = context.get("cell", {}).get("attachments", {})
        folder = context["resources"]["metadata"]["path"]
        renderer = Renderer(escape=False, attachments=attachments, embed_images=True, path=folder)
        return MarkdownWithMath(renderer=renderer).render(source)

    def default_filters(self):
        yield from super().default_filters()
        yield "markdown2html", self.markdown2html
        yield "math_output", lambda text: mathml(text.strip().strip("$"), "block")


class SlidesExporter(PageExporter):
    """A notebook as slides of reveal.js; slideshow metadata say where a slide begins."""

    def from_notebook_node(self, notebook: NotebookNode, resources=None, **options):
        notebook = folded_for_class(answers_after_a_step(notebook))
        notebook, resources = _RevealMetadataPreprocessor().preprocess(notebook, resources)
        self.template_file = "slides.html.j2"
        return super().from_notebook_node(notebook, resources, **options)


def answers_after_a_step(notebook: NotebookNode) -> NotebookNode:
    """On a slide that asks for a prediction, the first result comes with the next step only.

    A copy, in which that cell is a fragment unless the notebook says what it is.
    """
    notebook, asked = deepcopy(notebook), False
    for cell in notebook.cells:
        slideshow = cell.metadata.setdefault("slideshow", {})
        kind = slideshow.get("slide_type", "-")
        if kind in ("slide", "subslide", "fragment"):
            asked = False
        if cell.cell_type == "markdown" and re.search(r"\bPredict\b", cell.source):
            asked = kind not in ("notes", "skip")
        elif asked and cell.get("outputs") and kind in ("-", ""):
            slideshow["slide_type"], asked = "fragment", False
    return notebook


def folded_for_class(notebook: NotebookNode) -> NotebookNode:
    """Long code that is for reading at home (tag `fold-on-slides`) is folded, in place."""
    for cell in notebook.cells:
        if "fold-on-slides" in cell.metadata.get("tags", ()):
            cell.metadata.tags = [*cell.metadata.tags, "hide-input"]
    return notebook


def title(notebook: NotebookNode) -> str:
    """The text of the notebook's first heading.

    Raises:
        ValueError: it has none.
    """
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            if found := re.search(r"^# +(.+)$", cell.source, flags=re.MULTILINE):
                return re.sub(r"[*_`$]", "", found[1]).strip()
    raise ValueError("The notebook has no title: a Markdown cell that begins with '# '.")
