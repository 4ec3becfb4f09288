"""Children of the test process, for tests of what a fork inherits."""

import os


def forked(work):
    """Fork, run `work` in the child, and give its number. It ends with 0 if `work` gave something true, 2 if not, else 1."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    return pid
