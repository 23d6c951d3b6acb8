"""Names of transformers' CLIPModel -> open_clip's."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

TOWERS = {"vision_model.": "visual.", "text_model.": ""}
ENDS = {
    "vision_model.embeddings.class_embedding": "visual.class_embedding",
    "vision_model.embeddings.patch_embedding.weight": "visual.conv1.weight",
    "vision_model.embeddings.position_embedding.weight": "visual.positional_embedding",
    "vision_model.pre_layrnorm.weight": "visual.ln_pre.weight",  # spelt so
    "vision_model.pre_layrnorm.bias": "visual.ln_pre.bias",
    "vision_model.post_layernorm.weight": "visual.ln_post.weight",
    "vision_model.post_layernorm.bias": "visual.ln_post.bias",
    "visual_projection.weight": "visual.proj",
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
    "text_projection.weight": "text_projection",
    "logit_scale": "logit_scale",
}
TRANSPOSED = {"visual_projection.weight", "text_projection.weight"}  # of linear layers there
PARTS = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
}  # fmt: skip
POSITIONS = "embeddings.position_ids"  # 0, 1, 2, ...: in older files
BLOCK = re.compile(r"(vision_model\.|text_model\.)encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")
ATTENTION = re.compile(r"self_attn\.(q|k|v)_proj")


def is_hugging_face(names: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the names of transformers."""
    return any(name.startswith(("text_model.", "vision_model.")) for name in names)


def from_hugging_face(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under open_clip's names; unknown names stay, for the loader to refuse.

    Queries, keys and values are one matrix there; they stay apart where one of them is missing.
    """
    found: dict[str, Tensor] = {}
    joint: dict[str, dict[str, Tensor]] = {}  # name -> q, k, v
    for name, tensor in state.items():
        block = BLOCK.fullmatch(name)
        attention = ATTENTION.fullmatch(block[3]) if block else None
        if name in ENDS:
            found[ENDS[name]] = tensor.T.contiguous() if name in TRANSPOSED else tensor
        elif block and attention:
            ours = f"{TOWERS[block[1]]}transformer.resblocks.{block[2]}.attn.in_proj_{block[4]}"
            joint.setdefault(ours, {})[attention[1]] = tensor
        elif block and block[3] in PARTS:
            part = f"{PARTS[block[3]]}.{block[4]}"
            found[f"{TOWERS[block[1]]}transformer.resblocks.{block[2]}.{part}"] = tensor
        elif not name.endswith(POSITIONS):
            found[name] = tensor
    for ours, parts in joint.items():
        if parts.keys() == {"q", "k", "v"}:
            found[ours] = torch.cat([parts[part] for part in "qkv"])
        else:
            found |= {f"{ours} ({part} alone)": tensor for part, tensor in parts.items()}
    return found
