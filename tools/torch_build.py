"""Which build of torch this machine gets: with CUDA, or the CPU build, a quarter of its size.

On Linux the ordinary wheel of torch brings CUDA. A machine without an NVIDIA card need not carry
it: PyTorch's own index of CPU wheels serves the same version, as 2.14.1+cpu, which pip prefers to
2.14.1 where it finds both. macOS and Windows get CPU builds anyway. Standard library only.
"""

import os
import shutil
import subprocess
import sys

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SECONDS = 5  # that index answers within them, or the ordinary wheels are taken
SIZES = {"cpu": "1.6 GB of disk", "cuda": "6.7 GB of disk, with CUDA"}


def choose():
    """(build, pip's options, a sentence that says what was chosen and why).

    The environment variable TORCH (cpu or cuda) decides, and otherwise whether there is an NVIDIA
    card; TORCH_CPU_INDEX names another index, such as an institution's mirror.
    """
    asked = os.environ.get("TORCH", "")
    if asked not in ("", "cpu", "cuda"):
        sys.exit("TORCH is '%s': say TORCH=cpu, TORCH=cuda, or leave it out." % asked)
    if sys.platform != "linux":
        return "cpu", [], "torch: this system's ordinary build (about %s)." % SIZES["cpu"]
    if asked == "cuda" or (not asked and has_card()):
        why = "as TORCH asks" if asked else "this machine has an NVIDIA card"
        return "cuda", [], "torch: %s (%s)." % (why, SIZES["cuda"])
    index = os.environ.get("TORCH_CPU_INDEX", CPU_INDEX)
    why = "as TORCH asks" if asked else "no NVIDIA card here"
    if answers(index):
        words = "torch: the CPU build, %s (%s). TORCH=cuda takes the other one."
        return "cpu", ["--extra-index-url", index], words % (why, SIZES["cpu"])
    words = "torch: the ordinary build (%s), since PyTorch's index of CPU builds cannot be reached."
    return asked or "cuda", [], words % SIZES["cuda"]


def has_card():
    """Whether the driver of an NVIDIA card is loaded and names one."""
    if os.path.exists("/proc/driver/nvidia/version"):
        return True
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    try:
        call = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return call.returncode == 0 and "GPU" in call.stdout


def answers(index):
    """Whether the index lists torch, within seconds."""
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(index.rstrip("/") + "/torch/", timeout=SECONDS) as page:
            return page.status == 200 and b"torch-" in page.read(2000000)
    except (OSError, URLError, ValueError):
        return False
