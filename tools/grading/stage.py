"""What a sandbox is given to read: the runner, and a copy of the course without what is asked.

What the exercises ask a learner to write (the methods, the measures, the checks with their right
answers) is not hidden there but absent: nothing that runs inside can import or read it.
"""

import ast
import compileall
import hashlib
import py_compile
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
INSIDE = Path(__file__).resolve().parent / "inside"

# The modules that go in; of every other one only the name goes in.
GIVEN = {
    *("course_utils/errors", "course_utils/photos"),
    *("course_utils/birds/*", "course_utils/figures/*", "course_utils/networks/*"),
    *("course_utils/explorers/__init__", "course_utils/explorers/birds"),
    *(
        "course_utils/explorers/contrast",
        "course_utils/explorers/contrast_view",
        "course_utils/explorers/methods",
    ),
    *("course_utils/explorers/panel", "course_utils/explorers/quiz"),
    *(
        "course_utils/methods/__init__",
        "course_utils/methods/classes",
        "course_utils/methods/inputs",
        "course_utils/methods/layers",
        "course_utils/methods/strength",
    ),
    *("course_utils/quality/__init__", "course_utils/quality/distort"),
    "course_utils/quality/distortions",
    *("course_checks/answers", "course_checks/networks", "course_checks/part"),
    "course_checks/settings",
}
PACKAGES = ("course_utils", "course_checks")
ABSENT_PACKAGES = ("captum", "pytorch_grad_cam", "torchcam")

WITHHELD = '''"""Not here while your work is graded."""


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)

    def refuse(*_, **__):
        text = "of the course is not there while your work is graded: write your own"
        raise RuntimeError(f"{name} {text}")

    return type(name, (), {"__new__": refuse})
'''
SILENT_CHECKS = '''"""While your work is graded, every check is silent: marks are given outside."""


def told(name, answer):
    """Called with what a check was given: the runner listens."""


def solved(name):
    return False


def __getattr__(name):
    if not name.startswith("ex"):
        raise AttributeError(name)
    return lambda answer=None, *_, **__: told(name, answer)
'''
LAZY = '''"""course_utils as it is while your work is graded."""

from importlib import import_module

from .errors import MOVED

_HOMES = {homes!r}
__version__ = {version!r}


def __getattr__(name):
    if name in _HOMES:
        return getattr(import_module("." + _HOMES[name], __name__), name)
    if name in MOVED:  # hand-ins of version 1 import it from here
        return import_module(MOVED[name])
    raise AttributeError(f"module course_utils has no attribute {{name!r}}")
'''
ABSENT = 'raise ImportError("{name} is not there while your work is graded: write your own")\n'


def stage(folder: Path, root: Path = ROOT) -> Path:
    """Write into `folder` what a sandbox may read; the folder."""
    folder.mkdir()
    for package in PACKAGES:
        for source in sorted((root / package).rglob("*.py")):
            place = source.relative_to(root)
            (folder / place).parent.mkdir(parents=True, exist_ok=True)
            text = _given(place, source.read_text(encoding="utf-8"))
            (folder / place).write_text(text, encoding="utf-8")
    shutil.copytree(root / "data", folder / "course_utils" / "data")
    for name in ABSENT_PACKAGES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(ABSENT.format(name=name))
    for source in INSIDE.glob("*.py"):
        shutil.copy(source, folder)
    # unchanged afterwards, so that the folder can be read-only and no sandbox compiles anew
    compileall.compile_dir(
        folder, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    return folder


def _given(path: Path, text: str) -> str:
    """What stands in for a module of the course; `path` begins with its package."""
    name = path.with_suffix("").as_posix()
    if name == "course_utils/__init__":
        return _lazy(text)
    if name == "course_checks/__init__":
        return SILENT_CHECKS
    given = name in GIVEN or path.parent.as_posix() + "/*" in GIVEN
    return text if given else WITHHELD


def _lazy(text: str) -> str:
    """`course_utils/__init__.py`, importing each name when it is first asked for."""
    imports = [node for node in ast.parse(text).body if isinstance(node, ast.ImportFrom)]
    homes = {alias.asname or alias.name: node.module for node in imports for alias in node.names}
    values = [node for node in ast.parse(text).body if isinstance(node, ast.Assign)]
    version = next(ast.literal_eval(v.value) for v in values if v.targets[0].id == "__version__")
    return LAZY.format(homes=homes, version=version)


def version(root: Path = ROOT) -> str:
    """A digest of everything trusted that decides about marks; other marks need another digest."""
    digest = hashlib.sha256()
    for folder in (*(root / package for package in PACKAGES), INSIDE.parent):
        for source in sorted(folder.rglob("*.py")):
            digest.update(source.relative_to(folder).as_posix().encode() + b"\0")
            digest.update(source.read_bytes() + b"\0")
    return digest.hexdigest()
