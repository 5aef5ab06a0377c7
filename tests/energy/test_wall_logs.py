"""Logs of wall meters: each maker's layout read as it is, and nothing ambiguous read at all."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wbcbench.core.errors import UsageError
from wbcbench.core.trace import Channel, Domain, Kind, Origin, Trace
from wbcbench.core.window import Window
from wbcbench.energy.integrate import window_energy
from wbcbench.energy.wall_logs import LogOptions, WallLog, read_wall_log

SAMPLES = Path(__file__).with_name("wall_logs")

# The load that most samples log: every ten seconds from FIRST on.
FIRST = datetime(2026, 11, 26, 17, 56, 50, tzinfo=UTC)
FIRST_S = FIRST.timestamp()
WATTS = (80.5, 81.25, 80.75, 1224.5, 1250.25, 1248.75, 1251.0, 999.5, 1000.25, 82.0, 81.5, 80.25)
WHOLE_J = 73801.25  # trapezoids of ten seconds: 10 × (sum − half of the first and the last)

NO_ZONE = "Its times name no zone and were taken for UTC."


def known(log: WallLog) -> list[float]:
    return [value for value in log.value if value is not None]


def refuse(path: Path, says: str, **options: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_wall_log(path, LogOptions(**options))


def read_text(folder: Path, text: str | bytes, **options: str) -> WallLog:
    path = folder / "log.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_wall_log(path, LogOptions(**options))


POWER_SAMPLES = {
    # file: (column, unit, zone, options)
    "apc_pdu.txt": ("Pwr. kW", "kW", "UTC", {}),
    "egauge.csv": ("Usage [kW]", "kW", "UTC", {}),
    "fluke_1738.txt": ("Active Power Total Avg", "W", "UTC", {}),
    "fujitsu_rcve.csv": ("pdu1(power)", "W", "UTC", {}),
    "grafana.csv": ("Power", "W", "UTC", {}),
    "hioki_pw8001.csv": ("P1", "W", "UTC", {}),
    "hobo_ux120.csv": (
        "Active Power, W (LGR S/N: 10248300, SEN S/N: 10248300)", "W", "GMT-05:00", {},
    ),
    "home_assistant.csv": ("sensor.rack_plug_power", "W", "Z", {}),
    "home_assistant.json": ("sensor.rack_power (W)", "W", "+00:00", {}),
    "household.txt": ("Global_active_power", "kW", "UTC", {"unit": "kW"}),
    "influxdb_annotated.csv": ("power pdu", "W", "Z", {}),
    "logger_joined.csv": ("power_w", "W", "UTC", {}),
    "panasonic_kw2g.csv": ("1 (W)", "W", "UTC", {}),
    "ptdaemon.log": ("Watts", "W", "UTC", {}),
    "shelly_gen1.jsonl": ("power", "W", "UTC", {}),
    "shelly_gen2.jsonl": ("params.switch:0.apower", "W", "UTC", {}),
    "tasmota_mqtt.log": ("ENERGY.Power", "W", "UTC", {}),
    "units_row.csv": ("p (kW)", "kW", "UTC", {}),
    "voltcraft_german.csv": (
        "Wirkleistung [W]", "W", "Europe/Berlin", {"zone": "Europe/Berlin"},
    ),
    "wattsup.txt": ("watts", "W", "UTC", {}),
    "yokogawa_cw120.csv": ("P", "W", "UTC", {}),
    "yokogawa_wt330.csv": ("P-SIGMA", "W", "UTC", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", POWER_SAMPLES)
def test_a_sample_of_power_is_read_as_the_load_that_it_logs(name: str) -> None:
    column, unit, zone, options = POWER_SAMPLES[name]
    log = read_wall_log(SAMPLES / name, LogOptions(**options))
    good = [(t, v) for t, v in zip(log.utc_s, log.value, strict=True) if v is not None]
    assert [v for _, v in good] == pytest.approx(WATTS, rel=1e-12)
    assert [t for t, _ in good] == [FIRST_S + 10 * i for i in range(len(WATTS))]
    assert (log.read_as["power-column"], log.read_as["unit"], log.read_as["zone"], log.kind) == (
        column,
        unit,
        zone,
        Kind.SAMPLED,
    )
    assert not log.relative_to
    channel = Channel("wall", log.kind, Origin.MEASURED, Domain.SYSTEM)
    whole = Window("whole", FIRST_S, FIRST_S + 110.0)
    energy = window_energy(Trace(channel, log.utc_s, log.value), whole)
    assert energy.energy_j == pytest.approx(WHOLE_J, rel=1e-9)
    assert energy.mean_power_w == pytest.approx(WHOLE_J / 110.0, rel=1e-9)


def test_every_sample_is_tested() -> None:
    others = {"emporia_vue.csv", "green_button.csv", "ipmi_dcmi.log", "shelly_em_data.csv"}
    assert {path.name for path in SAMPLES.iterdir()} == {*POWER_SAMPLES, *others}


def test_what_ipmitool_prints_is_whole_watts() -> None:
    log = read_wall_log(SAMPLES / "ipmi_dcmi.log")
    assert known(log) == [round(value) for value in WATTS]
    assert log.utc_s[0] == FIRST_S


MINUTES_WH = (
    1.3417, 1.3542, 20.4083, 20.8375, 20.8125, 20.85,
    16.6583, 16.6708, 1.3667, 1.3583, 1.3375, 1.3417,
)  # fmt: skip
QUARTERS_WH = (20.0, 20.0, 310.0, 310.0, 300.0, 20.0)


@pytest.mark.parametrize(
    ("name", "first_s", "added_wh"),
    [
        # Named by when it begins: the last row's energy is drawn after its time.
        ("emporia_vue.csv", FIRST_S - 50, MINUTES_WH[:-1]),
        ("green_button.csv", FIRST_S - 50, QUARTERS_WH[:-1]),
        # Named by when it ends: the first row's energy was drawn before its time.
        ("shelly_em_data.csv", FIRST_S, MINUTES_WH[1:]),
    ],
)
def test_energy_of_each_interval_is_added_up(
    name: str, first_s: float, added_wh: tuple[float, ...]
) -> None:
    log = read_wall_log(SAMPLES / name)
    assert (log.utc_s[0], log.read_as["energy"], log.kind) == (first_s, "interval", Kind.COUNTER)
    assert "interval" in " ".join(log.notes)
    steps_j = [b - a for a, b in pairwise(known(log))]
    assert steps_j == pytest.approx([3600.0 * wh for wh in added_wh], rel=1e-9)


def test_a_running_total_is_read_as_one(tmp_path: Path) -> None:
    log = read_wall_log(
        SAMPLES / "fujitsu_rcve.csv", LogOptions(power_column="pdu1(energy)", unit="Wh")
    )
    assert (log.read_as["energy"], log.read_as["unit"]) == ("total", "Wh")
    assert known(log)[-1] - known(log)[0] == pytest.approx(WHOLE_J, abs=0.36)
    cw120 = read_wall_log(SAMPLES / "yokogawa_cw120.csv", LogOptions(power_column="Wh(+)"))
    assert known(cw120)[-1] == pytest.approx(WHOLE_J, abs=0.36)


# --- how numbers are written ---------------------------------------------------------------------


def table(cells: list[str], header: str = "time;power_w", mark: str = ";") -> str:
    rows = [f"{int(FIRST_S) + i}{mark}{cell}" for i, cell in enumerate(cells)]
    return "\n".join([header.replace(";", mark), *rows, ""])


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["816", "1.224,5", "816,25"], [816, 1224.5, 816.25]),
        (["816", "1,224.5", "816.25"], [816, 1224.5, 816.25]),
        (["816", "1 224,5", "816,25"], [816, 1224.5, 816.25]),
        (["816", "1\u00a0224", "816"], [816, 1224, 816]),
        (["816", "1\u202f224,125", "816,125"], [816, 1224.125, 816.125]),
        (["816", "1'224", "816"], [816, 1224, 816]),
        (["816", "1’224.5", "816"], [816, 1224.5, 816]),
        (["816,5", "1,224"], None),  # a decimal comma, or a mark of thousands: no, 816,5 settles it
        (["0,816", "1,224"], [0.816, 1.224]),
        (["816.5", "1,224"], [816.5, 1224]),
        (["1224", "1,224"], [1224, 1.224]),  # who writes 1224 puts no mark between thousands
        (["80,125", "120,250", "80,000"], [80.125, 120.25, 80]),  # 80 kW is no machine
        (["80.125", "120.250", "80.000"], [80.125, 120.25, 80]),
        (["8.2E+01", "1.2245E+03"], [82, 1224.5]),
        (["8.165E+02", "1.224E+03"], [816.5, 1224]),
        (["82 W", "1,2 kW", "900 mW"], [82, 1200, 0.9]),
        (["82.5W", "1224.5W"], [82.5, 1224.5]),
    ],
)
def test_numbers_of_a_file_are_read_in_the_one_way_that_all_of_them_allow(
    cells: list[str], values: list[float] | None, tmp_path: Path
) -> None:
    for mark in ";\t":
        log = read_text(tmp_path, table([*cells], mark=mark))
        assert known(log) == pytest.approx(values or [816.5, 1.224], rel=1e-12)


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (["816", "1,224", "816"], "--decimal , or --decimal ."),
        (["816", "1.224", "816"], "--decimal , or --decimal ."),
        (["1,224", "1,250"], "--decimal"),
        (["1.224,5", "1,224.5"], "in more than one way"),
        (["816,5", "816.5"], "in more than one way"),
        (["12,34,567", "8"], "is no number"),
        (["1 22", "8"], "is no number"),
        (["1e400", "8"], "'1e400', which no machine draws.$"),
        (["-5", "8"], "no machine draws; a sensor may be the wrong way round"),
        (["-300", "-310"], "every reading of 'power_w' is negative"),
        (["five", "8", "9"], "is no number"),
    ],
)
def test_what_could_be_either_is_refused_with_the_option_that_settles_it(
    cells: list[str], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    path.write_text(table(cells))
    refuse(path, says)


def test_what_a_sensor_reads_just_below_zero_is_zero(tmp_path: Path) -> None:
    log = read_text(tmp_path, table(["-0.1", "80.5", "-3", "900"]))
    assert known(log) == [0, 80.5, 0, 900]
    assert "2 readings just below zero" in " ".join(log.notes)


def test_other_columns_settle_a_mark_where_they_can(tmp_path: Path) -> None:
    rows = ["1.224;230,1;1.1.2", "816;229,9;1.1.3"]
    log = read_text(tmp_path, table(rows, header="time;power_w;U (V);version"))
    assert known(log) == [1224, 816]
    rows = ["1.224;230.1", "816;229.9"]
    assert known(read_text(tmp_path, table(rows, header="time;power_w;U (V)"))) == [1.224, 816]


def test_the_named_decimal_mark_settles_it(tmp_path: Path) -> None:
    text = table(["816", "1,224", "816"], mark="\t")
    assert known(read_text(tmp_path, text, decimal=",")) == [816, 1.224, 816]
    assert known(read_text(tmp_path, text, decimal=".")) == [816, 1224, 816]
    path = tmp_path / "log.txt"
    path.write_text(table(["816.5", "1,224"], mark="\t"))
    refuse(path, "is no number", decimal=",")


def test_a_delimiter_inside_quotes_is_none(tmp_path: Path) -> None:
    text = table(['"1,224.5"', '"816.5"'], header="time;power_w", mark=",")
    assert known(read_text(tmp_path, text)) == [1224.5, 816.5]


# --- times ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "write",
    [
        lambda t: f"{t.timestamp():.0f}",
        lambda t: f"{t.timestamp():.3f}",
        lambda t: f"{t.timestamp():.3f}".replace(".", ","),
        lambda t: f"{t.timestamp() * 1000:.0f}",
        lambda t: f"{t.timestamp() * 1e6:.0f}",
        lambda t: f"{int(t.timestamp()) * 10**9}",
        lambda t: t.isoformat(),
        lambda t: f"{t.astimezone(timezone(timedelta(hours=-5))):%Y-%m-%d %H:%M:%S%z}",
        lambda t: f"{t:%Y%m%d%H%M%S}",
        lambda t: f"{t:%Y%m%dT%H%M%SZ}",
        lambda t: f"{t:%d.%m.%Y %H:%M:%S}",
        lambda t: f"{t:%m/%d/%Y %I:%M:%S %p}",
        lambda t: f"{t:%d-%b-%Y %H:%M:%S}",
        lambda t: f"{t:%b %d, %Y %I:%M:%S %p}",
        lambda t: f"{t:%a, %d %b %Y %H:%M:%S} GMT",
        lambda t: f"{t:%a %b %d %H:%M:%S} UTC {t:%Y}",
        lambda t: f"{t:%Y/%m/%d %H:%M:%S.}000",
        lambda t: f"{t:%Y-%m-%d %H:%M:%S},000",
        lambda t: f"{t:%d/%m/%y %H:%M:%S}",
        lambda t: f"'{t:%y-%m-%d %H:%M:%S}",
        lambda t: f"{t:%d/%m/%Y %H:%M:%S} 0msec",
        lambda t: f"{t.isoformat()}[Etc/UTC]",
    ],
)
def test_every_form_of_time_gives_the_same_seconds(write, tmp_path: Path) -> None:
    times = [FIRST + timedelta(seconds=i) for i in range(70)]
    rows = [f"{write(t)}\t{80 + i}" for i, t in enumerate(times)]
    log = read_text(tmp_path, "\n".join(["when\tpower_w", *rows]))
    assert list(log.utc_s) == [t.timestamp() for t in times]


def day_log(days: list[tuple[int, int]]) -> str:
    rows = [f"{a:02d}/{b:02d}/2026 12:00:00\t{80 + i}" for i, (a, b) in enumerate(days)]
    return "\n".join(["time\tpower_w", *rows])


def test_the_order_of_day_and_month_is_decided_once_a_file(tmp_path: Path) -> None:
    april = datetime(2026, 4, 3, 12, tzinfo=UTC).timestamp()
    march = datetime(2026, 3, 4, 12, tzinfo=UTC).timestamp()
    assert read_text(tmp_path, day_log([(3, 4), (13, 4)])).utc_s[0] == april
    assert read_text(tmp_path, day_log([(3, 4), (3, 14)])).utc_s[0] == march
    assert read_text(tmp_path, day_log([(3, 4), (4, 4)]), date_order="dmy").utc_s[0] == april
    year_first = "time\tpower_w\n2026-04-03 12:00:00\t80\n2026-04-03 12:00:01\t81"
    assert read_text(tmp_path, year_first, date_order="mdy").utc_s[0] == april
    falling = day_log([(12, 3), (1, 4)])  # 12 March, 1 April; else 3 December, 4 January
    assert read_text(tmp_path, falling).utc_s[0] == april - 22 * 86_400
    path = tmp_path / "log.csv"
    path.write_text(day_log([(3, 4), (4, 4)]))
    refuse(path, "--date-order")
    near = read_wall_log(path, around=(march - 60, march + 60))
    assert near.utc_s[0] == march
    assert "miss the run" in " ".join(near.notes)
    path.write_text(day_log([(13, 4), (4, 13)]))
    refuse(path, "--date-order")
    path.write_text(day_log([(3, 14), (3, 15)]))
    refuse(path, "--date-order", date_order="dmy")


def test_a_zone_is_that_of_the_times_of_the_name_or_of_the_user(tmp_path: Path) -> None:
    noon = datetime(2026, 7, 1, 12, tzinfo=UTC).timestamp()
    rows = "2026-07-01 12:00:00\t80\n2026-07-01 12:00:01\t81\n"
    for header, zone, hours in (
        ("time\tpower_w", None, 0),
        ("time (UTC+2)\tpower_w", None, -2),
        ("time\tpower_w", "Europe/Berlin", -2),
        ("time\tpower_w", "+05:30", -5.5),
        ("time\tpower_w", "UTC", 0),
    ):
        options = {"zone": zone} if zone else {}
        log = read_text(tmp_path, f"{header}\n{rows}", **options)
        assert log.utc_s[0] == noon + hours * 3600
        assert (NO_ZONE in log.notes) == (header == "time\tpower_w" and zone is None)
    path = tmp_path / "log.txt"
    path.write_text(f"time\tpower_w\n{rows}".replace("\t8", " CEST\t8"))
    refuse(path, "--zone")
    assert read_wall_log(path, LogOptions(zone="Europe/Berlin")).utc_s[0] == noon - 7200
    for zone in ("Mars/Olympus", "+15:00", "../etc/passwd", "\x00", ""):
        with pytest.raises(UsageError, match="not known"):
            LogOptions(zone=zone)


def local_log(times: list[datetime]) -> str:
    return "time,power_w\n" + "".join(f"{t:%Y-%m-%d %H:%M:%S},80\n" for t in times)


def test_the_hour_that_summer_time_repeats_is_read_in_order_or_refused(tmp_path: Path) -> None:
    begin = datetime(2026, 10, 24, 23, 30, tzinfo=UTC)  # 01:30 CEST; 02:00 to 03:00 comes twice
    times = [begin + timedelta(minutes=10 * i) for i in range(18)]
    shifts = [2 if t < datetime(2026, 10, 25, 1, tzinfo=UTC) else 1 for t in times]
    text = local_log([t + timedelta(hours=h) for t, h in zip(times, shifts, strict=True)])
    log = read_text(tmp_path, text, zone="Europe/Berlin")
    assert list(log.utc_s) == [t.timestamp() for t in times]
    path = tmp_path / "log.csv"
    path.write_text(text)
    refuse(path, "end of summer time")
    path.write_text(local_log([datetime(2026, 10, 25, 2, m) for m in (10, 20, 30)]))
    refuse(path, "skips or repeats", zone="Europe/Berlin")
    path.write_text(local_log([datetime(2026, 3, 29, 2, m) for m in (10, 20, 30)]))
    refuse(path, "skips or repeats", zone="Europe/Berlin")


def test_times_without_a_date_count_from_a_start_that_the_user_names(tmp_path: Path) -> None:
    texts = ("t,watts\n0.0,80\n0.5,81\n", "elapsed (ms),watts\n0,80\n500,81\n")
    for text in texts:
        assert read_text(tmp_path, text).relative_to == "its own start"
        log = read_text(tmp_path, text, start="2026-11-26T18:56:50+01:00")
        assert (log.relative_to, log.utc_s) == ("", (FIRST_S, FIRST_S + 0.5))
    clocks = "time,watts\n23:59:59,80\n00:00:01,81\n"
    log = read_text(tmp_path, clocks, start="2026-11-26")
    assert log.utc_s[1] == datetime(2026, 11, 27, 0, 0, 1, tzinfo=UTC).timestamp()
    for start in ("yesterday", "2026-13-45", "2026-11-28T25:00:00Z"):
        with pytest.raises(UsageError, match="--start"):
            LogOptions(start=start)
    assert LogOptions(start="28/11/2026 21:40:00").start
    assert LogOptions(start="1795902000").start


# --- energy --------------------------------------------------------------------------------------


def energy_log(cells: list[float], header: str) -> str:
    return table([f"{cell:.5f}" for cell in cells], header=f"time;{header}", mark="\t")


RISING = [0.01 * i for i in range(12)]
VARYING = [0.01, 0.02, 0.015] * 4


@pytest.mark.parametrize(
    ("cells", "header", "energy"),
    [
        (RISING, "energy_kwh", "total"),
        ([5000.0 + cell for cell in RISING], "consumption (kWh)", "total"),
        ([*RISING, *RISING], "energy today (kWh)", "total"),  # set to zero at midnight
        (VARYING, "energy_wh", "interval"),
        (RISING, "Cumulative Watt-Hours", "total"),
        (RISING, "energy kW-h", "total"),
        (VARYING, "Total energy (Wh)", "interval"),  # what falls so often is no total
        ([*[0.02] * 30, *[0.03] * 30, *[0.02] * 30], "Total energy (Wh)", None),
        ([0.01] * 12, "energy per minute (Wh)", "interval"),
        ([0.01] * 6 + [0.02] * 6, "Energy use (Wh)", "interval"),
        ([5.01] * 6 + [5.02] * 6, "Total energy (kWh)", "total"),
        ([0.01] * 12, "energy_wh", None),
        ([0.01] * 6 + [0.02] * 6, "energy_wh", None),
        (RISING, "energy usage (Wh)", None),
    ],
)
def test_a_running_total_and_energies_of_intervals_are_told_apart(
    cells: list[float], header: str, energy: str | None, tmp_path: Path
) -> None:
    text = energy_log(cells, header)
    if energy is None:
        path = tmp_path / "log.csv"
        path.write_text(text)
        refuse(path, "--energy total or --energy interval")
        assert read_text(tmp_path, text, energy="interval").read_as["energy"] == "interval"
        assert read_text(tmp_path, text, energy="total").read_as["energy"] == "total"
    else:
        assert read_text(tmp_path, text).read_as["energy"] == energy


def test_power_beside_it_tells_what_an_energy_column_holds(tmp_path: Path) -> None:
    def rows(energies_wh: list[float]) -> str:
        lines = [f"{FIRST_S + 60 * i},{60},{wh}" for i, wh in enumerate(energies_wh)]
        return "\n".join(["time,power_w,energy_wh", *lines])

    total = read_text(tmp_path, rows([float(i) for i in range(8)]), power_column="energy_wh")
    assert total.read_as["energy"] == "total"
    each = read_text(tmp_path, rows([1.0] * 8), power_column="energy_wh")
    assert (each.read_as["energy"], known(each)[-1] - known(each)[0]) == ("interval", 7 * 3600.0)


def test_of_both_ends_of_an_interval_the_end_is_its_time(tmp_path: Path) -> None:
    def at(hour: int) -> str:
        return f"26.11.2026 {hour:02d}:00"

    rows = [f"{at(i)};{at(i + 1)};0,{10 + i % 3}" for i in range(8)]
    log = read_text(tmp_path, "\n".join(["From;To;Usage (kWh)", *rows]))
    assert (log.read_as["time-column"], log.read_as["energy"]) == ("To", "interval")
    assert log.utc_s[0] == datetime(2026, 11, 26, 1, tzinfo=UTC).timestamp()


def test_across_a_missing_interval_nothing_is_said(tmp_path: Path) -> None:
    rows = [f"{FIRST_S + 60 * i},{1.0 + i % 2}" for i in range(9) if i != 4]
    log = read_text(tmp_path, "\n".join(["time,energy per minute (J)", *rows]))
    assert known(log) == [1, 3, 4, 6, 0, 1, 3, 4]  # falls: a break, across which no energy is known
    blank = read_text(
        tmp_path, "\n".join(["time,energy per minute (J)", *rows]).replace(",2.0", ",---", 1)
    )
    assert blank.value[:4] == (1, None, 0, 2)


# --- columns -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("time,power_w,power_kw", "several columns.*--power-column"),
        ("time,outlet 1 (W),outlet 2 (W)", "several columns.*outlet 1.*outlet 2"),
        ("time,Watt Hours,Watt hours max", "may hold a running total"),
        ("time,power_w,power_w", r"several columns.*column 3"),
        ("time,Apparent Power (VA),Voltage (V)", "no column that is named like power"),
        ("time,Reactive Power (var),Power factor", "no column that is named like power"),
        ("time,power_MW,volt", "no column that is named like power"),
        ("time,charge (mAh),volt", "no column that is named like power"),
        ("time,timestamp,power_w", "no single column that is named like a time"),
        ("time,Power (W),Power 2 (W)", "several columns.*'Power 2.*--power-column"),
        ("time,Power 1 (W),Power 2", "several columns.*'Power 2'.*--power-column"),
        ("time,PSU1 (W),PSU2", "several columns.*'PSU2'.*--power-column"),
        ("time,Active Power (W),L2 (W)", "several columns.*'L2 .*--power-column"),
        ("time,Watts,Watts2", "several columns.*--power-column"),
        ("time,Phase 1 Power (W),Phase 2", "several columns.*--power-column"),
        ("time,P1,P2", "several columns.*--power-column"),
        ("time,power_w,power_w.1", "several columns.*--power-column"),
        ("time,power_w,Phase B (W)", "several columns.*--power-column"),
    ],
)
def test_a_column_is_never_guessed(header: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(f"{header}\n1,100,50\n2,101,60\n3,102,70\n")
    refuse(path, says)


@pytest.mark.parametrize(
    ("header", "column"),
    [
        ("time,Power A (W),Power B (W),Power total (W)", "Power total (W)"),
        ("time,Apparent power (VA),Active power (W),Peak power (W)", "Active power (W)"),
        ("time,Voltage,Current,Leistung [W]", "Leistung [W]"),
        ("time,energy_kwh,price,power_w", "power_w"),
        ("time,v,i,Watts", "Watts"),
        ("Date/Time,load,v,power_w", "power_w"),
        ("time,v,P / W,S / VA", "P / W"),
        ("time,Server power (W),Active power (W),v", "Active power (W)"),
        ("time,power_min_w,power_w_avg,power_max_w", "power_w_avg"),
        ("time,Average Power (W),Power (W),v", "Power (W)"),
        ("time,AverageConsumedWatts,PowerConsumedWatts,MaxConsumedWatts", "PowerConsumedWatts"),
        ("time,PSU1 (W),PSU2 (W),Sum (W)", "Sum (W)"),
        ("time,RackW,x,y", "RackW"),
        ("time,P1 (W),V1,I1", "P1 (W)"),
    ],
)
def test_of_several_columns_the_total_or_the_active_one_is_read(
    header: str, column: str, tmp_path: Path
) -> None:
    log = read_text(tmp_path, f"{header}\n1,80,70,90\n2,81,71,91\n")
    assert (log.read_as["power-column"], log.read_as["unit"]) == (column, "W")
    assert "names no unit" not in " ".join(log.notes)


@pytest.mark.parametrize(
    "text",
    [
        '[{"t": 1795715810, "power": {"value": 1.5, "unit": "kW"}},\n'
        '{"t": 1795715820, "power": {"value": 816, "unit": "W"}}]',
        '{"device": "x", "readings": [{"time": 1795715810, "power_w": 1500},\n'
        '{"time": 1795715820, "power_w": 816.0}]}',
        '1795715810 plug/power {"power": 1500}\n1795715820 plug/power {"power": 816}\n',
        '{"ts": "2026-11-26T17:56:50Z", "power": "1500,0"}\nreconnected\n'
        '{"ts": "2026-11-26T17:57:00Z", "power": "816,0"}\n{"ts": "2026-11',
    ],
)
def test_objects_are_read_wherever_they_lie(text: str, tmp_path: Path) -> None:
    log = read_text(tmp_path, text)
    assert (known(log), log.utc_s[0], log.read_as["format"]) == ([1500, 816], FIRST_S, "JSON")


@pytest.mark.parametrize(
    "row",
    [
        '{{"time": {t}, "device": "plug{n}", "power_w": 80}}',
        'tele/plug{n}/SENSOR = {{"Time": {t}, "ENERGY": {{"Power": 80}}}}',
        '{{"src": "shelly-{n}", "params": {{"ts": {t}, "switch:0": {{"apower": 80}}}}}}',
    ],
)
def test_rows_of_several_meters_are_never_mixed(row: str, tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    path.write_text("\n".join(row.format(t=int(FIRST_S) + i // 2, n=i % 2) for i in range(8)))
    refuse(path, "several meters.*0.*1")
    path.write_text("\n".join(row.format(t=int(FIRST_S) + i, n=1) for i in range(8)))
    assert known(read_wall_log(path)) == [80] * 8


BESIDE = [300.0 + i for i in range(24)]
SHARES = "xyyxxxyxyyxyxxyxyxyyxyxx"  # by turns, but in no order


def beside_log(header: str, cell: Callable[[int], object], step_rows: int = 1) -> str:
    rows = [f"{FIRST_S + i // step_rows},{cell(i)},{watts}" for i, watts in enumerate(BESIDE)]
    return "\n".join([f"time,{header},power_w", *rows])


@pytest.mark.parametrize(
    ("header", "cell", "rows_a_time"),
    [
        ("Slave ID", lambda i: i % 3, 1),
        ("Adr", lambda i: f"{i % 2}.0", 1),
        ("Thing", lambda i: "ab"[i % 2], 1),
        ("IP", lambda i: f"10.0.0.{i % 2}", 2),
        ("Place", lambda i: i * 7 % 4, 4),
        ("Unit", lambda i: i % 2, 1),
        ("Power meter", lambda i: i % 2, 1),
        ("Lost once", lambda i: (i + (i > 9)) % 3, 1),
    ],
)
def test_a_column_whose_values_take_turns_is_one_of_meters_whatever_its_name(
    header: str, cell: Callable[[int], object], rows_a_time: int, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    path.write_text(beside_log(header, cell, rows_a_time))
    refuse(path, f"several meters, by '{header}'")


def test_meters_one_after_the_other_or_in_no_order_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    rows = [f"{FIRST_S + i % 12},{i // 12},{watts}" for i, watts in enumerate(BESIDE)]
    path.write_text("\n".join(["time,Adr,power_w", *rows]))
    refuse(path, "several meters, by 'Adr'")
    rows = [f"{FIRST_S + i},{who},{80 + 400 * (who == 'x')}" for i, who in enumerate(SHARES)]
    path.write_text("\n".join(["time,Who,power_w", *rows]))
    refuse(path, "several meters, by 'Who'")


@pytest.mark.parametrize(
    ("header", "cell"),
    [
        ("State", lambda i: "on" if i < 12 else "off"),
        ("Relay", lambda i: "on" if i % 7 else "off"),
        ("Volt", lambda i: 230 + i * i % 7 % 2),
        ("U", lambda i: 230.1 + i % 2),
        ("Voltage (V)", lambda i: 230 + i % 2),
        ("Row", lambda i: i),
    ],
)
def test_a_column_that_happens_to_vary_is_none_of_meters(
    header: str, cell: Callable[[int], object], tmp_path: Path
) -> None:
    assert known(read_text(tmp_path, beside_log(header, cell))) == BESIDE


@pytest.mark.parametrize(
    ("header", "bad", "good", "marked"),
    [
        ("Valid", "0", "1", True),
        ("is_valid", "False", "True", True),
        ("Quality", "Bad", "Good", True),
        ("Quality", "0.0", "1.0", True),
        ("Error", "1", "0", True),
        ("not valid", "1", "0", True),
        ("Status", "ERROR", "OK", True),
        ("Power valid", "no", "yes", True),
        ("Comment", "invalid", "", True),
        ("Quality", "64", "192", False),
        ("Status", "0", "1", False),
        ("Relay", "false", "true", None),
    ],
)
def test_readings_that_a_column_marks_as_bad_are_none(
    header: str, bad: str, good: str, marked: bool | None, tmp_path: Path
) -> None:
    text = beside_log(header, lambda i: good if i % 5 else bad)
    log = read_text(tmp_path, text)
    assert known(log) == [watts for i, watts in enumerate(BESIDE) if i % 5 or not marked]
    assert ("5 readings that" in " ".join(log.notes)) is bool(marked)
    assert ("is not known" in " ".join(log.notes)) is (marked is False)
    path = tmp_path / "log.csv"
    path.write_text(beside_log("Valid", lambda _: 0))
    refuse(path, "'Valid' marks every reading as bad")


def test_times_that_differ_are_not_chosen_between(tmp_path: Path) -> None:
    path, text = tmp_path / "log.csv", ""
    for header in ("received_at,measured_at", "Time,measured", "time,received"):
        rows = [f"{at(i + 30)},{at(i)},{80 + i}" for i in range(9)]
        text = "\n".join([f"{header},power_w", *rows])
        path.write_text(text)
        first, second = header.split(",")
        refuse(path, f"{first}.*{second}.*--time-column")
    assert read_text(tmp_path, text, time_column="received").utc_s[0] == FIRST_S
    rows = [f"{at(i + 3600)},{FIRST_S + i},{80 + i}" for i in range(9)]
    log = read_text(tmp_path, "\n".join(["Time,epoch,power_w", *rows]))
    assert (log.read_as["time-column"], log.utc_s[0]) == ("epoch", FIRST_S)


def at(second: int) -> str:
    return f"{FIRST + timedelta(seconds=second):%Y-%m-%d %H:%M:%S}"


def test_units_are_named_by_the_user_where_the_log_does_not(tmp_path: Path) -> None:
    text = table(["1,5", "2,5"], header="time;reading")
    assert known(read_text(tmp_path, text, unit="kW")) == [1500, 2500]
    assert read_text(tmp_path, text, power_column="reading", unit="W").value == (1.5, 2.5)
    path = tmp_path / "log.txt"
    refuse(path, "--unit W or --unit kW", power_column="reading")
    bare = "1795715815;80,5\n1795715816;81,5\n"
    assert known(read_text(tmp_path, bare, unit="W")) == [80.5, 81.5]
    path.write_text(table(["1,5", "2,5"], header="time;energy"))
    refuse(path, "no unit of energy", power_column="energy")
    path.write_bytes((SAMPLES / "shelly_gen1.jsonl").read_bytes())
    refuse(path, "Wmin", power_column="total")
    names = "time;power_kw_avg"
    assert known(read_text(tmp_path, table(["1,5", "2,25"], header=names))) == [1500, 2250]
    path.write_text("time,power (VA)\n1,5\n2,5\n")
    refuse(path, "Volt-amperes are not watts", power_column="power (VA)")
    for unit in ("VA", "MW", "horses", ""):
        with pytest.raises(UsageError, match="--unit"):
            LogOptions(unit=unit)


def test_the_milliseconds_beside_a_time_are_no_meters(tmp_path: Path) -> None:
    rows = [f"2026-11-26,17:56:{50 + i // 2},{i % 2 * 500},{80 + i}" for i in range(8)]
    log = read_text(tmp_path, "\n".join(["Date,Time,Millisecond,P-1", *rows]))
    assert known(log) == [80, 82, 84, 86]


# --- names are understood wholly ------------------------------------------------------------------

SPELLINGS = {
    # the column's name: watts of its 3000, or what the refusal names
    "Active Power (0.1 W)": 300.0,
    "Active Power (0.1W)": 300.0,
    "Power [0,01 kW]": 30_000.0,
    "Power (kW, avg)": 3e6,
    "P1 (W) (Rack A)": 3000.0,
    "Power kilowatt": 3e6,
    "power (milliwatts)": 3.0,
    **dict.fromkeys(
        (
            "Power (W/10)", "Power (x10 W)", "Power (W x10)", "Power (W) (x10)", "Power (1/10 W)",
            "Power (x 0.1 W)", "Power (tenths of W)", "Power_x10_W", "Power_W_x10", "Watts_x_10",
            "Watts (tenths)", "Power (W) / 10", "Power (W/m2)", "Power (W*10)", "Power (kW*100)",
            "Power (dW)", "Power_dW", "power_deciwatts", "power_cW", "Power 0.1W", "Power 10 W",
            "Power_5W", "Power (hp)", "Power (BTU/h)", "Power (foo)", "P*10", "power_W_kW",
            "Power (W)·10", "Power (W)^10",
            "Power (W) 1e-1", "Power (W) scale 0.1", "power_raw", "Power deci W", "power_uw",
            "Power (Mw)", "Power (W/phase)", "cur_power", "load", "ups.load",
        ),
        "--unit",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_unit_is_read_as_it_is_named_or_asked_for(name: str, tmp_path: Path) -> None:
    text = f"Time;{name};Voltage (V)\n2026-11-26 17:56:50;3000;230\n2026-11-26 17:56:51;3000;231\n"
    (tmp_path / "log.csv").write_text(text)
    if isinstance(SPELLINGS[name], str):
        refuse(tmp_path / "log.csv", SPELLINGS[name])
        log = read_text(tmp_path, text, unit="0.1 W", power_column=name)
        assert (known(log), log.read_as["unit"]) == (pytest.approx([300.0] * 2), "0.1 W")
    else:
        assert known(read_text(tmp_path, text)) == pytest.approx([SPELLINGS[name]] * 2)


@pytest.mark.parametrize(
    ("header", "cells", "watts"),
    [
        ("Power;Scale;Unit", "3000;0.1;W", None),
        ("Power (W);Multiplier", "3000;10", None),
        ("Power (W);Multiplier", "3000;1", 3000),
        ("W;W_SF", "3000;-1", None),
        ("W;W_SF", "3000;0", 3000),
        ("Leistung;Einheit", "3000;mW", 3),
        ("Potencia;Unidad", "3000;0.1 W", 300),
        ("Power;Unit", "3000;dW", None),
        ("Energy;Unit;Power;Unit", "12;kWh;3000;mW", 3),
        ("Power;Unit;Energy;Unit", "3000;mW;12;kWh", 3),
        ("Unit;Power", "mW;3000", 3),
        ("Power;Energy;Power Unit;Energy Unit", "3000;12;mW;kWh", 3),
        ("Energy;Energy Unit;Power", "12;kWh;3000", 3000),
        ("Power;Status;Unit", "3000;1;mW", 3),
        ("Power;Voltage;Unit", "3000;230;V", 3000),
        ("Power (W);Unit ID;Load ratio (%)", "3000;1;40", 3000),
    ],
)
def test_a_column_beside_it_says_its_unit_or_scale(
    header: str, cells: str, watts: float | None, tmp_path: Path
) -> None:
    text = f"Time;{header}\n2026-11-26 17:56:50;{cells}\n2026-11-26 17:56:51;{cells}\n"
    (tmp_path / "log.csv").write_text(text)
    if watts is None:
        refuse(tmp_path / "log.csv", "--unit")
        assert known(read_text(tmp_path, text, unit="0.1W")) == pytest.approx([300.0] * 2)
    else:
        assert known(read_text(tmp_path, text)) == pytest.approx([watts] * 2)


def test_a_line_above_the_table_that_scales_it_is_named(tmp_path: Path) -> None:
    rows = "Time,Power (W)\n2026-11-26 17:56:50,80\n2026-11-26 17:56:51,81\n"
    log = read_text(tmp_path, f"# CT ratio: 1:2 (multiply readings by 2)\n{rows}")
    assert "was not applied" in " ".join(log.notes)
    assert log.notes[1:] == read_text(tmp_path, f"CT Ratio,1\n{rows}").notes
    log = read_text(tmp_path, "Time,P\ns,0.1 W\n1,800\n2,810\n")  # a row of units
    assert known(log) == [80, 81]


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("Elapsed minutes", 120),
        ("Time (minutes)", 120),
        ("Time (hours)", 7200),
        ("t [mins]", 120),
        ("Elapsed Hours", 7200),
        ("elapsed_minutes", 120),
        ("Zeit (Minuten)", 120),
        ("Elapsed [msec]", 0.002),
        ("Time (millisec)", 0.002),
        ("Time(mS)", 0.002),
        ("Time [Sek.]", 2),
        ("Elapsed days", 172_800),
        ("time_us", 2e-6),
        ("Time (0.1 s)", 0.2),
        ("t [10ms]", 0.02),
        ("Time (s)", 2),
        ("Time", 2),
        ("Time (ticks)", None),
        ("Time (foo 10)", None),
        ("Index", None),
        ("Sample No", None),
        ("#", None),
    ],
)
def test_times_since_a_start_count_in_the_unit_that_is_named(
    name: str, seconds: float | None, tmp_path: Path
) -> None:
    text = f"{name};Power (W)\n0;80\n2;81\n3;82\n"
    if seconds is None:
        (tmp_path / "log.csv").write_text(text)
        refuse(tmp_path / "log.csv", "--time-column", time_column=name)
    else:
        log = read_text(tmp_path, text)
        assert log.utc_s[1] == pytest.approx(seconds)
        assert ("taken for seconds" in " ".join(log.notes)) == (name == "Time")


@pytest.mark.parametrize(
    ("name", "step_s"),
    [("Elapsed (mm:ss)", 1), ("Time (hh:mm)", 60), ("Elapsed", None), ("t (hh:mm:ss)", None)],
)
def test_two_fields_of_a_clock_are_what_their_name_says(
    name: str, step_s: float | None, tmp_path: Path
) -> None:
    text = f"{name},Power (W)\n00:59,80\n01:00,81\n01:01,82\n"
    if step_s is None:
        (tmp_path / "log.csv").write_text(text)
        refuse(tmp_path / "log.csv", "mm:ss or hh:mm")
    else:
        log = read_text(tmp_path, text)
        assert [b - a for a, b in pairwise(log.utc_s)] == [step_s] * 2


BARE = {
    "Date/Time", "Time (MM/DD/YYYY)", "Zeit (dd.MM.yyyy HH:mm:ss)", "Time (end of sample)",
    "Time (s)",
}  # fmt: skip


@pytest.mark.parametrize(
    ("header", "cell", "hours"),
    [
        ("Time (CET)", "", 1),
        ("time_cet", "", 1),
        ("Time (EST)", "", -5),
        ("Time (US/Eastern)", "", -5),
        ("Time (UTC+5.5)", "", 5.5),
        ("Time UTC+0530", "", 5.5),
        ("Time (UTC−5)", "", -5),
        ("time_utc", "", 0),
        *((f"Time ({zone})", "", None) for zone in ("CEST", "MEZ", "PST", "JST", "IST", "BST")),
        ("Time (Local)", "", None),
        ("Time (Pacific Standard Time)", "", None),
        ("Time (+01:00)", "", 1),
        ("Time [Z]", "", 0),
        ("Zeit (dd.MM.yyyy HH:mm:ss)", "", 0),
        ("Time (end of sample)", "", 0),
        ("Time (s)", "", 0),
        ("Time (UTC+300)", "", None),
        ("Time (Mars/Olympus)", "", None),
        ("Date/Time", "", 0),
        ("Time (MM/DD/YYYY)", "", 0),
        ("Time,Timezone", ",+01:00", 1),
        ("Time,TZ", ",CET", 1),
        ("time_utc,time_local", ",2026-11-26 20:00:00", 0),
        ("Time,UTC offset (h)", ",1", 1),
        ("Local Time,UTC offset", ",-5.5", -5.5),
        ("Time,UTC offset (min)", ",60", None),
        ("Time,TZ", ",XYZ", None),
        ("# Timezone: Europe/Berlin\nTime", "", 1),
        ("Time zone,UTC+2\nTime", "", 2),
        ("# Timezone: wherever\nTime", "", None),
        ("# Time zone: (UTC+01:00) Amsterdam\nTime", "", 1),
    ],
)
def test_a_zone_that_is_named_anywhere_is_used_or_asked_for(
    header: str, cell: str, hours: float | None, tmp_path: Path
) -> None:
    rows = "".join(f"2026-11-26 12:00:0{i}{cell},8{i}\n" for i in range(3))
    text = f"{header},Power (W)\n{rows}"
    noon_s = datetime(2026, 11, 26, 12, tzinfo=UTC).timestamp()
    if hours is None:
        (tmp_path / "log.csv").write_text(text)
        refuse(tmp_path / "log.csv", "--zone")
        hours, log = 1, read_text(tmp_path, text, zone="Europe/Berlin")
    else:
        log = read_text(tmp_path, text)
    assert log.utc_s[0] == noon_s - 3600 * hours
    assert log.has_zone == (header not in BARE)


def test_epoch_seconds_of_local_time_need_its_zone(tmp_path: Path) -> None:
    text = table(["80", "81"], header="Local epoch;power_w")
    (tmp_path / "log.csv").write_text(text)
    refuse(tmp_path / "log.csv", "--zone")
    assert read_text(tmp_path, text, zone="+01:00").utc_s[0] == FIRST_S - 3600


# --- bytes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_of_every_usual_encoding_is_read(encoding: str, end: str, tmp_path: Path) -> None:
    text = table(["816,5", "1224,5"], header="Zeit;Leistung Gerät (W)").replace("\n", end)
    data = text.encode(encoding)
    log = read_text(tmp_path, data)
    assert (known(log), log.read_as["power-column"]) == ([816.5, 1224.5], "Leistung Gerät (W)")
    assert log.sha256 == hashlib.sha256(data).hexdigest()


def test_a_packed_log_is_unpacked_and_its_digest_is_that_of_the_file(tmp_path: Path) -> None:
    data = gzip.compress(table(["80", "81"]).encode())
    log = read_text(tmp_path, data)
    assert (known(log), log.sha256) == ([80, 81], hashlib.sha256(data).hexdigest())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no rows with a time and a number"),
        (b"time,power_w\n", "no rows with a time and a number"),
        (b"time,power_w\n1,5\n", "fewer than two readings"),
        (b"1,2\n3,4\n", "no single column that is named like a time"),
        (b"time,power_w\n1,2,3\n2,3,4\n", "reading 1 has 3 cells where the header has 2"),
        (b"time,power_w\n1,80\n2,81\n3,82,5\n4,83\n", "reading 3 has 3 cells"),
        (b"time,power_w\n1,=cmd()\n2,1\n3,2\n", "is no number"),
        (b"time,power_w\n1,80\n2,81\ntime,power_kw\n3,0.1\n", "reading 3, .*'time,power_kw'"),
        (b"time,power_w\n1,80\n2,81\npower_w,time\n80,3\n", "columns change at reading 3"),
        (b"time,power_w\n46354.90001,80\n46354.90002,81\n", "days since 1899-12-30"),
        (b"time,power_w\n1,50\nyesterday,5\n3,60\n", "neither epoch seconds|no number"),
        (b"time,power_w\n5,50\n3,50\n4,50\n", "reading 2 is 2 s before the row above"),
        (b"time,power_w\n2026-13-01 00:00:00,50\n2026-13-01 00:00:01,50\n", "do not exist"),
        (b"time,power_w\n0000-01-01 00:00:00,50\n0000-01-02 00:00:00,50\n", "do not exist"),
        (b"time,power_w\n2026-01-01 25:00:00,50\n2026-01-01 26:00:01,50\n", "not one of a day"),
        (b"time,power_w\n99999999999999999,50\n99999999999999999,51\n", "2000 to 2100"),
        (b"time,power_w\n" + b"1" * 200_000 + b",5\n", "more than 100,000 characters"),
        (b'time,power_w\n1,"5\n2,6\n', "not a table|no rows"),
        (b'time,power_w\n1,"5"\n2,"60"\n3,"7', "not a table"),
        (b"time,power_w\n1,5.0None\n2,5\n3,6\n", "is no number"),
        (b"time,power_w\n1\x00,5\n2,5\n", "control characters"),
        (bytes(range(256)) * 9, "control characters|not text"),
        (b"PK\x03\x04abcdefgh", "Save the sheet as CSV"),
        (b"\x1f\x8bnot gzip at all", "cannot be read"),
        (b'{"a":1}\n', "no single column|fewer than two|no column"),
        (b'{"time":1795715810,"a":" "}\n{"time":1795715811,"a":" "}\n', "no column"),
        (b'[{"a":' * 100_000, "nested too deeply|cannot be read"),
        (b'{"Time":"2026-01-01T00:00:00"\n{"Time":"2026-01-01T00:00:01"}\n', "cannot be read"),
        (b"," * 5000 + b"\n" + b"," * 5000, "no rows"),
    ],
)
def test_a_file_that_is_no_log_is_refused_with_its_place(
    content: bytes, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    refuse(path, says)


@pytest.mark.parametrize(
    ("line", "watts"),
    [("# unit: mW", 0.08), ("Power unit;kW", 80_000), ("Einheit = W", 80), ("Unit: Rack 3", 80)],
)
def test_a_unit_above_the_table_is_that_of_a_column_without_one(
    line: str, watts: float, tmp_path: Path
) -> None:
    text = table(["80", "80"], header="time;power")
    assert known(read_text(tmp_path, f"{line}\n{text}")) == pytest.approx([watts] * 2)


def test_a_date_above_a_header_is_no_header(tmp_path: Path) -> None:
    head = "LabVIEW Measurement\nDate\t2026/11/28\nTime\t21:40:00\n***End***\nX_Value\tPower (W)\n"
    rows = "".join(f"{i}.5\t{80 + i}\n" for i in range(9))
    log = read_text(tmp_path, head + rows, time_column="X_Value")
    assert (known(log)[0], log.read_as["power-column"]) == (80, "Power (W)")


def test_of_numbers_with_units_beside_them_those_of_power_or_energy_are_read(
    tmp_path: Path,
) -> None:
    rows = [f"{at(60 * i)};0,{i % 3};kWh;0,0{i};Euro;0,1;kg" for i in range(9)]
    header = "Datum;Verbrauchswert;Einheit;in Euro;Einheit;CO2;Einheit"
    log = read_text(tmp_path, "\n".join([header, *rows]), unit="kWh", energy="interval")
    assert log.read_as["power-column"] == "Verbrauchswert"


def test_a_damaged_first_cell_makes_no_summary_of_the_readings_below(tmp_path: Path) -> None:
    rows = "".join(f"{i},{FIRST_S + i:.0f},{80 + i}\n" for i in range(1, 9))
    log = read_text(tmp_path, f"no,time,power_w\n1'000,{FIRST_S:.0f},80\n{rows}")
    assert known(log) == [80 + i for i in range(9)]


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    refuse(tmp_path / "none.csv", "cannot be read")
    refuse(tmp_path, "cannot be read")
    with pytest.raises(UsageError):
        read_wall_log(Path("a\x00b"))


@settings(max_examples=80, deadline=None)
@given(data=st.binary(max_size=300), begin=st.sampled_from([b"time,power_w\n", b"", b"{", b"[["]))
def test_no_bytes_at_all_bring_anything_but_a_log_or_a_refusal(
    data: bytes, begin: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.csv"
    path.write_bytes(begin + data)
    try:
        log = read_wall_log(path)
    except UsageError:
        return
    assert len(log.utc_s) == len(log.value) >= 2


# --- any format: the same number or none ---------------------------------------------------------

TIME_FORMS = {
    "epoch": lambda t: f"{t.timestamp():.0f}",
    "ms": lambda t: f"{t.timestamp() * 1000:.0f}",
    "iso": lambda t: f"{t:%Y-%m-%dT%H:%M:%SZ}",
    "two": None,
    "dots": lambda t: f"{t:%d.%m.%Y %H:%M:%S}",
    "american": lambda t: f"{t:%m/%d/%Y %I:%M:%S %p}",
}
UNIT_SCALES = {"W": 1.0, "kW": 1e-3, "mW": 1e3}


@st.composite
def formats(draw: st.DrawFn) -> tuple[bytes, list[datetime], list[float]]:
    """The bytes of a log in any mixture of formats, and the times and watts that it states."""
    digits = draw(st.integers(0, 4))
    decimal = draw(st.sampled_from(".,"))
    group = draw(st.sampled_from(["", ",", ".", " ", "\u00a0", "'"]).filter(lambda m: m != decimal))
    mark = draw(st.sampled_from(",;\t|"))
    unit = draw(st.sampled_from(sorted(UNIT_SCALES)))
    form = draw(st.sampled_from(sorted(TIME_FORMS)))
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]))
    begin = datetime(2026, draw(st.integers(1, 12)), draw(st.integers(1, 28)), 9, tzinfo=UTC)
    watts = draw(st.lists(st.floats(0.5, 9000.0), min_size=2, max_size=12))
    times = [begin + timedelta(seconds=7 * i) for i in range(len(watts))]
    rows, stated = list[str](), list[float]()
    for t, value in zip(times, watts, strict=True):
        text = f"{value * UNIT_SCALES[unit]:,.{digits}f}"
        stated.append(float(text.replace(",", "")) / UNIT_SCALES[unit])
        text = text.replace(",", "\0").replace(".", decimal).replace("\0", group)
        text = f'"{text}"' if mark in text or draw(st.booleans()) else text
        write = TIME_FORMS[form]
        time = f"{t:%Y-%m-%d}{mark}{t:%H:%M:%S}" if write is None else write(t)
        rows.append(f"{time}{mark}{text}{mark}on")
    header = mark.join(["Date", "Time"] if form == "two" else ["Time"])
    lines = ["Messger\u00e4t", f"{header}{mark}Power ({unit}){mark}State", *rows, ""]
    return "\n".join(lines).encode(encoding), times, stated


@settings(max_examples=150, deadline=None)
@given(drawn=formats())
def test_a_series_in_any_format_is_read_back_or_refused(
    drawn: tuple[bytes, list[datetime], list[float]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    data, times, watts = drawn
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(data)
    try:
        log = read_wall_log(path)
    except UsageError as error:
        assert "--decimal" in str(error) or "--date-order" in str(error), data
        return
    assert known(log) == pytest.approx(watts, rel=1e-9), data
    assert list(log.utc_s) == [t.timestamp() for t in times], data
