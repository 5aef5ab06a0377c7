"""Whether the GPU that was measured is the one that trained."""

from __future__ import annotations

from collections.abc import Iterator

from wbcbench.core.board_state import same_bus
from wbcbench.core.quality import Caution, Severity
from wbcbench.core.trace import Domain, Origin
from wbcbench.energy.checks import Doubt, Evidence

WRONG = Doubt(
    "wrong-gpu",
    "invalid for every reading of a GPU: TensorFlow trained on a board with another PCI bus id",
    "The joules are those of a board that did not train. Name the GPU by its UUID with --gpus, and "
    "leave CUDA_VISIBLE_DEVICES alone.",
)
UNUSED = Doubt(
    "gpu-not-used",
    "invalid for every measured reading of a GPU: TensorFlow trained on the processor",
    "The joules are those of an idle board. Install TensorFlow with CUDA (see log.txt for why it "
    "found no GPU), or measure the processor: --meters rapl,codecarbon.",
)
DOUBTS = (WRONG, UNUSED)


def check(evidence: Evidence) -> Iterator[Caution]:
    """Compare what TensorFlow says of its device with what the meters say of theirs."""
    measured = _buses(evidence)
    if not measured or not evidence.device:
        return
    if "GPU" not in evidence.device.upper():
        detail = f"TensorFlow trained on {evidence.device}, not on the GPU that was measured."
        yield from _each(evidence, UNUSED, detail)
    elif evidence.device_bus and not any(same_bus(evidence.device_bus, bus) for bus in measured):
        detail = (
            f"TensorFlow trained on the GPU at {evidence.device_bus}; measured was the one at "
            f"{', '.join(measured)}."
        )
        yield from _each(evidence, WRONG, detail)


def _buses(evidence: Evidence) -> list[str]:
    """PCI bus ids of the measured GPUs, as far as their meters tell them."""
    told = (
        facts.get("pci_bus_id") for facts in evidence.meters.values() if isinstance(facts, dict)
    )
    return [bus for bus in told if isinstance(bus, str) and bus]


def _each(evidence: Evidence, doubt: Doubt, detail: str) -> Iterator[Caution]:
    for channel in evidence.channels:
        if channel.domain is Domain.GPU and channel.origin is Origin.MEASURED:
            yield doubt.caution(
                Severity.INVALID, detail, window=evidence.judged, channel=channel.name
            )
