"""Honest work keeps its marks: what notebooks hold beside answers, and where hand-ins are put."""

import json
import textwrap

import pytest
from grading import sandbox, stage
from grading.assignment import Assignment
from grading.collect import Submission, collect
from grading.grader import Grader
from grading.limits import Limits
from tiny_assignment import RIGHT

from course_checks.part import Part

MEAN = RIGHT["ex99_mean"]
# The commonest habits, and others of their kinds: each stands above a right answer in its cell
HABITS = {
    "matplotlib-inline": "%matplotlib inline",
    "matplotlib-widget": "%matplotlib widget",
    "pylab": "%pylab inline\narray([1]), plt, np",
    "pip-line": "!pip install -q tqdm",
    "pip-magic": "%pip install tqdm",
    "load-ext": "%load_ext autoreload\n%autoreload 2",
    "load-ext-absent": "%load_ext tensorboard\n%tensorboard --logdir runs",
    "config": "%config InlineBackend.figure_format = 'retina'",
    "env": "%env CUDA_VISIBLE_DEVICES=0\n%env",
    "shell-answer": "files = !ls\nprint(files.n, list(files))",
    "listing": "%ls\n%pwd\n!nvidia-smi",
    "cd": "%cd ..\nopen('written_where_it_was.txt', 'w').close()",
    "run-absent": "%run helpers.py",
    "time-line": "%time kept = torch.ones(2)\nassert kept.sum() == 2",
    "timeit-line": "%timeit torch.ones(100).sum()",
    "help": "torch.ones?\n?torch\nhelp(len)",
    "display": "display(torch.ones(2))\nfrom IPython.display import HTML, Image, clear_output\n"
    "display(HTML('<b>x</b>'))\nclear_output(wait=True)",
    "input": "name = input('Your name: ')\nassert name == ''",
    "show": "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.savefig('a.png')\nplt.show()",
    "style": "import matplotlib\nmatplotlib.use('Agg')\nimport matplotlib.pyplot as plt\n"
    "plt.style.use('ggplot')\nfrom matplotlib_inline.backend_inline import set_matplotlib_formats",
    "tqdm": "from tqdm.auto import tqdm\nfrom tqdm.notebook import trange\n"
    "for _ in tqdm(range(3)): pass\nfor _ in trange(3): pass",
    "warnings": "import warnings, logging\nwarnings.filterwarnings('ignore')\n"
    "warnings.warn('late')\nlogging.basicConfig(level=logging.INFO)\nlogging.info('on')",
    "temporary": "import tempfile\nwith tempfile.TemporaryDirectory() as folder:\n"
    "    open(folder + '/a', 'w').write('x')\nopen('/tmp/a.txt', 'w').write('x')\n"
    "tempfile.NamedTemporaryFile().write(b'x')",
    "home": "import os, pathlib\n(pathlib.Path.home() / '.cache').mkdir(exist_ok=True)\n"
    "os.makedirs('results', exist_ok=True)\ntorch.save(torch.ones(1), 'results/a.pt')\n"
    "torch.load('results/a.pt')",
    "subprocess": "import subprocess, sys\n"
    "subprocess.check_call([sys.executable, '-m', 'pip', 'install', 'tqdm'])\n"
    "assert subprocess.run('ls', shell=True, capture_output=True, text=True).stdout == ''\n"
    "subprocess.check_output(['git', '--version'])\nsubprocess.Popen(['x']).wait()",
    "system": "import os\nos.system('pip list')\nprint(os.popen('ls').read())",
    "colab": "from google.colab import drive, files\ndrive.mount('/content/drive')",
    "colab-whole": "import google.colab\ngoogle.colab.drive.mount('/content/drive')",
    "absent": "import os, seaborn as sns, math, pandas_of_nobody\nos.getpid(), math.pi\n"
    "from plotly_of_nobody import express",
    "absent-asked": "try:\n    import nobody_has_this\nexcept ImportError:\n    absent = True\n"
    "assert absent",
    "backend": "import matplotlib\nimport matplotlib.pyplot as plt\nmatplotlib.use('TkAgg')\n"
    "plt.switch_backend('QtAgg')\nplt.figure()",
    "all-shown": "from IPython.core.interactiveshell import InteractiveShell\n"
    "InteractiveShell.ast_node_interactivity = 'all'\n1\n2",
    "above": "import os\nos.makedirs('../figures', exist_ok=True)\n"
    "open('../figures/a.txt', 'w').close()\nopen('../../b.txt', 'w').close()",
    "password": "import getpass\nfrom getpass import getpass as asked\nasked('Token: ')",
    "output": "import ipywidgets\nout = ipywidgets.Output()\nwith out:\n    print(1)\ndisplay(out)",
    "colab-asked": "try:\n    import google.colab\n    at_colab = True\nexcept ImportError:\n"
    "    at_colab = False\nassert not at_colab",
    "autosave": "%autosave 60\n%history\n%who\n%whos\n%precision 3\n%lsmagic",
    "pdb": "%pdb on\n%debug\n%xmode Verbose",
    "seeds": "torch.manual_seed(0)\ntorch.set_num_threads(1)\n%reset -f out\n%store -r x",
    "widgets": "import ipywidgets\nipywidgets.interact(lambda n: n, n=3)\nipywidgets.IntSlider()",
    "get-ipython": "get_ipython().run_line_magic('matplotlib', 'inline')\n"
    "get_ipython().system('ls')",
    "await": "import asyncio\nawait asyncio.sleep(0)",
    "exit": "exit()",
    "typing": "from __future__ import annotations\nimport torch",
    "hints": "def helper(x: Tensor_of_nobody = None) -> 'np.ndarray': pass",
    "unicode": "π, größe, 数 = 3, 4, 5\nprint('✓ größe', größe)",
    "environ": "import os\nos.environ['OMP_NUM_THREADS'] = '1'\nos.environ.get('HOME')\n"
    "os.environ['KMP_DUPLICATE_LIB_OK'] = 'TRUE'",
    "saved-at-home": "import matplotlib.pyplot as plt, os\nplt.plot([1])\n"
    "plt.savefig(os.path.expanduser('~/figure.png'))\nplt.close('all')",
    "quit": "quit",
    "deleted": "import course_checks as checks\ndel checks",
    "who": "%who_ls\n%psearch torch*\n%notebook a.ipynb\n%save a 1",
    "store": "x = 1\n%store x\n%bookmark here\n%alias ll ls -l",
    "sx": "%sx ls\nfiles = !!ls\n%system pwd\nfiles = %sx ls",
    "capture-shown": "from IPython.utils.capture import capture_output\n"
    "with capture_output() as kept:\n    print(1)\nkept.show()",
    "progress": "from tqdm.notebook import tqdm\nfor _ in tqdm(range(2)): pass",
    "dtype": "torch.set_default_dtype(torch.float64)\ntorch.set_default_dtype(torch.float32)",
    "device": "device = 'cuda' if torch.cuda.is_available() else 'cpu'\n"
    "torch.ones(1).to(device)\ntorch.backends.cudnn.benchmark = True",
    "grad-off": "torch.set_grad_enabled(True)\ntorch.autograd.set_detect_anomaly(False)",
    "reload": "import importlib, math\nimportlib.reload(math)",
    "recursion": "import sys, gc, time, random\nsys.setrecursionlimit(5000)\ngc.collect()\n"
    "time.sleep(0.01)\nrandom.seed(0)",
    "await-for": "import asyncio\nasync def soon():\n    return 1\nassert await soon() == 1\n"
    "await asyncio.gather(soon())",
    "run-asyncio": "import asyncio\nasync def soon(): return 1\n"
    "try:\n    asyncio.run(soon())\nexcept RuntimeError:\n    pass",
    "prints": "for n in range(3000): print('a line of a log', n)",
    "pandas": "try:\n    import pandas as pd\nexcept ImportError:\n    pd = None",
    "assigned-time": "kept = %timeit -o -n 1 -r 1 torch.ones(1)",
    "prompt": ">>> one = 1\n>>> two = 2",
    "crlf": "one = 1\r\ntwo = 2\r",
    "compile": "@torch.compile(dynamic=True)\ndef twice(x): return 2 * x\n"
    "assert twice(torch.ones(1)) == torch.compile(lambda x: 2 * x)(torch.ones(1)) == 2",
    "names-of-builtins": "list, sum, input, max, id, type = [1], 0, torch.ones(2), 3, 4, 'a'\n"
    "str = print = open = isinstance = None",
    "time-in-a-function": "def timed(within):\n    %time within + 1\n    return within\n"
    "timed(torch.ones(1))",
    "tabs": "if True:\n\tone = 1",
}
# %%-lines above code: the code is run
AROUND = {
    "%%time": "%%time",
    "%%timeit": "%%timeit -n 1 -r 1",
    "%%capture": "%%capture out",
    "%%capture-%%time": "\n%%capture --no-stderr\n%%time",
    "%%time-magic": "%%time\n%matplotlib inline",
    "comment": "# my answer\n%%time",
}
# cells of their own that are no Python
APART = ("%%bash\npip list", "%%html\n<b>x</b>", "%%javascript\nalert(1)", "%%sh\nls", "%%latex\nx",
         "%%writefile helper.py\none = 1", "%%script false\nx", "%%markdown\nx", "%%R\nx <- 1",
         "!pip install x\n!ls", "pip install x", "cd ..", "ls", "conda install x",
         "%%javascript\nIPython.notebook.save_checkpoint()", "%%cython\ncdef x")  # fmt: skip


def named(number: int) -> str:
    return f"row_means_{number}"


def cells() -> list[str]:
    """A notebook of all habits, each in a cell of its own with an answer of its own."""
    made = ["import torch", *APART]
    for number, above in enumerate((HABITS | AROUND).values()):
        made.append(f"{above}\n{MEAN.replace('row_means', named(number))}")
    return made


def graded(folder, codes: list[str], answers: list[str], **limits) -> tuple[dict, list[str]]:
    """The share of right answers by name, and the remarks."""
    grade = whole_grade(folder, codes, answers, **limits)
    return {part["title"]: part["marks"] for part in grade["parts"]}, grade["remarks"]


def messages(folder, codes: list[str], answers: list[str]) -> dict[str, str]:
    """What the page says of each part."""
    grade = whole_grade(folder, codes, answers)
    return {part["title"]: part["message"] for part in grade["parts"]}


def whole_grade(folder, codes: list[str], answers: list[str], **limits) -> dict:
    import torch

    parts = tuple(
        Part(f"ex99_{name}", name, 1, name, lambda s: [(torch.randn(2, 3),)], lambda x: x.mean(1))
        for name in answers
    )
    grader = Grader(
        Assignment("ex99", parts, ()), sandbox.Sandbox(folder), Limits(**limits), seed=3
    )
    made = [{"cell_type": "code", "source": code, "metadata": {}} for code in codes]
    return grader.grade(Submission("s", "s", json.dumps({"cells": made}).encode()))


@pytest.fixture(scope="module")
def staged(tmp_path_factory, bubblewrap):
    return stage.stage(tmp_path_factory.mktemp("habits") / "stage")


@pytest.fixture(scope="module")
def habitual(staged):
    names = [named(number) for number in range(len(HABITS | AROUND))]
    return graded(staged, cells(), names)


@pytest.mark.parametrize("habit", HABITS | AROUND)
def test_a_habit_costs_no_marks(habitual, habit):
    marks, remarks = habitual
    assert marks[named(list(HABITS | AROUND).index(habit))] == 1, remarks


def test_what_did_nothing_is_said_and_nothing_else(habitual):
    _, remarks = habitual
    assert len(remarks) == 1 and "did nothing here" in remarks[0], remarks
    assert "“%%bash”" in remarks[0]


# Statements that stop here and would not, or need not, on a learner's own machine
STOPPING = {
    "absent-used": "import nobody_has_this as sns\nsns.set_theme()\nimport math",
    "absent-hint": "from nobody_has_this import Float\n"
    "def helper(x: Float[torch.Tensor, 'n'] | None) -> None | Float: pass",
    "absent-loop": "from nobody_has_this import styles\nfor one in styles: pass",
    "absent-asked-for": "import nobody_has_this as kinds\nassert 'a' in kinds",
    "folder": "import os\nos.chdir('/content/drive/MyDrive/course')",
    "file": "kept = torch.load('saved_yesterday.pt')",
    "gpu": "if True:\n    for _ in range(2):\n        there = torch.ones(1, device='cuda')",
    "network": "import urllib.request\nurllib.request.urlopen(\n    'http://127.0.0.1:1')",
    "number": "k = int(input('How many? '))\nk += 1",
    "withheld": "from course_utils import GradCAM\n@GradCAM(None)\ndef compared(): pass",
    "unsolved": "import course_checks as checks\nassert checks.solved('ex02_map')",
    "stdout": "import sys\nsys.stdout.reconfigure(encoding='utf-8')\nawait soon()",
}


@pytest.fixture(scope="module")
def stopped(staged):
    names = [named(number) for number in range(len(STOPPING))]
    made = [
        f"# {name}\n{above}\n\n{MEAN.replace('row_means', named(number))}"
        for number, (name, above) in enumerate(STOPPING.items())
    ]
    return graded(staged, ["import torch", *made], names)


@pytest.mark.parametrize("why", STOPPING)
def test_an_answer_below_a_statement_that_stops_is_an_answer(stopped, why):
    marks, remarks = stopped
    assert marks[named(list(STOPPING).index(why))] == 1, remarks


def test_a_function_that_its_check_was_given_under_another_name_stands_in_for_an_unfinished_one(
    staged,
):
    codes = [
        "import torch, course_checks as checks\nhelp = 2\ndef row_means(x):\n"
        "    raise NotImplementedError()",
        "def mine(x):\n    return x.sum(1) / x.shape[help - 1]\nchecks.ex99_row_means(mine)",
        "help = 'another name'",
    ]
    assert graded(staged, codes, ["row_means"])[0] == {"row_means": 1}


def test_of_a_checked_function_that_stops_the_page_says_why_and_of_none_that_it_is_unfinished(
    staged,
):
    part = "import course_checks as checks\ndef {}(x):\n    raise NotImplementedError()\n"
    codes = [
        part.format("first") + "def one(x):\n    return 1 / 0\nchecks.ex99_first(one)",
        part.format("second") + "checks.ex99_second(second)",
    ]
    said = messages(staged, codes, ["first", "second"])
    assert "ZeroDivisionError" in said["first"] and "not attempted" in said["second"]


def test_what_is_absent_says_so_where_it_is_used(staged):
    codes = ["import nobody_has_this as other\ndef mine(x):\n    return other.mean(x)"]
    marks, remarks = graded(staged, codes, ["mine"])
    assert marks == {"mine": 0} and "“import nobody_has_this as other”" in remarks[0]


def test_imports_of_version_1_cost_nothing_and_are_told_where_it_is_now(staged):
    old = "from course_utils import checks, layers, widgets\nfrom course_utils.heads import Head\n"
    marks, remarks = graded(staged, [old + "import torch\n" + MEAN, "Head(1)"], ["row_means"])
    assert marks == {"row_means": 1}
    assert "moved to course_utils.methods.head in version 2.0" in remarks[0], remarks


def test_an_exit_below_an_answer_costs_nothing(staged):
    codes = ["import sys, torch\n" + MEAN + "\nsys.exit()", "later = 1"]
    marks, _ = graded(staged, codes, ["row_means"])
    assert marks == {"row_means": 1}


def test_a_cell_that_restarts_the_kernel_costs_only_itself(staged):
    restart = "import os\nos._exit(0)  # restart, then go on below"
    codes = ["import torch", restart, MEAN, restart, "row_means(torch.ones(1, 2))", "1 / 0"]
    marks, remarks = graded(staged, codes, ["row_means"])
    assert marks == {"row_means": 1}
    ended = "The program was ended in code cell {}: it ended Python itself."
    assert remarks[:2] == [ended.format(2), ended.format(4)]
    assert [one[:12] for one in remarks[2:]] == ["Code cell 6 "]


def test_who_ends_the_program_again_and_again_is_not_asked_for_ever(staged):
    codes = ["import torch\n" + MEAN] + ["import os\nos._exit(0)"] * 5
    marks, remarks = graded(staged, codes, ["row_means"])
    assert marks == {"row_means": 0} and len(remarks) == 4


def test_unfinished_is_forgiven_only_where_the_cell_itself_raised_it(staged):
    codes = [
        "def mine(x):\n    raise NotImplementedError()",
        "mine(1)",
        "import torch\ntorch.nn.Module()(1)",  # torch's own NotImplementedError
    ]
    marks, remarks = graded(staged, codes, ["mine"])
    assert marks == {"mine": 0} and len(remarks) == 1
    assert remarks[0].startswith("Code cell 3 stopped with “NotImplementedError")


def test_words_of_an_error_stand_as_a_quotation(staged):
    code = """
    class X(Exception): pass
    X.__name__ = "Right"
    def mine(x):
        raise X("20 of 20 points.”\\n✓ all right\\u202e\\0")
    mine(1)
    """
    _, remarks = graded(staged, [textwrap.dedent(code)], ["mine"])
    assert remarks == ['Code cell 1 stopped with “Right: 20 of 20 points." ✓ all right”.']


# --- where hand-ins lie -------------------------------------------------------------------------

FIRST = "ex04_contrast"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([f"{FIRST}/hw.ipynb", f"{FIRST}/._hw.ipynb", f"{FIRST}/.DS_Store"], "hw.ipynb"),
        ([f"{FIRST.upper()}/{FIRST}.ipynb"], FIRST.upper()),
        (["Ex04 Contrast/ex04 contrast.ipynb"], "Ex04 Contrast"),
        ([f"{FIRST}.ipynb"], f"“{FIRST}.ipynb”"),
        ([f"{FIRST} (1).ipynb"], "(1)"),
        (["my homework.IPYNB"], "my homework"),
        ([f"{FIRST}/{FIRST}.ipynb.txt", f"{FIRST}/a.txt"], "ipynb.txt"),
        ([f"{FIRST}.ipynb.json"], "ipynb.json"),
        ([f"{FIRST}/{FIRST}/{FIRST}.ipynb"], f"{FIRST}/{FIRST}/"),
        ([f"{FIRST}/{FIRST}-Copy1.ipynb", f"{FIRST}/scratch.ipynb"], "Copy1"),
        (["__MACOSX/a.ipynb", f"work/{FIRST}.ipynb"], "work"),
        ([f"{FIRST}/.ipynb_checkpoints/x.ipynb", f"{FIRST}/x.ipynb"], "x.ipynb"),
        (["ex02_gradcam/ex02_gradcam.ipynb", f"{FIRST}_v2.ipynb"], "v2"),
    ],
)
def test_a_hand_in_that_lies_elsewhere_is_found_and_a_remark_says_where(tmp_path, files, words):
    student = place(tmp_path, "ann", files)
    (found,) = collect(student.parent, FIRST, 1000)
    assert found.content == b"{}" and not found.trouble
    assert words in found.remarks[0] and "rather than" in found.remarks[0]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (["ex02_gradcam/ex02_gradcam.ipynb"], "there lies “ex02_gradcam/ex02_gradcam.ipynb”"),
        ([f"{FIRST}/answer.pdf"], "“ex04_contrast/answer.pdf”"),
        (["a.ipynb", "b.ipynb"], "“a.ipynb”, “b.ipynb”"),
        ([f"{FIRST}/.DS_Store"], "is empty"),
        (["ex05.ipynb"], "“ex05.ipynb”"),
    ],
)
def test_what_is_no_hand_in_is_named(tmp_path, files, words):
    place(tmp_path, "bert", [f"{FIRST}/{FIRST}.ipynb"])
    found = {one.student: one for one in collect(place(tmp_path, "ann", files).parent, FIRST, 1000)}
    assert found["ann"].content is None and words in found["ann"].trouble
    assert found["bert"].content == b"{}"


def test_a_student_whose_name_begins_with_a_dot_is_a_student(tmp_path):
    place(tmp_path, ".name", [f"{FIRST}/{FIRST}.ipynb"])
    place(tmp_path, ".ipynb_checkpoints", [f"{FIRST}.ipynb"])
    assert [one.student for one in collect(tmp_path, FIRST, 1000)] == [".name"]


def test_a_class_without_any_hand_in_is_refused_with_what_lies_there(tmp_path):
    place(tmp_path, "ann", ["essay.pdf"])
    with pytest.raises(FileNotFoundError, match="no student has a hand-in.*“ann”.*essay.pdf"):
        collect(tmp_path, FIRST, 1000)
    with pytest.raises(FileNotFoundError, match="is empty"):
        collect(place(tmp_path / "other", "x", []).parent / "x", FIRST, 1000)


def test_cells_beyond_the_most_are_said(staged):
    codes = ["1"] * 2500 + ["import torch\n" + MEAN] + ["1"] * 3000
    marks, remarks = graded(staged, codes, ["row_means"])
    assert marks == {"row_means": 1} and "5501 cells" in remarks[0]


def place(submitted, student: str, files: list[str]):
    folder = submitted / student
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder
