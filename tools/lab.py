"""Start JupyterLab on the lectures, the first one open (`make lab`), with further options."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def command(arguments: list[str]) -> list[str]:
    """The call of JupyterLab. Its root is the whole course: links to the glossary work."""
    lectures = sorted((ROOT / "lectures").glob("*.ipynb"))
    first = f"/{lectures[0].name}" if lectures else ""
    call = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={ROOT}"]
    call += [f"--LabApp.default_url=/lab/tree/lectures{first}", "--LabApp.news_url=None"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        call.append("--allow-root")  # in a container one usually is root
    if not has_display():
        call.append("--no-browser")
    return call + arguments


def has_display() -> bool:
    """Whether a browser can open a window: else a text browser might take the terminal."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def settings() -> dict[str, str]:
    """What is added to the process's environment: defaults that a learner's own settings go before.

    tools/jupyter: no question about news covers the first lecture, and no notebook counts as
    changed as soon as it is opened. PATH: in a terminal of JupyterLab, and after `!` in a cell,
    `python` is this environment's.
    """
    path = [str(ROOT / "tools" / "jupyter"), os.environ.get("JUPYTER_CONFIG_PATH", "")]
    return {
        "JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, path)),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "JUPYTER_PREFER_ENV_PATH": "1",  # this environment's kernel, not one of the home folder
    }


def main() -> None:
    call = command(sys.argv[1:])
    print("Starting JupyterLab. Ctrl-C twice stops it.", flush=True)
    if "--no-browser" in call:
        print("No display here: open the address below in a browser.", flush=True)
    os.environ.update(settings())
    os.execv(sys.executable, call)


if __name__ == "__main__":
    main()
