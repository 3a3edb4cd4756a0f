"""The notebook's kernel in the sandbox: what makes no difference to an answer does nothing.

A learner's notebook holds more than answers: `%matplotlib inline`, `!pip install`, `%%time`, a
question by `input()`. There is no screen, no shell and nobody to ask here. Rather than cost a cell,
such a line does nothing, and a note for the student says so. Whatever else a magic can do it does.
"""

import ast
import builtins
import getpass
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable

import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.text import SList
from traitlets.config import Config

from course_utils.errors import moved_to

Note = Callable[[str], None]
CELL = "<ipython-input-"  # how the names begin under which IPython compiles cells
AROUND = (
    "time",
    "timeit",
    "capture",
    "prun",
    "memit",
)  # %%-lines above code that is run all the same
# %-lines that do nothing: they draw, time, move, ask, or change what every cell shares
IDLE = ("matplotlib", "cd", "pushd", "popd", "debug", "pdb", "timeit", "prun", "memit", "load_ext")
IDLE += ("reload_ext", "autoreload", "autosave", "pip", "conda", "mamba", "uv", "gui", "config")
FIRST = re.compile(rf"\s*%%({'|'.join(AROUND)})\b[^\n]*(\n|\Z)")


class Shell(InteractiveShell):
    """IPython without a screen, without programs, and without an end of its own."""

    note: Note = staticmethod(lambda _: None)

    def run(self, source: str):
        """Run a cell; its result as `run_cell` has it.

        What stands below a statement that stops is run all the same: the statement may want what
        is not here (a file, a package, a GPU), and the answer below it does not.
        """
        while around := FIRST.match(source):
            source = "\n" * around[0].count("\n") + source[around.end() :]
        first = result = self.run_cell(source, store_history=False)
        while isinstance(result.error_in_exec, Exception) and source:
            source = below(self.transform_cell(source), result.error_in_exec)
            result = self.run_cell(source, store_history=False)
        return first

    def run_line_magic(self, magic_name, line, _stack_depth=1):
        said = f"%{magic_name} {line}".strip()
        if magic_name == "time":
            return self._plain(line, sys._getframe(_stack_depth).f_locals)
        if magic_name in IDLE and "-o" not in line.split():
            return self.note(said)
        try:
            return super().run_line_magic(magic_name, line, _stack_depth=_stack_depth + 1)
        except Exception:  # absent, or without what it needs: a magic that cannot work is no answer
            return self.note(said)

    def run_cell_magic(self, magic_name, line, cell):
        try:
            return super().run_cell_magic(magic_name, line, cell)
        except Exception:
            return self.note(f"%%{magic_name} {line}".strip())

    def _plain(self, code: str, names: dict):
        """What `%time` gives: the value of an expression, or the names of a statement."""
        try:
            whole = compile(code, f"{CELL}time>", "eval")
        except SyntaxError:
            whole = compile(code, f"{CELL}time>", "exec")
        return eval(whole, self.user_ns, names)

    def enable_gui(self, gui=None):
        """No window ever opens here."""

    def enable_matplotlib(self, gui=None):
        return None, "agg"

    def enable_pylab(self, gui=None, import_all=True):
        from IPython.core.pylabtools import import_pylab

        import_pylab(self.user_ns, import_all)
        return None, "agg", []

    def system(self, cmd):
        self.note(f"!{cmd}")
        self.user_ns["_exit_code"] = 0

    system_raw = system_piped = system

    def getoutput(self, cmd, split=True, depth=0):
        self.note(f"!{cmd}")
        return SList([]) if split else ""

    def ask_exit(self):
        self.note("exit()")


def below(code: str, error: Exception) -> str:
    """What stands in a cell below the statement that raised."""
    trace = error.__traceback__
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith(CELL):
        trace = trace.tb_next
    if trace is None:
        return ""
    firsts = [
        min(part.lineno for part in (node, *getattr(node, "decorator_list", ())))
        for node in ast.parse(code).body
    ]
    first = next((line for line in firsts if line > trace.tb_lineno), None)
    return "" if first is None else "\n".join(code.split("\n")[first - 1 :])


class NoProgram:
    """Instead of `subprocess.Popen`: a program that did nothing and ended well."""

    note: Note = staticmethod(lambda _: None)

    def __init__(self, args, *_, **options):
        self.note(args if isinstance(args, str) else " ".join(map(str, args)))
        words = ("text", "universal_newlines", "encoding", "errors")
        nothing = io.StringIO if any(options.get(name) for name in words) else io.BytesIO
        asked = options.get("stdin"), options.get("stdout"), options.get("stderr")
        pipes = [nothing() if one == subprocess.PIPE else None for one in asked]
        self.stdin, self.stdout, self.stderr = pipes
        self.args, self.pid, self.returncode = args, 0, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __class_getitem__(cls, _):
        return cls

    def communicate(self, input=None, timeout=None):
        return tuple(pipe and pipe.getvalue() for pipe in (self.stdout, self.stderr))

    def wait(self, timeout=None):
        return 0

    def poll(self):
        return 0

    def kill(self):
        pass

    terminate = kill

    def send_signal(self, _):
        pass


class Elsewhere(ast.NodeTransformer):
    """What a cell brings along that is not here: it costs the cell nothing until it is used.

    `import seaborn` gives an `Absent`, `from google.colab import drive` a `Nothing`, and no other
    backend of matplotlib is loaded. An import within a `try` asks whether something is there, and
    is left as it is; so is one within a function.
    """

    def _as_it_is(self, node):
        return node

    visit_Try = visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _as_it_is

    def visit_Import(self, node):
        apart = [ast.copy_location(ast.Import([one]), node) for one in node.names]
        return [
            self._tried(one, [one.names[0].asname or one.names[0].name.partition(".")[0]])
            for one in apart
        ]

    def visit_ImportFrom(self, node):
        names = [one.asname or one.name for one in node.names]
        if node.module == "__future__" or node.level or "*" in names:
            return node
        return self._tried(node, names)

    def _tried(self, node, names: list[str]):
        """The import, and what its names are where it does not find its module."""
        code = f"try: pass\nexcept ModuleNotFoundError as {ERROR}:\n"
        for name in names:
            code += f"    {name} = __import__('shell').instead({ERROR}, {ast.unparse(node)!r})\n"
        (tried,) = ast.parse(code).body
        tried.body = [node]
        return ast.fix_missing_locations(ast.copy_location(tried, node))

    def visit_Expr(self, node):
        said = ast.unparse(node)
        if not BACKEND.match(said):
            return node
        silent = ast.parse(f"__import__('shell').Shell.note({said!r})").body[0]
        return ast.fix_missing_locations(ast.copy_location(silent, node))


ERROR = "_not_here"
BACKEND = re.compile(r"((matplotlib|mpl)\.use|(plt|pyplot)\.switch_backend)\(")


class Nothing:
    """Does nothing, whatever is asked of it."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __call__(self, *_, **__):
        return None


class Absent:
    """A module that is not here: it says so when it is used, but for a hint of a type."""

    def __init__(self, error: ModuleNotFoundError):
        self._error = error

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        now = moved_to(self._error.name)
        if now is not None:
            raise ModuleNotFoundError(f"{self._error}: it moved to {now} in version 2.0")
        raise ModuleNotFoundError(
            f"{self._error}, while your work is graded", name=self._error.name
        )

    def __call__(self, *_, **__):
        return self.used

    def __getitem__(self, _):
        return self

    __or__ = __ror__ = __getitem__
    __iter__ = __contains__ = None  # else a loop over it would never end


def instead(error: ModuleNotFoundError, said: str):
    """What stands for a module that the import `said` did not find.

    Raises:
        ModuleNotFoundError: it is found, and lacks another one.
    """
    wanted = said.split()[1].rstrip(",").split(".")[0]
    if (error.name or "").split(".")[0] != wanted:
        raise error
    Shell.note(said)
    return Nothing() if said.split()[1].startswith("google.colab") else Absent(error)


def make(note: Note) -> Shell:
    """A kernel without its messages; it tells `note` what did nothing."""
    config = Config()
    config.HistoryManager.enabled = False
    Shell.note = NoProgram.note = staticmethod(note)
    shell = Shell.instance(config=config)
    shell.showtraceback = shell.showsyntaxerror = lambda *_, **__: None  # colouring takes seconds
    shell.ast_transformers.append(Elsewhere())
    return shell


def input_of_nobody(prompt="", *_, **__):
    """Instead of `input`: nobody is there who could answer."""
    Shell.note(f"input({str(prompt)!r})")
    return ""


def not_compiled(function=None, **_):
    """Instead of `torch.compile`, which starts a compiler: the function as it is."""
    return not_compiled if function is None else function


def no_system(command):
    """Instead of `os.system`."""
    Shell.note(command if isinstance(command, str) else os.fsdecode(command))
    return 0


def nobody_and_no_programs() -> None:
    """From now on questions get an empty answer, and programs that a cell starts do nothing."""
    program = subprocess.Popen

    class Popen(NoProgram):
        """What a library starts fails as it did: libraries know what to do without."""

        def __new__(cls, *arguments, **options):
            return object.__new__(cls) if _by_a_cell() else program(*arguments, **options)

    builtins.input = getpass.getpass = input_of_nobody
    os.system, subprocess.Popen, torch.compile = no_system, Popen, not_compiled


def _by_a_cell() -> bool:
    """Whether the notebook's own code called this, by way of the standard library."""
    frame, own = sys._getframe(1), (__file__, subprocess.__file__, os.__file__, "<frozen os>")
    while frame is not None and frame.f_code.co_filename in own:
        frame = frame.f_back
    return frame is not None and frame.f_code.co_filename.startswith(CELL)


def of_a_cell(error: BaseException) -> bool:
    """Whether the notebook's own code raised this, rather than something that it called."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename.startswith(CELL)
