"""By what rules a data set's score files are judged: its metrics and assumptions, resolved."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from stclip.boxes.linking import Linking, frames_within
from stclip.config import DatasetConfig, LinkingConfig, pick
from stclip.evaluate.protocol import PROTOCOLS, Protocol
from stclip.evaluate.video_map import VIDEO_PROTOCOLS, VideoProtocol
from stclip.evaluate.voting import ASSUMPTIONS, INDEPENDENT
from stclip.records import KeyFrames


@dataclass(frozen=True, kw_only=True)
class TubeRules:
    """How boxes become tubes, and how those are judged."""

    linking: Linking  # in key frames
    protocol: VideoProtocol
    iou: tuple[float | str, ...]  # thresholds, or "0.5:0.95" for the mean over ten


@dataclass(frozen=True, kw_only=True)
class Rules:
    """All that decides a run's metrics beside its scores."""

    frames: Protocol = PROTOCOLS["iclip"]
    tubes: TubeRules | None = None
    assumptions: tuple[str, ...] = tuple(ASSUMPTIONS)
    together: bool = False  # unseen and base labels are judged as one list, on the same boxes
    label_groups: Mapping[str, Sequence[str]] = field(default_factory=dict)  # with means beside


def rules_of(data: DatasetConfig, key_frames: KeyFrames) -> Rules:
    """The rules that a data set's settings name.

    Raises:
        ConfigError: an unknown protocol.
    """
    metric = data.frame_map
    frames = pick(PROTOCOLS, metric.protocol, what="protocol")
    tubes = None
    if data.video_map is not None:
        tubes = TubeRules(
            linking=linking_of(data.linking, step_s=key_frames.step_s),
            protocol=pick(VIDEO_PROTOCOLS, data.video_map.protocol, what="video protocol"),
            iou=tuple(data.video_map.iou),
        )
    return Rules(
        frames=replace(frames, iou_threshold=float(metric.iou[0])),
        tubes=tubes,
        assumptions=tuple(ASSUMPTIONS) if data.voting else (INDEPENDENT,),
        together=data.scored_labels == "together",
        label_groups=data.label_groups,
    )


def linking_of(config: LinkingConfig, *, step_s: float) -> Linking:
    """Seconds in key frames that are `step_s` apart; at least one."""
    return Linking(
        patience=frames_within(config.patience_s, step_s),
        min_frames=frames_within(config.min_length_s, step_s),
    )


def shown_boxes(sources: Iterable[str]) -> str:
    """The box source that figures and dashboards show: the first of those scored."""
    return next(iter(sources))


def assumptions_of(method: Sequence[str], data: DatasetConfig) -> list[str]:
    """The assumptions under which a method stands in tables of a data set.

    Where boxes may not vote, a method that always votes is shown without.
    """
    if data.voting:
        return list(method)
    return [INDEPENDENT]
