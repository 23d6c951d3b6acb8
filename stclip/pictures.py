"""Reads one prepared frame; the only place that knows how frames are stored."""

from pathlib import Path

from PIL import Image

from stclip.errors import DataError


def read_frame(frames: Path, clip: str, frame: int) -> Image.Image:
    """The RGB picture of a 0-based frame, from `{frames}/{clip}/{frame:05d}.png`.

    Raises:
        DataError: the file is missing or does not decode.
    """
    path = frames / clip / f"{frame:05d}.png"
    try:
        with Image.open(path) as file:
            return file.convert("RGB")
    except FileNotFoundError:
        raise DataError(
            f"{path}: frame {frame} of clip {clip!r} is missing; run prepare again."
        ) from None
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's, by what is damaged
        raise DataError(
            f"{path}: frame {frame} of clip {clip!r} does not decode ({error}); run prepare again."
        ) from None
