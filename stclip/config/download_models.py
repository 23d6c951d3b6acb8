"""What is downloaded: single files, and lists of many files of one address pattern."""

import re
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from stclip.config.names import check_once
from stclip.config.strict import Strict

UNPUBLISHED = "unpublished"  # in place of a listing of checksums


def _addresses(url: str | list[str]) -> str | list[str]:
    urls = [url] if isinstance(url, str) else url
    check_once(urls, what="addresses")
    for each in urls or [""]:
        if not re.match("(https?|file|manual):", each):
            raise ValueError(
                f"an address begins with https:, http:, file: or manual:, found {each!r}"
            )
    return url


class Download(Strict):
    """A file to download and how to know that it is whole: by one checksum."""

    url: Annotated[str | list[str], AfterValidator(_addresses)]
    """where from: `https:`, `file:` and a path, or `manual:` and the page where a person gets it.
    Or a list of these: the next is asked where one has not the file, or not the right one"""
    sha256: str | None = Field(default=None, pattern="^[0-9a-fA-F]{64}$")
    """its SHA-256. Where none is given, that of the first download is kept in `config/checksums/`
    and compared ever after ([docs/versions.md](../docs/versions.md))"""
    # 8 digits are what torchvision puts into its file names; fewer prove too little
    sha256_prefix: str | None = Field(default=None, pattern="^[0-9a-fA-F]{8,64}$")
    """how that begins, for sources that publish no more, as torchvision's names"""
    md5: str | None = Field(default=None, pattern="^[0-9a-fA-F]{32}$")
    """its MD5"""
    checksums: str | None = None
    """url of a `sha256sum` listing that names the file; or `unpublished` where nobody gives a
    checksum. `manual:` files may have none"""

    @model_validator(mode="after")
    def _one_checksum(self) -> Self:
        given = [k for k in ("sha256", "sha256_prefix", "md5", "checksums") if getattr(self, k)]
        if not given and all(url.startswith("manual:") for url in self.urls):
            return self  # some pages publish none
        if len(given) != 1:
            raise ValueError(f"{self.urls[0]}: give exactly one checksum, got {given or 'none'}")
        return self

    @property
    def urls(self) -> list[str]:
        """Its addresses, in the order in which they are asked."""
        return [self.url] if isinstance(self.url, str) else self.url

    @property
    def listing(self) -> str | None:
        """The url of the listing that names the file."""
        return None if self.checksums == UNPUBLISHED else self.checksums

    @property
    def checksum_given(self) -> bool:
        """Whether it is known how the file should be."""
        return any((self.sha256, self.sha256_prefix, self.md5, self.listing))


class FileList(Strict):
    """Many files of one address pattern; each is an archive of its own."""

    names: str
    """file beside the data set's YAML with a file name in every line"""
    url: str | list[str]
    """as of downloads, with `{name}` for the file's name"""
    checksums: str = UNPUBLISHED
    """as of downloads"""
    left_out_by: str | None = None
    """the param that lists files to go on without, by name without suffix"""
