"""Networks as their owners write them: the map is autograd's, the network is left as it was."""

import copy

import pytest
import torch
from tiny_networks import start_at, state
from torch import nn

from course_utils.methods.cams import ContrastCAM, GradCAM


def images(n=2, size=(16, 12)):
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(7))


def by_autograd(model, layer, x):
    """S of the predicted class, N x 1 x h x w, with a hook of one's own."""
    a, y = start_at(copy.deepcopy(model), layer, x)
    (gradient,) = torch.autograd.grad(y.amax(dim=1).sum(), a)
    return (gradient.mean(dim=(2, 3), keepdim=True) * a).sum(dim=1, keepdim=True).detach()


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.f = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.fc = nn.Linear(6, 4)
        self.eval()

    def forward(self, x):
        return self.fc(self.f(x).mean(dim=(2, 3)))


class Normalising(Plain):
    def forward(self, x):
        x -= 0.5
        x *= 2
        return super().forward(x)


def test_a_network_that_writes_into_its_images_is_asked_about_those_that_were_given():
    model, x = Normalising(), images()
    wanted = by_autograd(model, "f", x.clone())
    for _ in range(2):
        assert torch.allclose(GradCAM(model)(x).evidence, wanted, atol=1e-6)
    assert torch.equal(x, images())


class Renamed(Plain):
    """Its parts stand in two places, as where a backbone's children are taken into a Sequential."""

    def __init__(self, head_of_zeros=False):
        super().__init__()
        if head_of_zeros:
            nn.init.zeros_(self.fc.weight)
        self.features, self.classifier = nn.Sequential(*self.f), self.fc

    def forward(self, x):
        return self.classifier(self.features(x).mean(dim=(2, 3)))


@pytest.mark.parametrize("head_of_zeros", [False, True])
def test_a_network_whose_parts_stand_in_two_places_is_left_as_it_was(head_of_zeros):
    model, x = Renamed(head_of_zeros), images()
    before = state(model)
    explanation = GradCAM(model)(x)
    ContrastCAM(model)(x, rather_than=1)
    assert state(model) == before
    assert torch.allclose(explanation.evidence, by_autograd(model, explanation.layer, x), atol=1e-6)
