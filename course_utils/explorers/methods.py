"""A chooser of any of the seventeen methods, beside the explorer's three questions.

A slow method works in a thread, shows how far it is, and can be stopped. The methods are imported
when the first one is asked: captum takes its time.
"""

import html
import threading
from collections.abc import Callable

import ipywidgets as w
import numpy as np
from PIL import Image

from ..figures.method_table import answer_pictures
from ..figures.overlays import as_pixels
from ..figures.picture import figure_html, jpeg
from .panel import LINES, dropdown, grid

NAMES = (
    *("Deconvolution", "Inverted Representations", "Guided-Backprop", "SmoothGrad", "LIME", "CAM"),
    *("Graph-CNN", "Grad-CAM", "TCAV", "Grad-CAM++", "RISE", "Causal-CAM", "Counterfactual-CAM"),
    *("Goyal et al.", "CEM", "Contrast-CAM", "Contrastive reasoning"),
)
SIDE = 224  # pixels of a picture on the page, at most


class MethodChooser(w.VBox):
    """Ask any method about what an explorer shows.

    Args:
        question: () -> (scene, p, q), what is to be asked now.

    Attributes:
        answer: the last `Answer`, or None.
        worker: the thread that works on it, or worked last.
    """

    def __init__(self, question: Callable[[], tuple]):
        self._question, self._stopped = question, threading.Event()
        self.answer, self.worker = None, None
        self.method = dropdown("Another method", NAMES, "Grad-CAM++")
        self.ask = w.Button(description="Ask it", layout=w.Layout(width="auto"))
        self.stop = w.Button(description="Stop", disabled=True, layout=w.Layout(width="auto"))
        self.bar = w.IntProgress(description="Passes", layout=w.Layout(width="auto"))
        self.bar.layout.visibility = "hidden"
        self.status, self.pictures = w.HTML(), w.HTML()
        self.ask.on_click(lambda _button: self.start())
        self.stop.on_click(lambda _button: self._stopped.set())
        controls = grid([self.method, w.HBox([self.ask, self.stop]), self.bar])
        super().__init__([controls, self.status, self.pictures])

    def start(self) -> None:
        """Begin with the chosen method; nothing happens while another one works."""
        if self.worker is not None and self.worker.is_alive():
            return
        self._stopped.clear()
        self.ask.disabled, self.stop.disabled = True, False
        self.bar.value, self.bar.layout.visibility = 0, "visible"
        self.say(f"{self.method.value} is at work ...")
        self.worker = threading.Thread(target=self._work, args=self._question(), daemon=True)
        self.worker.start()

    def outdated(self) -> None:
        """The photo or the question changed: what works on the old one stops."""
        self._stopped.set()
        if self.pictures.value:
            self.say("The question has changed. Ask again.")
            self.pictures.value = ""

    def say(self, words: str) -> None:
        """Put words on the chooser's own line."""
        self.status.value = f"<div role='status' style='{LINES}'>{html.escape(words)}</div>"

    def _work(self, scene, p: int, q: int) -> None:
        """In the thread: ask, and show the answer or say why there is none."""
        from ..methods.taxonomy import METHODS, Stopped, counted

        method, worker = METHODS[self.method.value], threading.get_ident()
        self.bar.max = method.forward

        def tell(done: int) -> bool | None:
            if threading.get_ident() != worker:
                return None  # the explorer's own question, meanwhile
            self.bar.value = min(done, self.bar.max)
            return not self._stopped.is_set()

        try:
            with counted(scene.classifier, tell) as passes:
                layer = scene.forward_pass.layer
                answer = method(scene.classifier, scene.x, why=p, rather_than=q, layer=layer)
            if self._stopped.is_set():
                raise Stopped("Stopped.")
            self._show(scene, answer, str(passes))
        except Stopped:
            self.say(f"{method.name} was stopped.")
        except (ValueError, OSError) as reason:  # said in words by the methods themselves
            self.say(f"{method.name}: {reason}")
        except Exception as error:  # a thread's error would be seen by nobody
            self.say(f"{method.name} did not work: {type(error).__name__}: {error}")
        finally:
            self.ask.disabled, self.stop.disabled = False, True
            self.bar.layout.visibility = "hidden"

    def _show(self, scene, answer, passes: str) -> None:
        drawn = []
        for pixels, title in answer_pictures(answer, scene.pixels):
            picture = Image.fromarray((as_pixels(np.asarray(pixels)) * 255).astype("uint8"))
            told = f"{answer.method}, {title}"
            style = f"flex:1 1 130px;max-width:{SIDE}px"
            drawn.append(figure_html(jpeg(picture), told, title, style, "width:100%", "jpeg"))
        flow = "display:flex;flex-wrap:wrap;gap:0.5em 0.8em;line-height:1.4"
        self.answer, self.pictures.value = answer, f"<div style='{flow}'>{''.join(drawn)}</div>"
        unsaid = answer.empty and not answer.said.startswith("Empty")
        empty = "The map is empty: no positive evidence. " * unsaid
        self.say(f"{answer.method}: {answer.question} {empty}{answer.said} ({passes})")
