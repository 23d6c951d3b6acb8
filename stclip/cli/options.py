"""Options that several commands share, and the application they belong to."""

from pathlib import Path
from typing import Annotated

import typer

from stclip.config import CONFIG_FOLDER

HELP = """One subcommand per stage, in road order."""

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=HELP
)
splits_app = typer.Typer(no_args_is_help=True, help="Resolve and make zero-shot label splits.")
mini_app = typer.Typer(no_args_is_help=True, help="Draw the miniature and train what it needs.")
data_app = typer.Typer(no_args_is_help=True, help="Check prepared data sets.")
app.add_typer(splits_app, name="splits")
app.add_typer(data_app, name="data")
app.add_typer(mini_app, name="mini")

ConfigFolder = Annotated[Path, typer.Option("--config", help="Folder of the YAML files.")]
Dataset = Annotated[str, typer.Option(help="A file of config/datasets.")]
ScaleName = Annotated[str, typer.Option("--scale", help="A file of config/scales.")]
MethodName = Annotated[str, typer.Option("--method", help="A file of config/methods.")]
DetectorName = Annotated[str, typer.Option("--detector", help="A detector of the scale.")]
In = Annotated[Path, typer.Option(help="A file or folder that an earlier stage wrote.")]
OptionalIn = Annotated[Path | None, typer.Option(help="A file, where there is one.")]
Out = Annotated[Path, typer.Option(help="Where to write.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]

Name = Annotated[str, typer.Option(help="Name of what is made.")]
Count = Annotated[int, typer.Option(help="How many.", min=1)]
Workers = Annotated[int, typer.Option(help="Processes beside the main one.", min=0)]

CONFIG = CONFIG_FOLDER
