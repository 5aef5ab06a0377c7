"""A ``/proc`` folder: the machine's processor time, and processes with their parents and times."""

import shutil
from pathlib import Path

TICKS = 100  # a second, as Linux counts for programs


class ProcFolder:
    """``root`` is what ``/proc`` would be."""

    def __init__(self, root: Path, cores: int = 2) -> None:
        self.root, self._cores = root, cores
        root.mkdir(parents=True, exist_ok=True)

    def machine(self, user_s: float, *, steal_s: float = 0.0, idle_s: float = 0.0) -> None:
        """Processor seconds of all cores since the machine was started."""
        words = [user_s, 0.0, 0.0, idle_s, 0.0, 0.0, 0.0, steal_s, user_s, 0.0]  # the last: guests
        numbers = " ".join(str(round(word * TICKS)) for word in words)
        cores = [f"cpu{core} {numbers}" for core in range(self._cores)]
        text = "\n".join([f"cpu  {numbers}", *cores, "intr 1 2 3", "btime 1000", ""])
        self._write(self.root / "stat", text)

    def process(self, pid: int, parent: int, own_s: float, children_s: float = 0.0) -> None:
        """A process with its time and that of the children it waited for."""
        (self.root / str(pid)).mkdir(exist_ok=True)
        times = f"{round(own_s * TICKS)} 0 {round(children_s * TICKS)} 0"
        # A name may hold spaces and parentheses.
        text = f"{pid} (a (b) c) S {parent} 1 1 0 -1 0 1 2 3 4 {times} 20 0 1 0 5 6 7\n"
        self._write(self.root / str(pid) / "stat", text)

    def command(self, pid: int, *words: str, started_s: int = 0) -> None:
        """What a process runs, since so many seconds after the start of the machine."""
        self.process(pid, 1, 0.5)
        stat = self.root / str(pid) / "stat"
        stat.write_text(stat.read_text().replace(" 0 5 6 7", f" 0 {TICKS * started_s} 6 7"))
        (self.root / str(pid) / "cmdline").write_text("\0".join(words) + "\0")

    def end(self, pid: int) -> None:
        """The process is gone."""
        shutil.rmtree(self.root / str(pid))

    def _write(self, path: Path, text: str) -> None:
        """Whole, for somebody may be reading it."""
        new = path.with_name("new")
        new.write_text(text)
        new.replace(path)
