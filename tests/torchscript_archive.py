"""TorchScript archives, the form of OpenAI's files of CLIP weights."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn


def write_archive(state: Mapping[str, Tensor], file: Path, **sizes: int) -> None:
    """Save the tensors under their names, and numbers beside them as OpenAI's files have them."""
    root = nn.Module()
    for name, tensor in state.items():
        *parents, last = name.split(".")
        module = root
        for parent in parents:
            if not hasattr(module, parent):
                module.add_module(parent, nn.Module())
            module = module.get_submodule(parent)
        module.register_parameter(last, nn.Parameter(tensor, requires_grad=False))
    for name, size in sizes.items():
        root.register_buffer(name, torch.tensor(size))
    torch.jit.save(torch.jit.script(root), file)
