"""Options that several commands share, and the application they belong to."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stclip.config import CONFIG_FOLDER
from stclip.errors import ConfigError

if TYPE_CHECKING:
    from stclip.records import Data

HELP = """One subcommand per stage, in road order."""

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=HELP
)
splits_app = typer.Typer(no_args_is_help=True, help="Resolve and make zero-shot label splits.")
mini_app = typer.Typer(no_args_is_help=True, help="Draw the miniature and train what it needs.")
data_app = typer.Typer(no_args_is_help=True, help="Bring your own data, check prepared ones.")
app.add_typer(splits_app, name="splits")
app.add_typer(data_app, name="data")
app.add_typer(mini_app, name="mini")

ConfigFolder = Annotated[Path, typer.Option("--config", help="Folder of the YAML files.")]
Dataset = Annotated[str, typer.Option(help="A file of config/datasets.")]
ScaleName = Annotated[str, typer.Option("--scale", help="A file of config/scales.")]
MethodName = Annotated[str, typer.Option("--method", help="A file of config/methods.")]
DetectorName = Annotated[str, typer.Option("--detector", help="A detector of the scale.")]
ClipsFile = Annotated[Path, typer.Option("--clips", help="clips.parquet from `stclip prepare`.")]
TableName = Annotated[str, typer.Option("--table", help="A file of config/tables.")]
BoxesFile = Annotated[Path, typer.Option("--boxes", help="boxes.parquet from `stclip prepare`.")]
FramesFolder = Annotated[
    Path, typer.Option("--frames", help="Folder of frames from `stclip prepare`.")
]
KeyFramesFile = Annotated[
    Path, typer.Option("--key-frames", help="key_frames.parquet from `stclip key-frames`.")
]
SplitFile = Annotated[
    Path, typer.Option("--split", help="Label split with its clips, from `stclip splits resolve`.")
]
DetectionsFile = Annotated[
    Path | None,
    typer.Option(
        "--detections", help="Person boxes from `stclip detect`, if a box source reads them."
    ),
]
ObjectsFile = Annotated[
    Path | None,
    typer.Option(
        "--objects", help="Boxes of objects from `stclip detect`, if the method reads any."
    ),
]
FEATURES_OF = ("frames", "ground_truth", "detections", "objects")
FeatureFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--features",
        help="KIND=FILE from `stclip features`, if the method reads it: frames, ground_truth, "
        "detections, objects.",
    ),
]
RunFolder = Annotated[Path, typer.Option("--run", help="Folder of the run.")]
Sources = Annotated[list[str], typer.Option("--source", help="Box sources of the data set.")]
MetricsFiles = Annotated[
    list[Path], typer.Argument(help="metrics.json files from `stclip evaluate`.")
]
Out = Annotated[Path, typer.Option(help="Where to write.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.", min=0)]

Name = Annotated[str, typer.Option(help="Name of what is made.")]
Recipe = Annotated[str, typer.Option("--name", help="A recipe of the scale's `miniature`.")]
Count = Annotated[int, typer.Option(help="How many.", min=1)]
Workers = Annotated[int, typer.Option(help="Processes beside the main one.", min=0)]

CONFIG = CONFIG_FOLDER


def by_kind(options: list[str] | None) -> dict[str, Path]:
    """KIND=FILE options as a mapping."""
    pairs = [option.partition("=") for option in options or []]
    wrong = [kind for kind, _, path in pairs if kind not in FEATURES_OF or not path]
    if wrong:
        raise ConfigError(f"--features: {wrong}: give KIND=FILE, KIND one of {FEATURES_OF}.")
    return {kind: Path(path) for kind, _, path in pairs}


def read_data(
    clips: Path,
    boxes: Path,
    key_frames: Path,
    frames: Path,
    *,
    detections: Path | None = None,
    objects: Path | None = None,
    features: list[str] | None = None,
) -> "Data":
    """The prepared data set that the options name."""
    from stclip.records import Boxes, Clips, Data, Detections, KeyFrames

    return Data(
        clips=Clips.read(clips),
        boxes=Boxes.read(boxes),
        key_frames=KeyFrames.read(key_frames),
        frames=frames,
        detections=Detections.read(detections) if detections else None,
        objects=Detections.read(objects) if objects else None,
        features=by_kind(features),
    )
