"""Pieces of an interactive panel: labelled controls, and callbacks whose errors are seen."""

import functools
import html
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ipywidgets as w

LABEL = {"description_width": "8.5em"}  # as wide as "rather than q ="
SHORT = {"description_width": "7.5em"}  # of up to 13 letters: more is left for the choice
LINES = "line-height:1.4"  # widgets are set wide, for a control on each line

# What ipywidgets cannot do, an empty style does as it is loaded.
# JupyterLab takes the keys of a list that has the focus for commands: typing "banana" to reach that
# class would insert four cells. `lmSuppressShortcuts` is its own way to leave an element its keys.
# A large file travels for seconds before the kernel hears of it: the status line says so at once.
_ON_PAGE = """
const panel = this.closest('.widget-vbox');
panel?.addEventListener('focusin', e => {
  if (e.target.matches('select, button')) e.target.dataset.lmSuppressShortcuts = '';
});
panel?.addEventListener('change', e => {
  const file = e.target.files?.[0], status = panel.querySelector('.explorer-status');
  if (file && status) status.textContent = `Reading ${file.name} ...`;
}, true);
"""

# ipywidgets gives a slider's handle no name and the choices of one question no common one: a screen
# reader then says neither, and the arrow keys choose nothing. A question is what stands above it.
_NAMES = """
const root = this.closest('.widget-vbox');
const mend = () => {
  root.querySelectorAll('.widget-slider').forEach(slider =>
    slider.querySelectorAll('[role=slider]').forEach(handle =>
      handle.setAttribute('aria-label', slider.querySelector('label')?.textContent || 'value')));
  root.querySelectorAll('.widget-radio').forEach(group => {
    const question = group.parentElement.querySelector('.widget-html-content')?.textContent;
    group.setAttribute('role', 'radiogroup');
    group.setAttribute('aria-label', question || 'choices');
    group.querySelectorAll('input').forEach(choice => {
      choice.name = 'choices: ' + question;
      choice.dataset.lmSuppressShortcuts = '';
    });
  });
};
mend();
new MutationObserver(mend).observe(root, {childList: true, subtree: true});
"""


def names_for_readers() -> w.HTML:
    """A last child for a `VBox`, unseen: it gives names to the sliders and choices in that box."""
    return _unseen(_NAMES)


def _unseen(script: str) -> w.HTML:
    """A script that runs as it is put on the page; `this` is its element there."""
    words = f'<style onload="{html.escape(" ".join(script.split()))}"></style>'
    return w.HTML(words, layout=w.Layout(height="0", margin="0"))


def _wide() -> w.Layout:
    return w.Layout(width="auto")  # of the cell of the grid that it stands in


def dropdown(label: str, options=(), value=None) -> w.Dropdown:
    """A list to choose from, its label bound to it."""
    style = SHORT if len(label) <= len("rather than Q") else LABEL
    return w.Dropdown(description=label, options=options, value=value, layout=_wide(), style=style)


def text(label: str, hint: str) -> w.Text:
    """A line to type into; every keystroke counts."""
    return w.Text(description=label, placeholder=hint, layout=_wide(), style=SHORT)


def upload(label: str, accept: str) -> w.FileUpload:
    """A button that asks for a file of the learner's own."""
    return w.FileUpload(description=label, accept=accept, layout=_wide())


def grid(controls: list[w.Widget]) -> w.Box:
    """Controls in as many columns as the page is wide: one on a phone."""
    columns = "repeat(auto-fit, minmax(min(20em, 100%), 1fr))"
    return w.Box(controls, layout=w.Layout(display="grid", grid_template_columns=columns))


def answering(callback: Callable) -> Callable:
    """For methods of a `Panel` that observe a control: errors go to `out`, and are not lost."""

    @functools.wraps(callback)
    def run(self, change) -> None:
        if self.quiet:
            return
        with self.out:
            if self.out.outputs:  # never elsewhere: without a page it would print an escape code
                self.out.clear_output()
            try:
                callback(self, change)
            except Exception:
                self.say("<b>That did not work: the error is shown below.</b>")
                raise

    return run


class Panel(w.VBox):
    """Controls above a status line, with a place for errors below.

    Attributes:
        status: a line in words.
        out: where an error in a callback is shown, which would otherwise be invisible.
        quiet: whether changes are made by the program, and not to be answered.
    """

    def __init__(self):
        self.status, self.out, self.quiet = w.HTML(), w.Output(), True
        super().__init__()

    def arrange(self, controls: list[w.Widget], pictures: w.Widget) -> None:
        """Put everything in its place."""
        last = [self.out, _unseen(_ON_PAGE), names_for_readers()]
        self.children = [*controls, self.status, pictures, *last]

    @contextmanager
    def silence(self) -> Iterator[None]:
        """Changes made inside are not answered."""
        before, self.quiet = self.quiet, True
        try:
            yield
        finally:
            self.quiet = before

    def set(self, control: w.Widget, value, options=None) -> None:
        """Change a control without answering, in one message to the page."""
        with self.silence(), control.hold_sync():
            if options is not None:
                control.options = options
            control.value = value

    def say(self, words: str) -> None:
        """Put words (HTML) on the status line."""
        self.status.value = (
            f"<div role='status' class='explorer-status' style='{LINES}'>{words}</div>"
        )
