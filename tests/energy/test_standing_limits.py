"""What a sensor can never tell is said wherever its joules are."""

from dataclasses import replace

from wbcbench.core.trace import Channel, Domain, Kind, Origin
from wbcbench.energy.uncertainty import describe_limits

COUNTER = Channel("nvml/gpu0/counter", Kind.COUNTER, Origin.MEASURED, Domain.GPU, "total_energy")
POWER = Channel("nvml/gpu0/power", Kind.SAMPLED, Origin.MEASURED, Domain.GPU, "power_instant")


def test_a_part_time_board_has_one_limit_however_it_is_read():
    told = [replace(each, update_s=0.1, averaging_s=0.025) for each in (COUNTER, POWER)]
    (limit,) = describe_limits(told)
    assert "nvml/gpu0 reads 25 of every 100 ms" in limit
    assert "off by half or more" in limit
    assert len(f"limit: {limit}") <= 3 * 80


def test_a_slow_power_reading_of_which_nothing_more_is_known_may_be_a_look():
    (limit,) = describe_limits([replace(POWER, update_s=2.0)])
    assert "nvml/gpu0 may read only a moment of every 2000 ms" in limit
    assert describe_limits([replace(POWER, update_s=2.0, averaging_s=2.0)]) == ()


def test_sensors_that_read_all_the_time_or_say_nothing_of_it_have_no_limit():
    full = replace(POWER, update_s=0.1, averaging_s=0.1)
    assert describe_limits([COUNTER, POWER, full]) == ()
