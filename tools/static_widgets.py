"""Still pictures of ipywidgets, as HTML: what a page without a kernel can show of them.

A widget is drawn as it stands after the cell that shows it. Only the core ipywidgets are known; any
other one with a value is shown as "description: value".
"""

import re
from html import escape

VIEW = "application/vnd.jupyter.widget-view+json"
PREFIX = "IPY_MODEL_"
NOTE = (
    "An interactive panel, shown here as it first appears. To use it, run <code>make lab</code> "
    "in the course's folder and open this notebook there."
)
BOXES = ("Box", "HBox", "VBox", "GridBox", "Accordion", "Tab", "Stack")
CHOICES = ("Dropdown", "Select", "RadioButtons", "ToggleButtons", "SelectionSlider")
SILENT = ("FileUpload", "Play", "FloatProgress", "IntProgress")


class WidgetError(Exception):
    """A widget shows a traceback: one of its callbacks raised."""


def freeze(cell: dict, state: dict[str, dict], buffers: dict[str, dict]) -> None:
    """Replace every widget view among the cell's outputs by still HTML.

    Args:
        cell: a notebook cell, changed in place.
        state: model id -> its state, as `nbclient.NotebookClient.widget_state` keeps it.
        buffers: model id -> its binary traits, base64, as `widget_buffers` keeps them.

    Raises:
        WidgetError: an Output widget in the view holds a traceback.
    """
    for output in cell.get("outputs", []):
        if VIEW in output.get("data", {}):
            panel = _draw(output.data[VIEW]["model_id"], state, buffers)  # raises a panel's errors
            panel = output.data.get("text/html", panel)  # it knows best how it stands still
            html = (
                f'<div class="panel"><p class="panel-note">{NOTE}</p>{panel}</div>' if panel else ""
            )
            output.data = {"text/html": html}


def _draw(model: str, state: dict[str, dict], buffers: dict[str, dict]) -> str:
    traits = state[model]
    kind = traits.get("_model_name", "").removesuffix("Model")
    label = traits.get("description") or ""
    if traits.get("layout") and _hidden(state.get(_id(traits["layout"]), {})):
        return ""
    if kind in BOXES:
        return _box(kind, traits, state, buffers)
    if kind == "Output":
        return "".join(map(_output, traits.get("outputs", ())))
    if kind == "Image":
        data = buffers.get(model, {}).get(("value",), {}).get("data", "")
        alt = escape(traits.get("tooltip") or "")
        return f'<img alt="{alt}" src="data:image/{traits.get("format", "png")};base64,{data}">'
    if kind in ("HTML", "HTMLMath"):
        value = re.sub(r"<style onload=.*?</style>", "", traits.get("value", ""))
        return f"<div>{escape(label)} {value}</div>" if value or label else ""
    if kind in SILENT:
        return ""
    if kind == "Button":
        return (
            f'<p class="control"><span class="button">{escape(label)}</span></p>' if label else ""
        )
    shown = _value(kind, traits)
    if kind == "Text" and not shown:  # nothing was typed
        return ""
    return (
        f'<p class="control"><b>{escape(label)}</b> {escape(shown)}</p>' if shown or label else ""
    )


def _box(kind: str, traits: dict, state: dict, buffers: dict) -> str:
    titles = traits.get("titles") or ()
    drawn = [_draw(_id(child), state, buffers) for child in traits.get("children", ())]
    if titles:
        drawn = [f"<p><b>{escape(title)}</b></p>{one}" for title, one in zip(titles, drawn)]
    style = "panel-row" if kind in ("Box", "HBox", "GridBox") else "panel-column"
    return f'<div class="{style}">{"".join(f"<div>{one}</div>" for one in drawn if one)}</div>'


def _value(kind: str, traits: dict) -> str:
    """The widget's value in words: the option's label, yes or no, or the value itself."""
    options = traits.get("_options_labels", ())
    chosen = traits.get("index")
    if kind in CHOICES:
        return options[chosen] if chosen is not None and options else "(nothing chosen)"
    if kind == "SelectMultiple":
        return ", ".join(options[i] for i in chosen or ())
    value = traits.get("value")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _output(output: dict) -> str:
    if output["output_type"] == "error":
        trace = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(output["traceback"]))
        raise WidgetError(
            f"A widget shows an error, {output['ename']}: {output['evalue']}\n{trace}"
        )
    if output["output_type"] == "stream":
        return f"<pre>{escape(output['text'])}</pre>"
    data = output["data"]
    if "text/html" in data:
        return data["text/html"]
    if "image/png" in data:
        alt = escape(output.get("metadata", {}).get("image/png", {}).get("alt", ""))
        return f'<img alt="{alt}" src="data:image/png;base64,{data["image/png"]}">'
    return f"<pre>{escape(data.get('text/plain', ''))}</pre>"


def _hidden(layout: dict) -> bool:
    return layout.get("display") == "none" or layout.get("visibility") == "hidden"


def _id(reference: str) -> str:
    return reference.removeprefix(PREFIX)
