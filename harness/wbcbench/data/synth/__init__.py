"""Synthetic cells: drawn, not photographed, for when no data set is given.

They have the folders, the file names and the image size of the published set, photographs first
and then augmented copies of each, and the same table that says which copy came from which
photograph. They are made to be told apart by a small network in a few epochs, though not
perfectly; they say nothing about blood. Every image carries a comment with the generator's
version, so that whatever is computed from them can be stamped ``synthetic``.
"""

from __future__ import annotations

from wbcbench.data.synth.folder import GENERATOR_VERSION, Recipe, default_cells, write_cells

__all__ = ["GENERATOR_VERSION", "Recipe", "default_cells", "write_cells"]
