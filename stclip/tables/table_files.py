"""Tables in files: csv first, md and tex from the same cells; into documents and onto terminals."""

from pathlib import Path

import pandas as pd

from stclip.errors import DataError
from stclip.storage.files import whole_file


def write_table(
    frame: pd.DataFrame, csv_path: Path, *, text_columns: int = 2, caption: str = ""
) -> None:
    """Write a table as .csv, and from the same cells as .md and .tex (booktabs) beside it.

    Args:
        frame: text cells.
        csv_path: the .csv; the others lie beside it.
        text_columns: how many columns, from the left, are no numbers.
        caption: stands above the table in .md, as a comment in .tex.
    """
    caption = _on_one_line(caption)
    latex = (
        frame.map(_on_one_line)
        .style.hide(axis="index")
        .format(escape="latex")
        .format_index(escape="latex", axis=1)
    )
    aligned = "l" * text_columns + "r" * (len(frame.columns) - text_columns)
    contents = {
        ".md": (f"{caption}\n\n" if caption else "") + _markdown(frame),
        ".tex": (f"% {caption}\n" if caption else "")
        + latex.to_latex(hrules=True, column_format=aligned).replace("|", r"\textbar{}"),
        ".csv": frame.to_csv(index=False, lineterminator="\n"),  # last: the one rules wait for
    }
    for suffix, content in contents.items():
        with whole_file(csv_path.with_suffix(suffix)) as temporary:
            temporary.write_text(content, "utf-8")


def _markdown(frame: pd.DataFrame) -> str:
    cells = frame.map(_in_markdown).rename(columns=_in_markdown)
    return cells.to_markdown(index=False, disable_numparse=True) + "\n"


def _in_markdown(text: str) -> str:
    """A cell that neither ends its column nor its row."""
    return _on_one_line(text).replace("|", r"\|")


def _on_one_line(text: str) -> str:
    return " ".join(str(text).split("\n"))


def read_table(csv_path: Path) -> pd.DataFrame:
    """Read a table's csv, every cell as it was written.

    Raises:
        DataError: the file is missing or not a table.
    """
    try:
        return pd.read_csv(csv_path, dtype="str", keep_default_na=False)
    except FileNotFoundError:
        raise DataError(f"{csv_path}: no such file; run the tables stage.") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{csv_path}: not a table ({error}); run the tables stage again.") from None


def put_into(document: Path, frame: pd.DataFrame, *, marker: str) -> None:
    """Put a table, as Markdown, where `put_text_into` does."""
    put_text_into(document, _markdown(frame), marker=marker)


def put_text_into(document: Path, text: str, *, marker: str) -> None:
    """Put lines between `<!-- MARKER:begin -->` and `<!-- MARKER:end -->`.

    Raises:
        DataError: the document lacks the markers.
    """
    begin, end = f"<!-- {marker}:begin -->\n", f"<!-- {marker}:end -->"
    before, found, rest = document.read_text("utf-8").partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise DataError(f"{document}: no {begin.strip()} ... {end} to put the table into.")
    with whole_file(document) as temporary:
        temporary.write_text(before + begin + text + end + after, "utf-8")


def render_text(frame: pd.DataFrame) -> str:
    """A table for the terminal."""
    return frame.to_markdown(index=False, disable_numparse=True, tablefmt="simple")
