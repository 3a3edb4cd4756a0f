"""The site's first page, with a card for each lecture, and the page of all pictures."""

import re
from dataclasses import dataclass
from html import escape
from pathlib import Path

import nbformat
from gallery import Shown, card_picture
from nbformat.v4 import new_markdown_cell, new_notebook

START = (
    'Start with <a href="{first}">{title}</a>. To run the lectures yourself, type '
    "<code>make lab</code> in the course's folder."
)
ASK = (
    '<p class="start">Nothing installed? <a href="ask/index.html">Ask a network in this '
    "browser</a>: choose a photo, two classes, and see what speaks for one rather than the "
    "other.</p>"
)


@dataclass(frozen=True)
class Small:
    """A small copy of a picture: its address from the site's top, its size, and the original."""

    url: str
    size: tuple[int, int]
    shown: Shown

    def html(self, alt: str | None = None) -> str:
        words = escape(self.shown.alt if alt is None else alt, quote=True)
        width, height = self.size
        return (
            f'<img src="{self.url}" alt="{words}" width="{width}" height="{height}" loading="lazy">'
        )


def minutes(notebook: nbformat.NotebookNode) -> str:
    """What the lecture says of its length; "" where it says nothing."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    found = re.search(r"\*\*Time:?\*\*:? about (\d+) minutes", text)
    return f"{found[1]} minutes" if found else ""


def sentences(readme: Path) -> dict[str, str]:
    """A lecture's file -> what one learns in it, from the table in the README."""
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    rows = re.findall(r"^\| \[[^]]+\]\((lectures/[^)]+)\) \| ([^|]+) \|", text, re.MULTILINE)
    return {path: words.strip()[:1].upper() + words.strip()[1:] + "." for path, words in rows}


def first_words(notebook: nbformat.NotebookNode) -> str:
    """The first sentence below the title."""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for paragraph in re.split(r"\n\s*\n", cell.source):
                if re.match(r"\w", paragraph.strip()):
                    plain = re.sub(r"\[([^]]+)\]\([^)]*\)|[*_`$]", r"\1", paragraph.strip())
                    return re.split(r"(?<=[.?!])\s", plain, maxsplit=1)[0]
    return ""


def card(lecture, words: str, pictures: list[Small], slides: bool) -> str:
    """One lecture: a picture, a sentence, the minutes, and where the slides are."""
    chosen = card_picture([one.shown for one in pictures])
    picture = "" if chosen is None else pictures[chosen].html()
    page = lecture.page.as_posix()
    length = minutes(lecture.notebook)
    name = escape(f"slides of {lecture.title}", quote=True)
    deck = f'<a href="slides/{lecture.page.name}" aria-label="{name}">slides</a>'
    below = " &middot; ".join(filter(None, [length, deck if slides else ""]))
    return (
        f'<li>{picture}<div><h3><a href="{page}">{escape(lecture.title)}</a></h3>'
        f'<p>{escape(words)}</p><p class="minutes">{below}</p></div></li>'
    )


def index(course, root: Path, lectures: list, texts: list, pictures: dict, slides: bool, ask: bool):
    """The first page, as a notebook of Markdown and HTML."""
    known = sentences(root / "README.md")
    cards = [
        card(one, known.get(str(one.path), first_words(one.notebook)), pictures[one.path], slides)
        for one in lectures
    ]
    parts = [f"# {course}"]
    if lectures:
        first = lectures[0]
        start = START.format(first=first.page.as_posix(), title=escape(first.title))
        parts.append(f'<p class="start">{start}</p>')
    parts += [ASK] if ask else []
    parts += ["## Lectures", f'<ol class="cards">{"".join(cards)}</ol>']
    entries = "\n".join(f"- [{one.title}]({one.page.as_posix()})" for one in texts)
    parts += ["## Beside the lectures", entries] if texts else []
    return new_notebook(cells=[new_markdown_cell("\n\n".join(parts))])


def gallery(lectures: list, pictures: dict):
    """The page of all pictures, each with its caption, its description, and its place."""
    parts = ["# All pictures", "Every picture of the lectures, as the last build drew it."]
    for lecture in lectures:
        parts.append(f"## {lecture.title}")
        page = lecture.page.as_posix()
        figures = [_on_the_wall(one, page, n) for n, one in enumerate(pictures[lecture.path], 1)]
        parts.append(f'<div class="wall">{"".join(figures)}</div>' if figures else "No pictures.")
    return new_notebook(cells=[new_markdown_cell("\n\n".join(parts))])


def _on_the_wall(small: Small, page: str, number: int) -> str:
    shown, place = small.shown, f"{page}#cell-{small.shown.cell}"
    caption = escape(shown.caption or shown.alt)
    name = escape(f"picture {number} in its lecture", quote=True)
    described = f"<details><summary>In words</summary>{escape(shown.alt)}</details>"
    return (
        f'<figure><a href="{place}" aria-label="{name}">{small.html()}</a>'
        f"<figcaption>{caption}{described if shown.caption else ''}</figcaption></figure>"
    )
