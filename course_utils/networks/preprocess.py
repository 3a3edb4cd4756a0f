"""What a network sees of a photo: resized, cropped in the centre, normalised.

torchvision is imported where a photo is prepared, as in `classifiers.py`.
"""

import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..errors import ImageError, a_kind_of
from .pictures import as_rgb, is_picture

THIN = 8  # times as long as wide, or as the crop: then only what will be seen is enlarged


@dataclass(frozen=True)
class Preprocess:
    """The photo's way into a network, and a map's way back onto the photo.

    Args:
        resize: the shorter side after resizing, in pixels.
        crop: side of the square cut from the centre, in pixels.
        mean, std: per channel, of values in [0, 1].
        interpolation: "bicubic" or "bilinear", antialiased by PIL.

    Raises:
        ValueError: sizes that are no whole numbers from 1, not three numbers (no std of 0), a mean
            beyond 1, or an interpolation that PIL has not.
    """

    resize: int
    crop: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bilinear"

    def __post_init__(self):
        ways = [name.lower() for name in Image.Resampling.__members__]
        way = getattr(self.interpolation, "value", self.interpolation)  # torchvision's own
        object.__setattr__(self, "interpolation", way)
        for name in ("mean", "std"):  # also of an array or a tensor
            with suppress(TypeError, ValueError):
                object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        scale = [v for v in (self.mean, self.std) if isinstance(v, tuple) and len(v) == 3]
        sizes = all(isinstance(n, Integral) and n > 0 for n in (self.resize, self.crop))
        if not sizes or len(scale) < 2 or 0 in self.std or way not in ways:
            raise ValueError(
                "Preprocess(resize, crop, mean, std, interpolation) takes two whole numbers from "
                "1, three numbers each (no std of 0), and bilinear or bicubic, such as "
                f"Preprocess(256, 224, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)); not {self}."
            )
        if not all(abs(m) <= 1 for m in self.mean) or not all(map(math.isfinite, self.std)):
            raise ValueError(
                f"mean={self.mean} and std={self.std} must be those of values from 0 to 1: divide "
                "by 255 what was measured on 0 to 255."
            )

    def __call__(self, photo) -> Tensor:
        """A photo of any size and mode -> 3 x crop x crop floats (float32), normalised.

        Args:
            photo: a PIL image, or an array or tensor as `pictures.as_pixels` reads it.

        Raises:
            TypeError: something else, such as a photo's name.
            ValueError: a damaged photo, or numbers that are no picture.
        """
        from torchvision.transforms.v2 import functional as TF

        pixels = TF.pil_to_tensor(self.crop_photo(photo)).float() / 255
        return TF.normalize(pixels, self.mean, self.std)

    def crop_photo(self, photo) -> Image.Image:
        """The photo as the network sees it, crop x crop pixels, before normalisation."""
        from torchvision.transforms import InterpolationMode
        from torchvision.transforms.v2 import functional as TF

        if not is_picture(photo):
            raise TypeError(
                f"preprocess reads a PIL photo, not {a_kind_of(photo)}: "
                "classifier.preprocess(load_photo(...))."
            )
        photo = as_rgb(photo)
        if max(photo.size) > THIN * min(photo.size) or self.resize > THIN * self.crop:
            return self._crop_thin(photo)
        photo = TF.resize(photo, self.resize, InterpolationMode(self.interpolation))
        return TF.center_crop(photo, [self.crop, self.crop])

    def _crop_thin(self, photo: Image.Image) -> Image.Image:
        """As `crop_photo`, within a grey level, for photos of which the whole, enlarged, would take
        gigabytes, such as 1 x 20000 pixels."""
        from torchvision.transforms.v2 import functional as TF

        (width, height), scale = photo.size, self.resize / min(photo.size)
        left, top, right, bottom = self.crop_box(photo.size)
        # a crop larger than the resized photo reaches beside it, and is padded there
        left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
        sides = tuple(min(self.crop, round(s * scale)) for s in (right - left, bottom - top))
        # the interpolation also reads pixels beside the box
        margin = 2 * math.ceil(max(1, 1 / scale)) + 1
        x, y = max(0, int(left) - margin), max(0, int(top) - margin)
        ends = (min(width, math.ceil(right) + margin), min(height, math.ceil(bottom) + margin))
        box = (left - x, top - y, right - x, bottom - y)
        resampling = Image.Resampling[self.interpolation.upper()]
        seen = photo.crop((x, y, *ends)).resize(sides, resampling, box)
        return TF.center_crop(seen, [self.crop, self.crop])

    def show(self, x: Tensor) -> Tensor:
        """Normalised ... x 3 x H x W back to ... x H x W x 3 in [0, 1], for drawing.

        Raises:
            ImageError: another shape.
        """
        x = torch.as_tensor(x)
        if x.dim() < 3 or x.shape[-3] not in (1, 3):
            got = " x ".join(map(str, x.shape))
            raise ImageError(f"show() takes what preprocess made, 3 x H x W floats, not {got}.")
        mean, std = (torch.tensor(v, device=x.device).view(3, 1, 1) for v in (self.mean, self.std))
        return (x.detach().float() * std + mean).clamp(0, 1).movedim(-3, -1).cpu()

    def crop_box(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Where the network looked: (left, top, right, bottom) in pixels of the original photo.

        Args:
            size: (width, height) of the photo, as in PIL.
        """
        scale = self.resize / min(size)
        resized = [self.resize if s == min(size) else int(s * scale) for s in size]
        box = []
        for original, now in zip(size, resized):
            # what is too small is padded, the odd pixel behind it
            start = -((self.crop - now) // 2) if now < self.crop else round((now - self.crop) / 2)
            box.append((start * original / now, (start + self.crop) * original / now))
        (left, right), (top, bottom) = box
        return left, top, right, bottom

    def region_mask(self, box: tuple[float, float, float, float], size: tuple[int, int]) -> Tensor:
        """A box of the original photo as the network saw it: crop x crop, True inside.

        Args:
            box: (left, top, right, bottom) in pixels of the original photo.
            size: (width, height) of the photo, as in PIL.
        """
        left, top, right, bottom = self.crop_box(size)
        x = left + (torch.arange(self.crop) + 0.5) * (right - left) / self.crop
        y = top + (torch.arange(self.crop) + 0.5) * (bottom - top) / self.crop
        inside_x, inside_y = (box[0] <= x) & (x < box[2]), (box[1] <= y) & (y < box[3])
        return inside_y[:, None] & inside_x


def check_read(read: Any) -> None:
    """Raise an ImageError, with a cure, unless `read` is one image of floats.

    Args:
        read: what a network's own preprocess made of a photo.
    """
    whole = isinstance(read, Tensor) and read.dim() == 3
    if whole and read.is_floating_point():
        return
    got, cure = a_kind_of(read), ""
    if isinstance(read, Tensor):
        got = f"{' x '.join(map(str, read.shape))} {str(read.dtype).removeprefix('torch.')}"
        cure = " .float() / 255 makes floats of bytes." if whole else ""
        cure = " [0] takes the axis of the batch away." if read.shape[:1] == (1,) else cure
    elif isinstance(read, Mapping):
        cure = " Of a Hugging Face processor: processor(photo, return_tensors='pt')"
        cure += "['pixel_values'][0]."
    elif type(read).__name__ == "ndarray":
        cure = " torch.from_numpy(...) makes a tensor of an array."
    raise ImageError(
        f"preprocess made {got} of the photo, and must make one tensor, 3 x H x W floats.{cure}"
    )


def shown(preprocess: Any, x: Tensor) -> Tensor:
    """What a network read as a picture: C x H x W -> H x W x 3 in [0, 1], on the CPU.

    Of a transform that cannot be turned round (see `way_back`, or None) values outside [0, 1] are
    stretched from the darkest to the brightest; channels other than three are shown in grey.
    """
    back = way_back(preprocess)
    if back is not None:
        return back(x)
    values = x.detach().float().cpu()
    values = values if len(values) == 3 else values.mean(dim=0, keepdim=True).expand(3, -1, -1)
    low, high = values.aminmax()
    if low < 0 or high > 1:
        values = (values - low) / (high - low).clamp_min(1e-12)
    return values.movedim(0, -1)


def way_back(preprocess: Any) -> Callable[[Tensor], Tensor] | None:
    """From what a network reads to a picture, as `Preprocess.show`; None: it cannot be known.

    It is known of ours, and of transforms that have a mean and a std, alone or in a row of them.
    """
    if callable(own := getattr(preprocess, "show", None)):
        return own
    steps = getattr(preprocess, "transforms", None)
    for step in [preprocess, *steps] if isinstance(steps, (list, tuple)) else [preprocess]:
        scale = getattr(step, "mean", None), getattr(step, "std", None)
        if None not in scale:
            mean, std = (torch.as_tensor(v, device="cpu").flatten().tolist() for v in scale)
            if len(mean) == len(std) in (1, 3):  # of one number: the same for all channels
                with suppress(ValueError):  # not of values from 0 to 1
                    return Preprocess(1, 1, tuple(mean * 3)[:3], tuple(std * 3)[:3]).show
    return None
