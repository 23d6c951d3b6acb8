"""Writes official weights in our form: what a training of ours would have written."""

import logging
from dataclasses import asdict
from pathlib import Path

import torch

from stclip.checkpoints.official import read_official
from stclip.config import MethodConfig
from stclip.errors import DataError
from stclip.methods.build import import_state_dict, load_method
from stclip.methods.contract import Method
from stclip.records import LabelSplit
from stclip.storage.tensors import write_tensors
from stclip.train.run_folder import run_hash, write_run

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
    resolved = config.model_copy(update={"params": asdict(method.config)})
    write_run(out, resolved, [], weights=method.trained_state(), run=run)
    logger.info("%s: run of split %s, seed %d written", out, split.name, seed)


def _imported(file: Path, config: MethodConfig) -> Method:
    method = load_method(config)
    try:
        official = method.official
        content = official.content if official else ()
        state = import_state_dict(config.name, read_official(file, content))
    except DataError as error:
        message = str(error)
        raise DataError(message if str(file) in message else f"{file}: {message}") from None
    ours = method.state_dict()
    if official is not None:
        for name in official.tables:
            state[name] = state[name][: len(ours[name])]
        for name in official.shorter:
            if state[name].shape[1:] == ours[name].shape[1:]:
                state[name] = torch.cat([state[name], ours[name][len(state[name]) :]])
        state |= {name: ours[name] for name in official.kept}
    wrong = sorted(
        name
        for name in ours.keys() | state.keys()
        if name not in ours or name not in state or ours[name].shape != state[name].shape
    )
    if wrong:
        raise DataError(
            f"{file}: does not fit {config.name} on {config.backbone.model}: {len(wrong)} tensors "
            f"are missing, unknown or of another shape: {wrong[:5]}. Another backbone or params?"
        )
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
