"""What was seen of a network in one forward pass: what ran, what came of it, which layers fit."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, prod

import torch

from ..networks.families import Known
from .grids import MOST_PREFIX_TOKENS, Fold, Seen, skew, tokens_first
from .output import Picker


@dataclass
class Watched:
    """What the modules of a network, known by their names, did in one forward pass.

    Times are those of autograd, which counts its nodes. Tokens are known by their number.
    """

    # the pass
    n: int = 1  # how many images
    output: Picker | None = None  # held, so that no other function gets its id
    runs: Counter[str] = field(default_factory=Counter)  # how often each module ran
    # of outputs that are one tensor of floats, in the order they ended; when each ended
    shapes: dict[str, torch.Size] = field(default_factory=dict)
    ends: dict[str, int] = field(default_factory=dict)
    inference: bool = False  # a part of the network runs under inference_mode of its own
    known: Known | None = None  # of several networks of known families, the one that answers alone

    # how outputs are read
    orders: dict[str, bool | None] = field(default_factory=dict)  # whether channels stand first
    lengths: dict[str, int] = field(default_factory=dict)  # of signals' outputs
    inside: set[str] = field(default_factory=set)  # the modules inside attentions and MLPs
    turned: bool = False  # H and W are exchanged, as audio networks do
    moved: float = inf  # when a convolution first read another's channels as height or width

    # tokens
    attentions: dict[int | None, int] = field(default_factory=dict)  # when the last one began
    first_attention: int = 0  # when it began
    heads: set[tuple[int, int]] = field(default_factory=set)  # how many, and their tokens
    merged: dict[int, int] = field(default_factory=dict)  # when queries that are weights made them
    picked: float = inf  # when some were first picked, or reordered: their places are lost
    # those that hear of the image, where class token, queries or text stand beside them
    image_tokens: dict[int, Sequence[int]] = field(default_factory=dict)
    whole: set[int] = field(default_factory=set)  # numbers of tokens that all heard of the image

    # the rule
    fitting: list[str] = field(default_factory=list)  # the layers that pass it, the best first
    folds: dict[str, Fold] = field(default_factory=dict)  # how each of them is read as a grid
    read: set[str] = field(default_factory=set)  # the modules that the best of the fitting reads
    branch: str = ""  # the best, if it is added to what it reads
    gates: set[str] = field(default_factory=set)  # one channel: how much is read, not what is seen
    weighing: set[str] = field(default_factory=set)  # read as others' weights or offsets only
    silent: set[str] = field(default_factory=set)  # give the same of other images: all weights zero
    beside: set[str] = field(default_factory=set)  # side by side, of which all read the best
    elsewhere: set[str] = field(default_factory=set)  # read another of several images alone
    anew: set[str] = field(default_factory=set)  # made from rows of numbers, without places
    longer: set[str] = field(default_factory=set)  # than the signal, whose length alone is read
    # modules with weights that give more than one output of each image, and how many
    several: dict[str, int] = field(default_factory=dict)
    cut: bool = False  # there were grids, but no gradient
    repeated: str = ""  # the last module with a grid that ran more than once
    one_place: str = ""  # the last module with a grid of which the output reads one place

    def seen_of(self, name: str, size: Sequence[int]) -> Seen:
        """What tells how a layer's output is read, beside its shape.

        Earlier layers' grids are l, h x w or d x h x w. Of channels first and channels last, each
        is read as its layer's kind says, else as what is more of the image's shape.
        """
        names = list(self.shapes)
        before = names[: names.index(name)] if name in self.shapes else names
        lengths = [(self.lengths[n],) for n in reversed([*before, name]) if n in self.lengths]
        readings = [self._readings(n, len(size)) for n in reversed(before)]
        grids = [min(each, key=lambda grid: skew(grid, size)) for each in readings if each]
        placed = dict(self.image_tokens)
        tokens = self.tokens(name) if self.ends.get(name, 0) > self.picked else None
        if tokens and not any(0 <= tokens - prod(g) <= MOST_PREFIX_TOKENS for g in grids):
            placed[tokens] = []
        if not self.attentions:  # behind one all tokens have heard of the image
            placed = {count: range(count) for count in self.whole} | placed
        counts = [count for n in before if (count := self.tokens(n)) is not None]
        grids_before = [n for n in before if len(self.shapes[n]) == len(size) + 2 > 3]
        flat = self._flat(grids_before[-1]) if grids_before else ()
        return Seen([*lengths, *grids], placed, self.orders.get(name), counts, flat)

    def _flat(self, name: str) -> tuple[int, ...]:
        """The channels of a module's output, and how many places it has."""
        channels = self.shapes[name][-1 if self.orders.get(name) is False else 1]
        return channels, prod(self.places(name))

    def _readings(self, name: str, sides: int) -> list[torch.Size]:
        """The grids of so many sides that a layer's output may be.

        None of windows, which are counted as images, nor of heads x tokens x tokens in an
        attention.
        """
        shape, order = self.shapes[name], self.orders.get(name)
        if len(shape) != sides + 2 or sides < 2 or shape[0] != self.n or name in self.inside:
            return []
        if self.are_weights(name) or self.has_heads(name):
            return []
        return [shape[2:]] * (order is not False) + [shape[1:-1]] * (order is not True)

    def behind_attention(self, name: str) -> bool:
        """Whether a module gave tokens, and an attention over all of them came before."""
        end = self.ends[name]
        return self.attentions.get(self.tokens(name), end) < end

    def shows_channels(self, name: str) -> bool:
        """Whether what looks like places in a module's output may be channels of an earlier one."""
        return self.ends.get(name, 0) > self.moved

    def are_weights(self, name: str) -> bool:
        """Whether a module's output has as many rows and columns as an attention has tokens, as its
        weights have. The grid of a decoder may, too.
        """
        rows, *columns = self.places(name)
        return columns == [rows] and rows in self.attentions

    def has_heads(self, name: str) -> bool:
        """Whether a module's output is N x heads x tokens x numbers, as in an attention.

        One along the rows of a grid knows as many heads as there are rows, but no tokens.
        """
        shape = self.shapes[name]
        heads = len(shape) == 4 and (shape[1], shape[2]) in self.heads
        return heads and shape[2] in map(self.tokens, self.shapes)

    def places(self, name: str) -> torch.Size:
        """The sides of a module's output, without its images and channels."""
        shape = self.shapes[name]
        return shape[1:-1] if self.orders.get(name) is False else shape[2:]

    def tokens(self, name: str) -> int | None:
        """How many tokens of each image a module gave; None for other outputs."""
        shape = self.shapes[name]
        if len(shape) != 3 or self.n not in shape[:2]:
            return None  # also of windows, or of texts that stand for the classes
        return shape[0 if tokens_first(shape, self.n) else 1]
