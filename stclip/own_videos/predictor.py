"""Scores videos with a method and a detector that stay loaded; the Python call.

A part of a video goes through the road's own functions: the detector, the filter of boxes, the
scorer. So a prepared clip gets here the scores that `stclip score` gives it.

N boxes, K labels.
"""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from PIL import Image

from stclip.boxes.linking import frames_within
from stclip.boxes.select import select_boxes
from stclip.boxes.two_scores import TrackLinker, TwoScoreLinking
from stclip.config import CONFIG_FOLDER, BoxSource, MethodConfig, checked
from stclip.config.hashes import config_hash
from stclip.config.predict_models import PredictConfig, load_predict
from stclip.detect.backends.backend import Backend
from stclip.methods.label_semantics import exclusive_mask
from stclip.methods.reading import make_reader
from stclip.own_videos.found_persons import BOXES, Prediction, joined
from stclip.own_videos.given_labels import check_own_labels, exclusive_labels
from stclip.own_videos.opened import Recording, open_video, video_name
from stclip.own_videos.part_results import go_on, link_boxes, restored, stored
from stclip.own_videos.ready import choose, ready_detector, ready_method, with_labels
from stclip.own_videos.video_parts import Cutting, Part, parts_of, read_ahead
from stclip.progress import Progress
from stclip.records import BOX_COLUMNS, Boxes, Clips, Data, Detections, KeyFrames
from stclip.runtime.device import best_device, on_device
from stclip.runtime.precision import computed_in, scoring_precision
from stclip.score.score import score_boxes
from stclip.storage.resume_log import Journal

logger = logging.getLogger(__name__)


class Predictor:
    """A method and a detector, loaded once, for any number of videos and label lists."""

    def __init__(
        self,
        method: str | None = None,
        *,
        weights: Path | str | None = None,
        scale: str = "mini",
        detector: str | None = None,
        device: str | None = None,
        config: Path | str = CONFIG_FOLDER,
        **settings: Any,
    ) -> None:
        """Load them.

        Args:
            method: a file of `config`/methods, or a variant; default: that of the weights' run,
                else of `config`/predict.yaml.
            weights: a run's folder or a .safetensors file, for a trained method.
            scale: a file of `config`/scales.
            detector: of the scale; default: that of the data set in predict.yaml.
            device: "cpu", "cuda" or "cuda:1"; default: the GPU if there is one.
            config: folder of the YAML files.
            settings: keys of predict.yaml (`stclip.config.predict_models.PredictConfig`) in place
                of what it says, as every_s=0.5.

        Raises:
            ConfigError: unknown names or settings, no weights for a method that needs some, or
                those of another method.
            DataError: a file is missing or damaged.
        """
        said = load_predict(Path(config)).model_dump()
        own = checked(PredictConfig, said | settings, "settings of predictions")
        self.device = device
        with on_device(device):
            self.choice = choose(
                config=Path(config), scale=scale, own=own, method=method, detector=detector,
                weights=None if weights is None else Path(weights),
            )  # fmt: skip
            self.method = ready_method(self.choice)
            self._detector = ready_detector(self.choice.detector)
            objects = self.choice.objects
            self._objects = None if objects is None else ready_detector(objects)
            precision = scoring_precision(self.choice.method.score.precision)
            score = computed_in(precision, best_device())
        detectors = {"persons": self._detector, "objects": self._objects}
        computed = {name: getattr(found, "computed", {}) for name, found in detectors.items()}
        self.computed: dict[str, dict[str, str]] = {"score": score} | computed
        logger.info("predict: scores are computed in %(precision)s on %(device)s", score)
        self._batch_frames = self.choice.method.score.batch_frames
        self._encoded: tuple[str, Any] = ("", None)

    @property
    def own(self) -> PredictConfig:
        """The settings of predictions."""
        return self.choice.own

    def predict(
        self,
        video: Path | str,
        labels: Sequence[str],
        *,
        exclusive: bool | Sequence[str] = True,
        templates: Sequence[str] | None = None,
        journal: Journal | None = None,
    ) -> Prediction:
        """Find the persons of a video and score the labels.

        Args:
            video: a file that PyAV reads, or a folder of images.
            labels: any texts.
            exclusive: whether the labels exclude each other (softmax) or not (a sigmoid each), or
                those that do.
            templates: texts around a label, as "a person {}"; several are averaged. Default: those
                of the method's settings.
            journal: of parts that an earlier try has finished.

        Raises:
            ConfigError: labels or templates that do not fit. DataError: the video cannot be read.
        """
        config = self.settings(labels, templates)
        recording = open_video(Path(video), image_rate=self.own.image_rate)
        mask = exclusive_mask(list(labels), exclusive_labels(exclusive, labels))
        with on_device(self.device), torch.inference_mode():
            text = self._text(list(labels), config)
            found = self._parts(recording, config, text, mask, journal)
        boxes = joined([boxes for _, boxes, _ in found]).rename_axis(None)
        values = [values for _, _, values in found]
        keys = pd.concat([keys for keys, _, _ in found], ignore_index=True)
        return Prediction(
            video=video_name(Path(video)),
            path=str(video),
            method=config.name,
            labels=tuple(labels),
            exclusive=tuple(mask.tolist()),
            size=self._size,
            key_frames=keys,
            boxes=boxes,
            probabilities=np.concatenate([np.zeros((0, len(labels)), np.float32), *values]),
            problems=tuple(recording.problems),
        )

    def settings(self, labels: Sequence[str], templates: Sequence[str] | None) -> MethodConfig:
        """The method's settings for some labels, which are checked."""
        config = with_labels(self.choice.method, templates)
        check_own_labels(list(labels), config)
        return config

    def key(
        self,
        video: Path | str,
        labels: Sequence[str],
        *,
        exclusive: bool | Sequence[str],
        templates: Sequence[str] | None,
    ) -> str:
        """16 hex digits that change with all that moves a prediction.

        Raises:
            DataError: the video or another file is missing.
        """
        identity = open_video(Path(video), image_rate=self.own.image_rate).identity
        asked = {"labels": list(labels), "templates": list(templates or [])}
        named = exclusive_labels(exclusive, labels)
        return config_hash(self._models_key, {"video": identity, "exclusive": named, **asked})

    @cached_property
    def _models_key(self) -> str:
        return self.choice.key(self.computed)

    def _text(self, labels: list[str], config: MethodConfig) -> Any:
        """The label features, kept for the next video."""
        key = config_hash({"labels": labels, "templates": config.label_templates})
        if self._encoded[0] != key:
            text = self.method.text_features(self.method.encode_names(labels, config))
            self._encoded = (key, text)
        return self._encoded[1]

    def _parts(
        self,
        recording: Recording,
        config: MethodConfig,
        text: Any,
        mask: torch.Tensor,
        journal: Journal | None,
    ) -> list[tuple[pd.DataFrame, pd.DataFrame, Float[np.ndarray, "N K"]]]:
        """Key frames, boxes and probabilities of every part."""
        cutting = Cutting.for_inputs(
            self.method.inputs,
            **self.own.model_dump(
                include={"every_s", "rate", "short_side", "part_key_frames", "clip_s"}
            ),
        )
        step_s = self.own.every_s
        patience = frames_within(self.own.patience_s, step_s)
        linker = TrackLinker(TwoScoreLinking(**self.own.tracks.model_dump(), patience=patience))
        done = [] if journal is None else [restored(part) for part in journal.done.values()]
        self._size = (0, 0)
        for keys, boxes, _ in done:
            go_on(linker, keys, boxes)
        number = 0 if journal is None else 1 + max(map(int, journal.done), default=-1)
        if journal is not None and journal.done:
            self._size = tuple(next(iter(journal.done.values()))["size"])
        duration = recording.duration_s
        progress = Progress(
            f"predict {Path(recording.path).name}",
            total=None if duration is None else round(duration),
            done=int(done[-1][0]["time_s"].iloc[-1]) if done else 0,
            unit="s of video",
        )
        found = list(done)
        for part in read_ahead(parts_of(recording, cutting, first=number)):
            self._size = (part.size[1], part.size[0])
            keys = pd.DataFrame([vars(k) for k in part.key_frames])
            boxes, values = self._score_part(part, config, text, mask, linker)
            found.append((keys, boxes, values))
            if journal is not None:
                journal.add(str(part.number), stored(self._size, keys, boxes, values))
            progress.reach(int(part.key_frames[-1].time_s))
        if progress.total is not None and not recording.problems:
            progress.reach(progress.total)
        return found

    def _score_part(
        self,
        part: Part,
        config: MethodConfig,
        text: Any,
        mask: torch.Tensor,
        linker: TrackLinker,
    ) -> tuple[pd.DataFrame, Float[np.ndarray, "N K"]]:
        """The boxes of a part in pixels of the video, and each label's probability."""
        data = self._data(part)
        source = BoxSource(source="detections", within=self.own.within, top=self.own.top)
        table = select_boxes(source, data, names=[part.video], level=logging.DEBUG)
        frame_of = {key.place: key for key in part.key_frames}
        steps = table["frame"].map({place: key.step for place, key in frame_of.items()})
        table["tube"] = link_boxes(linker, steps, table)
        values = np.zeros((0, len(mask)), np.float32)
        if len(table):
            values = self._scored(table, data, part, config, text, mask)
        height = next(iter(part.pixels.values())).shape[0]
        scale = part.size[0] / height
        boxes = table.rename(columns={"tube": "track"}).assign(
            time_s=table["frame"].map({place: key.time_s for place, key in frame_of.items()}),
            frame=table["frame"].map({place: key.frame for place, key in frame_of.items()}),
        )
        boxes[BOX_COLUMNS] = (table[BOX_COLUMNS] * scale).astype(np.float32)
        return boxes[BOXES].reset_index(drop=True), values

    def _data(self, part: Part) -> Data:
        """What the road knows of a part: a clip, key frames and boxes."""
        height, width = next(iter(part.pixels.values())).shape[:2]
        times = [key.time_s for key in part.key_frames]
        places = [key.place for key in part.key_frames]
        apart = times[-1] - times[0]
        fps = (places[-1] - places[0]) / apart if apart else 1 / self.own.every_s
        row: tuple[Any, ...] = (part.video, "test", part.num_frames, height, width, fps, "", [])
        clips = Clips(pd.DataFrame([row], columns=list(Clips.COLUMNS)))
        keys = pd.DataFrame(
            [(part.video, k.place, k.step, self.own.every_s, True) for k in part.key_frames],
            columns=list(KeyFrames.COLUMNS),
        )
        return Data(
            clips=clips,
            boxes=Boxes(pd.DataFrame(columns=list(Boxes.COLUMNS))),
            key_frames=KeyFrames(keys),
            frames=Path(),
            detections=self._found(self._detector, part, places),
            objects=None if self._objects is None else self._found(self._objects, part, places),
        )

    def _found(self, detector: Backend, part: Part, places: Sequence[int]) -> Detections:
        """What a detector finds in the key frames."""
        rows: list[tuple[Any, ...]] = []
        size = self.choice.detector.batch_frames
        for start in range(0, len(places), size):
            chosen = list(places[start : start + size])
            keys = [(part.video, place) for place in chosen]
            for place, found in zip(
                chosen, detector.find(keys, [part.pixels[p] for p in chosen]), strict=True
            ):
                for box, value in zip(found.boxes_xyxy.tolist(), found.scores, strict=True):
                    rows.append((part.video, place, *box, float(value)))
        return Detections(pd.DataFrame(rows, columns=["clip", "frame", *BOX_COLUMNS, "score"]))

    def _scored(
        self,
        table: pd.DataFrame,
        data: Data,
        part: Part,
        config: MethodConfig,
        text: Any,
        mask: torch.Tensor,
    ) -> Float[np.ndarray, "N K"]:
        """The scorer's probabilities; batches are halved where the device has no room for them."""

        def read(clip: str, place: int) -> Image.Image:
            return Image.fromarray(part.pixels[place])

        while True:
            score = config.score.model_copy(update={"batch_frames": self._batch_frames})
            now = config.model_copy(update={"score": score})
            reader = make_reader(self.method, now, data, kinds_of_boxes=["detections"], read=read)
            try:
                return score_boxes(
                    self.method, table, data.clips, text, num_labels=len(mask), reader=reader,
                    config=now, objects=data.objects, exclusive=mask, shows_progress=False,
                )  # fmt: skip
            except torch.OutOfMemoryError:
                if self._batch_frames == 1:
                    raise
                self._batch_frames //= 2
                torch.cuda.empty_cache()
                logger.info("the GPU is full; batches of %d from now on", self._batch_frames)


def predict(
    video: Path | str,
    labels: Sequence[str],
    *,
    method: str | None = None,
    exclusive: bool | Sequence[str] = True,
    templates: Sequence[str] | None = None,
    **settings: Any,
) -> Prediction:
    """Find the persons of a video and score any labels.

    Args:
        video: a file that PyAV reads, or a folder of images.
        labels: any texts.
        method: a file of config/methods; default: that of config/predict.yaml, which needs no
            weights.
        exclusive: as `Predictor.predict`; so are templates.
        templates: texts around a label, as "a person {}".
        settings: as of `Predictor`: weights, scale, detector, device, config, every_s, ...

    Returns:
        Typed records (`persons`, `tracks`) and a pandas table (`table`).

    Raises:
        ConfigError: as `Predictor`. DataError: the video cannot be read.
    """
    predictor = Predictor(method, **settings)
    return predictor.predict(video, labels, exclusive=exclusive, templates=templates)
