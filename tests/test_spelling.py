"""The course's text is spelled as a dictionary, or tests/words.txt, has it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from spellchecker import SpellChecker

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    page
    for folder in ("lectures", "docs", "data", "exercises", "solutions", ".")
    for kind in ("*.ipynb", "*.md")
    for page in (ROOT / folder).glob(kind)
) + sorted(ROOT.glob("solutions/*/*.ipynb"))
SKIPPED = re.compile(
    r"<!--.*?-->|```.*?```|`[^`]*`|\$\$.*?\$\$|\$[^$]*\$|\]\([^)]*\)|<[^>]+>|https?://\S+",
    re.DOTALL,
)


def prose(page: Path) -> str:
    """The page's own text; of a notebook, its markdown cells."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return text


def misspelled(text: str, known: set[str]) -> set[str]:
    """Words of three letters and more outside code, formulae, addresses and markup, in lower case,
    that neither dictionary nor list has.

    Words with a capital inside ("ImageNet") are names; a hyphen parts two words.
    """
    words = re.findall(r"\b[^\W\d_]+(?:['’][^\W\d_]+)?\b", SKIPPED.sub(" ", text))
    plain = {
        w.replace("’", "'").removesuffix("'s").strip("'").lower() for w in words if w[1:].islower()
    }
    plain = {w for w in plain if len(w) > 2}
    return SpellChecker(language="en", distance=1).unknown(plain) - known


@pytest.fixture(scope="module")
def known() -> set[str]:
    lines = (ROOT / "tests" / "words.txt").read_text(encoding="utf-8").splitlines()
    return {line.strip().lower() for line in lines if line.strip() and not line.startswith("#")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_text_of_a_page_is_spelled_right(page, known):
    wrong = sorted(misspelled(prose(page), known))
    assert not wrong, f"{page.name}: {', '.join(wrong)}: mend them, or add them to tests/words.txt"


def test_a_misspelled_word_is_found_and_code_is_left_alone():
    typo = "contr" + "st"
    assert misspelled(f"The {typo} of `foo_brr` and $alphha$ and ImageNnet", set()) == {typo}


def test_no_word_is_listed_twice_and_the_list_is_sorted():
    lines = (ROOT / "tests" / "words.txt").read_text(encoding="utf-8").splitlines()
    words = [line for line in lines if line and not line.startswith("#")]
    assert words == sorted(set(words))


def test_code_and_comments_hold_no_common_misspelling():
    folders = ["course_utils", "tools", "lectures", "Makefile", "README.md"]
    command = [sys.executable, "-m", "codespell_lib", "--ignore-words", "tests/words.txt", *folders]
    # the tests themselves hold misspelled names on purpose
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
