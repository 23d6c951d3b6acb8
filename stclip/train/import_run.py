"""Writes official weights in our form: what a training of ours would have written."""

import logging
from pathlib import Path

import torch

from stclip.config import MethodConfig
from stclip.methods.build import load_method
from stclip.methods.contract import Method
from stclip.methods.official_weights import official_state
from stclip.records import LabelSplit
from stclip.storage.tensors import write_tensors
from stclip.train.run_folder import backbone_hash, run_hash, write_run

logger = logging.getLogger(__name__)
SAME = 1e-3  # OpenAI's weights are fp16 numbers below about 2: half a unit in the last place


def import_weights(file: Path, config: MethodConfig, out: Path) -> None:
    """Write the trained tensors of an official checkpoint as safetensors.

    Raises:
        DataError: the file is no such checkpoint, or not of this backbone and configuration.
    """
    method = _imported(file, config)
    write_tensors(out, method.trained_state())
    logger.info("%s: %d trained tensors written", out, len(method.trained_state()))


def import_run(
    file: Path, config: MethodConfig, *, split: LabelSplit, seed: int, out: Path
) -> None:
    """Write an official checkpoint as the run of a split and seed, which `stclip score` takes.

    Raises:
        DataError: as `import_weights`.
    """
    method = _imported(file, config)
    run = run_hash(config, split, seed)
    backbone, weights = backbone_hash(config), method.trained_state()
    write_run(out, config, [], weights=weights, run=run, backbone=backbone)
    logger.info("%s: run of split %s, seed %d written", out, split.name, seed)


def _imported(file: Path, config: MethodConfig) -> Method:
    """The method with the trained tensors of the checkpoint; CLIP's frozen ones stay its own."""
    method = load_method(config)
    clip = config.backbone
    state = official_state(
        method, file, name=config.name, backbone=clip.model, pretrained=clip.weights
    )
    ours = method.state_dict()
    trained = method.trained_state().keys()
    frozen = [name for name in ours if name not in trained]
    apart = [n for n in frozen if not torch.allclose(ours[n], state[n], rtol=0, atol=SAME)]
    if apart:
        logger.warning(
            "%s: %d of its %d frozen tensors differ from those of %s (%s, ...), which stay; was it "
            "trained on another CLIP?",
            file, len(apart), len(frozen), config.backbone.weights, apart[0],
        )  # fmt: skip
    method.load_trained_state({name: state[name] for name in trained}, where=str(file))
    return method
