"""Every limit at which a warning begins, in one table with its meaning and its source.

``TABLE`` is what the documentation prints; the names below are what the code uses. A limit that is
not here does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass

_ROWS: list[tuple[float, str, str, str]] = []

_MLPERF = "MLPerf power rules (arXiv 2410.12032)"
_SC24 = "Part-time Power Measurements, SC'24 (arXiv 2312.02741)"
_OURS = "this project; chosen, not derived"


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit.

    Attributes:
        name: How it is called in the code, in lower case.
        value: The limit itself.
        unit: ``s``, ``W``, ``%``, ``×`` (a factor), ``°C``, ``1`` (a count or a share).
        meaning: What happens on which side of it.
        source: Where it comes from.
    """

    name: str
    value: float
    unit: str
    meaning: str
    source: str


def _add_limit(value: float, unit: str, meaning: str, source: str = _OURS) -> float:
    _ROWS.append((value, unit, meaning, source))
    return value


# --- windows -----------------------------------------------------------------------------------
SHORT_WINDOW_S = _add_limit(
    10.0,
    "s",
    "a shorter window is marked; below it a 100 ms counter step is over 1 % of the joules",
    "step / duration with the 20–100 ms steps of NVML counters",
)
PRIMARY_WINDOW_S = _add_limit(
    60.0, "s", "the measured window should last at least this long", _MLPERF
)
PRIMARY_SAMPLES = _add_limit(
    60, "1", "the measured window should contain at least this many good readings", _MLPERF
)
FEWEST_SAMPLES = _add_limit(10, "1", "a measured window with fewer good readings is suspect")

WIDE_SHARE = _add_limit(
    0.05,
    "1",
    "a wider ± of the measured window is reported; in a short window it is suspect",
    f"the error MLPerf allows a meter; {_MLPERF}",
)

SPARSE_SHARE = _add_limit(
    0.05,
    "1",
    "of a window: CodeCarbon beside a sensor must be read as close to both edges, or has no joules",
)

SPARSE_EDGE_S = _add_limit(0.1, "s", "as close, and not closer than this")

# --- gaps --------------------------------------------------------------------------------------
GAP_PERIODS = _add_limit(
    3.0,
    "×",
    "readings further apart than this many periods leave a gap",
    "polls wander by half a period to both sides, and one lost tick is normal",
)
GAP_LEAST_S = _add_limit(
    0.5,
    "s",
    "a shorter gap is no warning, however short the period",
    f"rise time of board power sensors, 0.1–1 s; {_SC24}",
)
COVERED_SHARE = _add_limit(
    0.5, "1", "a sampled window of which gaps take more than the rest cannot be used"
)
MISSED_SHARE = _add_limit(0.05, "1", "more missed polls than this share are reported")
HEARTBEAT_S = _add_limit(
    2.0,
    "s",
    "polls that end earlier than this (or three periods) before the last window ends are lost",
)

# --- counters ----------------------------------------------------------------------------------
COUNTER_UPDATE_S = _add_limit(
    0.1,
    "s",
    "how often a counter moves where that is unknown",
    f"20–100 ms on NVIDIA boards; {_SC24}",
)
CEILING_W = _add_limit(
    20_000.0,
    "W",
    "a counter step that would need more power is no energy, where the part's limit is unknown",
    "this project; chosen, far above any board or package",
)
GPU_CEILING_OVER_LIMIT = _add_limit(
    1.5,
    "×",
    "a step of a GPU's counter that would need more than this times its limit is a jump",
    "peaks of 1.7 × the limit are real; averages over a counter step are lower",
)
PEAK_OVER_READ = _add_limit(
    1.3,
    "×",
    "the same for this times the highest power read beside it, if no single burst explains it",
)
CPU_CEILING_OVER_LIMIT = _add_limit(
    5.0,
    "×",
    "the same for processors, whose short-term limit is a multiple of their TDP",
    "this project; chosen above the short-term limits of mobile packages",
)
FROZEN_S = _add_limit(
    0.5,
    "s",
    "a counter that stands still longer, and does not make up for it, is frozen",
    "several updates of any board's counter; every running part draws power",
)
FROZEN_UPDATES = _add_limit(5, "1", "the same in usual times between two moves of a slower counter")
CAUGHT_UP_SHARE = _add_limit(
    0.85,
    "1",
    "a counter that after a stop makes up for this share of the integral was late, not frozen",
    "this project; chosen: what it does not make up for is bridged, and right either way",
)
CAUGHT_UP_ALONE_SHARE = _add_limit(
    0.5, "1", "the same of its own power around the stop, where no power reading tells"
)
COARSE_COUNTER_SHARE = _add_limit(
    0.02,
    "1",
    "a counter whose ± is a larger share of its joules gives way to a more exact integral",
)
COARSE_COUNTER_RATIO = _add_limit(
    2.0, "×", "an integral is more exact than such a counter if its ± is smaller by more than this"
)

PROMPT_COUNTER_S = _add_limit(
    0.5,
    "s",
    "a counter that is known to move at least this often never gives way to an integral; in cells "
    "longer than this the power is unknown",
    "above the 20–100 ms of NVML counters, below the loads' own seconds",
)

# --- power readings ----------------------------------------------------------------------------
HIGH_OVER_LIMIT = _add_limit(
    1.2,
    "×",
    "a power reading above this times the limit is kept, with a warning; the ± holds it",
    "this project; chosen: transients above the limit are real",
)
SPIKE_OVER_LIMIT = _add_limit(
    1.7,
    "×",
    "a power reading above this times the limit is none, and leaves a gap",
    "this project; chosen: peaks of up to 1.7 × the limit are real",
)
SPIKE_OVER_USUAL = _add_limit(
    10.0,
    "×",
    "the same for this times the power that 95 % of the readings keep to, where no limit is known",
)
STUCK_S = _add_limit(1.0, "s", "equal power readings for less are no sign of a stuck sensor")
STUCK_UPDATES = _add_limit(5, "1", "the same in updates of the sensor after the first")
STUCK_CHANCE = _add_limit(
    1e-5,
    "1",
    "a reading is stuck if chance repeats it as often with less than this probability in a trace",
    "this project; chosen far below the false alarms that are allowed",
)
AVERAGING_S = _add_limit(
    1.0,
    "s",
    "how far back an averaged reading reaches where that is unknown",
    "NVML's power usage is a 1 s average on Ampere and newer",
)

# --- agreement ---------------------------------------------------------------------------------
AGREE_PCT = _add_limit(3.0, "%", "counter and integral agree up to here; above: suspect")
DISAGREE_PCT = _add_limit(
    10.0, "%", "counter and integral that differ by more: the measured window is invalid"
)
DISAGREE_DEPTHS = _add_limit(
    1.25,
    "×",
    "the depth of a check is this times the ± of counter less integral; a smaller difference is "
    "not held against them",
    "± holds 95 %, this times ± 98.6 % of chance differences",
)
CROSS_CHECK_PCT = _add_limit(
    10.0, "%", "CodeCarbon's measured joules further from ours are reported"
)
ALIAS_SHARE = _add_limit(
    0.05,
    "1",
    "a step time this close to a divisor or multiple of the sensor's period aliases",
    f"this project; aliasing as such: {_SC24}",
)
ALIAS_ORDER = _add_limit(5, "1", "divisors and multiples up to this one are checked")

# --- state of the machine ----------------------------------------------------------------------
THROTTLED_SHARE = _add_limit(
    0.2, "1", "a measured window throttled for more than this share is invalid; less is suspect"
)
WARM_UP_C = _add_limit(
    20.0,
    "°C",
    "a GPU this much warmer in the mean of the measured window than at its start began cold",
    "this project; chosen: leakage, and with it power, grows with temperature",
)
BAND_C = _add_limit(
    2.0,
    "°C",
    "a GPU that is this much warmer at its start than `--cooldown` asked for began too warm",
    "die sensors give whole degrees, and an idle board wanders by one",
)
HOT_C = _add_limit(
    85.0,
    "°C",
    "a GPU that gets hotter is about to throttle",
    "this project; chosen below the slow-down temperatures boards report",
)
BUSY_SHARE = _add_limit(0.05, "1", "more load than this before the run began is another process's")
USED_BEFORE_BYTES = _add_limit(
    64 << 20,
    "B",
    "more of a board's memory in use before training began, by no process that is seen, is that of "
    "a hidden one",
    "this project; chosen: an idle board shows a few MB beside the driver's reserve, and the "
    "context of a program takes hundreds",
)
OTHERS_CPU_SHARE = _add_limit(
    0.05,
    "1",
    "other processes with more of the machine's processor time add to its joules",
    "this project; chosen: an idle processor draws about a third of what it draws under full load, "
    "so that this share of all cores, few or many, is 5 to 10 % of its joules",
)
IDLE_DRIFT_PCT = _add_limit(
    10.0, "%", "idle power before and after that differs by more is reported"
)
STAMP_S = _add_limit(
    0.002,
    "s",
    "how well a window's edge is stamped",
    "a pipe, a scheduler's slice and one synchronisation of the device",
)

# --- what was trained --------------------------------------------------------------------------
ONE_CLASS_SHARE = _add_limit(
    0.75, "1", "a network that takes this share of the test images for one class, and …"
)
CHANCE_TIMES = _add_limit(
    1.2, "×", "… has a balanced accuracy of at most this times chance, tells no classes apart"
)
LEARNED_TIMES = _add_limit(
    2.0, "×", "a training accuracy above this times chance shows that the network learned"
)

# Nothing else here is a number.
_NAMES = [name for name, value in globals().copy().items() if isinstance(value, int | float)]
TABLE = [Limit(name.lower(), *row) for name, row in zip(_NAMES, _ROWS, strict=True)]
