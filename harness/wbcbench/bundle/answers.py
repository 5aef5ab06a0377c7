"""A stranger's table of predictions → arrays, read within bounds whatever the file claims.

Parquet says how many rows it holds, how long its texts are and how large its pages unpack, and may
lie each time. The footer is measured first, texts stay the dictionaries they are stored as until
these are seen to be short, and reading happens under a ceiling of memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wbcbench.bundle.bounds import BOUNDS, Bounds
from wbcbench.bundle.memory import at_most
from wbcbench.core.errors import VerificationError

_MAGIC = b"PAR1"
_FOOTER_BYTES = 1_000_000
_THRIFT = ("thrift_string_size_limit", "thrift_container_size_limit")
_LONGEST_TEXT = 400
_TEXTS = ("file", "image_sha256", "split", "y_true", "y_pred")
_WHOLE = ("group_id", "original_id")
_SEEN = "seen_in_train"


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What the network said of ``n`` images.

    Attributes:
        file, image_sha256, split, y_true, y_pred: ``[n]``, as ``train.scores`` has them.
        group_id, original_id: ``[n]``; -1 = unknown.
        seen_in_train: ``[n]``.
        probabilities: ``[n, outputs]``; column 0 is the output that no label uses.
        outputs: Names of the columns, ``p_unused`` first.
    """

    file: list[str]
    image_sha256: list[str]
    split: list[str]
    y_true: list[str]
    y_pred: list[str]
    group_id: NDArray[np.int64]
    original_id: NDArray[np.int64]
    seen_in_train: NDArray[np.bool_]
    probabilities: NDArray[np.float32]
    outputs: tuple[str, ...]


def read_predictions(path: Path, bounds: Bounds = BOUNDS) -> Predictions:
    """Read a table of predictions.

    Raises:
        VerificationError: It is none, damaged, or larger than it may be.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    _require_footer(path)
    try:
        with at_most(bounds.predictions_bytes):
            limits = dict.fromkeys(_THRIFT, _FOOTER_BYTES)
            _require_shape(path, pq.ParquetFile(path, **limits), bounds)
            held = pq.ParquetFile(path, read_dictionary=list(_TEXTS), **limits)
            table = held.read(use_threads=False)
            _require_short(path, table)
            return _predictions(table)
    except (pa.ArrowException, OSError, MemoryError, LookupError, ValueError, TypeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise _refused(path, f"cannot be read as predictions: {reason}") from error


def _require_footer(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as stream:
        head = stream.read(4)
        stream.seek(max(size - 8, 0))
        tail = stream.read(8)
    footer = int.from_bytes(tail[:4], "little")
    if head != _MAGIC or tail[4:] != _MAGIC or footer > min(size - 12, _FOOTER_BYTES):
        raise _refused(path, f"is no Parquet file, or lies about its size ({size:,} bytes)")


def _require_shape(path: Path, held: Any, bounds: Bounds) -> None:
    facts = held.metadata
    names = list(held.schema_arrow.names)
    expected = {*_TEXTS, *_WHOLE, _SEEN}
    outputs = [name for name in names if name not in expected]
    if facts.num_rows > bounds.predictions or len(names) > 200:
        raise _refused(
            path,
            f"has {facts.num_rows:,} rows and {len(names)} columns; up to {bounds.predictions:,} "
            "rows are read",
        )
    strange = [name for name in outputs if not name.startswith("p_")]
    if strange or not outputs or len(set(names)) != len(names) or not expected.issubset(names):
        raise _refused(path, f"has other columns than predictions have: {', '.join(names)[:200]}")
    groups = [facts.row_group(i).total_byte_size for i in range(facts.num_row_groups)]
    if sum(groups) > bounds.predictions_bytes:
        raise _refused(path, f"unpacks to {sum(groups):,} bytes")


def _require_short(path: Path, table: Any) -> None:
    """A dictionary of one huge text, named by every row, is huge only once it is spelt out."""
    import pyarrow.compute as pc

    for name in _TEXTS:
        for chunk in table[name].chunks:
            words = getattr(chunk, "dictionary", chunk)
            if len(words) and (pc.max(pc.binary_length(words)).as_py() or 0) > _LONGEST_TEXT:
                raise _refused(path, f"holds a text of more than {_LONGEST_TEXT} bytes in {name}")


def _predictions(table: Any) -> Predictions:
    outputs = tuple(name for name in table.column_names if name.startswith("p_"))
    file, sha256, split, y_true, y_pred = (
        [str(word) for word in table[name].to_pylist()] for name in _TEXTS
    )
    group_id, original_id = (
        np.asarray(table[name].fill_null(-1).to_pylist(), dtype=np.int64) for name in _WHOLE
    )
    columns = [np.asarray(table[name].to_pylist(), dtype=np.float32) for name in outputs]
    return Predictions(
        file=file,
        image_sha256=sha256,
        split=split,
        y_true=y_true,
        y_pred=y_pred,
        group_id=group_id,
        original_id=original_id,
        seen_in_train=np.asarray(table[_SEEN].to_pylist(), dtype=np.bool_),
        probabilities=np.stack(columns, axis=1),
        outputs=outputs,
    )


def _refused(path: Path, problem: str) -> VerificationError:
    return VerificationError(f"{path.parent.name}/{path.name} {problem}.")
