"""Which of the layers that pass the rule is the best, by what else is known of them."""

from math import inf, prod

from torch import Tensor, nn

from .graph import (
    begins,
    gives_rows,
    graph_nodes,
    node_of,
    nodes_and_leaves,
    only_added,
    only_weighs,
    readers_of,
)
from .inputs import CONVOLUTIONS
from .roles import is_a_stage
from .watched import Watched


def best_first(
    watched: Watched, modules: dict[str, nn.Module], names: list[str], cancelling: set[str],
    fixed: set[str],
) -> list[str]:  # fmt: skip
    """The layers that pass the rule: first those without the gravest fault, of these the last."""
    foreign = _foreign(watched, modules, fixed)

    def faults(name: str) -> tuple[bool, ...]:
        end, inside = watched.ends[name], name in watched.inside
        return (
            name in watched.elsewhere,  # the map would lie on another image than the first
            name in cancelling,  # its gradients add up to nothing
            end >= foreign.get(watched.tokens(name), inf),  # its tokens are not the image's
            inside,  # of an attention or an MLP
            watched.behind_attention(name),
            not inside and end < watched.first_attention,  # as patches are, before they are read
            name in watched.gates,
            not is_a_stage(modules[name]),
        )

    return sorted(names, key=faults)


def _foreign(
    watched: Watched, modules: dict[str, nn.Module], fixed: set[str]
) -> dict[int | None, int]:
    """How many tokens a detector's queries, latents or a text are, and since when.

    They start without the image. They may hear of it later, by an attention, and their number may
    be a square by chance, or that of the patches: of these are the layers before.
    """
    # a fresh adapter of low rank gives zeros of what it reads
    own = fixed - watched.silent
    starts = [n for n in own if isinstance(modules[n], (nn.LayerNorm, nn.Linear))]
    starts = sorted(starts, key=watched.ends.__getitem__, reverse=True)
    found = {watched.tokens(name): watched.ends[name] for name in starts}  # the first of each
    found |= {tokens: end for tokens, end in watched.merged.items() if tokens not in found}
    return {tokens: end for tokens, end in found.items() if tokens is not None}


def put_partial_last(
    watched: Watched, y: Tensor, modules: dict[str, nn.Module], tensors: dict[str, Tensor]
) -> None:
    """What has a part of the evidence only, or none of its own, gives way to other layers.

    Args:
        tensors: the modules' outputs, in the graph of y, the network's.
    """
    _put_hidden_last(watched, y, tensors)
    _put_weighing_last(watched, y, tensors)
    _put_side_by_side_last(watched, modules, tensors)
    _put_made_anew_last(watched, y, tensors)


def _put_hidden_last(watched: Watched, y: Tensor, tensors: dict[str, Tensor]) -> None:
    """What the output reads only through a gate gives way to what the gate weighs.

    That is a layer which goes into the gate, too, has its places, and is read beside it.
    """
    if not watched.gates:
        return
    beside = nodes_and_leaves(y, without=[node_of(tensors[name]) for name in watched.gates])
    weighed = {
        name
        for gate in watched.gates
        for name in read_by(gate, tensors).intersection(watched.fitting) - watched.gates
        if watched.places(name) == watched.places(gate) and node_of(tensors[name]) in beside
    }
    if weighed - watched.inside:
        hidden = {n for n, t in tensors.items() if node_of(t) not in beside} - watched.gates
        watched.fitting.sort(key=hidden.__contains__)


def _put_weighing_last(watched: Watched, y: Tensor, tensors: dict[str, Tensor]) -> None:
    """What only weighs, or says where to sample, gives way to the layer that is weighed beside it.

    So do NetVLAD's soft assignments, an attention's weights, the offsets of a deformable
    convolution, and what only goes into them.
    """
    readers = readers_of(y)
    for name in watched.fitting:
        of_tokens = watched.are_weights(name)
        if not only_weighs(tensors[name], readers, soft=of_tokens):
            continue
        beside = nodes_and_leaves(y, without=[node_of(tensors[name])])
        read = read_by(name, tensors).intersection(watched.fitting) - {name}
        places = watched.places(name)
        # a gate of rows or columns has fewer than what it weighs
        few = places[0] if of_tokens else prod(places)
        weighed = [other for other in read if prod(watched.places(other)) >= few]
        if any(node_of(tensors[other]) in beside for other in weighed):
            watched.weighing.add(name)
    if watched.weighing:
        beside = nodes_and_leaves(y, without=[node_of(tensors[n]) for n in watched.weighing])
        watched.weighing |= {n for n in watched.fitting if node_of(tensors[n]) not in beside}
        watched.fitting.sort(key=watched.weighing.__contains__)
    if any(only_added(tensors[best], readers) for best in watched.fitting[:1]):
        watched.branch = watched.fitting[0]


def _put_side_by_side_last(
    watched: Watched, modules: dict[str, nn.Module], tensors: dict[str, Tensor]
) -> None:
    """Single layers side by side give way to the layer that all of them read: each has a part of
    the evidence.

    So do the poolings of a pyramid, which have no weights, and what stands in one list, as capsules
    do. Of towers, each of several convolutions, one is worth more than what all of them read. Of
    tokens all hear of all.
    """
    if not watched.fitting or watched.attentions:
        return
    best = watched.fitting[0]
    own = read_by(best, tensors)
    no_others = own | watched.gates | watched.weighing | watched.elsewhere
    reads = {n: read_by(n, tensors) - {n} for n in watched.fitting if n not in no_others}
    reads = {n: read for n, read in reads.items() if best not in read} | {best: own - {best}}
    side_by_side = {n for n in reads if not any(n in others for others in reads.values())}
    common = set.intersection(*(reads[n] for n in side_by_side))
    lists = {n.rpartition(".")[0] for n in side_by_side}
    in_one = len(lists) == 1 and isinstance(modules[lists.pop()], (nn.ModuleList, nn.ModuleDict))
    for n in side_by_side:
        layers = sum(isinstance(part, CONVOLUTIONS) for part in modules[n].modules())
        bare = not any(True for _ in modules[n].parameters())
        between = [m for m in reads[n] - common if not m.startswith(f"{n}.")]
        if between or not (bare or in_one and layers < 2):
            return
    if len(reads) > 1 and common.intersection(watched.fitting):
        watched.beside = side_by_side
        watched.fitting.sort(key=lambda n: n not in common)


def _put_made_anew_last(watched: Watched, y: Tensor, tensors: dict[str, Tensor]) -> None:
    """A grid made from a row of numbers, as a decoder's, gives way to the last one before the row:
    each of its places comes from the whole image.
    """
    rows = [node for node in graph_nodes(y) if gives_rows(node, watched.n)]
    anew = set[str]()
    for name in watched.fitting if rows else []:
        a = tensors[name]
        reached = nodes_and_leaves(a, without=rows) | {node_of(a)}
        images = any(isinstance(n, Tensor) and not isinstance(n, nn.Parameter) for n in reached)
        straight = images or any(map(begins, graph_nodes(a, without=rows)))
        if straight or nodes_and_leaves(a).isdisjoint(rows):
            watched.anew = anew
            watched.fitting.sort(key=anew.__contains__)
            return
        anew.add(name)


def read_by(best: str, tensors: dict[str, Tensor]) -> set[str]:
    """The names of the tensors that went into one of them."""
    before = nodes_and_leaves(tensors[best])
    return {name for name, t in tensors.items() if node_of(t) in before}
