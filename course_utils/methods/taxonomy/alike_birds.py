"""What the explanatory graph is fitted to and judged by: birds, cropped and turned one way."""

import numpy as np
from PIL import Image
from torch import Tensor

from ...birds import PARTS, Bird


def cropped(bird: Bird, side: int) -> tuple[Image.Image, dict[str, np.ndarray]]:
    """The bird alone, facing right, and the masks of its parts; the paper crops and tries flips."""
    rows, columns = np.where(bird.outline)
    half = (max(np.ptp(rows), np.ptp(columns)) + 8) // 2
    y, x = (rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2
    turned = np.where(bird.masks["bill"])[1].mean() < np.where(bird.masks["body"])[1].mean()

    def cut(image: Image.Image, how) -> Image.Image:
        image = image.crop((x - half, y - half, x + half, y + half)).resize((side, side), how)
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if turned else image

    def mask(values):
        return np.asarray(cut(Image.fromarray(values), Image.Resampling.NEAREST)) > 0

    parts = {part: mask(m.astype("uint8") * 255) for part, m in bird.masks.items()}
    return cut(bird.image, Image.Resampling.BILINEAR), parts


def stays(place: Tensor, masks: list[dict[str, np.ndarray]]) -> float:
    """Share of the images in which a node lies (within side / 32) on its usual part; the mean."""
    shares, side = [], len(masks[0]["body"])
    reach = side // 32
    for node in place.transpose(0, 1):
        hits = []
        for (y, x), own in zip((node * side).long().tolist(), masks):
            box = np.s_[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
            hits.append(next((part for part in PARTS if own[part][box].any()), None))
        named = [hit for hit in hits if hit]
        shares.append(max(map(named.count, PARTS)) / len(hits))
    return float(np.mean(shares))


def dots(pixels: np.ndarray, place: Tensor) -> np.ndarray:
    """The picture with a coloured square at each node, the same colour for the same node."""
    from matplotlib import colormaps

    pixels, side, reach = pixels.copy(), len(pixels), max(1, len(pixels) // 48)
    for k, (y, x) in enumerate((place * side).long().tolist()):
        colour = colormaps["tab20"](k % 20)[:3]
        pixels[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1] = colour
    return pixels
