"""Run a model for its shapes: what counts as operations is not computed, what is random not drawn.

The counter of operations looks at shapes alone, so a model of true size need not do the work that
is counted. Products give zeros of the right shape, new weights are zeros: what memory happened to
hold may be numbers so small that sums of them take minutes. All else runs as it is, so that texts
become tokens. Not for models whose work depends on the values of pictures, as a detector's on the
boxes that it proposes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import flop_registry

_RANDOM = {  # would fill what they are called on
    getattr(torch.ops.aten, name)
    for name in ("bernoulli_", "exponential_", "normal_", "random_", "uniform_")
}


class ShapesOnly(TorchDispatchMode):
    """Enter it before the counter, which then sees what is left out here."""

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Zeros in place of what `func` would compute, if it is counted or random."""
        kwargs = kwargs or {}
        if func._overloadpacket in _RANDOM:
            return args[0].zero_()
        if func._overloadpacket not in flop_registry:
            return func(*args, **kwargs)
        shapes = tree_map_only(torch.Tensor, lambda t: t.to("meta"), (args, dict(kwargs)))
        found = func(*shapes[0], **shapes[1])
        return tree_map_only(torch.Tensor, _zeros, found)


def _zeros(like: torch.Tensor) -> torch.Tensor:
    return torch.zeros_like(like, device="cpu")
