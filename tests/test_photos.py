"""What load_photo promises: any picture becomes upright RGB, any fault becomes one sentence."""

import base64
import hashlib
import io
import os
import socket
import struct
import threading
import zlib
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.models._meta import _IMAGENET_CATEGORIES

from course_utils import photos
from course_utils.photos import ALIASES, OPTIONAL_PHOTOS, PHOTOS, available_photos, load_photo

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(photo):
    assert photo.mode == "RGB"
    return np.asarray(photo).tolist()


def sentence(error):
    """The message of a raised error, after a check that it reads as one sentence on one line."""
    text = str(error.value)
    assert "\n" not in text and text[-1] in ".?" and text[0] in "'" + text[0].upper()
    return text


@pytest.fixture(autouse=True)
def empty_photo_folder(tmp_path, monkeypatch):
    folder = tmp_path / "kept photos"
    monkeypatch.setenv("COURSE_PHOTOS", str(folder))
    return folder


# Pictures of every kind become upright RGB of 8 bits.


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_exif_orientation_6_turns_the_photo_a_quarter_to_the_right(kind):
    # Stored: red above blue, 8 wide and 32 high. Turned clockwise: blue left of red.
    stored = Image.new("RGB", (8, 32), RED)
    stored.paste(BLUE, (0, 16, 8, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = load_photo(encoded(stored, kind, exif=exif))
    assert photo.size == (32, 8)
    assert photo.getpixel((4, 4))[2] > 200 > 50 > photo.getpixel((4, 4))[0]
    assert photo.getpixel((28, 4))[0] > 200 > 50 > photo.getpixel((28, 4))[2]
    assert load_photo(photo).size == (32, 8)  # a second call does not turn it again


def test_grey_of_8_bits_keeps_its_values():
    image = Image.fromarray(np.array([[0, 100, 255]], dtype=np.uint8))
    assert pixels(load_photo(encoded(image))) == [[[0] * 3, [100] * 3, [255] * 3]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_16_bits_is_divided_by_257_and_not_clipped(kind):
    image = Image.fromarray(np.array([[0, 257, 25700, 65535]], dtype=np.uint16))
    assert pixels(load_photo(encoded(image, kind))) == [[[v] * 3 for v in (0, 1, 100, 255)]]


@pytest.mark.parametrize(("top", "kind"), [(250, "PNG"), (400, "PNG"), (600, "PPM")])
def test_dark_grey_of_16_bits_stays_dark(top, kind):
    image = Image.fromarray(np.array([[0, 200, top]], dtype=np.uint16))  # 200 / 257 rounds to 1
    dark = [[0] * 3, [1] * 3, [round(top / 257)] * 3]
    with pytest.warns(UserWarning, match=f"brightest value is {top} of 65535"):
        assert pixels(load_photo(encoded(image, kind))) == [dark]


@pytest.mark.parametrize(
    "values, white",
    [([0.0, 0.2, 1.0], 1), ([0.0, 51.0, 255.0], 255), ([0.0, 13107.0, 65535.0], 65535)],
)
def test_float_grey_is_read_on_the_first_scale_that_holds_it(values, white):
    image = Image.fromarray(np.array([values], dtype=np.float32))
    assert pixels(load_photo(encoded(image, "TIFF"))) == [[[0] * 3, [51] * 3, [255] * 3]]


@pytest.mark.parametrize("bad", [-1.0, 1e6, np.nan, np.inf])
def test_float_grey_on_no_known_scale_is_refused(bad):
    image = Image.fromarray(np.array([[0.0, bad]], dtype=np.float32))
    with pytest.raises(
        ValueError, match="its values (run from .*white is unknown|hold NaN or infinity)"
    ) as error:
        load_photo(encoded(image, "TIFF"))
    sentence(error)


def test_cmyk_becomes_rgb():
    image = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan ink: red
    red, green, blue = load_photo(encoded(image, "JPEG")).getpixel((8, 8))
    assert red > 240 and green < 15 and blue < 15


def test_rgba_is_laid_on_white():
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))  # fully transparent red
    image.putpixel((1, 0), (0, 0, 0, 51))  # a fifth of black: 255 - 51
    assert pixels(load_photo(encoded(image))) == [[list(WHITE), [204, 204, 204]]]


def test_grey_with_alpha_is_laid_on_white():
    image = Image.new("LA", (2, 1), (0, 0))
    image.putpixel((1, 0), (80, 255))
    assert pixels(load_photo(encoded(image))) == [[list(WHITE), [80, 80, 80]]]


def test_a_transparent_grey_of_16_bits_is_laid_on_white():
    image = Image.fromarray(np.array([[7, 80 * 257]], np.uint16))
    content = io.BytesIO()
    image.save(content, "PNG", transparency=7)
    assert pixels(load_photo(content.getvalue())) == [[list(WHITE), [80, 80, 80]]]


def palette():
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, *GREEN])
    image.putpixel((1, 0), 1)
    return image


def test_palette_becomes_its_colours():
    assert pixels(load_photo(encoded(palette()))) == [[list(RED), list(GREEN)]]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_transparent_palette_colour_is_laid_on_white(kind):
    content = encoded(palette(), kind, transparency=0)
    assert pixels(load_photo(content)) == [[list(WHITE), list(GREEN)]]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_an_animation_gives_its_first_frame(kind):
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(first, kind, save_all=True, append_images=[second], **options)
    assert Image.open(io.BytesIO(content)).n_frames == 2
    assert load_photo(content).getpixel((4, 4)) == RED


# Every kind of source.


def test_path_text_and_memoryview_give_the_same_photo(tmp_path):
    image = Image.new("RGB", (3, 2), BLUE)
    path = tmp_path / "a photo.png"
    image.save(path)
    for source in (path, str(path), path.read_bytes(), memoryview(path.read_bytes()), image):
        assert pixels(load_photo(source)) == [[list(BLUE)] * 3] * 2


def test_an_open_file_is_read(tmp_path):
    file = tmp_path / "grey.png"
    Image.new("RGB", (5, 4), "grey").save(file)
    with file.open("rb") as opened:
        assert load_photo(opened).size == load_photo(io.BytesIO(file.read_bytes())).size == (5, 4)
    with file.open() as text, pytest.raises(TypeError, match="open for text"):
        load_photo(text)


def test_what_a_stream_gives_in_parts_is_read_to_its_end():
    """As a pipe or a socket does: `read(n)` gives what has come by now."""

    class Pipe(io.BytesIO):
        def read(self, size=-1):
            return super().read(50)

    assert load_photo(Pipe(encoded(Image.new("RGB", (30, 20), BLUE)))).size == (30, 20)


def test_a_stream_without_an_end_is_read_as_far_as_the_limit(monkeypatch):
    monkeypatch.setattr(photos, "MAX_BYTES", 1000)

    class Endless:
        given = 0

        def read(self, size):
            assert self.given <= 1000, "read on behind the limit"
            self.given += min(size, 300)
            return b"x" * min(size, 300)

    with pytest.raises(ValueError, match="The open file is larger than 0.001 MB"):
        load_photo(Endless())


def test_a_path_in_bytes_is_said_to_be_one(tmp_path):
    with pytest.raises(ValueError, match="a path in bytes will not do"):
        load_photo(os.fsencode(tmp_path / "a.png"))


def test_a_folders_entry_is_a_path(tmp_path):
    Image.new("RGB", (5, 4)).save(tmp_path / "a.png")
    with os.scandir(tmp_path) as entries:
        assert load_photo(next(entries)).size == (5, 4)


def test_an_open_file_that_gives_nothing_is_told_why(tmp_path):
    file = tmp_path / "a.png"
    Image.new("RGB", (5, 4)).save(file)
    with file.open("rb") as opened:
        opened.read()
        with pytest.raises(ValueError, match=r"Nothing is left .*seek\(0\)"):
            load_photo(opened)
        opened.seek(0)
        assert load_photo(opened).size == (5, 4)
    with pytest.raises(ValueError, match="cannot be read from"):
        load_photo(opened)
    with (tmp_path / "b").open("wb") as writing, pytest.raises(ValueError, match="read from"):
        load_photo(writing)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    Image.new("RGB", (3, 2)).save(tmp_path / "mine.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert load_photo("~/mine.png").size == (3, 2)


def test_a_pil_image_is_not_handed_back_itself():
    image = Image.new("RGB", (2, 2), RED)
    load_photo(image).putpixel((0, 0), BLUE)
    assert image.getpixel((0, 0)) == RED


def test_what_is_no_source_is_refused_by_its_type():
    with pytest.raises(TypeError, match="a path, an address, .* not dict") as error:
        load_photo({})
    sentence(error)
    with pytest.raises(TypeError, match=r"upload: \.value\[0\]\['content'\]"):
        load_photo(({"name": "cat.png", "content": memoryview(b"")},))


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_said_to_be_so(name):
    with pytest.raises(FileNotFoundError, match="name is empty: give one of chelsea") as error:
        load_photo(name)
    sentence(error)


def test_an_address_of_a_file_is_its_path(tmp_path):
    Image.new("RGB", (3, 2), BLUE).save(tmp_path / "my photo.png")
    address = (tmp_path / "my photo.png").as_uri()
    assert load_photo(address).size == load_photo(address.replace("///", "/")).size == (3, 2)
    with pytest.raises(FileNotFoundError, match="no file .*gone.png"):
        load_photo((tmp_path / "gone.png").as_uri())


def test_an_address_that_is_the_data_itself_is_read():
    content = encoded(Image.new("RGB", (3, 2), BLUE))
    address = "data:image/png;base64," + base64.b64encode(content).decode()
    assert pixels(load_photo(address)) == [[list(BLUE)] * 3] * 2
    with pytest.raises(ValueError, match="^'data:image/png;base64,") as error:
        load_photo("data:image/png;base64," + "AAAA" * 1000)
    assert len(sentence(error)) < 400


def test_data_without_padding_or_for_addresses_are_data_too():
    content = encoded(Image.new("RGB", (3, 2), BLUE))
    for extra in range(3):  # so that "+" and "/" and every padding are seen
        letters = base64.urlsafe_b64encode(content + bytes([251, 255, 191][: extra + 1])).decode()
        address = "data:image/png;base64," + letters.rstrip("=")
        assert pixels(load_photo(address)) == [[list(BLUE)] * 3] * 2
    assert set("-_") & set(letters)


@pytest.mark.parametrize(
    "address, said",
    [
        ("data:image/png;base64,!!!!", "no base64"),
        ("data:image/png;base64,iVBOR", "not whole"),
        ("data:image/png;base64", "a comma is missing"),
        ("file://server/chelsea.png", "names the machine 'server'"),
    ],
)
def test_an_address_that_says_nothing_here_is_told_why(address, said):
    with pytest.raises(OSError, match=said) as error:
        load_photo(address)
    sentence(error)


# What looks like a file, and has no end.


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(OSError, match="pipe.png' is a pipe or a device") as error:
        load_photo(tmp_path / "pipe.png")
    sentence(error)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_not_read(device):
    with pytest.raises(OSError, match="is a pipe or a device") as error:
        load_photo(device)
    sentence(error)


def test_a_file_of_30_gigabytes_is_not_read(tmp_path):
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.truncate(30_000_000_000)  # a hole: it takes no place on the disk
    with pytest.raises(OSError, match="30,000 MB, and a picture's file at most 500 MB") as error:
        load_photo(tmp_path / "huge.jpg")
    sentence(error)


# Bad files: one sentence each.


@pytest.mark.parametrize(
    "content, said",
    [
        (encoded(Image.effect_noise((64, 64), 90), "JPEG")[:1500], "truncated"),
        (b"", "it is empty"),
        (b"Just some words.", "not one of JPEG, PNG"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not one of JPEG, PNG"),
    ],
    ids=["truncated JPEG", "empty", "text", "web page", "EPS, which would run Ghostscript"],
)
def test_a_file_that_is_no_whole_picture_is_said_so_with_its_name(tmp_path, content, said):
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said) as error:
        load_photo(path)
    assert sentence(error).startswith(f"'{path}' cannot be read as a picture")


def announcing(width, height):
    """A PNG of a few bytes that announces width x height pixels."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"")


@pytest.mark.parametrize("side", [10_000, 100_000], ids=["Pillow warns", "Pillow raises"])
def test_a_decompression_bomb_is_refused_from_its_header(side):
    with pytest.raises(ValueError, match="more than 89,478,485 pixels.*smaller") as error:
        load_photo(announcing(side, side))
    sentence(error)


PICTURES = [
    encoded(Image.effect_noise((24, 20), 90).convert("RGB"), kind)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP")
]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of damaged EXIF and TIFF tags
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.sampled_from(PICTURES), st.data())
def test_a_damaged_picture_gives_rgb_or_one_sentence(picture, data):
    content = bytearray(picture[: data.draw(st.integers(1, len(picture)))])
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert load_photo(bytes(content)).mode == "RGB"
    except ValueError as error:
        assert str(error).startswith("What you gave cannot be read as a picture (")


def test_a_missing_path_is_named_in_full(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        load_photo(tmp_path / "nothing here.png")
    assert f"no file {tmp_path / 'nothing here.png'}" in sentence(error)


@pytest.mark.parametrize("typed", ["chelsae", "Chelsea", "my photos of cats/chelsae.jpg"])
def test_a_mistyped_name_is_answered_with_the_closest(typed):
    with pytest.raises(FileNotFoundError, match="Did you mean 'chelsea'") as error:
        load_photo(typed)
    sentence(error)


def test_a_name_like_no_other_is_answered_with_all_names():
    with pytest.raises(FileNotFoundError) as error:
        load_photo("qqqq")
    assert all(name in sentence(error) for name in [*PHOTOS, *OPTIONAL_PHOTOS, *ALIASES])


def test_a_folder_is_said_to_be_one(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder") as error:
        load_photo(tmp_path)
    sentence(error)


@pytest.mark.parametrize(
    "path, said", [("x" * 5000, "name too long|No photo"), ("a\0b", "cannot be read")]
)
def test_a_path_the_system_refuses_is_an_oserror(path, said):
    with pytest.raises(OSError, match=f"(?i){said}") as error:
        load_photo(path)
    sentence(error)


# The registry.


@pytest.mark.parametrize("name", PHOTOS)
def test_an_installed_photo_loads_without_a_network(name, monkeypatch):
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was made"))
    width, height = load_photo(name).size
    assert min(width, height) >= 224
    for left, top, right, bottom in PHOTOS[name].regions.values():
        assert 0 <= left < right <= width and 0 <= top < bottom <= height


def test_every_photo_has_a_credit_alt_text_and_real_classes():
    for photo in [*PHOTOS.values(), *OPTIONAL_PHOTOS.values()]:
        assert photo.credit and photo.alt.endswith(".")
        assert set(photo.classes) <= set(_IMAGENET_CATEGORIES)


def test_each_installed_photo_names_a_region_and_each_optional_one_a_sha256():
    assert all(photo.regions and photo.sha256 is None for photo in PHOTOS.values())
    assert all(len(bytes.fromhex(photo.sha256)) == 32 for photo in OPTIONAL_PHOTOS.values())


def test_the_dahlias_region_is_the_box_around_its_orange_pixels():
    red, _, blue = np.moveaxis(np.asarray(load_photo("flower"), dtype=int)[:374], 2, 0)
    rows, columns = np.nonzero((red - blue > 60) & (red > 160))  # above the second dahlia
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(PHOTOS["flower"].regions["dahlia"], found, atol=6)


@pytest.mark.parametrize("name, region", [("coffee", "coffee"), ("rocket", "rocket")])
def test_the_region_of_a_bright_thing_is_bright(name, region):
    photo = load_photo(name)
    inside = np.asarray(photo.crop(PHOTOS[name].regions[region]))[..., 0].mean()
    assert inside > np.asarray(photo)[..., 0].mean() + 40


def test_an_alias_is_the_same_photo():
    assert load_photo("motorcycle").tobytes() == load_photo("motorcycle_left").tobytes()
    assert set(ALIASES.values()) <= {*PHOTOS, *OPTIONAL_PHOTOS}


def test_a_photo_missing_from_its_package_is_not_offered(monkeypatch):
    monkeypatch.setitem(PHOTOS, "coffee", replace(PHOTOS["coffee"], file="data/gone.png"))
    monkeypatch.setitem(PHOTOS, "china", replace(PHOTOS["china"], source="no_such_package"))
    assert {"coffee", "china"}.isdisjoint(available_photos())
    with pytest.raises(FileNotFoundError, match="install skimage again, .* chelsea") as error:
        load_photo("coffee")
    sentence(error)


# The network, played by a server on this machine.

PICTURE = encoded(Image.new("RGB", (6, 4), GREEN))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.agents.append(self.headers["User-Agent"])
        if self.path in ("/endless", "/headers"):
            return self.drip(self.path == "/headers")
        if self.path not in self.server.pages:
            return self.send_error(404)
        if self.path == "/slow.png":
            self.server.stopped.wait(3)
        content, length = self.server.pages[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)

    def drip(self, in_headers):
        self.wfile.write(b"HTTP/1.0 200 OK\r\n" + b"" if in_headers else b"HTTP/1.0 200 OK\r\n\r\n")
        try:
            while not self.server.stopped.wait(0.05):
                self.wfile.write(b"a: b\r\n" if in_headers else b"a")
        except OSError:
            pass

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.stopped, server.agents = threading.Event(), []
    server.pages = {
        "/good.png": (PICTURE, len(PICTURE)),
        "/damaged.png": (PICTURE[:-1] + b"?", len(PICTURE)),
        "/cut.png": (PICTURE[:-9], len(PICTURE)),
        "/page": (b"<html></html>", 13),
        "/slow.png": (PICTURE, len(PICTURE)),
    }
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.stopped.set()
    server.shutdown()
    server.server_close()
    thread.join()


def unused_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def optional(server, monkeypatch):
    """Make 'spoonbill' an optional photo on the local server: optional("good.png")."""

    def make(file, source=f"{server.address}/"):
        digest = hashlib.sha256(PICTURE).hexdigest()
        photo = replace(OPTIONAL_PHOTOS["spoonbill"], source=source, file=file, sha256=digest)
        monkeypatch.setitem(OPTIONAL_PHOTOS, "spoonbill", photo)

    return make


def test_an_address_is_loaded_with_a_progress_bar_and_not_kept(server, capfd, empty_photo_folder):
    assert pixels(load_photo(f" {server.address}/good.png\n")) == [[list(GREEN)] * 6] * 4
    assert "100%" in capfd.readouterr().err
    assert not empty_photo_folder.exists()


def test_the_request_says_who_asks(server):
    load_photo(f"{server.address}/good.png")
    assert server.agents == ["course_utils (course on visual explanations)"]


@pytest.mark.parametrize(
    "page, said",
    [("nowhere.png", r"the server answered 404 Not Found"), ("cut.png", "it broke off")],
)
def test_a_failed_download_says_why_and_what_is_at_hand(server, page, said):
    with pytest.raises(OSError, match=f"was not fetched.*{said}.*at hand are chelsea") as error:
        load_photo(f"{server.address}/{page}")
    assert f"{server.address}/{page}" in sentence(error)


def test_a_refused_connection_is_said(server):
    with pytest.raises(OSError, match="no connection") as error:
        load_photo(unused_address())
    sentence(error)


def test_no_network_is_said(server, monkeypatch):
    def no_such_host(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(socket, "getaddrinfo", no_such_host)
    with pytest.raises(OSError, match="no connection") as error:
        load_photo("https://example.org/cat.jpg")
    sentence(error)


def test_a_server_that_stays_silent_is_given_up(server, monkeypatch):
    monkeypatch.setattr(photos, "TIMEOUT", 0.2)
    with pytest.raises(OSError, match="no answer within 0.2 seconds") as error:
        load_photo(f"{server.address}/slow.png")
    sentence(error)


def test_a_download_over_the_limit_is_refused(server, monkeypatch):
    monkeypatch.setattr(photos, "MAX_BYTES", len(PICTURE) - 1)
    with pytest.raises(OSError, match="larger than") as error:
        load_photo(f"{server.address}/good.png")
    sentence(error)
    monkeypatch.setattr(photos, "MAX_BYTES", len(PICTURE))
    assert load_photo(f"{server.address}/good.png").size == (6, 4)


def test_a_web_page_is_no_picture(server):
    with pytest.raises(ValueError, match="/page' cannot be read .*a web page") as error:
        load_photo(f"{server.address}/page")
    sentence(error)


@pytest.mark.parametrize("odd", ["/endless", "/headers"])
def test_a_server_that_drips_is_given_up(server, monkeypatch, odd):
    """A byte now and then: no single wait is long."""
    monkeypatch.setattr(photos, "PATIENCE", 0.5)
    with pytest.raises(OSError, match="too slow: not complete after 0.5 seconds") as error:
        load_photo(f"{server.address}{odd}")
    sentence(error)


def test_a_refused_certificate_is_called_so(server, monkeypatch):
    def refuse(*_, **__):
        raise requests.exceptions.SSLError("certificate verify failed: self-signed certificate")

    monkeypatch.setattr(requests, "get", refuse)
    with pytest.raises(OSError, match="certificate was refused: .*REQUESTS_CA_BUNDLE") as error:
        load_photo("https://example.org/cat.jpg")
    assert "no connection" not in sentence(error)


def test_a_file_of_certificates_that_is_not_there_is_named(server, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/school.pem")
    with pytest.raises(OSError, match="REQUESTS_CA_BUNDLE .* names no file that is there") as error:
        load_photo(server.address.replace("http", "https") + "/good.png")
    sentence(error)


def test_https_asked_of_a_server_without_it_is_said(server):
    with pytest.raises(OSError, match="does not speak TLS: is it http") as error:
        load_photo(server.address.replace("http", "https") + "/good.png")
    sentence(error)


def test_a_length_that_is_no_number_is_not_quoted(server):
    server.pages["/good.png"] = (PICTURE, "abc")
    with pytest.raises(OSError, match="makes no sense") as error:
        load_photo(f"{server.address}/good.png")
    assert "abc" not in sentence(error)


@pytest.mark.parametrize("address", ["ftp://example.org/cat.jpg", "http://"])
def test_an_address_that_cannot_be_one_is_refused(address):
    with pytest.raises(OSError, match="was not fetched") as error:
        load_photo(address)
    sentence(error)


def test_an_optional_photo_is_fetched_once_and_kept(server, optional, capfd, empty_photo_folder):
    optional("good.png")
    assert "spoonbill" not in available_photos()
    assert pixels(load_photo("spoonbill")) == [[list(GREEN)] * 6] * 4
    assert "100%" in capfd.readouterr().err
    assert "spoonbill" in available_photos()
    assert (empty_photo_folder / "good.png").read_bytes() == PICTURE
    load_photo("spoonbill")
    assert len(server.agents) == 1


def test_a_damaged_download_is_not_kept(optional, empty_photo_folder):
    optional("damaged.png")
    with pytest.raises(OSError, match="'spoonbill' was not fetched.*damaged.*not kept") as error:
        load_photo("spoonbill")
    sentence(error)
    assert list(empty_photo_folder.iterdir()) == []


def test_an_optional_photo_over_the_limit_leaves_nothing(optional, empty_photo_folder, monkeypatch):
    optional("good.png")
    monkeypatch.setattr(photos, "MAX_BYTES", len(PICTURE) - 1)
    with pytest.raises(OSError, match="'spoonbill' was not fetched .it is larger than") as error:
        load_photo("spoonbill")
    sentence(error)
    assert list(empty_photo_folder.iterdir()) == []


def test_a_folder_that_cannot_be_used_is_named_with_the_cure(optional, empty_photo_folder):
    optional("good.png")
    empty_photo_folder.write_text("a file, where the folder should be")
    with pytest.raises(OSError, match="kept photos cannot be used: .* COURSE_PHOTOS") as error:
        load_photo("spoonbill")
    assert "tmp" not in sentence(error).replace(str(empty_photo_folder), "")


def test_a_kept_photo_that_was_damaged_since_is_fetched_again(optional, empty_photo_folder):
    optional("good.png")
    empty_photo_folder.mkdir()
    (empty_photo_folder / "good.png").write_bytes(PICTURE[:-5])
    assert "spoonbill" not in available_photos()
    assert load_photo("spoonbill").size == (6, 4)
    assert (empty_photo_folder / "good.png").read_bytes() == PICTURE


def test_a_file_put_in_the_folder_by_hand_needs_no_network(optional, empty_photo_folder):
    optional("good.png", source=f"{unused_address()}/")
    empty_photo_folder.mkdir()
    (empty_photo_folder / "good.png").write_bytes(PICTURE)
    assert load_photo("spoonbill").size == (6, 4)


def test_a_photo_that_may_not_be_read_is_not_at_hand(optional, empty_photo_folder, monkeypatch):
    optional("good.png", source=f"{unused_address()}/")
    empty_photo_folder.mkdir()
    (empty_photo_folder / "good.png").write_bytes(PICTURE)

    def refuse(_path):
        raise PermissionError(13, "Permission denied")

    assert "spoonbill" in available_photos()
    monkeypatch.setattr(photos.pooch, "file_hash", refuse)
    assert "spoonbill" not in available_photos() and "chelsea" in available_photos()


def test_an_optional_photo_without_a_network_is_said(optional):
    optional("good.png", source=f"{unused_address()}/")
    with pytest.raises(OSError, match="'spoonbill' was not fetched .no connection") as error:
        load_photo("spoonbill")
    sentence(error)


def test_without_course_photos_the_folder_is_the_users_cache(monkeypatch):
    monkeypatch.delenv("COURSE_PHOTOS")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)  # a machine may keep caches elsewhere
    assert photos.photo_folder().name == "targeted-visual-explanations"
    assert Path.home() in photos.photo_folder().parents
