"""What the parts of a method cost a key frame: as released, and as it runs (Table 12).

Methods are built at their true size with random weights, so that neither data nor downloads are
needed. A part costs what its row's method costs more than that of the row before.
"""

import logging
from collections.abc import Mapping

import torch

from stclip.config import MethodConfig
from stclip.config.drawn_tables import PartsTable
from stclip.config.names import pick
from stclip.config.target import make_config, resolve_target
from stclip.costs.measure import VIDEO_FRAMES, counting, drawn_batch, text_of
from stclip.costs.measured import PartCost
from stclip.errors import ConfigError
from stclip.methods.build import load_method
from stclip.methods.layers.multiply_adds import tower_of
from stclip.runtime.device import best_device

logger = logging.getLogger(__name__)


def count_parts(table: PartsTable, methods: Mapping[str, MethodConfig]) -> list[PartCost]:
    """Count every part of a table.

    Args:
        table: of `load_table`.
        methods: the settings of its rows' methods, by name.

    Raises:
        ConfigError: a method does not say what it costs as released, or has no such part.
    """
    found = []
    macs = trained = 0
    for row in table.rows:
        config = methods[row.method]
        released = released_part(config, row.part, persons=table.persons, labels=table.labels)
        counted = count_key_frame(config, persons=table.persons, labels=table.labels)
        part = PartCost(
            part=row.part,
            released_macs=released[0],
            released_trained=released[1],
            macs=counted[0] - macs,
            trained=counted[1] - trained,
        )
        macs, trained = counted
        found.append(part)
        logger.info("parts: counted %s", row.part)
    return found


def released_part(config: MethodConfig, part: str, *, persons: int, labels: int) -> tuple[int, int]:
    """Multiply-adds of a key frame, and trained parameters, of a part as released.

    Raises:
        ConfigError: the method does not say what it costs as released, or has no such part.
    """
    target = resolve_target(config.target)
    if target.released_cost is None:
        raise ConfigError(f"method {config.name!r} does not say what its parts cost as released.")
    own = make_config(target, config.params, where=f"method {config.name}")
    tower = tower_of(config.backbone.model)
    parts = target.released_cost(tower, own, persons=persons, labels=labels)
    return pick(parts, part, what=f"part of {config.name}")


def count_key_frame(config: MethodConfig, *, persons: int, labels: int) -> tuple[int, int]:
    """Multiply-adds of a drawn key frame as it is scored, texts ready, and trained parameters."""
    random = config.backbone.model_copy(update={"weights": None})
    method = load_method(config.model_copy(update={"backbone": random})).to(best_device()).eval()
    trained = sum(p.numel() for p in method.parameters() if p.requires_grad)
    method.prepare_scoring()
    method.requires_grad_(False)  # the counter stumbles over inputs that need a gradient
    text = text_of(method, [f"action {number}" for number in range(labels)], config)
    batch = drawn_batch(method, [VIDEO_FRAMES // 2], persons=persons).to(best_device())
    with counting() as counter, torch.inference_mode():
        method.logits(batch, text)
    return counter.get_total_flops() // 2, trained
