"""``python -m wbcbench``."""

from wbcbench.cli import main

if __name__ == "__main__":
    main()
