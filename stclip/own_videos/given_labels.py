"""Somebody's own labels: from the command line, a text file or a YAML list; checked for CLIP."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from stclip.config import MethodConfig, check_name
from stclip.config.text_tower import most_tokens
from stclip.errors import ConfigError, DataError
from stclip.splits.label_texts import pieces_of, texts_in_templates
from stclip.storage.outside_files import content_of, text_of

YAML = (".yaml", ".yml")


def parse_labels(text: str) -> list[str]:
    """The labels of a list with commas.

    >>> parse_labels("shake hands, argue,wait")
    ['shake hands', 'argue', 'wait']
    """
    return [label.strip() for label in text.split(",") if label.strip()]


def read_labels(path: Path) -> list[str]:
    """The labels of a file: a YAML list, or text with a label in every line.

    Raises:
        DataError: missing, not UTF-8, or no such list.
    """
    text = text_of(content_of(path), path)
    if path.suffix.lower() not in YAML:
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not valid YAML ({error}).") from None
    if not isinstance(found, list) or not all(isinstance(label, str) for label in found):
        raise DataError(
            f"{path}: expected a YAML list of texts, as `- shake hands` in each line; found "
            f"{type(found).__name__}. Put quotes around `yes`, `no` and numbers."
        )
    return [label.strip() for label in found]


def check_own_labels(labels: Sequence[str], config: MethodConfig) -> None:
    """Refuse what the text tower cannot read or tell apart, before anything is loaded.

    Args:
        labels: as given.
        config: of the method: its label texts, templates and CLIP.

    Raises:
        ConfigError: no label, one without letters, two that are the same to the tokenizer, one
            that is longer than the text tower's context; it names the label and the limit.
    """
    if not labels:
        raise ConfigError("no labels; give some, as --labels 'shake hands, argue' or a file.")
    same: dict[tuple[str, ...], str] = {}
    for label in labels:
        if not isinstance(label, str) or not pieces_of(label):
            raise ConfigError(f"label {label!r} has no letters or digits; give it a name.")
        known = same.setdefault(pieces_of(label), label)
        if known is not label or labels.count(label) > 1:
            raise ConfigError(
                f"labels {known!r} and {label!r} are the same to the tokenizer, which sees neither "
                "capitals nor spaces; give each label once."
            )
    most = most_tokens(config.backbone.model)
    if most is None:
        return
    for template, texts in zip(
        config.label_templates,
        texts_in_templates(labels, form=config.label_text, templates=config.label_templates),
        strict=True,
    ):
        for label, text in zip(labels, texts, strict=True):
            if len(pieces_of(text)) > most:
                within = "" if template == "{}" else f" in the template {template!r}"
                raise ConfigError(
                    f"label {label!r}{within} has at least {len(pieces_of(text))} tokens, the text "
                    f"tower takes {most}; shorten it."
                )


def exclusive_labels(exclusive: bool | Sequence[str], labels: Sequence[str]) -> list[str]:
    """The labels that share a softmax: all, none, or those that are named.

    Raises:
        ConfigError: one that is named is no label.
    """
    if isinstance(exclusive, bool):
        return list(labels) if exclusive else []
    named = [exclusive] if isinstance(exclusive, str) else list(exclusive)
    for label in named:
        check_name(label, list(labels), what="label of `exclusive`")
    return named
