"""Birds in the explorer are shown three times as fine as the network saw them."""

import base64
import io
import re

import numpy as np
from PIL import Image

from course_utils.birds import draw
from course_utils.explorers.birds import UNSEEN, bird_explorer


def test_the_bird_is_shown_finely_and_explained_as_the_network_saw_it():
    explorer = bird_explorer("flamingo", rather_than="spoonbill")
    assert explorer.scene.pixels.shape == (128, 128, 3)
    page = explorer.pictures.value
    shown = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(data))), float)
        for data in re.findall(r"base64,([^']+)", page)
    ]
    assert {image.shape for image in shown} == {(384, 384, 3)}
    expected = np.asarray(draw("flamingo", UNSEEN, size=384).image, float)
    assert np.abs(shown[0] - expected).mean() < 3  # of 255: it comes as a JPEG
    assert "in 128 x 128 pixels; drawn finer here" in page


def test_a_photo_put_in_a_birds_place_is_shown_itself():
    explorer = bird_explorer("flamingo")
    explorer._add_upload(type("Change", (), {"new": [{"name": "flamingo", "content": png()}]}))
    assert explorer.scene.fine is None


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (150, 150), (90, 120, 150)).save(buffer, "PNG")
    return buffer.getvalue()
