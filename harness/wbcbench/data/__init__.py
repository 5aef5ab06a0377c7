"""The cells: folder reader, synthetic cells, cache, splits by photograph, digest, download.

Importing this package imports neither numpy nor OpenCV; they come with the first call.
"""

from __future__ import annotations

from wbcbench.data.dataset import CLASSES, Dataset, ImageSet
from wbcbench.data.load import load
from wbcbench.data.splits import split_validation

__all__ = ["CLASSES", "Dataset", "ImageSet", "load", "split_validation"]
