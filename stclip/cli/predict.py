"""Persons and labels in somebody's own videos: predict."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stclip.cli.options import CONFIG, ConfigFolder, app
from stclip.errors import ConfigError

if TYPE_CHECKING:
    from stclip.own_videos.prediction_files import Summary

_SHOWN = 10  # tracks of a video in the printed table


@app.command()
def predict(
    videos: Annotated[
        list[str],
        typer.Argument(help="Video files, folders of images or of videos, patterns ('*.mp4')."),
    ],
    labels: Annotated[
        str | None, typer.Option(help="Labels with commas between: 'shake hands, argue'.")
    ] = None,
    labels_file: Annotated[
        Path | None, typer.Option(help="A label in each line, or a YAML list.")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="A file of config/methods; default: config/predict.yaml.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="A run's folder or a .safetensors file.")
    ] = None,
    scale: Annotated[str, typer.Option(help="A file of config/scales.")] = "mini",
    dataset: Annotated[
        str | None, typer.Option(help="Data set whose detector and settings are taken.")
    ] = None,
    detector: Annotated[str | None, typer.Option(help="A detector of the scale.")] = None,
    every: Annotated[
        float | None, typer.Option(help="Seconds between key frames; default 1.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Frames/s of windows and clips; default: the video's.")
    ] = None,
    image_rate: Annotated[
        float | None, typer.Option(help="Frames/s of a folder of images; default 25.")
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(help="Least score of a person's box, 0..1.")
    ] = None,
    exclusive: Annotated[
        bool,
        typer.Option(
            "--exclusive/--independent",
            help="Labels exclude each other (softmax), or each stands for itself (sigmoid).",
        ),
    ] = True,
    template: Annotated[
        list[str] | None,
        typer.Option(help="Text around a label, as 'a person {}'; several are averaged."),
    ] = None,
    overlay: Annotated[bool, typer.Option(help="Write overlay.mp4.")] = True,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:1.")] = None,
    out: Annotated[Path, typer.Option(help="Folder to write; a folder in it for each video.")] = (
        Path("predictions")
    ),
    config: ConfigFolder = CONFIG,
) -> None:
    """Find the persons in your own videos and score your own labels."""
    from stclip.own_videos.given_labels import parse_labels, read_labels
    from stclip.own_videos.opened import find_videos

    if (labels is None) == (labels_file is None):
        raise ConfigError("give the labels by one of --labels and --labels-file.")
    named = read_labels(labels_file) if labels_file else parse_labels(labels or "")
    found = find_videos(videos)
    given = {
        "dataset": dataset, "every_s": every, "rate": rate, "image_rate": image_rate,
        "min_score": min_score,
    }  # fmt: skip
    from stclip.own_videos.predict import Asked, check_writable, predict_videos
    from stclip.own_videos.predictor import Predictor

    check_writable(out)
    predictor = Predictor(
        method, weights=weights, scale=scale, detector=detector, device=device, config=config,
        **{key: value for key, value in given.items() if value is not None},
    )  # fmt: skip
    asked = Asked(
        labels=tuple(named), exclusive=exclusive, overlay=overlay,
        templates=tuple(template) if template else None,
    )  # fmt: skip
    for summary in predict_videos(predictor, found, asked, out=out):
        _show(summary)


def _show(summary: "Summary") -> None:
    """A short table: the tracks with most boxes, by track number."""
    print(f"\n{summary.name}: {summary.key_frames} key frames, files in {summary.folder}")
    for problem in summary.problems:
        print(f"  {problem}")
    if not summary.tracks:
        print("  no person found")
        return
    longest = sorted(summary.tracks, key=lambda track: -track.boxes)[:_SHOWN]
    print(f"  {'track':>5} {'seconds':>15} {'boxes':>5}  labels")
    for track in sorted(longest, key=lambda track: track.track):
        seconds = f"{track.first_s:.1f} - {track.last_s:.1f}"
        best = ", ".join(f"{label} {value:.2f}" for label, value in track.best)
        print(f"  {track.track:>5} {seconds:>15} {track.boxes:>5}  {best}")
    if len(summary.tracks) > len(longest):
        print(f"  and {len(summary.tracks) - len(longest)} shorter tracks, in predictions.json")
