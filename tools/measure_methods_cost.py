"""What one question costs on a photo: seconds of the processor and memory, each of the seventeen.

Each method is asked about lecture 1's frame with EfficientNet-Lite0, in a process of its own and on
one thread. Memory is by how much the question lifts the peak above what the process holds after a
plain forward pass (Linux; elsewhere it is not known). It includes what a method loads for itself:
photos, birds, captum.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from time import process_time

import psutil
import torch
from peak_memory import resident_peak
from tqdm import tqdm

from course_utils.methods.taxonomy import METHODS, counted

NETWORK, CASE = "efficientnet_lite0", "frame"
MB = 1_000_000


def forget_peak() -> bool:
    """Let the process's peak begin anew; False where the system has no such switch."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def cost(name: str) -> dict:
    """One method's seconds, passes and memory in MB (None: not known), here and now."""
    from methods_report import frame

    torch.set_num_threads(1)
    network, x, _ = frame()
    method = METHODS[name]
    with torch.inference_mode():
        network(x)
    before = psutil.Process().memory_info().rss if forget_peak() else None
    start = process_time()
    with counted(network) as passes:
        method(network, x, why="tiger cat", rather_than="espresso" if method.needs_q else None)
    seconds = process_time() - start
    memory = None
    if before is not None:
        memory = round((resident_peak(psutil.Process()) - before) / MB)
    return dict(seconds=round(seconds, 2), passes=[passes.forward, passes.backward], memory=memory)


def run(notes) -> None:
    """Ask each method that is not in the notes yet, one process after the other."""
    for method in tqdm(METHODS, "cost on a photo"):
        if notes.has(NETWORK, method.name, "cost", CASE):
            continue
        call = [sys.executable, __file__, method.name]
        alone = dict(os.environ, OMP_NUM_THREADS="1")
        done = subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True, env=alone)
        row = dict(version=notes.version, network=NETWORK, entry=method.name)
        row |= dict(question="cost", case=CASE)
        notes.add(row | json.loads(done.stdout.splitlines()[-1]))


def summary(rows: list[dict]) -> dict:
    """method -> seconds, passes, memory, in the lecture's order."""
    found = {row["entry"]: row for row in rows if row["question"] == "cost"}
    kept = ("seconds", "passes", "memory")
    return {m.name: {k: found[m.name][k] for k in kept} for m in METHODS if m.name in found}


if __name__ == "__main__":
    print(json.dumps(cost(sys.argv[1])))
