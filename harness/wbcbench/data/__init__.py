"""The images: folder reader, synthetic images, cache, splits, digest, download.

Importing this package imports neither numpy nor OpenCV; they come with the first call.
"""

from __future__ import annotations

from wbcbench.data.dataset import CLASSES, Dataset, ImageSet
from wbcbench.data.load import load
from wbcbench.data.splits import split_validation

__all__ = ["CLASSES", "Dataset", "ImageSet", "load", "split_validation"]
