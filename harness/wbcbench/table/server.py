"""TensorBoard on the loopback interface, in this process."""

from __future__ import annotations

from pathlib import Path

from wbcbench.core.errors import UsageError

LOOPBACK = "127.0.0.1"


def start(logs: Path, port: int | None) -> str:
    """Start TensorBoard in the background of this process; returns its address.

    Args:
        logs: Folder under which event files lie.
        port: To listen on; 0 is any free one, ``None`` the first free one from TensorBoard's own.

    Raises:
        UsageError: The port is taken, or the folder cannot be served.
    """
    from tensorboard import program  # type: ignore[import-untyped]

    words = ["wbcbench", "--logdir", str(logs), "--host", LOOPBACK]
    words += [] if port is None else ["--port", str(port)]
    board = program.TensorBoard()
    board.configure(argv=words)
    try:
        return str(board.launch())
    except program.TensorBoardServerException as error:
        raise UsageError(
            f"TensorBoard cannot listen on {LOOPBACK}: {error.msg} Choose another port with --port."
        ) from error
