"""The program `stclip`. Light: Ctrl-C while the command line is imported ends it without a word.

Where `stclip preloaded` keeps a process ready, this one only asks for a fork of it and imports no
command line: a pipeline's short jobs would wait for the import as long as for their work.
"""

import os
import signal
import sys

from stclip.runtime import preload


def main() -> None:
    """Run the command line here, or in a fork of the process that `stclip preloaded` keeps ready.

    The command line hears Ctrl-C itself once it is at work.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
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
