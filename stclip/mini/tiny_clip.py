"""Pre-trains a tiny CLIP on drawn stills with captions, so that it knows all their actions.

Stills are drawn in another style than the benchmark's videos and no two are alike. The hidden
matrices are trained by Muon, the rest by AdamW: with AdamW alone the same number of steps reaches
half the accuracy. The image tower starts with 2-D sine positions for the same reason.

Legend: B pictures, L tokens, U tokens in use.
"""

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from jaxtyping import Float, Int32, Int64, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from stclip.config import TinyClip
from stclip.config.clip_models import read_model_config
from stclip.config.package_files import path_of
from stclip.mini.captions import all_phrases, caption
from stclip.mini.reproducible import finite, one_thread, write_weights
from stclip.mini.stills import Stills, load_stills
from stclip.progress import Progress

logger = logging.getLogger(__name__)
WARMUP = 0.06  # share of the steps
WEIGHT_DECAY, BETAS, CLIP_NORM = 0.05, (0.9, 0.98), 1.0
MAX_LOGIT_SCALE = math.log(100)
CONTRAST_SPREAD, BRIGHTNESS_SPREAD = 0.15, 0.3  # per colour, in normalised units


def pretrain(out: Path, recipe: TinyClip) -> None:
    """Pre-train from scratch and write the weights to `out` (.safetensors).

    The file holds fp16 tensors of the open_clip state dict, but of `token_embedding.weight` only
    the rows in use; the int32 tensor `token_ids` says which rows they are.

    Raises:
        TrainingError: the loss is not finite.
    """
    seed, steps, batch = recipe.seed, recipe.steps, recipe.batch
    config = read_model_config(path_of(recipe.model))[0]
    stills = load_stills(recipe.stills, where="stills of a tiny CLIP")
    with one_thread(seed):
        pairs = _Pairs(stills, config, seed=seed, batch=batch)
        clip = build(config, vocabulary=len(pairs.token_ids))
        optimizers = _optimizers(clip, muon_lr=recipe.muon_lr, adamw_lr=recipe.adamw_lr)
        logger.info("pre-training on %d stills, %d tokens", steps * batch, len(pairs.token_ids))
        progress = Progress("tiny CLIP", total=steps)
        for step in range(steps):
            for optimizer in optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = group["initial_lr"] * _schedule(step, steps)
                optimizer.zero_grad()
            loss = _loss(clip, *pairs.draw(step), half=recipe.precision == "bf16")
            loss.backward()
            nn.utils.clip_grad_norm_(clip.parameters(), CLIP_NORM)
            for optimizer in optimizers:
                optimizer.step()
            with torch.no_grad():
                clip.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
            progress.advance(loss=finite(loss, "tiny CLIP", step))
    weights = {name: tensor.half() for name, tensor in clip.state_dict().items()}
    write_weights(out, weights | {"token_ids": torch.tensor(pairs.token_ids, dtype=torch.int32)})


def build(config: dict[str, Any], *, vocabulary: int) -> open_clip.CLIP:
    """An untrained tiny CLIP whose text tower knows `vocabulary` tokens."""
    text = config["text_cfg"] | {"vocab_size": vocabulary}
    clip = open_clip.CLIP(
        config["embed_dim"], config["vision_cfg"], text, quick_gelu=config["quick_gelu"]
    )
    vision = config["vision_cfg"]
    grid = [side // vision["patch_size"] for side in vision["image_size"]]
    with torch.no_grad():
        clip.visual.positional_embedding[1:] = _sine_positions(grid, vision["width"])
    return clip


def _sine_positions(grid: list[int], width: int) -> Float[Tensor, "N D"]:
    """Sines and cosines of row and column, in waves of 4 to 400 patches."""
    num_waves = width // 4
    waves = 1.5 / 100 ** (torch.arange(num_waves) / num_waves)
    rows, columns = torch.meshgrid(*map(torch.arange, grid), indexing="ij")
    angles = [place.reshape(-1, 1) * waves for place in (rows, columns)]
    return 0.25 * torch.cat([f(a) for a in angles for f in (torch.sin, torch.cos)], 1)


def _optimizers(
    clip: open_clip.CLIP, *, muon_lr: float, adamw_lr: float
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks; AdamW for the rest, decaying matrices only."""
    hidden: list[nn.Parameter] = []
    matrices: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for name, parameter in clip.named_parameters():
        inside = parameter.ndim == 2 and "resblocks" in name
        (hidden if inside else matrices if parameter.ndim > 1 else vectors).append(parameter)
    decayed = {"params": matrices, "weight_decay": WEIGHT_DECAY}
    adamw = torch.optim.AdamW(
        [decayed, {"params": vectors, "weight_decay": 0.0}], adamw_lr, betas=BETAS, fused=True
    )
    optimizers = [torch.optim.Muon(hidden, lr=muon_lr, weight_decay=0.0), adamw]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _schedule(step: int, steps: int) -> float:
    """Linear warm-up times cosine decay to 0."""
    warm = min(1.0, (step + 1) / max(20.0, WARMUP * steps))
    return warm * (0.5 + 0.5 * math.cos(math.pi * step / steps))


def _loss(
    clip: open_clip.CLIP,
    images: Float[Tensor, "B 3 H W"],
    tokens: Int64[Tensor, "B L"],
    *,
    half: bool,
) -> Tensor:
    """CLIP's symmetric cross entropy; the similarities in fp32 (bf16 has 3 digits)."""
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        image, text = clip.encode_image(images), clip.encode_text(tokens)
    image, text = normalize(image.float(), dim=-1), normalize(text.float(), dim=-1)
    logits = clip.logit_scale.exp() * image @ text.T  # (B, B)
    own = torch.arange(len(logits))
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


class _Pairs:
    """Batches of stills with captions; each a function of seed, step and place in the batch."""

    def __init__(self, stills: Stills, config: dict[str, Any], *, seed: int, batch: int) -> None:
        self.stills, self.seed, self.batch = stills, seed, batch
        self.size: list[int] = config["vision_cfg"]["image_size"]
        context = config["text_cfg"]["context_length"]
        self.tokenizer = open_clip.SimpleTokenizer(context_length=context)
        in_use = self.tokenizer(all_phrases(stills))
        self.token_ids: Int32[np.ndarray, " U"] = np.unique(in_use.numpy()).astype(np.int32)
        self.mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1) * 255
        self.std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1) * 255

    def draw(self, step: int) -> tuple[Float[Tensor, "B 3 H W"], Int64[Tensor, "B L"]]:
        """Pictures, normalised as CLIP's and augmented, and compact token ids."""
        rng = np.random.default_rng([self.seed, step])
        images, texts = zip(*(self._pair(rng) for _ in range(self.batch)), strict=True)
        pictures = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
        pictures = (pictures.float() - self.mean) / self.std
        shape = (self.batch, 3, 1, 1)
        contrast = torch.from_numpy(rng.normal(1, CONTRAST_SPREAD, shape)).float()
        brightness = torch.from_numpy(rng.normal(0, BRIGHTNESS_SPREAD, shape)).float()
        tokens = self.tokenizer(list(texts)).numpy()
        # Compact ids keep the order, so the end of text stays the largest, where CLIP reads.
        compact = np.searchsorted(self.token_ids, tokens)
        return pictures * contrast + brightness, torch.from_numpy(compact)

    def _pair(self, rng: np.random.Generator) -> tuple[UInt8[np.ndarray, "H W 3"], str]:
        action = self.stills.draw_action(rng)
        still = self.stills.for_clip(action, rng)
        height, width = self.size
        picture = Image.fromarray(still.picture).resize((width, height), Image.Resampling.BICUBIC)
        return np.asarray(picture), caption(rng, action, still, self.stills)
