"""A run as a state machine: processes are killed between any two files, and others go on beside.

Commands and recorders are real processes that stop before any touch of the disk
(``paused_processes``). The recorder is scripted, for it has no meter and no network, but claims
the folder, writes its files and makes its record as the real one does.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from shutil import rmtree

from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
)

from builders.run import make_spec
from paused_processes import WHOLE, Line, Paused, Stops, fork, is_locked
from wbcbench.core.errors import UsageError
from wbcbench.core.record import Circumstances
from wbcbench.core.run_condition import require_submitted
from wbcbench.core.run_folder import Local, RunDir, study_runs
from wbcbench.core.run_state import RunState, identify
from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.core.window import utc_now
from wbcbench.energy.account import account
from wbcbench.run import finalise
from wbcbench.run.finalise import NEVER_BEGAN
from wbcbench.study import running

SPEC = make_spec("leaky-dropout", idle_s=0.0)
CHANNEL = Channel("simulated/gpu0/counter", Kind.COUNTER, Origin.SIMULATED, Domain.GPU)
POLLS = 12
WATTS = 50.0
TOUCHED = st.one_of(st.integers(1, 12), st.integers(1, 60), st.just(WHOLE))
# What keeps a process from being seen from here.
UNKNOWN: tuple[dict[str, str | None], ...] = (
    {"hostname": "elsewhere"},
    {"machine": "0123456789ab"},
    {"hostname": "elsewhere", "boot_id": "another"},
    {"namespace": "4026532281-4026531834"},
    {"boot_id": None},
    {"namespace": None},
    {"start_ticks": None},
    {"machine": None},
    {"machine": None, "boot_id": "another"},
)
GONE = ("no such process", "id used again", "rebooted")
KINDS = (*GONE, "no state", "queued by the living", "queued by the dead")
MOST_AT_ONCE, MOST_FROM_ELSEWHERE = 3, 4
ENDS = ("ended: done", "ended: CannotMeasureError", "ended: RunsFailedError", "ended: UsageError")


def record(run: RunDir) -> str:
    """What a recorder does, as far as files can tell."""
    with run.hold_lock() as is_free:
        if not is_free:
            return "UsageError: it is being carried out"
        run.write_state(require_submitted(run).running())
        run.write_began(Circumstances(started_utc=utc_now(), provenance={}))
        run.write_channels([CHANNEL])
        run.trace_path("simulated").write_text(f"t_s,{CHANNEL.name}\n")
        _mark(run, "open", 1.0)
        for second in range(POLLS):
            with run.trace_path("simulated").open("a") as stream:
                stream.write(f"{second},{second * WATTS}\n")
        _mark(run, "close", POLLS - 2.0)
        began = run.read_began()
        assert began is not None
        run.write_record(account(run, began, "done"))
    return "done"


def _mark(run: RunDir, edge: str, t_s: float) -> None:
    with run.marks_path.open("a") as stream:
        stream.write(json.dumps({"mark": edge, "window": "train", "t_s": t_s}) + "\n")


class ForkingLauncher:
    """Starts a recorder that the test steers, and waits for its end."""

    is_queue = False

    def __init__(self, stops: Stops, line: Line, root: Path) -> None:
        self._stops, self._line, self._root = stops, line, root

    def __call__(
        self, run_dirs: Sequence[Path], options: Sequence[str], host_lock: int | None = None
    ) -> Iterator[Path]:
        for path in run_dirs:
            run = RunDir(path)
            pid = fork(lambda _, run=run: record(run), self._line, self._root)
            self._line.parent_side()
            self._stops.stop(f"recorder {pid}")
            self._stops.tell("waiting")
            os.waitpid(pid, 0)
            self._stops.stop("recorder ended")
            yield path


@dataclass
class Command:
    """A `wbcbench run`, and the recorder that it started, if it came so far."""

    process: Paused
    line: Line
    recorder: Paused | None = None
    processes: list[Paused] = field(default_factory=list)


class Lifecycle(RuleBasedStateMachine):
    """Every interleaving of commands, recorders, kills and folders from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="wbcbench-lifecycle-"))
        self.results = self.root / "results"
        self.commands: list[Command] = []
        self.records: dict[Path, list[bytes]] = {}
        self.folders: set[Path] = set()
        self.elsewhere: set[Path] = set()  # whose runner nobody here can see
        self.gone: set[Path] = set()  # made by the test, of a runner that is provably gone
        self.before = os.environ.get("WBCBENCH_LOCK_DIR")
        os.environ["WBCBENCH_LOCK_DIR"] = str(self.root)

    @initialize()
    def empty_study(self) -> None:
        (self.results / SPEC.study).mkdir(parents=True)

    # --- processes -----------------------------------------------------------------------------

    @rule(share=st.booleans(), touches=TOUCHED)
    def start_command(self, share: bool, touches: int) -> None:
        if sum(command.process.is_alive for command in self.commands) == MOST_AT_ONCE:
            return
        line, below = Line(), Line()

        def work(stops: Stops) -> str:
            launch = ForkingLauncher(stops, below, self.results)
            running.carry_out(self.results, SPEC, Local(share=share), [], launch)
            return "done"

        process = Paused(fork(work, line, self.results), line)
        line.parent_side()
        command = Command(process, below)
        self.commands.append(command)
        assert process.follow() == "begun"
        self._advance(command, touches)

    def _advance(self, command: Command, touches: int) -> None:
        word = command.process.advance(touches)
        if word.startswith("recorder "):
            if word != "recorder ended":
                command.recorder = Paused(int(word.split()[1]), command.line)
                command.line.parent_side()
                assert command.recorder.follow() == "begun"
        elif word.startswith("ended"):
            assert word.startswith(ENDS), word
            event(f"command {word.split(': ')[1]}")

    def _stopped(self) -> list[tuple[Command, Paused]]:
        """Who can go on: commands that wait for nobody, and recorders."""
        both = [(c, p) for c in self.commands for p in (c.recorder, c.process) if p is not None]
        return [(c, p) for c, p in both if p.is_alive and not p.is_waiting]

    @rule(which=st.integers(0, 5), touches=TOUCHED)
    def let_one_go_on(self, which: int, touches: int) -> None:
        stopped = self._stopped()
        if not stopped:
            return
        command, process = stopped[which % len(stopped)]
        if process is command.process:
            self._advance(command, touches)
        else:
            self._advance_recorder(command, process, touches)

    @rule(which=st.integers(0, 5))
    def let_one_go_on_to_its_end(self, which: int) -> None:
        self.let_one_go_on(which, WHOLE)

    def _advance_recorder(self, command: Command, recorder: Paused, touches: int) -> None:
        recorder.advance(touches)
        if not recorder.is_alive:
            assert recorder.end.startswith(ENDS), recorder.end
            event(f"recorder {recorder.end.split(': ')[1]}")
            self._after_recorder(command)

    @rule(which=st.integers(0, 5))
    def kill_one(self, which: int) -> None:
        both = [(c, p) for c in self.commands for p in (c.recorder, c.process) if p is not None]
        alive = [(c, p) for c, p in both if p.is_alive]
        if not alive:
            return
        command, process = alive[which % len(alive)]
        process.kill()
        event("command killed" if process is command.process else "recorder killed")
        if process is command.recorder:
            self._after_recorder(command)

    def _after_recorder(self, command: Command) -> None:
        """A command that waited for it goes on by itself, to where it tells so."""
        if command.process.is_waiting:
            command.process.follow()

    # --- folders from elsewhere ----------------------------------------------------------------

    def _place(self, number: int, state: RunState | None) -> Path:
        """A folder that somebody else made, with a trace in it."""
        spec = replace(SPEC, seed=number)
        run = RunDir(self.results / spec.study / spec.run_id)
        run.create(spec, Local())
        if state is None:
            (run.path / "state.json").unlink()
        else:
            run.write_state(state)
        run.write_channels([CHANNEL])
        lines = [f"{second},{second * WATTS}" for second in range(POLLS)]
        run.trace_path("simulated").write_text("\n".join([f"t_s,{CHANNEL.name}", *lines, ""]))
        _mark(run, "open", 1.0)
        return run.path

    @rule(how=st.sampled_from((*KINDS, *range(len(UNKNOWN)))), is_begun=st.booleans())
    def find_run_from_elsewhere(self, how: str | int, is_begun: bool) -> None:
        if len(self.gone) + len(self.elsewhere) == MOST_FROM_ELSEWHERE:
            return
        here = identify(os.getpid())
        assert here.start_ticks is not None
        dead = replace(here, pid=_unused_pid())
        unseen = replace(here, hostname="elsewhere")
        queued = partial(RunState, user="somebody", submitted_utc=utc_now(), is_queued=True)
        begun = partial(RunState, unseen, "somebody", utc_now())
        states = {
            "no state": None,
            "queued by the living": queued(here),
            "queued by the dead": queued(dead),
            "no such process": begun(runner=dead),
            "id used again": begun(runner=replace(here, start_ticks=here.start_ticks - 1)),
            "rebooted": begun(runner=replace(here, boot_id="another")),
        }
        if isinstance(how, int):
            who = replace(dead, **UNKNOWN[how])
            state = RunState(who, "somebody", utc_now(), runner=who if is_begun else None)
        else:
            state = states[how]
        is_gone = how in GONE and (how != "rebooted" or here.machine is not None)
        # Without a machine id there is nothing in this change that is unknown.
        is_gone |= isinstance(how, int) and who == dead
        path = self._place(100 + len(self.folders), state)
        (self.gone if is_gone else self.elsewhere).add(path)

    # --- commands that come by -----------------------------------------------------------------

    @rule()
    def next_command(self) -> None:
        due = [run for run in self._runs() if not run.is_finished and self._must_end(run)]
        finalise.finalise_abandoned(self.results, SPEC.study)
        for run in due:
            event(f"finalised as {(run.read_record().error or NEVER_BEGAN).kind}")
            assert run.read_record().status == "interrupted"
        sentences = finalise.unaccounted(self.results, SPEC.study)
        assert all("finalise" in sentence or ".new." in sentence for sentence in sentences)

    @rule(which=st.integers(0, 5), force=st.booleans())
    def finalise_one(self, which: int, force: bool) -> None:
        open_runs = [run for run in self._runs() if not run.is_finished]
        if not open_runs:
            return
        run = open_runs[which % len(open_runs)]
        may = self._must_end(run) or (force and run.path in self.elsewhere)
        before = _measured(run)
        try:
            finalise.finalise(run, force=force)
        except UsageError:
            assert not may
        else:
            assert may
            self.elsewhere.discard(run.path)
            _assert_joules(run)
        assert _measured(run) == before

    # --- what must hold ------------------------------------------------------------------------

    def _runs(self) -> list[RunDir]:
        return study_runs(self.results, SPEC.study)

    def _processes(self) -> dict[int, Paused]:
        both = [p for c in self.commands for p in (c.process, c.recorder) if p is not None]
        return {process.pid: process for process in both}

    def _has_living_owner(self, run: RunDir) -> bool:
        """Whether the process that carries it out, or else the one that submitted it, lives."""
        if not (run.path / "state.json").exists():
            return False
        state = run.read_state()
        owner = self._processes().get((state.runner or state.submitter).pid)
        return owner is not None and owner.is_alive

    def _must_end(self, run: RunDir) -> bool:
        """Whether anybody who comes by must make the record."""
        if run.path in self.elsewhere:
            return False
        return not is_locked(run.path) and (
            run.path in self.gone or not self._has_living_owner(run)
        )

    @invariant()
    def no_record_is_overwritten_and_no_folder_lost(self) -> None:
        found = {run.path for run in self._runs()}
        assert self.folders <= found
        self.folders = found
        for path, before in self.records.items():
            assert _accounted(RunDir(path)) == before
        for run in self._runs():
            if run.is_finished and run.path not in self.records:
                self.records[run.path] = _accounted(run)
                _assert_joules(run)

    @invariant()
    def nobody_ends_a_run_whose_runner_lives_or_is_unknown(self) -> None:
        for run in self._runs():
            assert run.path not in self.elsewhere or not run.is_finished
            is_ours = run.path not in self.gone | self.elsewhere
            if not (is_ours and run.is_finished and self._has_living_owner(run)):
                continue
            state = run.read_state()
            if state.runner is not None:
                assert run.read_record().status == "done"  # its own word, on its way out
            else:  # its launcher's word: the recorder ended before it began
                (command,) = [c for c in self.commands if c.process.pid == state.submitter.pid]
                assert command.recorder is not None
                assert not command.recorder.is_alive

    @invariant()
    def a_folder_is_one_commands_alone(self) -> None:
        """A refused command left none; nobody has two."""
        runs = [run for run in self._runs() if (run.path / "state.json").exists()]
        submitters = [run.read_state().submitter.pid for run in runs]
        for command in self.commands:
            most = 0 if command.process.end.startswith("ended: CannotMeasureError") else 1
            assert submitters.count(command.process.pid) <= most

    def teardown(self) -> None:
        """With everybody dead, one command leaves nothing open that it can know of."""
        try:
            for process in self._processes().values():
                if process.is_alive:
                    process.kill()
            finalise.finalise_abandoned(self.results, SPEC.study)
            self.no_record_is_overwritten_and_no_folder_lost()
            unfinished = {run.path for run in self._runs() if not run.is_finished}
            assert unfinished == self.elsewhere
            assert not list(self.results.glob("*/.new.*"))
        finally:
            rmtree(self.root, ignore_errors=True)
            if self.before is None:
                os.environ.pop("WBCBENCH_LOCK_DIR", None)
            else:
                os.environ["WBCBENCH_LOCK_DIR"] = self.before


def _unused_pid() -> int:
    """The id of a process that has just ended."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def _measured(run: RunDir) -> list[bytes]:
    """What was measured and said, byte by byte."""
    polls = [(t.channel.name, list(t.t_s), list(t.value)) for t in run.read_traces()]
    marks = run.marks_path.read_bytes() if run.marks_path.exists() else b""
    return [repr(polls).encode(), marks]


def _accounted(run: RunDir) -> list[bytes]:
    """The record and what it was made from; neither changes once it is there."""
    return [run.record_path.read_bytes(), *_measured(run)]


def _assert_joules(run: RunDir) -> None:
    """A record has the joules of every poll between the first mark and the last poll or mark."""
    polls = sum(len(trace.t_s) for trace in run.read_traces())
    if polls < 4 or not run.read_messages():
        return
    energy = run.read_record().energy("train", CHANNEL.name)
    assert energy is not None
    assert energy.energy_j is not None
    end_s = min(polls - 1.0, POLLS - 2.0 if len(run.read_messages()) == 2 else POLLS)
    assert abs(energy.energy_j - (end_s - 1.0) * WATTS) < 1e-6


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(
    max_examples=50,
    stateful_step_count=30,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
