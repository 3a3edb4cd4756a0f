"""What is done to a page after nbconvert: light pictures, tables that scroll, a list of contents.

Pages and slides share it. Each function changes the parsed page in place.
"""

import base64
import io
import re
from functools import lru_cache
from urllib.parse import unquote

from bs4 import BeautifulSoup, NavigableString, Tag
from PIL import Image

QUALITY = 90  # of WebP: a seventh of the PNG's bytes, and no difference that the eye finds
PNG = "data:image/png;base64,"


def polish(soup: BeautifulSoup) -> None:
    """All that does not depend on where the page stands."""
    lighten(soup)
    wrap_tables(soup)
    join_printed(soup)
    mark_columns(soup)
    mark_claims(soup)
    find_headings(soup)
    keep_together(soup)
    for tag in soup.select("main [tabindex]"):
        del tag["tabindex"]  # page.js gives it to what scrolls, where it does


@lru_cache(maxsize=256)
def webp(png: bytes) -> bytes:
    """The same picture as WebP, or as it was where that is smaller."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.save(buffer, "webp", quality=QUALITY, method=4)
    return min(buffer.getvalue(), png, key=len)


@lru_cache(maxsize=512)
def _light(source: str) -> tuple[str, tuple[int, int]]:
    png = base64.b64decode(source.removeprefix(PNG))
    light = webp(png)
    with Image.open(io.BytesIO(light)) as image:
        kind, size = image.format.lower(), image.size
    return f"data:image/{kind};base64,{base64.b64encode(light).decode()}", size


def lighten(soup: BeautifulSoup) -> None:
    """PNG pictures that lie in the page become WebP."""
    for image in soup.find_all("img", src=re.compile("^" + PNG)):
        image["src"], _ = _light(image["src"])


def wrap_tables(soup: BeautifulSoup) -> None:
    """A table scrolls in a box of its own; a corner without words is no header."""
    for table in soup.find_all("table"):
        for head in table.find_all("th"):
            if not head.get_text(strip=True) and not head.find("img"):
                head.name = "td"
                head.attrs.pop("scope", None)
        if not (table.parent and "overflow-x" in table.parent.get("style", "")):
            table.wrap(soup.new_tag("div", attrs={"class": "scrolls"}))


def join_printed(soup: BeautifulSoup) -> None:
    """What a cell printed in several pieces, with nothing else between them, is one piece."""
    for outputs in soup.select(".outputs"):
        before = None
        for area in outputs.find_all(class_="output_area", recursive=False):
            printed = area.select_one(":scope > .output_stdout > pre")
            if before and printed:
                before.extend([*printed.contents])
                area.decompose()
            else:
                before = printed


def mark_columns(soup: BeautifulSoup) -> None:
    """Printed columns stay in line, and scroll; printed sentences are wrapped."""
    for printed in soup.select(".outputs pre"):
        if not re.search(r"\S {2,}\S|\S\t", printed.get_text()):
            printed["class"] = [*printed.get("class", []), "prose"]


def mark_claims(soup: BeautifulSoup) -> None:
    """What is printed for the record, "holds: ...", can be told from the results."""
    for text in soup.select_one("main").find_all(string=re.compile("^holds: ", re.MULTILINE)):
        if not text.find_parent(class_="outputs"):
            continue
        whole = text.replace("\n       ", " ")  # a claim's further lines
        _mark(soup, text, whole, "(?m:^holds: .*$)", "claim")


def _mark(soup: BeautifulSoup, place: NavigableString, text: str, words: str, name: str) -> None:
    """A text in the place of another; all that matches `words` in spans of the class `name`."""
    for n, piece in enumerate(re.split(f"({words})", text)):
        if n % 2:
            marked = soup.new_tag("span", attrs={"class": name})
            marked.string = piece
            place.insert_before(marked)
        elif piece:
            place.insert_before(piece)
    place.extract()


_NAME = r"\b[A-Z]\w*-(?:CAM\b(?:\+\+)?|CNN\b|Backprop\b)"  # such as Grad-CAM++
_UNIT = r"(?<=\d) (?=%|(?:F|B|s|ms|px|kB|MB|MiB)\b)"  # F and B: forward and backward passes
_PLACE = r"(?<=\b[Ss]ection) (?=\d)|(?<=\b[Ll]ecture) (?=\d)|(?<=\b[Ss]tep) (?=\d)"


def keep_together(soup: BeautifulSoup) -> None:
    """No line ends inside a method's name, or between a number and its unit or what it counts."""
    parted = re.compile("|".join((_NAME, _UNIT, _PLACE)))
    for text in soup.select_one("main").find_all(string=parted):
        if text.find_parent(["pre", "code", "math", "script", "style"]):
            continue
        tied = re.sub(f"{_UNIT}|{_PLACE}", "\u00a0", text)
        _mark(soup, text, tied, _NAME, "name")


def name_links(soup: BeautifulSoup, title_of) -> None:
    """A link of which only a digit is the text says where it leads to those who hear it.

    Args:
        title_of: an address -> the title of the page there, or None.
    """
    for link in soup.select("main a[href]"):
        title = title_of(link["href"])
        if title and re.fullmatch(r"\d+", link.get_text(strip=True)):
            link["aria-label"] = link["title"] = title


def find_headings(soup: BeautifulSoup) -> None:
    """Links to a heading as GitHub names it (`#two-losses`) lead to it here, too (`Two-losses`)."""

    def plain(name: str) -> str:
        return re.sub(r"[^\w-]", "", unquote(name)).lower()

    ids = {tag["id"] for tag in soup.find_all(id=True)}
    known = {plain(name): name for name in sorted(ids)}
    for link in soup.select('main a[href^="#"]'):
        name = link["href"][1:]
        if name not in ids and unquote(name) not in {unquote(one) for one in ids}:
            link["href"] = "#" + known.get(plain(name), name)


def contents(soup: BeautifulSoup) -> Tag | None:
    """A list of the page's second-level headings; None for a page with fewer than two.

    It is put in front of the page's text, where style.css lets it follow the reader.
    """
    headings = soup.select("main h2[id]")
    if len(headings) < 2:
        return None
    nav = soup.new_tag("nav", attrs={"class": "contents", "aria-label": "On this page"})
    fold = soup.new_tag("details", attrs={"open": ""})
    summary, entries = soup.new_tag("summary"), soup.new_tag("ol")
    summary.string = "On this page"
    for heading in headings:
        link = soup.new_tag("a", href="#" + heading["id"])
        link.string = heading.get_text(" ", strip=True) if heading.math else heading.get_text()
        entry = soup.new_tag("li")
        entry.append(link)
        entries.append(entry)
    fold.extend([summary, entries])
    nav.append(fold)
    soup.find("main").insert_before(nav)
    return nav
