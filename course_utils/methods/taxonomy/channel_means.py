"""What TCAV's planes are fitted to: the mean of each channel of a layer, as a layer of its own."""

from torch import Tensor, nn
from torch.func import vjp

from .asked import Asked, OneOutput


class ChannelMeans(nn.Module):
    """The asked network, with the channels' means at the target layer as a layer of its own."""

    def __init__(self, asked: Asked):
        super().__init__()
        self.asks, self.means = OneOutput(asked), nn.Identity()
        self.target = [asked.network.get_submodule(asked.seen.layer)]  # in a list: not a submodule
        self.fold = asked.seen._reshape_transform

    def forward(self, x: Tensor) -> Tensor:
        def through(_module, _inputs, A):
            grid, unfold = vjp(self.fold, A.detach())
            a = self.fold(A).mean((2, 3))
            change = self.means(a) - a.detach()  # 0; its gradient is that of all places
            return A.detach() + unfold(change[:, :, None, None].expand_as(grid))[0]

        handle = self.target[0].register_forward_hook(through)
        try:
            return self.asks(x)
        finally:
            handle.remove()
