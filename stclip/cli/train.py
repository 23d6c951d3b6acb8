"""From base classes to weights: train, import-checkpoint."""

from pathlib import Path
from typing import Annotated

import typer

from stclip.cli.options import (
    CONFIG,
    BoxesFile,
    ClipsFile,
    ConfigFolder,
    Dataset,
    FeatureFiles,
    FramesFolder,
    KeyFramesFile,
    MethodName,
    ObjectsFile,
    Out,
    ScaleName,
    Seed,
    SplitFile,
    Workers,
    app,
    read_data,
)
from stclip.errors import ConfigError


@app.command()
def train(
    method: MethodName,
    dataset: Dataset,
    scale: ScaleName,
    split: SplitFile,
    clips: ClipsFile,
    boxes: BoxesFile,
    key_frames: KeyFramesFile,
    frames: FramesFolder,
    seed: Seed,
    out: Out,
    features: FeatureFiles = None,
    objects: ObjectsFile = None,
    workers: Workers = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Train a method on the base classes of a split."""
    from stclip.config import load_dataset, load_method, load_version
    from stclip.records import LabelSplit

    settings = load_method(config, method, dataset=dataset, scale=scale)
    label_split = LabelSplit.read(split)
    if not settings.train.iterations:
        from stclip.train.run_folder import write_untrained

        write_untrained(settings, split=label_split, seed=seed, out=out)
        return
    from stclip.runtime.provenance import provenance
    from stclip.tracking.wandb_runs import tracked
    from stclip.train.run_folder import run_hash

    about_data = load_dataset(config, dataset, scale=scale)
    head = provenance(settings, about_data, scale=scale, split=label_split, seed=seed)
    with tracked("train", head, run=run_hash(settings, label_split, seed)) as tracker:
        from stclip.train.train import train as stage

        stage(
            settings,
            read_data(clips, boxes, key_frames, frames, objects=objects, features=features),
            split=label_split,
            seed=seed,
            out=out,
            workers=workers,
            version=load_version(config, "train"),
            track=tracker.rows,
        )


@app.command("import-checkpoint")
def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="A checkpoint of the official training code.")],
    method: MethodName,
    out: Annotated[Path, typer.Option(help="A .safetensors file, or with --split a run's folder.")],
    dataset: Dataset = "jhmdb",
    scale: ScaleName = "paper",
    split: Annotated[
        Path | None, typer.Option(help="A split with its clips: write a run to be scored.")
    ] = None,
    seed: Seed = 0,
    backbone: Annotated[
        str | None, typer.Option(help="Another of the scale's backbones, as ViT-L-14; no --split.")
    ] = None,
    config: ConfigFolder = CONFIG,
) -> None:
    """Take over the authors' weights: as a file, or as the run of a split that can be scored."""
    from stclip.config import load_method, load_scale, pick
    from stclip.records import LabelSplit
    from stclip.train.import_run import import_run, import_weights

    settings = load_method(config, method, dataset=dataset, scale=scale)
    if backbone is not None:
        if split is not None:
            raise ConfigError(
                "--backbone changes what a run is made of: set `backbone` of the method in "
                f"config/scales/{scale}.yaml to import a run."
            )
        other = pick(load_scale(config, scale).backbones, backbone, what="backbone")
        settings = settings.model_copy(update={"backbone": other})
    if split is None:
        import_weights(file, settings, out)
    else:
        import_run(file, settings, split=LabelSplit.read(split), seed=seed, out=out)
