"""The explorer as a learner meets it: in JupyterLab, in a browser, with the mouse and with the keys
alone.

One visit, in steps, since JupyterLab takes long to start. Screenshots of it are left in pytest's
temporary folder.
"""

import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import lab
import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from PIL import Image

SECONDS = 120  # for anything: the machine may be slow, and busy with other tests
# parts of console messages that are JupyterLab's own; none is known for the tested version
HARMLESS = ()
CELLS = [
    new_markdown_cell("# Explorer"),
    new_code_cell(
        "from course_utils.explorers.contrast import ContrastExplorer\n"
        "explorer = ContrastExplorer('chelsea', why='tiger cat', rather_than=['Egyptian cat'])\n"
        "explorer"
    ),
    new_code_cell(
        "from course_utils.explorers import contrast_view as module\n"
        "kept, module.panels = module.panels, lambda *_: 1 / 0"
    ),
    new_code_cell("module.panels = kept"),
    new_code_cell(
        "from course_utils import load_photo\n"
        "from course_utils.explorers.duel import Duel\n"
        "from course_utils.explorers.quality import QualityExplorer\n"
        "from course_utils.explorers.quiz import Quiz\n"
        "from course_utils.explorers.quiz_questions import OWN_NETWORK\n"
        "from course_utils.quality import load_assessor\n"
        "from course_utils.quality.paired_comparison import simulated_observer\n"
        "small = load_photo('coffee').crop((180, 90, 308, 218))\n"
        "two = {'one': small, 'other': small.rotate(180)}\n"
        "display(Duel(small, two, simulated_observer({'one': 1, 'other': 0}, seed=0)))\n"
        "scenes = {'the cup': (small.rotate(2), small)}\n"
        "display(QualityExplorer(load_assessor(reference=True), scenes, step=32))\n"
        "display(Quiz(OWN_NETWORK))"
    ),
]
OTHERS = "display(Quiz(OWN_NETWORK))"


@contextmanager
def jupyterlab(folder):
    """The address of a JupyterLab on a free port, with nothing of the user's; it ends here,
    whatever happens.
    """
    parts = ("CONFIG", "DATA", "RUNTIME")
    private = {f"JUPYTER_{part}_DIR": str(folder / part.lower()) for part in parts}
    private |= {
        f"JUPYTERLAB_{part}_DIR": str(folder / part.lower()) for part in ("SETTINGS", "WORKSPACES")
    }
    private |= lab.settings()
    token, log = secrets.token_hex(16), folder / "log.txt"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.port=0"]
    command += [f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder / 'notebooks'}"]
    command += ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    environment = (
        os.environ | private | {"IPYTHONDIR": str(folder / "ipython"), "OMP_NUM_THREADS": "1"}
    )
    with open(log, "wb") as stream:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=stream, stderr=stream
        )
    try:
        yield f"{address(folder / 'runtime', server, log)}lab/tree/explorer.ipynb?token={token}"
    finally:
        end(server)


def address(runtime, server, log) -> str:
    """Where the server says that it listens."""
    for _ in range(2 * SECONDS):
        for file in runtime.glob("jpserver-*.json") if "is running at" in log.read_text() else ():
            return json.loads(file.read_text())["url"]
        if server.poll() is not None:
            break
        time.sleep(0.5)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


def end(server) -> None:
    """The server and its kernels."""
    processes = [psutil.Process(server.pid)] if server.poll() is None else []
    processes += [child for process in processes for child in process.children(recursive=True)]
    if processes:
        server.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=20)
    for process in alive:
        process.kill()
    server.wait()


@pytest.fixture
def page(chromium, tmp_path):
    """The notebook, opened; what the console reports as wrong is in `page.wrong`."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}  # as in the repository
    notebook = new_notebook(cells=CELLS, metadata=metadata)
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "notebooks" / "explorer.ipynb")
    with jupyterlab(tmp_path) as url:
        page = chromium.new_page(viewport={"width": 1280, "height": 1000})
        page.set_default_timeout(1000 * SECONDS)
        page.wrong = []
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on(
            "console", lambda said: page.wrong.append(said.text) if said.type == "error" else None
        )
        page.goto(url)
        yield page
        page.screenshot(path=tmp_path / "last.png")
        page.close()


def status(page) -> str:
    return page.locator(".explorer-status").inner_text()


def control(page, label: str):
    return page.get_by_label(label, exact=True)


def focused(page) -> str:
    """The label of the control that has the focus."""
    return page.evaluate(
        "document.querySelector(`label[for='${document.activeElement.id "
        "|| 'none'}']`)?.innerText ?? ''"
    )


@contextmanager
def changing(page, words: str):
    """Wait until the status line says `words` and the last picture is another one."""
    before = page.locator("figure img").last.get_attribute("src")
    yield
    page.wait_for_function(
        "([words, before]) => document.querySelector('.explorer-status').innerText.includes(words)"
        " && [...document.querySelectorAll('figure img')].at(-1).src != before",
        arg=[words, before],
    )


def choose(page, label: str, name: str) -> None:
    option = control(page, label).locator(f"option[value^='{name}   ']").first
    control(page, label).select_option(value=option.get_attribute("value"))


def not_changed_by_opening(page) -> None:
    page.locator(".jp-Notebook .jp-Spinner").wait_for(state="detached")
    page.get_by_text("| Idle").wait_for()  # the kernel has told its name and its Python's version
    assert page.locator(".jp-mod-current").filter(has_text="explorer.ipynb").count() >= 1
    assert page.locator(".lm-TabBar-tab.jp-mod-dirty, .jp-mod-dirty").count() == 0


def run_with_the_keys(page) -> None:
    page.wait_for_function("document.activeElement.closest('.jp-Notebook-cell')")
    page.keyboard.press("Control+b")  # the list of files makes room
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")
    page.locator(".explorer-status").wait_for()
    assert "p(P = tiger cat) = 0.393, p(Q = Egyptian cat) = 0.356" in status(page)


def ask_with_the_keys(page) -> None:
    """No key typed into a list is taken by JupyterLab for a command: "banana" would insert four
    cells.
    """
    cells = page.locator(".jp-Notebook-cell").count()
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowUp")
    for _ in range(20):
        if focused(page) == "rather than Q":
            break
        page.keyboard.press("Tab")
    assert focused(page) == "rather than Q"
    with changing(page, "p(Q = banana)"):
        page.keyboard.type("banana", delay=30)
    with changing(page, "p(Q = lynx)"):
        page.keyboard.press("Home")
        for _ in range(3):
            page.keyboard.press("ArrowDown")
    assert focused(page) == "rather than Q" and page.locator(".jp-Notebook-cell").count() == cells
    for _ in range(10):
        page.keyboard.press("Tab")
    assert not page.evaluate("!!document.activeElement.closest('.widget-vbox')"), (
        "the focus cannot leave"
    )


def ask_with_the_mouse(page) -> None:
    with changing(page, "p(Q = espresso)"):
        choose(page, "rather than Q", "espresso")
    assert "p(Q = lynx)" not in status(page)
    assert (
        page.locator("figure img")
        .last.get_attribute("alt")
        .startswith("Why tiger cat, rather than espresso?")
    )


def search(page) -> None:
    control(page, "Search").press_sequentially("cup", delay=30)
    page.get_by_text("class names contain “cup”").wait_for()
    names = control(page, "and Q2").locator("option").all_inner_texts()
    assert len(names) < 20 and all("cup" in name or "(none)" in name for name in names)
    assert (
        control(page, "rather than Q").locator("option:checked").inner_text().startswith("espresso")
    )
    with changing(page, "p(Q = cup)"):
        choose(page, "and Q2", "cup")


# What the status line says from now on, in `said`.
WATCH = """
said = [];
new MutationObserver(() => said.push(document.querySelector('.explorer-status')?.innerText ?? ''))
  .observe(document.body, {childList: true, subtree: true, characterData: true})
"""


def own_photo(page, folder) -> None:
    Image.new("RGB", (320, 240), (180, 30, 30)).save(folder / "mine.png")
    with page.expect_file_chooser() as chooser:
        page.get_by_text("Your own photo").click()
    page.evaluate(WATCH)
    with changing(page, "The network says"):
        chooser.value.set_files(folder / "mine.png")
    assert any(words.startswith("Reading mine.png ...") for words in page.evaluate("said"))
    assert control(page, "Photo").locator("option:checked").inner_text() == "mine.png"
    assert (
        page.locator("figure img").first.get_attribute("alt")
        == "The photo mine.png, as the network saw it."
    )


def see_an_error_and_get_over_it(page) -> None:
    shown = page.locator(".widget-vbox .jp-OutputArea")
    run(page, "lambda *_: 1 / 0")
    choose(page, "rather than Q", "banana")
    shown.get_by_text("ZeroDivisionError").first.wait_for()
    assert "That did not work: the error is shown below" in status(page)
    run(page, "module.panels = kept")
    with changing(page, "p(Q = espresso)"):
        choose(page, "rather than Q", "espresso")
    shown.get_by_text("ZeroDivisionError").first.wait_for(state="detached")


def run(page, code: str) -> None:
    cell = page.locator(".jp-CodeCell", has_text=code)
    cell.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    cell.get_by_text(re.compile(r"\[\d+\]:")).wait_for()


def fits(page, width: int, folder) -> None:
    page.set_viewport_size({"width": width, "height": 1600})
    page.locator("#jp-left-stack").wait_for(state="hidden")
    page.wait_for_function("document.documentElement.clientWidth == innerWidth")
    control(page, "Photo").scroll_into_view_if_needed()
    time.sleep(1)
    page.screenshot(path=folder / f"explorer_{width}.png")
    for part in page.locator(
        ".widget-vbox :is(select, input[type=text], .widget-upload, figure img, label):visible"
    ).all():
        box = part.bounding_box()
        assert 0 <= box["x"] and box["x"] + box["width"] <= width and box["width"] >= 40, (
            part.evaluate("e => e.outerHTML")
        )
    panel = page.locator(".widget-vbox").first
    assert panel.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
    assert page.locator("figure img").first.bounding_box()["width"] >= 120
    assert control(page, "rather than Q").bounding_box()["width"] >= 120


def no_label_is_cut(page) -> None:
    labels = page.locator(".widget-vbox .widget-label:visible")
    cut = labels.evaluate_all(
        "all => all.filter(e => e.scrollWidth > e.clientWidth).map(e => e.title)"
    )
    assert labels.count() > 10 and cut == []


# The chosen words that are wider than their list, less the room for its arrow.
CUT_CHOICES = """all => all.filter(list => {
  const canvas = document.createElement('canvas').getContext('2d');
  canvas.font = getComputedStyle(list).font;
  return canvas.measureText(list.selectedOptions[0]?.text ?? '').width > list.clientWidth - 24;
}).map(list => list.selectedOptions[0].text)"""


def no_choice_is_cut(page) -> None:
    """Where a page has room for four columns, "Egyptian cat 0.356" had lost its last digit."""
    choose(page, "rather than Q", "Egyptian cat")
    for width in (1000, 1280, 1400):
        page.set_viewport_size({"width": width, "height": 1000})
        time.sleep(1)
        lists = page.locator(".widget-vbox select:visible")
        assert lists.count() > 8 and lists.evaluate_all(CUT_CHOICES) == []


def axe_finds_nothing(page, axe) -> None:
    """In any of the course's panels; what lies around them is JupyterLab's own."""
    run(page, OTHERS)
    page.locator(".widget-radio").first.wait_for()
    assert (
        page.locator(".widget-vbox :is(select, [role=slider], button, [type=radio])").count() > 25
    )
    assert axe(page, ".jp-OutputArea-output") == []


@pytest.mark.timeout(900)
def test_a_visit(page, axe, tmp_path):
    not_changed_by_opening(page)
    run_with_the_keys(page)
    ask_with_the_keys(page)
    ask_with_the_mouse(page)
    search(page)
    own_photo(page, tmp_path)
    fits(page, 1280, tmp_path)
    fits(page, 400, tmp_path)
    page.set_viewport_size({"width": 1280, "height": 1000})
    no_label_is_cut(page)
    no_choice_is_cut(page)
    assert [said for said in page.wrong if not any(part in said for part in HARMLESS)] == []
    see_an_error_and_get_over_it(page)
    assert "without encryption" not in (tmp_path / "log.txt").read_text()
    axe_finds_nothing(page, axe)
