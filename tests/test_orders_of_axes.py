"""Networks that hold their axes in another order than N x C x h x w, or in that order for sure."""

import pytest
import torch
from tiny_networks import by_autograd
from torch import nn

from course_utils import ForwardPass, GradCAM
from course_utils.errors import LayerError
from course_utils.methods.roles import orders_of_axes


def is_explained(model, layer, x, fold=lambda a: a):
    torch.manual_seed(0)
    model.eval()
    found = GradCAM(model)(x)
    assert found.layer == layer
    expected = by_autograd(model, layer, x, fold).detach()
    torch.testing.assert_close(found.evidence, expected, rtol=1e-4, atol=1e-6)
    named = GradCAM(model, layer)(x)
    torch.testing.assert_close(named.evidence, expected, rtol=1e-4, atol=1e-6)
    return found


class Sensors(nn.Module):
    """A transformer over a signal N x L x C, with or without a class token."""

    def __init__(self, batch_first, class_token):
        super().__init__()
        torch.manual_seed(0)
        self.first = batch_first
        self.embed, self.h = nn.Linear(6, 8), nn.Linear(8, 4)
        self.token = nn.Parameter(torch.randn(1, 1, 8)) if class_token else None
        layers = (nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first) for _ in "12")
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        t = self.embed(x)
        if self.token is not None:
            t = torch.cat([self.token.expand(len(x), -1, -1), t], dim=1)
        t = t if self.first else t.transpose(0, 1)
        for layer in self.layers:
            t = layer(t)
        t = t if self.first else t.transpose(0, 1)
        return self.h(t.mean(dim=1) if self.token is None else t[:, 0])


@pytest.mark.parametrize("length", [8, 9, 20])  # 8 channels: of 8 steps both readings are possible
@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_steps_of_a_signal_are_its_places_and_not_a_transformers_channels(
    batch_first, class_token, length
):
    def fold(t):
        return (t if batch_first else t.transpose(0, 1))[:, int(class_token) :].mT

    x = torch.randn(2, length, 6)
    found = is_explained(Sensors(batch_first, class_token), "layers.0", x, fold)
    assert found.maps.shape == (2, 1, length)


class Bands(nn.Module):
    """As for sound events: bands are pooled, times are kept, and read by a recurrent layer."""

    def __init__(self, channels):
        super().__init__()
        torch.manual_seed(0)
        layers = [(1, channels), (channels, channels)]
        self.c = nn.Sequential(
            *(m for i, o in layers for m in (nn.Conv2d(i, o, 3, 1, 1), nn.MaxPool2d((1, 4))))
        )
        self.read, self.h = nn.GRU(channels, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, x):
        return self.h(self.read(self.c(x)[..., 0].mT)[0]).mean(dim=1)


@pytest.mark.parametrize("times", [8, 12, 16, 32])  # with 16 channels
def test_channels_of_a_convolution_are_no_places_where_bands_are_pooled(times):
    is_explained(Bands(16), "c", torch.randn(2, 1, times, 16))


class TimeDelays(nn.Module):
    """x-vectors: each step and its neighbours go through linear layers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.t, self.h = nn.Linear(15, 8), nn.Linear(8, 4)

    def forward(self, x):
        return self.h(self.t(x.unfold(1, 3, 1).flatten(2)).mean(dim=1))


def test_channels_of_a_linear_layer_are_no_steps_of_a_signal():
    found = is_explained(TimeDelays(), "t", torch.randn(2, 20, 5), lambda t: t.mT)
    assert found.evidence.shape == (2, 1, 18)


class Attentive(nn.Module):
    """Statistics over times, weighed by a convolution of signals over channels x bands."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.c = nn.Sequential(nn.Conv2d(1, 8, 3, (2, 1), 1), nn.ReLU())
        self.att, self.h = nn.Conv1d(8 * 10, 8 * 10, 1), nn.Linear(80, 4)

    def forward(self, x):
        a = self.c(x).flatten(1, 2)
        return self.h((a * self.att(a).softmax(dim=2)).sum(dim=2))


def test_a_row_of_a_convolution_of_signals_is_not_read_as_tokens():
    is_explained(Attentive(), "c", torch.randn(2, 1, 20, 50))


class Padded(nn.Module):
    """Patches of each variable, after a padding."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.pad, self.embed, self.h = (
            nn.ReplicationPad1d((0, 8)),
            nn.Linear(16, 4),
            nn.Linear(4, 3),
        )

    def forward(self, x):
        return self.h(self.embed(self.pad(x).unfold(2, 16, 8)).mean(dim=(1, 2)))


def test_a_padded_signal_keeps_its_steps_and_has_no_variables_for_places():
    assert is_explained(Padded(), "pad", torch.randn(2, 7, 64)).evidence.shape == (2, 1, 72)


class Electrodes(nn.Module):
    """Each electrode is a token."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.c = nn.Sequential(nn.Conv1d(1, 8, 7, 4), nn.ReLU(), nn.AdaptiveAvgPool1d(1))
        self.encode = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.h = nn.Linear(8, 4)

    def forward(self, x):
        t = self.c(x.flatten(0, 1)[:, None]).reshape(*x.shape[:2], 8)
        return self.h(self.encode(t).mean(dim=1))


def test_electrodes_are_no_steps_of_a_signal():
    with pytest.raises(LayerError, match="grid of more than one place for a signal of length 64"):
        GradCAM(Electrodes().eval())(torch.randn(2, 6, 64))


class Exchanged(nn.Module):
    """Reads a spectrogram with its axes exchanged, or as it is."""

    def __init__(self, exchange, channels_axis):
        super().__init__()
        torch.manual_seed(0)
        self.c, self.h = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.ReLU()), nn.Linear(8, 4)
        self.exchange, self.axis = exchange, channels_axis

    def forward(self, x):
        x = (x if self.axis else x[:, None]) * 0.5 - 1
        return self.h(self.c(x.mT if self.exchange else x).mean(dim=(2, 3)))


@pytest.mark.parametrize("size", [(16, 16), (12, 16)])
@pytest.mark.parametrize("channels_axis", [False, True])
@pytest.mark.parametrize("exchange", [False, True])
def test_exchanged_axes_of_a_spectrogram_are_seen_whatever_is_shown_first(
    exchange, channels_axis, size
):
    model = Exchanged(exchange, channels_axis).eval()
    x = torch.randn(2, *[1] * channels_axis, *size)
    ForwardPass(model, torch.zeros_like(x))  # silence is the same in both orders
    is_explained(model, "c", x, lambda a: a.mT if exchange else a)


class Weighed(nn.Module):
    """Features are weighed by a map of one channel, made of them by layers of its own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.f, self.h = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, 4)
        self.att = nn.Sequential(nn.Conv2d(8, 5, 1), nn.ReLU(), nn.Conv2d(5, 1, 1), nn.Sigmoid())

    def forward(self, x):
        a = self.f(x)
        return self.h((a * self.att(a)).mean(dim=(2, 3)))


def test_what_is_read_through_a_map_of_one_channel_only_gives_way_to_what_it_weighs():
    found = is_explained(Weighed(), "f", torch.randn(2, 3, 16, 24))
    assert "but for 'att', which has one channel" in found.layer_reason


def test_of_one_class_the_layer_before_its_map_is_explained():
    """No layer has another way to the output, so that none gives way."""
    torch.manual_seed(0)
    ends = [nn.Conv2d(6, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), *ends).eval()
    assert GradCAM(model)(torch.randn(2, 3, 16, 24)).layer == "1"


def test_kinds_of_layers_say_where_channels_stand():
    modules = {
        "block.conv": nn.Conv2d(3, 4, 1), "block.act": nn.ReLU(), "block": nn.Sequential(),
        "norm": nn.LayerNorm(4), "drop": nn.Dropout(), "square": nn.Identity(),
    }  # fmt: skip
    shapes = [(2, 4, 8, 9)] * 3 + [(2, 9, 4)] * 2 + [(2, 4, 4)]
    orders = orders_of_axes(modules, dict(zip(modules, map(torch.Size, shapes))))
    assert list(orders.values()) == [True, True, True, False, False, None]


def test_a_branch_that_reads_whole_rows_does_not_hide_the_time_of_convolutions():
    class Both(nn.Module):  # as LSTM-FCN, whose LSTM reads each variable's whole row as one step
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.rows = nn.LSTM(24, 5, batch_first=True)
            self.steps = nn.Sequential(nn.Conv1d(3, 6, 3, padding=1), nn.ReLU())
            self.head = nn.Linear(11, 4)

        def forward(self, x):
            return self.head(torch.cat([self.rows(x)[0][:, -1], self.steps(x).mean(dim=2)], 1))

    found = GradCAM(Both().eval())(torch.randn(2, 3, 24))
    assert found.layer == "steps" and found.maps.shape == (2, 1, 24)


@pytest.mark.parametrize("layer", [None, "1"])
def test_slices_that_are_read_as_channels_have_a_map_of_one_slice(layer):
    class AsChannels(nn.Module):
        def forward(self, x):
            return x.squeeze(1)

    torch.manual_seed(0)
    pool = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    model = nn.Sequential(AsChannels(), nn.Conv2d(8, 4, 3, 2, 1), pool).eval()
    x = torch.randn(2, 1, 8, 24, 16)
    found = GradCAM(model, layer)(x)
    assert found.maps.shape == (2, 1, 1, 24, 16)
    expected = by_autograd(model, found.layer, x)[:, :, None]
    torch.testing.assert_close(found.evidence, expected.detach())


class Spectra(nn.Module):
    """Images N x H x W x C, pixels read by a linear layer; a convolution is registered first."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.mix, self.embed, self.head = nn.Conv2d(8, 8, 3), nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.mix(self.embed(x).movedim(-1, 1)).relu().mean(dim=(2, 3)))


def test_pixels_that_a_later_layer_reads_are_no_rows_of_the_image():
    found = is_explained(Spectra(), "mix", torch.randn(2, 14, 18, 4))
    assert found.maps.shape == (2, 1, 14, 18)
