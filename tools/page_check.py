"""What may be wrong with a page of the built site, found without a browser."""

import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from bs4 import BeautifulSoup

NO_ALT = "No description has been provided for this image"  # nbconvert's own filling
FETCHING = {
    "img": "src",
    "script": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "video": "src",
}
SAYS_NOTHING = re.compile(r"(click )?(here|this|link|this link|more|read more|\W*)", re.IGNORECASE)


def faults(page: Path) -> list[str]:
    """Sentences, each naming one fault of the page; an empty list for a good page.

    Told are: pictures without a description, anything fetched from the internet, links that lead
    nowhere inside the site or do not say where they lead, and headings out of order.

    Args:
        page: a built HTML file; links are followed to the files beside it.
    """
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    found = _pictures(soup) + _fetched(soup) + _links(soup, page)
    return found + ([] if soup.select_one(".reveal") else _headings(soup))


def _pictures(soup: BeautifulSoup) -> list[str]:
    bare = [img for img in soup.find_all("img") if img.get("alt", NO_ALT).strip() in ("", NO_ALT)]
    return [f"a picture has no alt text: {_near(img)}" for img in bare]


def _fetched(soup: BeautifulSoup) -> list[str]:
    found = []
    for name, attribute in FETCHING.items():
        for tag in soup.find_all(name):
            if re.match(r"(https?:)?//", tag.get(attribute) or ""):
                found.append(f"<{name}> is fetched from the internet: {tag[attribute]}")
    for style in soup.find_all("style"):
        found += [
            f"a style fetches {url}" for url in re.findall(r"(?:https?:)?//[^\s)\"']+", style.text)
        ]
    return found


def _links(soup: BeautifulSoup, page: Path) -> list[str]:
    found = []
    for link in soup.find_all("a", href=True):
        if SAYS_NOTHING.fullmatch(link.get_text().strip()) and not link.find("img"):
            found.append(
                f"a link does not say where it leads: {link['href']} ({link.get_text()!r})"
            )
        if re.match(r"[a-z]+:|//", link["href"]):
            continue
        path, _, fragment = unquote(link["href"]).partition("#")
        target = (page.parent / path) if path else page
        if not target.is_file():
            found.append(f"a link leads nowhere: {link['href']}")
        elif fragment and target.suffix == ".html" and fragment not in _ids(target):
            found.append(f"a link leads to a heading that does not exist: {link['href']}")
    return found


def _ids(page: Path) -> frozenset[str]:
    return _ids_of(page, page.stat().st_mtime_ns)  # the gallery links one page a hundred times


@lru_cache(maxsize=64)
def _ids_of(page: Path, _changed: int) -> frozenset[str]:
    found = re.findall(r'\bid="([^"]+)"', page.read_text(encoding="utf-8"))
    return frozenset(map(unquote, found))


def _headings(soup: BeautifulSoup) -> list[str]:
    main = soup.find("main") or soup
    headings = main.find_all(re.compile(r"^h[1-6]$"))
    levels = [int(heading.name[1]) for heading in headings]
    if levels[:1] != [1] or levels.count(1) != 1:
        return [f"a page has one first-level heading, at its top; here the levels are {levels}"]
    return [
        f"heading level {this} follows level {before}: {heading.get_text()!r}"
        for before, this, heading in zip(levels, levels[1:], headings[1:])
        if this > before + 1
    ]


def _near(tag) -> str:
    heading = tag.find_previous(re.compile(r"^h[1-6]$"))
    return f"below the heading {heading.get_text()!r}" if heading else "at the top"
