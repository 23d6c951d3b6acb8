"""The command line: one subcommand per stage, in road order. Parse, load, call, write.

Heavy modules are imported inside the commands: a table must not wait for torch.
"""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from stclip.errors import ConfigError, StclipError

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__
)
splits_app = typer.Typer(no_args_is_help=True, help="Resolve and make zero-shot label splits.")
mini_app = typer.Typer(no_args_is_help=True, help="Draw the miniature and train what it needs.")
app.add_typer(splits_app, name="splits")
app.add_typer(mini_app, name="mini")

ConfigFolder = Annotated[Path, typer.Option("--config", help="Folder of the YAML files.")]
Dataset = Annotated[str, typer.Option(help="A file of config/datasets.")]
ScaleName = Annotated[str, typer.Option("--scale", help="A file of config/scales.")]
MethodName = Annotated[str, typer.Option("--method", help="A file of config/methods.")]
In = Annotated[Path, typer.Option(help="A file or folder that an earlier stage wrote.")]
Out = Annotated[Path, typer.Option(help="Where to write.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]

Name = Annotated[str, typer.Option(help="Name of what is made.")]
Count = Annotated[int, typer.Option(help="How many.", min=1)]
Workers = Annotated[int, typer.Option(help="Processes beside the main one.", min=0)]

CONFIG = Path("config")

logger = logging.getLogger("stclip")


@app.callback()
def _setup(
    log: Annotated[Path | None, typer.Option(help="Also write the log to this file.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads to use.", min=1)] = None,
) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(log, mode="w", encoding="utf-8"))
    prefix = " ".join(log.with_suffix("").parts[1:]) if log else "stclip"
    logging.basicConfig(
        level=logging.INFO, handlers=handlers, format=f"%(asctime)s {prefix} | %(message)s",
        datefmt="%H:%M:%S", force=True,
    )  # fmt: skip
    logging.captureWarnings(True)
    if threads is not None:
        import os

        os.environ["OMP_NUM_THREADS"] = str(threads)  # before torch is imported


@app.command()
def download(
    name: Annotated[str, typer.Option(help="Archive of the data set, or model of the scale.")],
    scale: ScaleName,
    out: Out,
    dataset: Annotated[str | None, typer.Option(help="A file of config/datasets.")] = None,
    config: ConfigFolder = CONFIG,
) -> None:
    """Fetch one archive or model file, resume what was begun, verify its checksum."""
    from stclip import config as c
    from stclip import download as stage

    if dataset:
        data = c.load_dataset(config, dataset, scale=scale)
        logger.info("%s. Licence: %s Cite: %s", data.title, data.licence, data.citation)
        sources = data.archives
    else:
        sources = c.load_scale(config, scale).models
    stage.download(c.pick(sources, name, what="source"), out)


@app.command()
def prepare(
    dataset: Dataset, scale: ScaleName, raw: In, out: Out, config: ConfigFolder = CONFIG
) -> None:
    """Read the official archives: clips.parquet, boxes.parquet and frames."""
    from stclip import config as c
    from stclip.targets import resolve_target

    settings = c.load_dataset(config, dataset, scale=scale)
    resolve_target(settings.target)(raw, out, **settings.params)


@splits_app.command("resolve")
def splits_resolve(split: In, clips: In, out: Out) -> None:
    """Fill a label split with the clips that its classes and the official split select."""
    from stclip.records import Clips, LabelSplit
    from stclip.splits import resolve_split

    resolve_split(LabelSplit.read(split), Clips.read(clips)).write(out)


@splits_app.command("make")
def splits_make(
    clips: In, dataset: Dataset, name: Name, num_unseen: Count, seed: Seed, out: Out
) -> None:
    """Draw a new seeded label split from the classes of a data set."""
    from stclip.records import Clips
    from stclip.splits import labels_of, make_split

    made = make_split(
        labels_of(Clips.read(clips)), name=name, dataset=dataset, num_unseen=num_unseen, seed=seed
    )
    made.write(out)


@app.command()
def detect(
    dataset: Dataset,
    scale: ScaleName,
    weights: In,
    clips: In,
    frames: In,
    out: Out,
    config: ConfigFolder = CONFIG,
) -> None:
    """Box every person on the key frames of the test clips."""
    from stclip import config as c
    from stclip.detect import detect as stage
    from stclip.records import Clips

    stride = c.load_dataset(config, dataset, scale=scale).key_frame_stride
    detector = c.load_scale(config, scale).detector
    found = stage(
        detector, weights=weights, clips=Clips.read(clips), frames=frames, key_frame_stride=stride
    )
    found.write(out)


@app.command()
def train(
    method: MethodName,
    dataset: Dataset,
    scale: ScaleName,
    split: In,
    clips: In,
    boxes: In,
    frames: In,
    seed: Seed,
    out: Out,
    workers: Workers = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Train a method on the base classes of a split."""
    from stclip.config import load_method
    from stclip.records import Boxes, Clips, LabelSplit

    settings = load_method(config, method, dataset=dataset, scale=scale)
    label_split = LabelSplit.read(split)
    if not settings.train.iterations:
        from stclip.runs import write_untrained

        write_untrained(settings, split=label_split, seed=seed, out=out)
        return
    from stclip.train import train as stage

    stage(
        settings,
        split=label_split,
        clips=Clips.read(clips),
        ground_truth=Boxes.read(boxes),
        frames=frames,
        seed=seed,
        out=out,
        workers=workers,
    )


@app.command()
def score(
    method: MethodName,
    dataset: Dataset,
    scale: ScaleName,
    weights: In,
    split: In,
    clips: In,
    boxes: In,
    detections: In,
    frames: In,
    source: Annotated[list[str], typer.Option(help="Box sources of the data set to score.")],
    seed: Seed,
    out: Out,
    workers: Workers = 0,
    config: ConfigFolder = CONFIG,
) -> None:
    """Score each box of the test clips against the unseen and the base labels."""
    from stclip import config as c
    from stclip.records import Boxes, Clips, Detections, LabelSplit

    settings = c.load_method(config, method, dataset=dataset, scale=scale)
    data = c.load_dataset(config, dataset, scale=scale)
    from stclip.score import score as stage

    stage(
        settings,
        weights=weights,
        split=LabelSplit.read(split),
        clips=Clips.read(clips),
        ground_truth=Boxes.read(boxes),
        detections=Detections.read(detections),
        sources={name: c.pick(data.boxes, name, what="box source") for name in source},
        key_frame_stride=data.key_frame_stride,
        frames=frames,
        seed=seed,
        out=out,
        workers=workers,
    )


@app.command()
def evaluate(
    method: MethodName,
    dataset: Dataset,
    scale: ScaleName,
    run: Annotated[Path, typer.Option(help="Folder of the run.")],
    split: In,
    boxes: In,
    source: Annotated[list[str], typer.Option(help="Box sources that were scored.")],
    seed: Seed,
    config: ConfigFolder = CONFIG,
) -> None:
    """Frame mAP of a run's score files, with intervals: metrics.json and replicates.parquet."""
    from stclip import config as c
    from stclip.evaluate.run import evaluate_run, write_run
    from stclip.provenance import provenance
    from stclip.records import LABEL_GROUPS, Boxes, LabelSplit, Scores

    settings = c.load_method(config, method, dataset=dataset, scale=scale)
    data = c.load_dataset(config, dataset, scale=scale)
    label_split = LabelSplit.read(split)
    scores = {
        (name, group): Scores.read(run / f"scores_{name}_{group}.parquet")
        for name in source
        for group in LABEL_GROUPS
    }
    metrics, replicates = evaluate_run(
        scores,
        ground_truth=Boxes.read(boxes),
        split=label_split,
        key_frame_stride=data.key_frame_stride,
    )
    about = provenance(settings, dataset=dataset, scale=scale, split=label_split, seed=seed)
    about |= {"key_frame_stride": data.key_frame_stride}
    write_run(run, metrics, replicates, about)


@app.command("evaluate-file")
def evaluate_file(
    dataset: Dataset,
    split: Annotated[str, typer.Option(help="Label split: a number, or a file.")],
    ground_truth: In,
    detections: In,
    out: Out,
    protocol: Annotated[str, typer.Option(help="Rules of matching and of AP.")] = "iclip",
    iou: Annotated[float, typer.Option(help="IoU that counts as found.", min=0, max=1)] = 0.5,
    splits: Annotated[Path, typer.Option(help="Folder of the label splits.")] = Path("splits"),
) -> None:
    """Score any method's detections (csv: video,frame,class,score,x1,y1,x2,y2; frame from 1)."""
    from stclip.evaluate.outside import evaluate_file as stage
    from stclip.files import write_json
    from stclip.records import LabelSplit

    path = Path(split) if split.endswith(".json") else splits / dataset / f"{split}.json"
    if not path.exists():
        known = sorted(str(p.relative_to(splits)) for p in splits.glob("*/*.json"))
        raise ConfigError(f"unknown split: {path} does not exist; known in {splits} are {known}.")
    found = stage(
        dataset=dataset,
        split=LabelSplit.read(path),
        ground_truth=ground_truth,
        detections=detections,
        protocol=protocol,
        iou=iou,
    )
    write_json(out, found)
    typer.echo(f"mAP {100 * found['mAP']:.2f}  ({out})")


@app.command()
def tables(
    metrics: Annotated[list[Path], typer.Argument(help="metrics.json files of the runs.")],
    dataset: Dataset,
    scale: ScaleName,
    published: In,
    out: Out,
    config: ConfigFolder = CONFIG,
) -> None:
    """Table 2 from metrics.json files: csv, md and tex; the paper's values at its own scale."""
    from stclip import config as c
    from stclip import tables as t
    from stclip.evaluate.run import read_run

    runs = [read_run(path.parent) for path in metrics]
    splits = c.load_dataset(config, dataset, scale=scale).splits
    paper = c.read_yaml(published) if c.load_scale(config, scale).published else None
    frame = t.build_table2(
        [run for run, _ in runs], [r for _, r in runs], splits=splits, published=paper
    )
    t.write_table(frame, out)


@app.command()
def show(
    table: Annotated[Path, typer.Argument(help="A csv that `stclip tables` wrote.")],
    into: Annotated[Path | None, typer.Option(help="A document with markers.")] = None,
) -> None:
    """Print a table on the terminal, or put it into a document between its markers."""
    from stclip.tables import put_into, read_table, render_text

    frame = read_table(table)
    if into is None:
        typer.echo(render_text(frame))
    else:
        put_into(into, frame, marker=table.stem)


@mini_app.command("render")
def mini_render(
    scale: ScaleName, out: Out, workers: Workers = 1, config: ConfigFolder = CONFIG
) -> None:
    """Draw mini J-HMDB and write its archives in the official layout."""
    from stclip import config as c
    from stclip.mini.jhmdb import render_jhmdb

    recipe = c.pick(c.load_scale(config, scale).miniature, "render", what="miniature recipe")
    render_jhmdb(out, workers=workers, **recipe)


@mini_app.command("clip")
def mini_clip(scale: ScaleName, out: Out, config: ConfigFolder = CONFIG) -> None:
    """Pre-train the tiny CLIP on drawn stills with captions."""
    from stclip import config as c
    from stclip.mini.tiny_clip import pretrain

    recipe = c.pick(c.load_scale(config, scale).miniature, "clip", what="miniature recipe")
    pretrain(out, **recipe)


@mini_app.command("detector")
def mini_detector(scale: ScaleName, out: Out, config: ConfigFolder = CONFIG) -> None:
    """Train the tiny person detector on drawn stills."""
    from stclip import config as c
    from stclip.mini.detector import train_detector

    recipe = c.pick(c.load_scale(config, scale).miniature, "detector", what="miniature recipe")
    train_detector(out, **recipe)


@mini_app.command("samples")
def mini_samples(clips: In, boxes: In, frames: In, out: Out) -> None:
    """A contact sheet of videos with their boxes."""
    from stclip.mini.samples import write_samples
    from stclip.records import Boxes, Clips

    write_samples(Clips.read(clips), Boxes.read(boxes), frames, out)


def main() -> None:
    """Run; what a person can fix is one clear message and exit status 1, our bugs a traceback."""
    try:
        app()
    except StclipError as error:
        logger.error("error: %s", error)
        sys.exit(1)
    except OSError as error:  # a full disk, a missing permission: the operating system's own words
        logger.error("error: %s", error)
        sys.exit(1)
    except Exception:
        logger.exception("stclip failed; this is a bug")
        raise
