"""Tables of latency: how long a film takes on one and on more devices."""

import logging
from collections.abc import Sequence

import pandas as pd

from stclip.config.drawn_tables import LatencyTable
from stclip.costs.measured import Latency
from stclip.errors import DataError

logger = logging.getLogger(__name__)


def build_latency(
    found: Sequence[Latency], *, config: LatencyTable, scale: str, where: str
) -> pd.DataFrame:
    """A row per method and number of devices, in the order measured.

    Args:
        found: of `stclip.costs.latency`.
        config: of `load_table`.
        scale: its name.
        where: the machine that measured.

    Returns:
        Text cells. Devices; key frames of the film and persons in each; seconds of the film, key
        frames a second, times as fast as on one device; scale and machine.

    Raises:
        DataError: nothing was measured, or a film of another size.
    """
    size = (config.key_frames, config.persons)
    others = {(one.key_frames, one.persons) for one in found} - {size}
    if others or not found:
        raise DataError(
            f"measured are films of (key frames, persons) {sorted(others)}, the table has {size}; "
            "measure again."
        )
    alone = {one.title: one.seconds for one in found if one.devices == 1}
    cells = [
        {
            "method": one.title,
            "devices": str(one.devices),
            "key frames": str(one.key_frames),
            "persons": str(one.persons),
            "s a film": f"{one.seconds:.2f}",
            "frames/s": f"{one.key_frames / one.seconds:.1f}",
            "speed-up": f"{alone[one.title] / one.seconds:.2f}",
            "scale": scale,
            "on": where,
        }
        for one in found
    ]
    logger.info("%s: %d rows", config.title, len(cells))
    return pd.DataFrame(cells, dtype="str")
