"""Begins a Python of ours; ``core.child`` starts it.

    python -P start.py MODULE WORDS…

Python and what is installed beside it come first on the path, then PYTHONPATH, then the folder of
this package: what is called ``queue.py`` or ``keras`` in a folder of the user stays outside. This
package itself is the one that lies here, wherever another is installed.
"""

import os
import sys
from importlib import import_module
from pathlib import Path
from runpy import run_module


def main() -> None:
    """Run a module as a program."""
    module, *words = sys.argv[1:]
    home = str(Path(__file__).parents[2])
    sys.path.insert(0, home)
    python_path = import_module("wbcbench.core.environment").python_path
    import_module("wbcbench.core.streams").open_descriptors()
    sys.path[:1] = []
    sys.path += [*python_path(os.environ), home]
    sys.argv[1:] = words
    run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
