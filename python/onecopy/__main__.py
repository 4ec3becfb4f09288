"""The `onecopy` command: `python -m onecopy`."""

import signal
import sys

from onecopy._onecopy import run_command


def main() -> int:
    """Run the command line of this process and give its exit code."""
    # Ctrl-C ends the command as it ends any other; Python's handler would wait for the command to return.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return run_command(["onecopy", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
