"""Run a notebook from top to bottom and keep what it took."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.output_widget import OutputWidget
from peak_memory import resident_peak
from static_widgets import freeze

CELL_SECONDS = 180  # to end what hangs
MEBI = 2**20


@dataclass(frozen=True)
class Run:
    """A notebook with its outputs, and what running it took.

    Attributes:
        notebook: executed, each widget replaced by a still one, as it stood after its cell.
        seconds: wall time, the kernel's start included.
        peak_mib: largest resident memory of the kernel, in MiB.
    """

    notebook: nbformat.NotebookNode
    seconds: float
    peak_mib: float

    @property
    def cells(self) -> int:
        return sum(cell.cell_type == "code" for cell in self.notebook.cells)


def run_notebook(path: Path) -> Run:
    """Execute the notebook in its own folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell raised; the message holds it.
        static_widgets.WidgetError: a widget's callback raised, inside the widget only.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
    )
    start = time.perf_counter()
    # one thread: two that wait for each other on a busy machine take many times as long
    with client.setup_kernel(env={**os.environ, "OMP_NUM_THREADS": "1"}):
        client.widget_registry = {"@jupyter-widgets/output": {"OutputModel": OneWayOutput}}
        process = psutil.Process(client.km.provisioner.pid)
        peak = 0.0
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
            freeze(cell, client.widget_state, client.widget_buffers)
            peak = max(peak, resident_peak(process))
        seconds = time.perf_counter() - start
    return Run(notebook, seconds, peak / MEBI)


class OneWayOutput(OutputWidget):
    """An Output widget that gathers what is printed into it, and does not tell the kernel.

    nbclient's own tells it on the socket on which it awaits the cell's reply, and now and then
    misses that reply: the cell then seems to take its whole time limit. No notebook here reads
    `out.outputs`; nbval does not fill it either.
    """

    def sync_state(self) -> None:
        pass
