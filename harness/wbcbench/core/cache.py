"""Where what can be made again is kept between commands: decoded images and sensor cards."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root(chosen: Path | None = None) -> Path:
    """Return ``chosen``, else ``WBCBENCH_CACHE``, else the user's cache folder."""
    import platformdirs

    folder = chosen or os.environ.get("WBCBENCH_CACHE")
    return Path(folder) if folder else Path(platformdirs.user_cache_dir("wbcbench"))
