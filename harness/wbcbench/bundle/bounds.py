"""How large a bundle from a stranger may be. Said in one place, enforced while streaming."""

from __future__ import annotations

from dataclasses import dataclass

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a bundle may hold; a study of some hundred runs stays far below all of it.

    Attributes:
        files: Files and folders together.
        total_bytes, file_bytes: Of everything unpacked, and of one file.
        ratio: Unpacked over packed bytes of one file that is larger than ``ratio_from_bytes``.
        index_bytes: Of a zip's own table of contents, which is read whole.
        depth: Folders inside folders.
        name_bytes, path_bytes: Of one name and of a whole path, in UTF-8.
        json_bytes, json_values, json_depth: Of one JSON file; values count brackets and commas.
        text_bytes: Of any other text.
        table_lines, table_cells: Of one CSV or one log of messages.
        predictions: Rows of a table of predictions.
        predictions_bytes: Memory that reading one may take.
    """

    files: int = 20_000
    total_bytes: int = 2_000 * _MB
    file_bytes: int = 500 * _MB
    ratio: int = 200
    ratio_from_bytes: int = _MB
    index_bytes: int = 8 * _MB
    depth: int = 12
    name_bytes: int = 200
    path_bytes: int = 600
    json_bytes: int = 16 * _MB
    json_values: int = 2_000_000
    json_depth: int = 32
    text_bytes: int = 32 * _MB
    table_lines: int = 1_000_000
    table_cells: int = 4_000_000
    predictions: int = 200_000
    predictions_bytes: int = 200 * _MB


BOUNDS = Bounds()
