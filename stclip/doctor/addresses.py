"""Asks servers whether they have a file, side by side and not for long; nothing is fetched."""

import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import requests

from stclip.download.fetcher import innermost

ALL_S = 12.0  # the longest wait for all answers together
HOW: dict[str, Any] = {"allow_redirects": True, "timeout": (4.0, 6.0)}  # to connect, to answer
NO_HEAD = {400, 403, 405, 501}  # of servers that may refuse HEAD and send the file all the same
AT_ONCE = 16


@dataclass(frozen=True)
class Answer:
    """What a server said of an address."""

    has_it: bool
    said: str
    size: int | None = None  # bytes of the file, if it told


def ask(urls: Iterable[str], *, all_s: float = ALL_S) -> dict[str, Answer]:
    """The answer of each http address, in no more than `all_s` seconds."""
    wanted = list(dict.fromkeys(urls))
    answers = dict.fromkeys(wanted, Answer(False, f"does not answer within {all_s:.0f} s"))
    waiting = iter(wanted)
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                url = next(waiting, None)
            if url is None:
                return
            answers[url] = _ask(url)

    # Daemons: looking up a name can take longer than any timeout, and nobody waits for these.
    threads = [threading.Thread(target=work, daemon=True) for _ in wanted[:AT_ONCE]]
    for thread in threads:
        thread.start()
    end = time.monotonic() + all_s
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return dict(answers)


def _ask(url: str) -> Answer:
    try:
        with requests.Session() as session:
            response = session.head(url, **HOW)
            if response.status_code in NO_HEAD:
                response = session.get(url, stream=True, **HOW)
                response.close()
    except requests.exceptions.SSLError as error:
        return Answer(False, f"has no valid certificate ({innermost(error)})")
    except (requests.ConnectionError, requests.Timeout) as error:
        return Answer(False, f"cannot be reached ({innermost(error)})")
    except requests.RequestException as error:
        return Answer(False, f"cannot be asked ({innermost(error)})")
    if not response.ok:
        return Answer(False, f"answers {response.status_code} {response.reason}")
    length = response.headers.get("Content-Length", "")
    return Answer(True, "answers", int(length) if length.isdigit() else None)
