"""The program `stclip`. Light: Ctrl-C while the command line is imported ends it without a word.

A fork is asked for (`stclip preloaded`) before that import, too: a pipeline asks for many.
"""

import os
import signal
import sys


def main() -> None:
    """Run the command line, which hears Ctrl-C itself once it is at work, here or in a fork."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from stclip.runtime import preload

    address = os.environ.get(preload.ADDRESS)
    if address is None:
        from stclip.cli import run

        run()
        return
    try:
        status = preload.ask(address, sys.argv)
    except preload.PreloadError as error:
        sys.exit(f"error: {error}")
    sys.exit(status)


if __name__ == "__main__":
    main()
