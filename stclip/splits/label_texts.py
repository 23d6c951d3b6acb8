"""What the text tower reads of the labels, and whether it can tell them apart.

CLIP's tokenizer sees neither capitals nor spaces between words and signs. It comes with PyTorch;
the same rules are here, so that a label split is checked before anything is computed.
"""

import html
import re
from collections import defaultdict
from collections.abc import Sequence

from stclip.errors import DataError

# Words, digits one by one, and runs of signs; an apostrophe and what it shortens are one piece.
_PIECE = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d|[^\W\d_]+|\d|(?:[^\s\w]|_)+")


def label_texts(labels: Sequence[str], *, form: str) -> list[str]:
    """The labels as the data set's `label_text` says.

    >>> for form in ("raw", "spaced", "words"):
    ...     print(label_texts(["brush_hair", "WalkingWithDog"], form=form))
    ['brush_hair', 'WalkingWithDog']
    ['brush hair', 'WalkingWithDog']
    ['brush hair', 'Walking With Dog']
    """
    texts = list(labels)
    if form in ("spaced", "words"):
        texts = [text.replace("_", " ") for text in texts]
    if form == "words":
        texts = [re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text) for text in texts]
    return texts


def texts_in_templates(
    labels: Sequence[str], *, form: str, templates: Sequence[str]
) -> list[list[str]]:
    """The texts of the labels in each template.

    >>> texts_in_templates(["brush_hair"], form="spaced", templates=["{}", "a person: {}"])
    [['brush hair'], ['a person: brush hair']]
    """
    texts = label_texts(labels, form=form)
    return [[template.replace("{}", text) for text in texts] for template in templates]


def pieces_of(text: str) -> tuple[str, ...]:
    """The words and signs of which the tokenizer makes tokens, each at least one.

    >>> pieces_of(" Pull-Up ") == pieces_of("pull - up") == ("pull", "-", "up")
    True
    """
    return tuple(_PIECE.findall(html.unescape(html.unescape(text)).lower()))


def check_labels(labels: Sequence[str], *, form: str, where: str) -> None:
    """Refuse labels that are the same to the tokenizer, or nothing.

    Raises:
        DataError: two labels have the same pieces, or one has none.
    """
    alike = defaultdict(list)
    for label, text in zip(labels, label_texts(labels, form=form), strict=True):
        alike[pieces_of(text)].append(label)
    if () in alike:
        raise DataError(
            f"{where}: labels {alike[()]} have no tokens; give them names with letters."
        )
    same = [names for names in alike.values() if len(names) > 1]
    if same:
        raise DataError(
            f"{where}: labels {same[0]} are the same to CLIP's tokenizer, which sees neither "
            "capitals nor spaces; every label must be another."
        )


def check_lengths(labels: Sequence[str], *, form: str, most: int, where: str) -> None:
    """Refuse labels that no method can read; those that one method cannot, it refuses itself.

    Args:
        labels: of a split.
        form: the data set's `label_text`.
        most: tokens that the text tower takes.
        where: for the message.

    Raises:
        DataError: a label has more pieces, each of at least one token.
    """
    for label, text in zip(labels, label_texts(labels, form=form), strict=True):
        if len(pieces_of(text)) > most:
            raise DataError(
                f"{where}: label {label!r} has at least {len(pieces_of(text))} tokens, the text "
                f"tower takes {most}; shorten it."
            )
