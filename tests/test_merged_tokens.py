"""Few tokens, each made of all others: sixteen of 64 have the grid of patches joined 2 x 2, but no
places; and tokens whose grid no layer shows.
"""

import pytest
import torch
import torch.nn.functional as F
from test_strangers import assert_explains, images, patches
from tiny_networks import by_autograd
from torch import nn

from course_utils.errors import LayerError
from course_utils.methods.cams import GradCAM


class Few(nn.Module):
    """64 patches become 16 tokens; a part of each kind says how, then an attention compares them.

    The parts stand in no module whose output could tell that the 16 start without the image.
    """

    def __init__(self, merging):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.merging = nn.Conv2d(3, 8, 4, 4), merging
        self.block = nn.TransformerEncoderLayer(8, 2, 8, 0.0, batch_first=True, norm_first=True)
        self.fc = nn.Linear(8, 4)
        self.eval()

    def forward(self, x):
        return self.fc(self.block(self.merging(self.f(x))).mean(dim=1))


class TokenLearner(nn.Module):
    """A convolution says how much of each place goes into each token."""

    def __init__(self, share):
        super().__init__()
        self.says, self.share = nn.Conv2d(8, 16, 1), share

    def forward(self, a):
        return self.share(self.says(a).flatten(2)) @ a.flatten(2).mT


class Slots(nn.Module):
    """A soft mixture of experts, whose answers are not handed back to the places."""

    def __init__(self):
        super().__init__()
        self.says = nn.Parameter(torch.randn(8, 16))

    def forward(self, a):
        tokens = a.flatten(2).mT
        return (tokens @ self.says).softmax(dim=1).mT @ tokens


class Latents(nn.Module):
    """A perceiver's: tokens that start as weights ask those of the image, without a norm."""

    def __init__(self, fused):
        super().__init__()
        self.start, self.fused = nn.Parameter(torch.randn(1, 16, 8)), fused
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, a):
        tokens, start = a.flatten(2).mT, self.start.expand(len(a), -1, -1)
        return self.attention(start, tokens, tokens, need_weights=not self.fused)[0]


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize(
    "make",
    [
        lambda: TokenLearner(nn.Softmax(dim=-1)),
        lambda: TokenLearner(nn.Sigmoid()),
        Slots,
        lambda: Latents(fused=True),
        lambda: Latents(fused=False),
    ],
    ids=["softmax", "sigmoid", "slots", "latents", "latents, weights"],
)
def test_tokens_that_are_made_of_all_places_are_none(make, frozen):
    assert_explains(Few(make()).requires_grad_(not frozen), images(), "f")


class Talking(nn.Module):
    """A block whose heads a matrix mixes before the softmax: its weights are no queries."""

    def __init__(self):
        super().__init__()
        self.norm, self.read = nn.LayerNorm(8), nn.Linear(8, 24)
        self.mix, self.write = nn.Parameter(torch.randn(2, 2)), nn.Linear(8, 8)

    def forward(self, tokens):
        q, k, v = self.read(self.norm(tokens)).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        weights = torch.einsum("nhij,hg->ngij", q @ k.mT, self.mix).softmax(dim=-1)
        return tokens + self.write((weights @ v).transpose(1, 2).flatten(2))


class OfTokens(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.blocks = nn.Conv2d(3, 8, 4, 4), nn.Sequential(Talking(), Talking())
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(self.blocks(self.f(x).flatten(2).mT).mean(dim=1))


def test_a_matrix_that_mixes_heads_asks_nothing():
    assert_explains(OfTokens().eval(), images(), "blocks.1.norm", patches(8))


class Joined(nn.Module):
    """Patches joined 2 x 2, as Swin does: sixteen of 64, which are places."""

    def __init__(self):
        super().__init__()
        self.join = nn.Linear(32, 8)

    def forward(self, a):
        corners = [a[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        return self.join(torch.cat(corners, dim=1).flatten(2).mT)


def test_patches_that_are_joined_are_places():
    assert_explains(Few(Joined()), images(), "block.norm1", patches(4))


class Cube(nn.Module):
    """A volume's patches, which a linear layer reads: no layer shows their grid."""

    def __init__(self, class_token):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.start = nn.Linear(64, 8), torch.randn(1, class_token, 8)
        self.norm, self.fc = nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x):
        cut = x.unfold(2, 4, 4).unfold(3, 4, 4).unfold(4, 4, 4).flatten(5).flatten(2, 4)
        tokens = torch.cat([self.start.expand(len(x), -1, -1), self.f(cut[:, 0])], dim=1)
        attended = F.scaled_dot_product_attention(tokens, tokens, tokens)
        return self.fc(self.norm(attended).mean(dim=1))


@pytest.mark.parametrize("class_token", [0, 1])
def test_of_patches_whose_grid_nothing_shows_the_call_is_spelled(class_token):
    x = torch.randn(2, 1, 8, 12, 16, generator=torch.Generator().manual_seed(3))
    model = Cube(class_token).eval()
    with pytest.raises(LayerError, match="how those of the image lie in d x h x w") as error:
        GradCAM(model)(x)
    said = str(error.value)
    call = said[said.index("GradCAM(") : said.index(". This network has")]
    found = eval(call, {"model": model, "GradCAM": GradCAM, "d": 2, "h": 3, "w": 4})(x)
    expected = by_autograd(
        model, found.layer, x, lambda a: a[:, class_token:].mT.unflatten(2, (2, 3, 4))
    )
    assert found.layer == ("norm" if class_token else "f")
    torch.testing.assert_close(found.evidence, expected)


@pytest.mark.parametrize("class_token", [0, 1])
def test_patches_of_a_cube_are_a_cube(class_token):
    x = torch.randn(2, 1, 12, 12, 12, generator=torch.Generator().manual_seed(3))
    model = Cube(class_token).eval()
    found = GradCAM(model)(x)
    expected = by_autograd(
        model, found.layer, x, lambda a: a[:, a.shape[1] - 27 :].mT.unflatten(2, (3, 3, 3))
    )
    torch.testing.assert_close(found.evidence, expected)
