"""``python -m wbcbench``."""

import sys

if __name__ == "__main__":
    if not sys.flags.safe_path:
        del sys.path[0]  # the current folder, whose ``queue.py`` is not Python's
    from wbcbench.cli import main

    main()
