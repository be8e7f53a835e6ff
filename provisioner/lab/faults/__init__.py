"""Faults that the lab makes on purpose, to learn from and to test `doctor`. Each family of faults has a file."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from provisioner.lab.faults import engines, filters, kernels, overlays, swarms, wires
from provisioner.lab.faults.base import Fault, Place

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FAULTS", "Fault", "Place"]

FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        fault.id: fault
        for fault in (
            *filters.FAULTS,
            *kernels.FAULTS,
            *overlays.FAULTS,
            *engines.FAULTS,
            *swarms.FAULTS,
            *wires.FAULTS,
        )
    }
)
