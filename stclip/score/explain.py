"""What a trained method makes of some persons beside their scores, for figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from stclip.config import MethodConfig
from stclip.inputs.loader import make_loader
from stclip.inputs.samples import make_samples
from stclip.methods.contract import Method
from stclip.methods.reading import make_reader
from stclip.records import Data
from stclip.runtime.device import best_device
from stclip.runtime.precision import autocast, scoring_precision


@dataclass(frozen=True)
class Explained:
    """What stands behind the scores of R boxes; K labels, features of width e."""

    text: Float[np.ndarray, "K e"]  # label features from the text tower
    prompted: Float[np.ndarray, "R K e"]  # the same after each box's frame prompted them
    # Of each box the tokens that prompted first, the one that it attends to most before the others:
    # 0 the class token, then the frame's persons in the order of the table, then the patches, row
    # by row. None where all tokens prompt.
    interest: Sequence[Int[np.ndarray, " k"]]


def explain_boxes(
    method: Method,
    table: pd.DataFrame,
    data: Data,
    labels: Sequence[str],
    *,
    config: MethodConfig,
) -> Explained:
    """Run a method on boxes; its features and tokens are those of its scores.

    Args:
        method: ready to score; its unit is "person".
        table: of `select_boxes`: all boxes of each frame that is in it, as they see one another.
        data: clips and frames.
        labels: official names, in the order of K.
        config: of the method.

    Raises:
        ConfigError: the method prompts no label texts by the frame. DataError: damaged frames.
    """
    table = table.reset_index(drop=True)
    kinds = list(dict.fromkeys(table["origin"]))
    reader = make_reader(method, config, data, kinds_of_boxes=kinds)
    samples = make_samples(table, data.clips, inputs=method.inputs, objects=data.objects)
    size = config.score.batch_frames
    batches = [samples[i : i + size] for i in range(0, len(samples), size)]
    device, precision = best_device(), scoring_precision(config.score.precision)
    with torch.inference_mode():
        text = method.text_features(method.encode_names(labels, config))
    prompted: dict[int, np.ndarray] = {}
    interest: dict[int, np.ndarray] = {}
    loader = make_loader(reader, method.inputs, batches, training=False, workers=0)
    for chosen, batch in zip(batches, loader, strict=True):
        with torch.inference_mode(), autocast(precision, device):
            found = method.explain(batch.to(device), text)
        rows = np.concatenate([sample.rows for sample in chosen]).tolist()
        prompted |= zip(rows, found.prompted.float().cpu().numpy(), strict=True)
        for row, layers in zip(rows, found.interest, strict=True):
            interest[row] = layers[0].cpu().numpy() if layers else np.zeros(0, np.int64)
    order = range(len(table))
    return Explained(
        text=text.float().cpu().numpy(),
        prompted=np.stack([prompted[row] for row in order]),
        interest=[interest[row] for row in order],
    )
