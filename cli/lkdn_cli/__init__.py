"""The command lines: each parses arguments, calls the engine, and reports errors in one line."""

import os
import signal
import sys

__all__ = ["OURS", "leave"]


def leave(_kind: object = None, _frame: object = None) -> None:
    """End the process as an interrupted one, now; nothing has to be saved. A signal's handler."""
    os._exit(130)


# Nobody catches Ctrl-C while the modules of a command load, which is what `lkdn_cli.console.run`
# does later. Who imports a command into another program handles signals there.
#: Whether this process is one of our commands.
OURS = os.path.basename(sys.argv[0] if sys.argv else "").startswith("lkdn-")
if OURS and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, leave)
