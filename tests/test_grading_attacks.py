"""Nothing untrusted is trusted: attacks, all graded in one batch, in the real sandbox.

Each gets nothing for what it attacks, and costs nobody else anything.
"""

import csv
import hashlib
import os
import shutil
import socket
import threading
from html.parser import HTMLParser
from pathlib import Path

import pytest
from attack_submissions import JUDGED, SECRET, STOLEN, Attack, hand_ins, harmful
from tiny_assignment import NAME, PLACES, POINTS, Class, notebook

NAMES = [*JUDGED, *STOLEN, *harmful("", 0)]
FULL = POINTS | dict.fromkeys(PLACES, 1)
pytestmark = pytest.mark.timeout(900)  # the first of these tests waits for the whole battle
ALL = tuple(POINTS)  # an attack that ends the program loses the places, too
HONEST = ("honest", "zz-honest")
ODD_NAMES = (
    "=cmd|' /C calc'!A0",
    "<script>alert(1)<",
    "-rf",
    "two\nlines",
    "con",
    "\u202etxet",
    "n" * 200,
    b"\xff\xfe".decode("utf-8", "surrogateescape"),
)
LINKS = ("link-to-solution", "link-to-folder", "link-to-honest", "pipe", "device")
LIMITS = (
    "seconds=12",
    "restart=4",
    "cell_seconds=2",
    "call_seconds=2",
    "data=1.5e9",
    "memory=2e9",
    "tasks=60",
)


def hand_in_links(course: Class) -> None:
    """Submissions that are something else than a file of their own."""
    solution = course.folder / "solutions" / NAME
    for name in LINKS:
        course.place(name).parent.mkdir(parents=True)
    course.place("link-to-solution").symlink_to(solution / f"{NAME}.ipynb")
    course.place("link-to-folder").parent.rmdir()
    course.place("link-to-folder").parent.symlink_to(solution)
    shutil.rmtree(course.submitted / "link-to-honest")
    (course.submitted / "link-to-honest").symlink_to("honest")
    os.mkfifo(course.place("pipe"))
    course.place("device").symlink_to("/dev/zero")


def fingerprints(*folders: Path) -> dict[str, str]:
    files = [
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    ]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Battle:
    """A class in which everybody attacks but two, graded."""

    def __init__(self, folder: Path):
        self.course = Class(folder)
        for name in HONEST:
            self.course.hand_in(name, notebook(PLACES))
        first = self.course.grade("--seed=11", TINY_PLACES="1")
        assert first.returncode == 0, first.stderr
        self.calls: list = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=self._listen, args=(server,), daemon=True).start()
            for name, made in hand_ins(attacks(folder, server.getsockname()[1])).items():
                self.course.hand_in(name, made.content)
            for name in ODD_NAMES:
                self.course.hand_in(name, "no notebook")
            hand_in_links(self.course)
            watched = (self.course.submitted, folder / "solutions", self.course.grades / NAME)
            before = fingerprints(*watched)
            options = [word for limit in LIMITS for word in ("--limit", limit)]
            self.run = self.course.grade(*options, SECRET=SECRET, TINY_PLACES="1")
        after = fingerprints(*watched)
        self.changed = [path for path in before if after.get(path) != before[path]]

    def _listen(self, server: socket.socket) -> None:
        try:
            while True:
                self.calls.append(server.accept())
        except OSError:  # closed: the batch is over
            return

    def summary(self) -> dict:
        return {
            "folder": str(self.course.folder),
            "changed": self.changed,
            "calls": len(self.calls),
            "returncode": self.run.returncode,
            "output": self.run.stdout + self.run.stderr,
        }


def attacks(folder: Path, port: int) -> dict[str, Attack]:
    return JUDGED | STOLEN | harmful(str(folder), port)


@pytest.fixture(scope="session")
def battle(once, bubblewrap):
    return once("battle", lambda folder: Battle(folder).summary())


@pytest.fixture(scope="session")
def course(battle):
    """The class's folders, after the battle."""
    return Class(Path(battle["folder"]))


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_gets_nothing_and_loses_nothing_else(course, name):
    everything = attacks(course.folder, 0)
    student, made = next(
        (s, made) for s, made in hand_ins(everything).items() if name in made.attacks
    )
    parts = {part["name"]: part for part in course.grades_of(student)["parts"]}
    said = [
        *course.grades_of(student)["remarks"],
        *(parts[part]["message"] for part in made.attacks[name]),
    ]
    assert [parts[part]["marks"] for part in made.attacks[name]] == [0] * len(made.attacks[name])
    assert everything[name].says in " ".join(said), said
    kept = {part: parts[part]["marks"] for part in FULL if part not in made.nothing}
    assert kept == {part: FULL[part] for part in kept} or made.nothing == ALL, said


def test_there_are_enough_attacks():
    assert len(NAMES) + len(LINKS) + len(ODD_NAMES) >= 50 and len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_neighbour_keeps_full_marks(course, name):
    assert course.marks(name) == FULL and course.grades_of(name)["remarks"] == []


def test_nobodys_files_were_changed_and_no_call_came_through(battle):
    assert battle["changed"] == [] and battle["calls"] == 0
    assert not Path("/tmp/pwned").exists()


def test_the_batch_came_to_its_end_in_peace(battle, course):
    assert battle["returncode"] == 0 and "Traceback" not in battle["output"], battle["output"]
    students = len(HONEST) + len(hand_ins(attacks(course.folder, 0))) + len(ODD_NAMES) + len(LINKS)
    assert len(list((course.grades / NAME).glob("*.json"))) == students


def test_the_instructors_environment_stays_secret(course):
    made = [path for path in course.folder.rglob("*") if path.is_file() and not path.is_symlink()]
    made = [path for path in made if course.submitted not in path.parents]
    assert made and not [path for path in made if SECRET.encode() in path.read_bytes()]


@pytest.mark.parametrize("name", LINKS)
def test_what_is_no_file_of_its_own_is_not_read(course, name):
    grade = course.grades_of(name)
    assert sum(part["marks"] for part in grade["parts"]) == 0
    assert "is a link" in grade["trouble"] or "is not a file" in grade["trouble"]


class Tags(HTMLParser):
    def __init__(self, page: str):
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}


def test_no_page_holds_what_a_submission_wrote_as_html(course):
    pages = [*course.feedback.rglob("*.html"), *course.grades.glob("*.html")]
    assert len(pages) > 35
    for page in pages:
        found = Tags(page.read_text())
        assert not found.tags & {"script", "img", "iframe", "a", "link", "object", "form"}, page
        assert found.attributes <= {"lang", "charset", "http-equiv", "content", "name", "class"}, (
            page
        )
        assert "default-src 'none'" in page.read_text()
    scripted = (course.feedback / "script-in-the-feedback" / f"{NAME}.html").read_text()
    assert "&lt;script&gt;alert(1)" in scripted and "&lt;script&gt;alert(5)" in scripted


def test_no_cell_of_the_tables_is_a_formula(course):
    for table in (course.grades / f"{NAME}.csv", course.grades / f"{NAME}_by_hand.csv"):
        rows = list(csv.reader(table.open(newline="")))
        cells = [cell for row in rows for cell in row]
        assert not [cell for cell in cells if cell[:1] in "=+-@\t\r|%" and cell]
        assert any("=cmd" in cell for cell in cells)


def test_files_for_odd_names_are_plain(course):
    made = [path.name for path in (course.grades / NAME).iterdir()]
    made += [path.name for path in course.feedback.iterdir()]
    assert all(
        name.isascii() and name.isprintable() and len(name) < 100 and name[0] not in "-=<"
        for name in made
    )
