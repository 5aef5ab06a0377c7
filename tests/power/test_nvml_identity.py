"""Which GPU is meant: words, prefixes, CUDA's numbering and MIG instances."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.nvml_plugin import ScriptedNvml
from fakes.nvml_scenario import FakeGpu, Scenario
from wbcbench.core.board_state import same_bus
from wbcbench.core.errors import CannotMeasureError, UsageError
from wbcbench.power import nvml
from wbcbench.power.device import Gpu, UnreadGpuError, named_gpus
from wbcbench.power.meter import MeterRequest
from wbcbench.power.nvml import NvmlDevice, choose_gpus, list_gpus, open_meters

# NVML counts them 0, 1, 2; by PCI bus they come 2, 0, 1.
GPUS = (
    Gpu(0, "GPU-aaaa1111-0000", "Test", "00000000:3B:00.0"),
    Gpu(1, "GPU-aaaa2222-0000", "Test", "00000000:AF:00.0"),
    Gpu(2, "GPU-bbbb3333-0000", "Test", "00000000:17:00.0"),
)


def chosen(words: tuple[str, ...] = (), **environment: str) -> list[int]:
    return [gpu.index for gpu in choose_gpus(words, GPUS, environment)]


def test_without_a_word_every_gpu_is_meant() -> None:
    assert chosen() == [0, 1, 2]


@pytest.mark.parametrize(
    ("word", "index"),
    [
        ("1", 1),
        ("GPU-aaaa2222-0000", 1),
        ("GPU-b", 2),
        ("gpu-BBBB", 2),
        ("aaaa1", 0),
    ],
)
def test_an_index_a_uuid_or_a_prefix_names_one_gpu(word: str, index: int) -> None:
    assert chosen((word,)) == [index]


@pytest.mark.parametrize("word", ["7", "GPU-ffff", "banana"])
def test_a_word_that_names_no_gpu_is_refused_with_the_list(word: str) -> None:
    with pytest.raises(UsageError, match="names no GPU") as caught:
        chosen((word,))
    assert all(gpu.uuid in str(caught.value) for gpu in GPUS)


def test_a_prefix_of_several_gpus_is_refused() -> None:
    with pytest.raises(UsageError, match="names several GPUs"):
        chosen(("GPU-aaaa",))


def test_a_gpu_named_twice_is_measured_once() -> None:
    assert chosen(("0", "GPU-aaaa1")) == [0]


def test_one_gpu_is_the_first_visible_one_unless_others_are_named(
    scripted_nvml: ScriptedNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    boards = (FakeGpu(uuid="GPU-a", bus="00000000:AF:00.0"), FakeGpu(uuid="GPU-b"))
    scripted_nvml.play(Scenario(boards))

    def measured(*names: str) -> list[str]:
        return [meter.name for meter in open_meters(MeterRequest(gpus=names, one_gpu=True))]

    assert measured() == ["nvml/gpu0"]
    assert measured("1", "0") == ["nvml/gpu1", "nvml/gpu0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")  # by bus, the other way round
    assert measured() == ["nvml/gpu1"]


def test_words_go_before_the_environment() -> None:
    assert chosen(("1",), CUDA_VISIBLE_DEVICES="GPU-b") == [1]


@pytest.mark.parametrize(
    ("visible", "indices"),
    [
        ("0", [2]),  # CUDA's GPU 0 is the first on the bus, which NVML calls 2
        ("1,2", [0, 1]),
        ("GPU-aaaa2,GPU-b", [1, 2]),
        ("2,9,0", [1]),  # CUDA stops at the first word it does not know
        ("0,0", [2]),
    ],
)
def test_cuda_visible_devices_counts_along_the_bus(visible: str, indices: list[int]) -> None:
    assert chosen(CUDA_VISIBLE_DEVICES=visible) == indices


@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles", "9"])
def test_an_environment_that_hides_every_gpu_leaves_nothing_to_measure(visible: str) -> None:
    with pytest.raises(CannotMeasureError, match="hides every GPU"):
        chosen(CUDA_VISIBLE_DEVICES=visible)


def test_cudas_own_order_of_different_models_is_refused_for_nobody_knows_it() -> None:
    mixed = (GPUS[0], replace(GPUS[1], name="Other"))
    with pytest.raises(UsageError, match="CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        choose_gpus((), mixed, {"CUDA_VISIBLE_DEVICES": "0"})
    by_bus = {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    assert choose_gpus((), mixed, by_bus) == (GPUS[0],)
    assert choose_gpus((), mixed, {"CUDA_VISIBLE_DEVICES": "GPU-aaaa2"}) == (mixed[1],)


def test_mig_is_refused_with_the_reason_however_it_is_named() -> None:
    cut = (replace(GPUS[0], is_partitioned=True), GPUS[1])
    with pytest.raises(CannotMeasureError, match="divided into MIG instances"), NvmlDevice(cut[0]):
        pass
    with pytest.raises(UnreadGpuError, match="is a MIG instance"):
        choose_gpus(("MIG-aaaa",), cut, {})
    assert choose_gpus((), cut, {"CUDA_VISIBLE_DEVICES": "MIG-aaaa"}) == (cut[0],)
    with pytest.raises(UnreadGpuError, match="names the MIG instance"):
        choose_gpus((), GPUS, {"CUDA_VISIBLE_DEVICES": "MIG-aaaa"})
    assert choose_gpus(("1",), cut, {}) == (GPUS[1],)


SILENT = (GPUS[0], Gpu(1, "", "", "", problem="GPU is lost"), GPUS[2])


def test_a_gpu_that_does_not_answer_is_meant_unless_others_are_named() -> None:
    assert choose_gpus((), SILENT, {}) == SILENT
    assert choose_gpus(("0", "2"), SILENT, {}) == (SILENT[0], SILENT[2])
    assert choose_gpus(("1",), SILENT, {}) == (SILENT[1],)


def test_a_uuid_that_no_answering_gpu_has_may_be_that_of_a_silent_one() -> None:
    known, unknown = "GPU-aaaa1111-0000", "GPU-aaaa2222-0000"
    assert choose_gpus((), SILENT, {"CUDA_VISIBLE_DEVICES": known}) == (SILENT[0],)
    assert choose_gpus((), SILENT, {"CUDA_VISIBLE_DEVICES": unknown}) == (SILENT[1],)
    assert choose_gpus((), SILENT, {"CUDA_VISIBLE_DEVICES": f"{known},{unknown}"}) == SILENT[:2]


def test_numbers_count_nothing_certain_where_a_gpu_does_not_answer() -> None:
    for order in ({}, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}):
        with pytest.raises(UnreadGpuError, match="GPU 1 does not answer"):
            choose_gpus((), SILENT, {"CUDA_VISIBLE_DEVICES": "0"} | order)
    with pytest.raises(CannotMeasureError, match="hides every GPU"):
        choose_gpus((), SILENT, {"CUDA_VISIBLE_DEVICES": ""})


def show_to_cuda(setting: str | None, machine: list[Gpu]) -> list[Gpu]:
    """What CUDA would show of these boards, which lie in the order of their bus."""
    if setting is None:
        return machine
    shown = []
    for entry in setting.split(","):
        matches = [gpu for gpu in machine if entry in (str(gpu.index), gpu.uuid)]
        if not matches:
            break
        shown += matches
    return shown


BOARD_STATES = st.sampled_from(["sound", "sound", "silent", "divided"])
ENTRIES = st.sampled_from(["0", "1", "2", "3", "GPU-0", "GPU-1", "GPU-2", "GPU-3", "-1", ""])


@given(
    states=st.lists(BOARD_STATES, min_size=1, max_size=4),
    entries=st.none() | st.lists(ENTRIES, min_size=1, max_size=3),
)
def test_no_gpu_that_a_program_may_use_is_left_out_and_no_hidden_one_is_measured(
    states: list[str], entries: list[str] | None
) -> None:
    true = [
        Gpu(i, f"GPU-{i}", "Test", f"00000000:{i + 16:02X}:00.0", state == "divided")
        for i, state in enumerate(states)
    ]
    listed = [
        Gpu(gpu.index, "", "", "", problem="lost") if state == "silent" else gpu
        for gpu, state in zip(true, states, strict=True)
    ]
    setting = None if entries is None else ",".join(entries)
    shown = {gpu.index for gpu in show_to_cuda(setting, true)}
    try:
        chosen = choose_gpus(
            (), listed, {} if setting is None else {"CUDA_VISIBLE_DEVICES": setting}
        )
    except UnreadGpuError:
        return  # nothing is guessed, and the sum is unknown
    except CannotMeasureError:
        chosen = ()
    assert shown <= {gpu.index for gpu in chosen}
    assert all(gpu.index in shown or gpu.problem for gpu in chosen)


@given(
    numbers=st.tuples(
        st.integers(0, 0xFFFF), st.integers(0, 0xFF), st.integers(0, 0x1F), st.integers(0, 7)
    )
)
def test_nvmls_and_cudas_spelling_of_one_bus_id_are_the_same(
    numbers: tuple[int, int, int, int],
) -> None:
    domain, bus, device, function = numbers
    by_nvml = f"{domain:08X}:{bus:02X}:{device:02X}.{function}"
    by_cuda = f"{domain:04x}:{bus:02x}:{device:02x}.{function}"
    assert same_bus(by_nvml, by_cuda)
    assert not same_bus(by_nvml, f"{domain:04x}:{bus ^ 1:02x}:{device:02x}.{function}")


@given(cut=st.integers(5, 17), gpu=st.sampled_from(GPUS))
def test_a_long_enough_prefix_names_its_gpu_and_a_short_one_never_names_another(
    cut: int, gpu: Gpu
) -> None:
    prefix = gpu.uuid[:cut]
    try:
        assert named_gpus((prefix,), GPUS) == (gpu,)
    except UsageError:
        assert sum(other.uuid.startswith(prefix) for other in GPUS) > 1


def test_what_the_driver_lists_is_what_is_chosen_from(scripted_nvml: ScriptedNvml) -> None:
    boards = (
        FakeGpu(uuid="GPU-aa", bus="00000000:AF:00.0", mig=-1),
        FakeGpu(uuid="GPU-bb", bus="00000000:3B:00.0", mig=1),
    )
    scripted_nvml.play(Scenario(boards))
    with nvml.session():
        first, second = list_gpus()
    assert (first.uuid, first.pci_bus_id, first.is_partitioned) == (
        "GPU-aa",
        "00000000:AF:00.0",
        False,
    )
    assert (second.index, second.is_partitioned) == (1, True)
    (meter,) = open_meters(MeterRequest(gpus=("GPU-a",)))
    assert meter.name == "nvml/gpu0"
    assert [meter.find_problem()[:22] for meter in open_meters(MeterRequest())] == [
        "",
        "GPU 1 (NVIDIA Test GPU",
    ]
