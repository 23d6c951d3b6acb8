"""The work of a job, counted before it runs: operations, pictures, bytes.

Models are built at their true size and the operations of one sample, and of a detector's frame, are
counted as those of Table 10 are (`stclip.costs.measure`); a method's are not computed
(`stclip.costs.shapes_only`). Methods of which only training or names differ are counted once. How
many samples there are follows from the settings and from the published counts of the data set.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from stclip import config as c
from stclip.config.hashes import config_hash, crops_key, frames_key
from stclip.costs.counted import Sample, count_detector, count_sample, counted_settings
from stclip.costs.prepared_counts import prepared_counts
from stclip.costs.rates import Work
from stclip.errors import ConfigError
from stclip.methods.layers.multiply_adds import encode_picture, tower_of
from stclip.runtime.precision import planned_precision
from stclip.storage.files import read_json

logger = logging.getLogger(__name__)
BACKWARD = 3  # a step over its forward pass; a bound, as frozen weights need no gradient
FLOAT = 4  # bytes
BOXES_PER_FRAME = 3  # found by a detector, before any filter; assumed
# Of a frame, by the data set's store; JPEG as in benchmarks/results/frames_ucf.txt.
STORED_BYTES = {"decoded": 240 * 320 * 3, "jpeg": 23_800}
RUN_BYTES = 1_000_000  # curves, errors and replicates of a run, as at scale mini
Wildcards = Mapping[str, str]


class Workload:
    """The work of a scale's jobs; a model is built when a job first needs it."""

    def __init__(self, config: Path, scale: str, *, prepared: Path | None = None) -> None:
        """Say of what there is work.

        Args:
            config: folder of the YAML files.
            scale: a file of its folder `scales`.
            prepared: folder of the scale's prepared data sets, which are counted; None: what is
                published of them is taken.

        Raises:
            ConfigError: the scale's data are not those whose counts are published.
        """
        self.config, self.name, self.prepared = config, scale, prepared
        self.scale = c.load_scale(config, scale)
        if not self.scale.published and prepared is None:
            raise ConfigError(
                f"scale {scale}: no published counts say how much there is to do; plan scale paper."
            )
        self._rules: dict[str, Callable[[Wildcards], Work]] = {
            "prepare": self._prepare,
            "finetune": self._finetune,
            "detect": self._detect,
            "objects": self._objects,
            "frame_features": self._frame_features,
            "box_features": self._box_features,
            "train": self._train,
            "score": self._score,
            "evaluate": self._evaluate,
        }
        self._samples: dict[str, Sample] = {}
        self._counted: dict[tuple[str, str], Sample] = {}
        # A plan has thousands of jobs of the same settings and counts.
        self._method = cache(self._load_method)
        self._data = cache(partial(c.load_dataset, config, scale=scale))
        self._counts_of = cache(self._read_counts)
        self._detectors: dict[str, tuple[int, int]] = {}

    def of(self, rule: str, wildcards: Wildcards) -> Work:
        """The work of a job; none where it only moves files or makes tables.

        Raises:
            ConfigError: something in it cannot be counted.
        """
        return self._rules[rule](wildcards) if rule in self._rules else Work()

    def _prepare(self, w: Wildcards) -> Work:
        frames = self._counts(w)["frames"]
        store = self._data(w["dataset"]).frame_store
        return Work(pictures=frames, written=frames * STORED_BYTES[store])

    def _finetune(self, w: Wildcards) -> Work:
        settings = c.pick(self.scale.detectors, w["detector"], what="detector")
        assert settings.finetune is not None
        annotated = _annotated(self._counts(w)["splits"][w["split"]]["train"])
        frames = annotated / settings.finetune.frame_stride * settings.finetune.epochs
        per_frame, parameters = self._detector(w["detector"])
        return Work(
            operations=frames * per_frame * BACKWARD, pictures=frames, written=parameters * FLOAT
        )

    def _detect(self, w: Wildcards) -> Work:
        frames = _annotated(self._counts(w)["test"])
        return self._look(w["detector"], frames=frames // self._counted_every(w))

    def _objects(self, w: Wildcards) -> Work:
        return self._look(w["objects"], frames=_annotated(self._counts(w)["all"]))

    def _look(self, detector: str, *, frames: int) -> Work:
        settings = c.pick(self.scale.detectors, detector, what="detector")
        per_frame, _ = self._detector(detector)
        return Work(
            operations=frames * per_frame, precision=planned_precision(settings.precision),
            pictures=frames, written=frames * BOXES_PER_FRAME * 7 * FLOAT,
        )  # fmt: skip

    def _frame_features(self, w: Wildcards) -> Work:
        return self._encode(w, frames_key, boxes=self._counts(w)["frames"])

    def _box_features(self, w: Wildcards) -> Work:
        counts, kind = self._counts(w), w["table"].partition("/")[0]
        frames = {"boxes": "all", "objects": "all", "detections": "test"}[kind]
        found = BOXES_PER_FRAME * _annotated(counts[frames])
        return self._encode(w, crops_key, boxes=counts["all"][1] if kind == "boxes" else found)

    def _encode(self, w: Wildcards, key: Callable[[c.MethodConfig], str], *, boxes: int) -> Work:
        """`boxes` pictures through the frozen backbone that the key of the features names."""
        paths = sorted((self.config / "methods").glob("*.yaml"))
        methods = [self._method(path.stem, w["dataset"]) for path in paths]
        found = next(m for m in methods if m.features and key(m) == w["features"])
        tower = tower_of(found.backbone.model)
        operations = 2 * encode_picture(tower, project=True)
        return Work(
            operations=boxes * operations, pictures=boxes, written=boxes * tower.embed * FLOAT
        )

    def _train(self, w: Wildcards) -> Work:
        config = self._method(w["method"], w["dataset"])
        steps = config.train.iterations
        if not steps:
            return Work()
        sample, batch = self._sample(w), config.train.batch_frames
        step = (batch * sample.train + sample.text_step) * BACKWARD
        return Work(
            operations=sample.text + steps * step,
            precision=planned_precision(config.train.precision),
            pictures=steps * batch * sample.train_pictures, written=sample.trained * FLOAT,
        )  # fmt: skip

    def _score(self, w: Wildcards) -> Work:
        config, sample = self._method(w["method"], w["dataset"]), self._sample(w)
        split = self._counts(w)["splits"][w["split"]]
        groups = split["unseen"], split["base"]
        videos, frames = (sum(map(of, groups)) for of in (_videos, _annotated))
        frames //= self._counted_every(w)
        sources = len(self._built["boxes"])
        samples = (frames if sample.per_frame else split.get("tracks", videos)) * sources
        rows = self._rows(w)
        return Work(
            operations=samples * sample.score + 2 * sample.text,
            precision=planned_precision(config.score.precision),
            pictures=samples * sample.score_pictures,
            written=RUN_BYTES + rows * (7 + len(self._labels(w))) * FLOAT,
        )  # fmt: skip

    def _evaluate(self, w: Wildcards) -> Work:
        return Work(rows=self._rows(w))

    def _rows(self, w: Wildcards) -> int:
        """Scored boxes, of all sources."""
        split = self._counts(w)["splits"][w["split"]]
        boxes = sum(map(_boxes, (split["unseen"], split["base"])))
        return boxes // self._counted_every(w) * len(self._built["boxes"])

    def _counted_every(self, w: Wildcards) -> int:
        """Every so manieth of the tested frames that are counted is a key frame."""
        data = self._data(w["dataset"])
        if self.prepared or isinstance(data.key_frames, c.Seconds):
            return 1
        return data.key_frames.frames

    @cached_property
    def _built(self) -> dict[str, Any]:
        return c.read_yaml(self.config / "config.yaml")

    def _counts(self, w: Wildcards) -> dict[str, Any]:
        return self._counts_of(w["dataset"])

    def _read_counts(self, dataset: str) -> dict[str, Any]:
        """What was prepared; else the published counts, and those assumed where none are."""
        if self.prepared:
            return prepared_counts(self.prepared / dataset, family=self._data(dataset).family)
        counts = c.read_yaml(self.config / "published" / f"{dataset}_counts.yaml")
        return counts | counts.get("assumed", {})

    def _load_method(self, method: str, dataset: str) -> c.MethodConfig:
        return c.load_method(self.config, method, dataset=dataset, scale=self.name)

    def _labels(self, w: Wildcards) -> list[str]:
        """The base classes of the split: the longer list."""
        path = self.config.parent / "splits" / w["dataset"] / w["family"] / f"{w['split']}.json"
        return list(read_json(path)["base"])

    def _most_labels(self, dataset: str, family: str) -> list[str]:
        """Those of the split that has most, whichever job comes first; a bound for the others."""
        folder = self.config.parent / "splits" / dataset / family
        lists = [list(read_json(path)["base"]) for path in sorted(folder.glob("*.json"))]
        return max(lists, key=len)

    def _sample(self, w: Wildcards) -> Sample:
        named = (w["method"], w["dataset"])
        if named not in self._counted:
            config, labels = self._method(*named), self._most_labels(w["dataset"], w["family"])
            key = config_hash(counted_settings(config), {"labels": labels})
            if key not in self._samples:
                self._samples[key] = count_sample(config, labels)
                logger.info("plan: counted %s of %s", *named)
            self._counted[named] = self._samples[key]
        return self._counted[named]

    def _detector(self, name: str) -> tuple[int, int]:
        if name not in self._detectors:
            settings = c.pick(self.scale.detectors, name, what="detector")
            self._detectors[name] = count_detector(name, settings)
            logger.info("plan: counted %s", name)
        return self._detectors[name]


def _videos(counts: Sequence[int]) -> int:
    return counts[0]


def _boxes(counts: Sequence[int]) -> int:
    return counts[1]


def _annotated(counts: Sequence[int]) -> int:
    """Frames with a box; where they are not counted, each box is a frame's only one."""
    return counts[-1]
