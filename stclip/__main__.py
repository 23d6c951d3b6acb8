"""The program `stclip`. Light: Ctrl-C while the command line is imported ends it without a word."""

import signal


def main() -> None:
    """Run the command line, which hears Ctrl-C itself once it is at work."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from stclip.cli import main

    main()


if __name__ == "__main__":
    main()
