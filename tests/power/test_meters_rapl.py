"""RAPL on a powercap tree of files: sockets, parts, duplicates, wraps, permissions, failures."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.powercap import PowercapTree
from wbcbench.core.errors import CannotMeasureError
from wbcbench.core.trace import Domain, Kind, Origin, Trace
from wbcbench.core.window import Window
from wbcbench.energy.integrate import window_energy
from wbcbench.power.meter import EnergyMeter, MeterRequest
from wbcbench.power.rapl import find_zones, open_meters

NOBODY = 65534


@pytest.fixture
def tree(tmp_path: Path) -> PowercapTree:
    return PowercapTree(tmp_path)


def meter_on(tree: PowercapTree) -> EnergyMeter:
    (meter,) = open_meters(MeterRequest(powercap_root=tree.root))
    return meter


def two_sockets(tree: PowercapTree) -> None:
    tree.control_type("intel-rapl")
    for socket in (0, 1):
        tree.zone(f"intel-rapl:{socket}", f"package-{socket}", 1_000_000 * (socket + 1))
        tree.zone(f"intel-rapl:{socket}:0", "core", 400_000)
        tree.zone(f"intel-rapl:{socket}:1", "dram", 100_000 * (socket + 1))
    tree.zone("intel-rapl:2", "psys", 9_000_000)


def test_every_socket_has_a_package_and_a_memory_channel_and_the_platform_its_own(
    tree: PowercapTree,
) -> None:
    two_sockets(tree)
    with meter_on(tree) as meter:
        seen = dict(zip((c.name for c in meter.channels), meter.read(), strict=True))
        domains = {channel.name: channel.domain for channel in meter.channels}
    assert seen == pytest.approx(
        {
            "rapl/package-0/counter": 1.0,
            "rapl/dram-0/counter": 0.1,
            "rapl/package-1/counter": 2.0,
            "rapl/dram-1/counter": 0.2,
            "rapl/psys-0/counter": 9.0,
        }
    )
    assert domains["rapl/package-1/counter"] is Domain.CPU
    assert domains["rapl/dram-0/counter"] is Domain.DRAM
    assert domains["rapl/psys-0/counter"] is Domain.SYSTEM
    for channel in meter.channels:
        assert (channel.kind, channel.origin) == (Kind.COUNTER, Origin.MEASURED)
        assert channel.wrap_j == pytest.approx(262_143.32885)


def test_parts_inside_a_package_are_named_but_never_a_channel(tree: PowercapTree) -> None:
    two_sockets(tree)
    with meter_on(tree) as meter:
        assert not any("core" in channel.name for channel in meter.channels)
        assert meter.describe()["inside_package_not_added"] == ["core-0", "core-1"]


def test_an_amd_processor_shows_the_same_tree_without_memory(tree: PowercapTree) -> None:
    tree.zone("intel-rapl:0", "package-0", 5_000_000, range_uj=65_532_610_987)
    tree.zone("intel-rapl:0:0", "core", 1_000_000)
    with meter_on(tree) as meter:
        assert [channel.name for channel in meter.channels] == ["rapl/package-0/counter"]
        assert tuple(meter.read()) == (5.0,)


def test_a_package_behind_two_drivers_is_counted_once(tree: PowercapTree) -> None:
    tree.zone("intel-rapl-mmio:0", "package-0", 7_000_000)
    tree.zone("intel-rapl:0", "package-0", 7_000_001)
    with meter_on(tree) as meter:
        assert [channel.name for channel in meter.channels] == ["rapl/package-0/counter"]
        assert tuple(meter.read()) == pytest.approx((7.000001,), abs=1e-9)


def test_the_second_driver_is_read_where_it_is_the_only_one(tree: PowercapTree) -> None:
    tree.zone("intel-rapl-mmio:0", "package-0", 7_000_000)
    with meter_on(tree) as meter:
        assert tuple(meter.read()) == (7.0,)


def test_a_zone_that_is_linked_flat_and_lies_nested_is_counted_once(tmp_path: Path) -> None:
    nested = tmp_path / "intel-rapl:0" / "intel-rapl:0:0"
    nested.mkdir(parents=True)
    for folder, name in ((nested.parent, "package-0"), (nested, "dram")):
        (folder / "name").write_text(name)
        (folder / "energy_uj").write_text("1")
    (tmp_path / "intel-rapl:0:0").symlink_to(nested)
    assert [zone.label for zone in find_zones(tmp_path)] == ["package-0", "dram-0"]


def test_dies_of_one_socket_are_told_apart(tree: PowercapTree) -> None:
    for die in (0, 1):
        tree.zone(f"intel-rapl:{die}", f"package-0-die-{die}", 1_000_000 * (die + 1))
        tree.zone(f"intel-rapl:{die}:0", "dram", 10_000 * (die + 1))
    with meter_on(tree) as meter:
        names = [channel.name for channel in meter.channels]
        values = tuple(meter.read())
    assert names == [
        "rapl/package-0-die-0/counter",
        "rapl/dram-0-die-0/counter",
        "rapl/package-0-die-1/counter",
        "rapl/dram-0-die-1/counter",
    ]
    assert values == (1.0, 0.01, 2.0, 0.02)


def test_the_highest_power_limit_bounds_what_a_step_can_be(tree: PowercapTree) -> None:
    folder = tree.zone("intel-rapl:0", "package-0")
    (folder / "constraint_0_power_limit_uw").write_text("125000000")
    (folder / "constraint_1_power_limit_uw").write_text("241000000")
    (channel,) = meter_on(tree).channels
    assert channel.limit_w == 241.0


def poll(meter: EnergyMeter, counter: Path, readings_uj: list[str]) -> Trace:
    """One poll a second, each with its own content of the counter's file."""
    values = []
    for text in readings_uj:
        counter.write_text(text)
        values.append(meter.read()[0])
    return Trace(meter.channels[0], [float(i) for i in range(len(values))], values)


# A move is placed half of the 1 ms between two updates before its poll, so that much of
# a step of one second lies outside a window that begins and ends at polls.
HALF_AN_UPDATE = 0.5e-3 * 1.001


def test_a_read_that_fails_once_is_a_gap_and_not_a_wrap(tree: PowercapTree) -> None:
    counter = tree.zone("intel-rapl:0", "package-0") / "energy_uj"
    readings = [f"{50_000_000 * i}\n" for i in range(9)]
    readings[4] = ""
    with meter_on(tree) as meter:
        trace = poll(meter, counter, readings)
    assert trace.value[4] is None
    energy = window_energy(trace, Window("train", 0.0, 8.0))
    assert energy.energy_j == pytest.approx(400.0, rel=HALF_AN_UPDATE)
    assert energy.max_gap_s == 2.0


@settings(deadline=None)  # it writes files
@given(start_uj=st.integers(0, 9_999_999), steps_uj=st.lists(st.integers(1, 900_000), min_size=3))
def test_wraps_are_undone_between_good_readings(start_uj: int, steps_uj: list[int]) -> None:
    range_uj = 10_000_000
    totals = [start_uj]
    for step_uj in steps_uj:
        totals.append(totals[-1] + step_uj)
    with TemporaryDirectory() as folder:
        tree = PowercapTree(Path(folder))
        counter = tree.zone("intel-rapl:0", "package-0", range_uj=range_uj) / "energy_uj"
        with meter_on(tree) as meter:
            trace = poll(meter, counter, [f"{total % range_uj}\n" for total in totals])
    energy = window_energy(trace, Window("train", 0.0, float(len(steps_uj))))
    edge_j = HALF_AN_UPDATE * max(steps_uj) / 1e6
    assert energy.energy_j == pytest.approx(sum(steps_uj) / 1e6, abs=edge_j)


@contextmanager
def ordinary_user() -> Iterator[None]:
    """File permissions as an ordinary user meets them; root would read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_tree() -> Iterator[PowercapTree]:
    """A tree in a folder that every user may enter, as the kernel's is."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield PowercapTree(Path(folder))


def test_counters_that_may_not_be_read_are_told_with_the_fix_and_its_undo(
    open_tree: PowercapTree,
) -> None:
    files = []
    for socket in (0, 1):
        folder = open_tree.zone(f"intel-rapl:{socket}", f"package-{socket}")
        files.append(folder.resolve() / "energy_uj")
        files[-1].chmod(0o400 if os.geteuid() == 0 else 0)
    with ordinary_user(), pytest.raises(CannotMeasureError) as caught:
        open_meters(MeterRequest(powercap_root=open_tree.root))
    message = str(caught.value)
    assert f"`sudo chmod a+r {open_tree.root}/*/energy_uj`" in message
    assert f"`sudo chmod 400 {open_tree.root}/*/energy_uj`" in message
    assert {path.resolve() for path in open_tree.root.glob("*/energy_uj")} == set(files)
    assert "until the next reboot" in message


def test_one_counter_that_may_not_be_read_does_not_take_the_others_with_it(
    open_tree: PowercapTree,
) -> None:
    open_tree.zone("intel-rapl:0", "package-0", 3_000_000)
    barred = open_tree.zone("intel-rapl:0:0", "dram") / "energy_uj"
    barred.chmod(0o400 if os.geteuid() == 0 else 0)
    with ordinary_user(), meter_on(open_tree) as meter:
        assert tuple(meter.read()) == (3.0,)
        facts = meter.describe()
    assert facts["not_permitted"] == [str(barred.resolve())]
    [unread] = meter.unread
    assert (unread.meter, unread.domain) == ("rapl/dram-0", Domain.DRAM)
    assert "sudo chmod a+r" in str(facts["fix"])


def test_a_machine_without_the_tree_says_what_would_help(tmp_path: Path) -> None:
    with pytest.raises(CannotMeasureError, match=r"There is no .*nowhere.*bare metal"):
        open_meters(MeterRequest(powercap_root=tmp_path / "nowhere"))


def test_a_tree_without_a_counter_says_so(tree: PowercapTree) -> None:
    tree.control_type("intel-rapl")
    with pytest.raises(CannotMeasureError, match="shows no RAPL counter"):
        open_meters(MeterRequest(powercap_root=tree.root))


def test_a_counter_that_vanished_since_it_was_found_is_told(tree: PowercapTree) -> None:
    folder = tree.zone("intel-rapl:0", "package-0")
    meter = meter_on(tree)
    (folder / "energy_uj").unlink()
    with pytest.raises(CannotMeasureError, match="cannot be opened"), meter:
        pass
