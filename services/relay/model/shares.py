"""The share of one party in a bounded resource. This module is pure.

The rule is the dynamic threshold (A. K. Choudhury, E. L. Hahne: Dynamic Queue Length Thresholds for Shared-Memory
Packet Switches, 1998): nobody may hold more than a fixed multiple of what is free. One party alone gets most of the
resource. Each further party lowers the share of all, and a part is always left for a new party.
"""

from __future__ import annotations

# The multiple for memory and for slots: one destination alone may use two thirds of the memory, and one source alone
# four fifths of the slots.
OF_MEMORY = 2
OF_SLOTS = 4


def fair_share(limit: int, parties: int) -> int:
    """Returns the share that each of `parties` has when all use as much memory as the rule allows. It is at least 1."""
    return max(1, OF_MEMORY * limit // (1 + OF_MEMORY * parties))
