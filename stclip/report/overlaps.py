"""Which scored boxes overlap which annotated persons of their frame; N scored boxes, M persons."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from stclip.evaluate.error_kinds import BACKGROUND
from stclip.evaluate.matching import FrameBoxes, Pairs, frame_codes, overlapping_pairs
from stclip.evaluate.protocol import Protocol
from stclip.records import BOX_COLUMNS, Scores


@dataclass(frozen=True)
class Overlaps:
    """Boxes beside persons that they have to do with: overlaps from 0.1 up, as errors are told."""

    found_codes: Int[np.ndarray, " N"]  # which frame a scored box is on
    person_codes: Int[np.ndarray, " M"]
    pairs: Pairs  # the largest overlap last

    def best_person(self) -> tuple[Int[np.ndarray, " N"], Float[np.ndarray, " N"]]:
        """The person that each scored box overlaps most (-1: nobody), and by how much."""
        return self._best(len(self.found_codes), self.pairs.found, self.pairs.truth)

    def best_box(self) -> tuple[Int[np.ndarray, " M"], Float[np.ndarray, " M"]]:
        """The scored box that overlaps each person most (-1: none), and by how much."""
        return self._best(len(self.person_codes), self.pairs.truth, self.pairs.found)

    def _best(
        self, count: int, rows: np.ndarray, others: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        best, overlap = np.full(count, -1), np.zeros(count)
        best[rows], overlap[rows] = others, self.pairs.iou  # what is written last stays
        return best, overlap


def overlaps_of(
    scores: Scores, persons: pd.DataFrame, *, clips: Sequence[str], protocol: Protocol
) -> Overlaps:
    """Pair the boxes of scores with persons.

    Args:
        scores: of one label group.
        persons: columns clip, frame, x1, y1, x2, y2; a row each.
        clips: the test clips of that group.
        protocol: says how overlap is measured.
    """
    names = pd.Index(clips)
    found_codes, person_codes = frame_codes(
        *(
            (names.get_indexer(pd.Index(side["clip"])), side["frame"].to_numpy())
            for side in (scores.table, persons)
        )
    )
    pairs = overlapping_pairs(
        FrameBoxes(found_codes, scores.boxes_xyxy),
        FrameBoxes(person_codes, persons[BOX_COLUMNS].to_numpy(np.float32)),
        iou=protocol.iou,
        least=BACKGROUND,
    )
    return Overlaps(found_codes, person_codes, pairs.of(np.argsort(pairs.iou, kind="stable")))
