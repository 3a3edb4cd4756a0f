"""Checks of ex05_image_quality: laying patches back, drawing on one scale, finding a fault."""

from collections.abc import Callable

import torch
from torch import Tensor

from .chance import dice
from .part import Mistake, Part

NOTHING = "nowhere"  # the answer where no fault is to be found (None means: not attempted)


def _lay_cases(seed: int) -> list[tuple]:
    made = []
    settings = [
        ((1, 4), [0, 4], [0, 4, 8], [8, 12]),  # side by side
        ((2, 4), [0, 2, 4], [0, 2], [8, 6]),  # overlapping
        ((3, 3), [0, 2], [0, 3, 5], [5, 8]),  # unevenly
        ((2, 4), [1], [0, 5], [6, 10]),  # some pixels are covered by none
    ]
    for number, ((k, side), tops, lefts, size) in enumerate(settings):
        rng, k = dice(seed, 40 + number), k + seed % 3
        corners = [[top, left] for top in tops for left in lefts]
        maps = torch.randn(len(corners), k, side, side, generator=rng) + 1
        made.append((maps, corners, size))
    return made


def _sum_and_count(
    maps: Tensor, corners: list[list[int]], size: list[int]
) -> tuple[Tensor, Tensor]:
    (_, k, h, w), (height, width) = maps.shape, size
    total, count = torch.zeros(k, height, width), torch.zeros(height, width)
    for (top, left), patch in zip(corners, maps):
        total[:, top : top + h, left : left + w] += patch
        count[top : top + h, left : left + w] += 1
    return total, count


def _laid_back(maps, corners, size):
    total, count = _sum_and_count(maps, corners, size)
    return total / count.clamp(min=1)


def _last_wins(maps, corners, size):
    whole = torch.zeros(maps.shape[1], *size)
    for (top, left), patch in zip(corners, maps):
        whole[:, top : top + patch.shape[1], left : left + patch.shape[2]] = patch
    return whole


def _by_triangles(maps, corners, size):
    """Weighted by a window that falls from a patch's middle to its edge."""
    side = maps.shape[-1]
    rise = torch.minimum(torch.arange(side) + 1.0, side - torch.arange(side).float())
    window = rise[:, None] * rise
    total, weight = _sum_and_count(maps * window, corners, size)[0], torch.zeros(*size)
    for top, left in corners:
        weight[top : top + side, left : left + side] += window
    return total / weight.where(weight > 0, 1)


LAY_BACK = Part(
    name="ex05_lay_back",
    title="Patches laid back in their places",
    points=2,
    answer="lay_back",
    draws=_lay_cases,
    reference=_laid_back,
    axes="K, H, W",
    mistakes=(
        Mistake(
            "where patches overlap you have their sum. "
            "Count how many lie on each pixel, and divide.",
            lambda *case: _sum_and_count(*case)[0],
        ),
        Mistake(
            "the last patch covers those below it. Where patches overlap, average them.",
            _last_wins,
        ),
        Mistake(
            "the last patch covers those below it: add (+=), then divide.",
            lambda *case: _last_wins(*case) / _sum_and_count(*case)[1].clamp(min=1),
        ),
        Mistake(
            "your patches count for more in their middle, as the course's own function has it. "
            "Here all pixels of a patch count alike.",
            _by_triangles,
        ),
        Mistake(
            "the whole picture is divided by the number of patches: divide each pixel by the "
            "number of patches that lie on it.",
            lambda maps, corners, size: _sum_and_count(maps, corners, size)[0] / len(maps),
        ),
        Mistake(
            "rows and columns have changed places: a corner is (top, left), and top counts rows.",
            lambda maps, corners, size: _swapped(maps, corners, size),
        ),
    ),
    failures=(
        (
            "must match the size",
            "Does the slice have the size of a patch, and do rows (top) and columns (left) stand "
            "in the right order?",
        ),
        (
            "size of tensor",
            "A corner is (top, left): rows first. The slice is as large as a patch.",
        ),
    ),
)


def _swapped(maps, corners, size):
    room = max(size) + maps.shape[-1]
    whole = _laid_back(maps, [corner[::-1] for corner in corners], [room, room])
    return whole[:, : size[0], : size[1]]


def _picture_cases(seed: int) -> list[tuple]:
    made = []
    for number, (k, h, w) in enumerate([(1, 3, 4), (3, 4, 5), (2, 2, 2), (4, 5, 3)]):
        rng = dice(seed, 50 + number)
        shape = k, h + seed % 2, w + seed % 5 * (number == 2)  # zeros differ by their shape only
        evidence = torch.randn(*shape, generator=rng) * (number + 1)
        if number == 1:
            evidence[0] *= 0.1  # a weak map has to look weak
        if number in (0, 1):
            evidence[-1, 0, 0] = -evidence.abs().max() - 1  # the largest magnitude is negative
        if number == 1:
            evidence *= 0.1  # all of it is below 1
        if number == 2:
            evidence = torch.zeros_like(evidence)
        made.append((evidence,))
    return made


def _colours(values: Tensor) -> Tensor:
    """-1 blue, 0 white, 1 red."""
    fade, low = 1 - values.abs(), values < 0
    red, blue = torch.where(low, fade, 1.0), torch.where(low, 1.0, fade)
    return torch.stack([red, fade, blue], dim=-1)


def _drawn(evidence: Tensor) -> Tensor:
    largest = evidence.abs().max()
    return _colours(evidence / largest if largest > 0 else evidence)


def _own_scales(evidence):
    return _colours(evidence / evidence.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1e-12))


def _stretched(evidence):
    low, high = evidence.min(), evidence.max()
    return _colours(2 * (evidence - low) / (high - low).clamp(min=1e-12) - 1)


def _largest_positive(evidence):
    v = evidence / evidence.max().clamp(min=1e-12)
    return torch.stack([1 + v.clamp(max=0), 1 - v.abs(), 1 - v.clamp(min=0)], dim=-1)


def _on_black(evidence):
    largest = evidence.abs().max()
    v = evidence / largest if largest > 0 else evidence
    return torch.stack([v.clamp(min=0), torch.zeros_like(v), (-v).clamp(min=0)], dim=-1)


PICTURE = Part(
    name="ex05_picture",
    visible=-1,
    title="Signed, on one scale, zero in white",
    points=2,
    answer="signed_picture",
    draws=_picture_cases,
    reference=_drawn,
    axes="K, H, W, 3",
    mistakes=(
        Mistake(
            "each map is divided by its own maximum, so "
            "that weak ones look strong: one scale for all.",
            _own_scales,
        ),
        Mistake(
            "zero is not white. Stretching from the smallest to the largest value moves it: "
            "divide by the largest magnitude instead.",
            _stretched,
        ),
        Mistake(
            "the scale is the largest positive value. "
            "Negative evidence may be larger: take magnitudes.",
            _largest_positive,
        ),
        Mistake(
            "the scale is the largest positive value. "
            "Negative evidence may be larger: take magnitudes.",
            lambda evidence: _largest_positive(evidence).clamp(0, 1),
        ),
        Mistake(
            "evidence below 1 is not divided: divide by the largest magnitude, whatever it is, "
            "unless it is 0.",
            lambda evidence: _colours(evidence / evidence.abs().max().clamp(min=1)),
        ),
        Mistake(
            "the colours are turned round: red holds the score up, blue pulls it down.",
            lambda evidence: _drawn(-evidence),
        ),
        Mistake(
            "the colours run from 0 to 255 here; they are to run from 0 to 1.",
            lambda evidence: 255 * _drawn(evidence),
            share=0.5,
        ),
        Mistake(
            "zero is black here. White is (1, 1, 1): the colours fade *towards white*.",
            _on_black,
        ),
        Mistake(
            "the axis of the colours comes last: K, H, W, 3.",
            lambda evidence: _drawn(evidence).movedim(-1, 1),
            share=0.5,
        ),
        Mistake("the blue is missing: negative evidence was cut off.", lambda e: _drawn(e.relu())),
    ),
)


def _find_cases(seed: int) -> list[tuple]:
    """A fault, beside what may be taken for it; in the last case there is none."""
    made = []
    for number, (h, w, height, width) in enumerate(
        [(9, 12, 3, 2), (8, 11, 2, 4), (11, 9, 3, 2), (7, 8, 2, 2)]
    ):
        rng = dice(seed, 60 + number)
        evidence = 0.2 * torch.randn(h + seed % 2, w, generator=rng)
        if number == 3:
            made.append((evidence.abs(), height, width))
            continue
        top = left = 0
        while left == top:  # so that rows and columns cannot be mistaken for each other
            top = int(torch.randint(1, h - height - 2, (1,), generator=rng))
            left = int(torch.randint(1, w - width - 1, (1,), generator=rng))
        if number == 0:  # the last window of its row, or of its column
            left = w - width
        if number == 2:
            top = len(evidence) - height
        evidence[top : top + height, left : left + width] -= 1.6
        evidence[0, w - 1] = -5.0  # one deep pixel is no fault
        evidence[top, left] += 12  # a place that holds the score up must not hide its neighbours
        evidence[-2:, 0:2] = 9.0  # the strongest window that holds the score up
        if number == 0:  # by size another one is the strongest
            evidence[-2:, -2:] = torch.tensor([[11.0, 11.0], [11.0, -5.0]])
        if number == 1:  # but not by squares
            evidence[-2:, -4:] = 5.0
        made.append((evidence, height, width))
    return made


def _windows(values: Tensor, height: int, width: int) -> Tensor:
    """The sum over each window."""
    return values.unfold(0, height, 1).unfold(1, width, 1).sum(dim=(2, 3))


def _corner(sums: Tensor) -> list[int]:
    return list(divmod(int(sums.argmax()), sums.shape[1]))


def _fault_by(values: Callable[[Tensor], Tensor]) -> Callable[..., list[int] | str]:
    """The window with the largest sum of some values of the evidence, or "nowhere"."""

    def makes(evidence: Tensor, height: int, width: int) -> list[int] | str:
        if not (evidence < 0).any():
            return NOTHING
        return _corner(_windows(values(evidence), height, width))

    return makes


def _pulls(evidence: Tensor) -> Tensor:
    return (-evidence).clamp(min=0)


_right_corner = _fault_by(_pulls)


def _moved(change: Callable[[list[int], int, int], list[int]]) -> Callable[..., list[int] | str]:
    """The right corner, changed by (corner, height, width)."""

    def makes(evidence: Tensor, height: int, width: int) -> list[int] | str:
        right = _right_corner(evidence, height, width)
        return right if right == NOTHING else change(right, height, width)

    return makes


def _split_by_photo(evidence: Tensor, height: int, width: int) -> list[int] | str:
    right = _right_corner(evidence, height, width)
    if right == NOTHING:
        return right
    side_by_side = evidence.shape[1] - width + 1
    return list(divmod(right[0] * side_by_side + right[1], evidence.shape[1]))


def _without_last(evidence: Tensor, height: int, width: int) -> list[int] | str:
    """As by `range(H - height)` and `range(W - width)`."""
    if not (evidence < 0).any():
        return NOTHING
    return _corner(_windows(_pulls(evidence), height, width)[:-1, :-1])


def _lowest_pixel(evidence: Tensor, height: int, width: int) -> list[int] | str:
    return _corner(-evidence) if (evidence < 0).any() else NOTHING


_ONLY_NEGATIVE = (
    "positive evidence in a window must not make up for a fault in it: ReLU first, then the sum."
)
FIND_MISTAKES = (
    Mistake(
        "rows and columns have changed places: [top, left].",
        _moved(lambda corner, height, width: corner[::-1]),
    ),
    Mistake(
        "this window holds the score up. The fault is where the evidence is negative.",
        _fault_by(Tensor.relu),
    ),
    Mistake(
        "this window has the largest evidence of *any* sign. Only what is negative pulls the "
        "score "
        "down: ReLU(-S).",
        _fault_by(Tensor.abs),
    ),
    Mistake(
        "squares lose the sign. Only what is negative pulls the score down: ReLU(-S).",
        _fault_by(Tensor.square),
    ),
    Mistake(_ONLY_NEGATIVE, _fault_by(Tensor.neg)),
    Mistake(
        "this is the one lowest pixel. A fault fills a window: add up the evidence in each.",
        _lowest_pixel,
    ),
    Mistake(
        "this is the window with the most negative *pixels*. Add up how negative they are.",
        _fault_by(lambda evidence: (evidence < 0).float()),
    ),
    Mistake(
        "height and width have changed places: the window has `height` rows.",
        lambda evidence, height, width: _right_corner(evidence, width, height),
    ),
    Mistake(
        "you split the number by the width of the *photo*. A row holds as many windows as fit "
        "side "
        "by side: W - width + 1.",
        _split_by_photo,
    ),
    Mistake(
        "you count from 1. The first row and the first column have the number 0.",
        _moved(lambda corner, height, width: [corner[0] + 1, corner[1] + 1]),
    ),
    Mistake(
        "this is the window's middle: give its corner.",
        _moved(lambda corner, height, width: [corner[0] + height // 2, corner[1] + width // 2]),
    ),
    Mistake(
        "this is the window's last pixel: give its corner.",
        _moved(lambda corner, height, width: [corner[0] + height - 1, corner[1] + width - 1]),
    ),
    Mistake(
        "windows at the edge are left out: there are H - height + 1 in a column, and W - width + 1 "
        "in a row.",
        _without_last,
    ),
    Mistake(
        f'something pulls the score down here: "{NOTHING}" is for maps without negative evidence.',
        lambda evidence, height, width: (
            NOTHING if evidence.sum() >= 0 else _right_corner(evidence, height, width)
        ),
    ),
    Mistake(
        f'nothing pulls the score down here, so the answer is "{NOTHING}".',
        lambda evidence, height, width: _corner(_windows(_pulls(evidence), height, width)),
    ),
)


FIND = Part(
    name="ex05_find",
    title="Find the hidden fault",
    points=3,
    answer="find_fault",
    draws=_find_cases,
    reference=_right_corner,
    mistakes=FIND_MISTAKES,
)
