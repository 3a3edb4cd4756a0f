"""Networks small enough to be worked out by hand, and what the tests of the engine measure on
them.
"""

import torch
from torch import nn

# One photo of 2 x 2 pixels. Red 1 2 / 3 4, green 0 1 / 0 0, blue 0 0 / 2 0.
PHOTO = torch.tensor(
    [[[[1.0, 2.0], [3.0, 4.0]], [[0.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [2.0, 0.0]]]]
)
# What HandNet's layer makes of it: A_0 = red, A_1 = green - blue.
A0 = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
A1 = torch.tensor([[0.0, 1.0], [-2.0, 0.0]])


class HandNet(nn.Module):
    """A 1 x 1 convolution to two channels, a head, and three classes; integer weights.

    With head "gap", y = W mean(A) + b. As the photo has four places, alpha = W / 4:
    S^0 = A_0, S^1 = A_1, S^2 = A_0 - 2 A_1, and y = (11, 1, 15).
    With head "inplace" a ReLU overwrites A before it is pooled: three of A_1's four places pass
    no gradient, so alpha_1 is a quarter of what it was, and S = alpha A still holds A_1's -2.
    """

    def __init__(self, head="gap"):
        super().__init__()
        self.layer1 = nn.Conv2d(3, 2, 1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(2, 3)
        self.head, self.forwards = head, 0
        with torch.no_grad():
            self.layer1.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, -1]]).reshape(2, 3, 1, 1))
            self.fc.weight.copy_(torch.tensor([[4.0, 0], [0, 4], [4, -8]]))
            self.fc.bias.copy_(torch.tensor([1.0, 2, 3]))
        self.eval()

    def forward(self, x):
        self.forwards += 1
        a = self.layer1(x)
        if self.head == "inplace":
            a = self.relu(a)
        return self.fc(a.mean(dim=(2, 3)))


class OneLogit(HandNet):
    """HandNet with one logit, y = 8 mean(A_0) - 4 mean(A_1) + b, in a shape of choice: 21 + b on
    PHOTO.
    """

    def __init__(self, bias, shape):
        super().__init__()
        self.fc, self.shape = nn.Linear(2, 1), shape
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[8.0, -4.0]]))
            self.fc.bias.fill_(bias)

    def forward(self, x):
        return super().forward(x).reshape(self.shape)


class RandomNet(nn.Module):
    """Two convolutions, of which `layer` is the target, and a head of some kind; seeded weights."""

    heads = ("gap", "relu", "mlp", "flatten", "max")

    def __init__(self, head="gap", channels=3, classes=4, grid=(3, 4), seed=0, scale=1.0):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.target = nn.Conv2d(4, channels, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.hidden = nn.Linear(channels, channels)
        self.fc = nn.Linear(
            channels * grid[0] * grid[1] if head == "flatten" else channels, classes
        )
        self.head, self.scale, self.forwards = head, scale, 0
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        self.double().eval()

    def forward(self, x):
        self.forwards += 1
        a = self.target(self.stem(x).tanh())
        if self.head == "flatten":
            return self.scale * self.fc(a.flatten(1))
        if self.head == "relu":
            a = self.relu(a)
        pooled = a.amax(dim=(2, 3)) if self.head == "max" else a.mean(dim=(2, 3))
        if self.head == "mlp":
            pooled = self.hidden(pooled).tanh()
        y = self.fc(pooled)
        return y if self.scale == 1 else self.scale * y


def random_images(n=2, size=(3, 4), seed=0, dtype=torch.float64):
    return torch.randn(n, 3, *size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def hooks(model):
    """How many hooks of any kind hang on the network's modules."""
    kinds = [name for name in vars(nn.Module()) if name.endswith("_hooks")]
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)


def state(model):
    """All that a caller could find changed: compared before and after as one value."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {
        "training": {name: module.training for name, module in model.named_modules()},
        "hooks": hooks(model),
        "attributes": {name: sorted(vars(module)) for name, module in model.named_modules()},
        "requires_grad": {name: tensor.requires_grad for name, tensor in tensors},
        "identity": {name: id(tensor) for name, tensor in tensors},
        "values": {name: tensor.detach().flatten().tolist() for name, tensor in tensors},
        "grad": {
            name: tensor.grad if tensor.grad is None else tensor.grad.tolist()
            for name, tensor in tensors
        },
        "random": torch.get_rng_state().tolist(),
        "grad mode": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }


class Looking(torch.autograd.Function):
    """2 x. Its backward looks at the values, which torch's batched gradients forbid."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g if float(g.abs().sum()) > 0 else g


def start_at(model, layer, x):
    """A as the leaf of a graph, by a hook of one's own, and the answer made of it."""
    kept = []

    def hook(_module, _inputs, value):
        kept.append(value.detach().requires_grad_())
        return kept[-1].clone()

    handle = model.get_submodule(layer).register_forward_hook(hook)
    y = model(x)
    handle.remove()
    (a,) = kept
    return a, y


def by_autograd(model, layer, x, fold=lambda a: a):
    """S of the predicted class, with a hook of one's own; fold makes N x C x places."""
    a, y = start_at(model.eval(), layer, x.clone())
    (gradient,) = torch.autograd.grad(y.max(dim=1).values.sum(), a)
    a, gradient = fold(a.detach()), fold(gradient)
    weights = gradient.flatten(2).mean(dim=2)
    return (weights.reshape(*weights.shape, *[1] * (a.dim() - 2)) * a).sum(1, keepdim=True)
