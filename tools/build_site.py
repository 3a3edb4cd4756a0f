"""Run every lecture and build pages, slides and a gallery in _site/ (`make lectures`).

A lecture that did not change since the last build is not run again (see lecture_cache.py). At the
end stands a table of what each notebook took. The exit status is 1 when a notebook failed or a page
has a fault (see page_check.py).
"""

import argparse
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import build_ask
import gallery
import nbformat
import page_polish
import site_index
from bs4 import BeautifulSoup
from lecture_cache import LectureCache
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_markdown_cell, new_notebook
from notebook_page import TEMPLATES, FormulaError, PageExporter, SlidesExporter, title
from notebook_run import Run
from page_check import faults
from pygments.formatters import HtmlFormatter
from static_widgets import WidgetError
from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
COURSE = "Targeted visual explanations"
KEPT = (".cache", "ask")  # of an earlier build: runs, and the page that asks in the browser
REVEAL = ".extras/slides/sphinx_revealjs/_static/revealjs"


@dataclass(frozen=True)
class Source:
    """A notebook or Markdown file that becomes a page; `path` is relative to the course."""

    path: Path
    notebook: nbformat.NotebookNode
    kind: str = ""  # a class of the page's body

    @property
    def page(self) -> Path:
        return self.path.with_suffix(".html")

    @property
    def lecture(self) -> bool:
        return self.path.suffix == ".ipynb"

    @property
    def title(self) -> str:
        return title(self.notebook)


class Site:
    """The built site: pages in folders named as their sources', so that links between them hold."""

    def __init__(self, root: Path, out: Path, slides: bool = True):
        self.root, self.out, self.slides = root, out, slides
        self.runs: dict[Path, Run] = {}
        self.fresh: list[Path] = []  # run in this build
        self.faults: list[str] = []

    def build(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        for old in self.out.iterdir():
            if old.name not in KEPT:
                shutil.rmtree(old) if old.is_dir() else old.unlink()
        self._copy_styles()
        lectures = self._run_lectures()
        shown = {one.path: self._save_pictures(one) for one in lectures}
        wall = Source(Path("gallery.md"), site_index.gallery(lectures, shown), "gallery")
        sources = lectures + self._read_texts() + [wall]
        for source in tqdm(sources, desc="Writing", unit="page"):
            self._write(source, sources)
        ask = (self.out / "ask" / "index.html").is_file()
        others = sources[len(lectures) :]
        index = site_index.index(COURSE, self.root, lectures, others, shown, self.slides, ask)
        self._write(Source(Path("index.md"), index, "front"), sources)
        for page in sorted(self.out.rglob("*.html")):
            if "ask" not in page.relative_to(self.out).parts[:1]:
                self.faults += [f"{page.relative_to(self.out)}: {fault}" for fault in faults(page)]

    def _run_lectures(self) -> list[Source]:
        done, cache = [], LectureCache(self.root, self.out / ".cache")
        found = sorted((self.root / "lectures").glob("*.ipynb"))
        for path in tqdm(found, desc="Running", unit="lecture"):
            name = path.relative_to(self.root)
            try:
                self.runs[name], fresh = cache.run(path)
            except (CellExecutionError, CellTimeoutError, DeadKernelError, WidgetError) as error:
                late = isinstance(error, CellTimeoutError)
                cure = " If this machine has other work, let it finish and build again." * late
                self.faults.append(f"{name} did not run to its end: {error}{cure}")
            else:
                self.fresh += [name] * fresh
                done.append(Source(name, self.runs[name].notebook))
        return done

    def _save_pictures(self, lecture: Source) -> list[site_index.Small]:
        """Small copies of a lecture's pictures in pictures/, for the gallery and the cards."""
        small = []
        for n, shown in enumerate(gallery.pictures(lecture.notebook)):
            path = Path("pictures") / f"{lecture.path.stem}_{n:02}.webp"
            size = gallery.save_small(shown, self.out / path)
            small.append(site_index.Small(path.as_posix(), size, shown))
        return small

    def _read_texts(self) -> list[Source]:
        """The Markdown pages that the lectures link: notation, glossary, plans."""
        found = sorted((self.root / "docs").glob("*.md")) + sorted(
            (self.root / "lectures").glob("*.md")
        )
        texts = [(path, new_markdown_cell(path.read_text(encoding="utf-8"))) for path in found]
        return [
            Source(path.relative_to(self.root), new_notebook(cells=[cell])) for path, cell in texts
        ]

    def _write(self, source: Source, sources: list[Source]) -> None:
        self._export(PageExporter(), source, source.page, sources)
        if self.slides and source.lecture:
            self._export(SlidesExporter(), source, _deck(source), sources)

    def _export(
        self, exporter: PageExporter, source: Source, page: Path, sources: list[Source]
    ) -> None:
        notebook = source.notebook
        notebook.metadata.setdefault("language_info", {"name": "python"})
        folder = str((self.root / source.path).parent)
        resources = {
            "site": self._around(source, page, sources),
            "metadata": {"path": folder, "name": page.stem},
        }
        try:
            html, _ = exporter.from_notebook_node(notebook, resources)
        except FormulaError as error:
            self.faults.append(f"{source.path}: {error}")
            return
        (self.out / page).parent.mkdir(parents=True, exist_ok=True)
        soup = BeautifulSoup(html, "html.parser")
        self._fit_links(soup, source, page, {one.path: one.page for one in sources})
        page_polish.polish(soup)
        titles = {_url(one.page, page): one.title for one in sources}
        page_polish.name_links(soup, lambda url: titles.get(url.partition("#")[0]))
        if not isinstance(exporter, SlidesExporter) and source.kind != "front":
            page_polish.contents(soup)
        (self.out / page).write_text(str(soup), encoding="utf-8")

    def _around(self, source: Source, page: Path, sources: list[Source]) -> dict:
        """What the template writes around the notebook: navigation, title, where styles lie."""
        lectures = [one for one in sources if one.lecture]
        place = lectures.index(source) if source in lectures else None
        before = lectures[place - 1] if place else None
        after = lectures[place + 1] if place is not None and place + 1 < len(lectures) else None

        def entry(one: Source | None) -> dict | None:
            return one and {"url": _url(one.page, page), "title": one.title, "here": one is source}

        return {
            "course": COURSE,
            "title": source.title,
            "home": source.kind != "front",
            "kind": source.kind,
            "root": "../" * (len(page.parts) - 1),
            "pages": [entry(one) for one in sources],
            "before": entry(before),
            "after": entry(after),
            "source": str(source.path) if source.lecture else None,
            "slides": _url(_deck(source), page) if self.slides and source.lecture else None,
        }

    def _fit_links(self, soup, source: Source, page: Path, pages: dict[Path, Path]) -> None:
        """Lead links to sources to their pages; name, unlinked, what only the folder has."""
        main = soup.find("main")
        for link in main.find_all("a", href=True) if not source.kind else ():
            path, mark, fragment = link["href"].partition("#")
            if not path or re.match(r"[a-z]+:|//", path) or link.find_parent(class_="turns"):
                continue
            target = Path(os.path.normpath(source.path.parent / unquote(path)))
            if target in pages:
                link["href"] = _url(pages[target], page) + mark + fragment
            elif (self.root / target).exists():
                link.name, link.attrs = "span", {"title": f"in the course's folder: {target}"}

    def _copy_styles(self) -> None:
        style = (TEMPLATES / "style.css").read_text() + HtmlFormatter().get_style_defs(".highlight")
        (self.out / "style.css").write_text(style)
        shutil.copy(TEMPLATES / "page.js", self.out)
        if self.slides:
            for name in ("slides.css", "slides.js"):
                shutil.copy(TEMPLATES / name, self.out)
            (self.out / "reveal").mkdir()
            for name in ("LICENSE", "dist/reveal.js", "dist/reveal.css", "plugin/notes/notes.js"):
                shutil.copy(ROOT / REVEAL / name, self.out / "reveal")


def _deck(source: Source) -> Path:
    return Path("slides") / source.page.name


def _url(target: Path, page: Path) -> str:
    return Path(os.path.relpath(target, page.parent)).as_posix()


def table(runs: dict[Path, Run]) -> str:
    """What running each notebook took, and all of them together."""
    rows = [f"{'notebook':<44} {'cells':>5} {'seconds':>8} {'peak MiB':>9}"]
    rows += [
        f"{str(name):<44} {run.cells:5} {run.seconds:8.1f} {run.peak_mib:9.0f}"
        for name, run in runs.items()
    ]
    cells, seconds = (
        sum(run.cells for run in runs.values()),
        sum(run.seconds for run in runs.values()),
    )
    rows.append(f"{'together':<44} {cells:5} {seconds:8.1f}")
    return "\n".join(rows)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--no-slides", action="store_true", help="build no reveal.js slides")
    options.add_argument(
        "--out", type=Path, default=ROOT / "_site", help="where to build (default: _site)"
    )
    chosen = options.parse_args()
    build_ask.build(chosen.out.resolve() / "ask")  # first: the index links it
    site = Site(ROOT, chosen.out.resolve(), not chosen.no_slides)
    site.build()
    print(table(site.runs))
    if kept := len(site.runs) - len(site.fresh):
        print(f"{kept} of {len(site.runs)} lectures did not change and were not run again.")
    for fault in site.faults:
        print(f"FAULT  {fault}", file=sys.stderr)
    print(
        f"Built {chosen.out / 'index.html'}"
        + (f", with {len(site.faults)} faults." if site.faults else ".")
    )
    return 1 if site.faults else 0


if __name__ == "__main__":
    sys.exit(main())
