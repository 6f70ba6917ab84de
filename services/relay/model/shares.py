"""The share of one party in a bounded resource. Pure.

The rule is the dynamic threshold (A. K. Choudhury, E. L. Hahne: Dynamic Queue Length Thresholds for Shared-Memory
Packet Switches, 1998): nobody may hold more than a fixed multiple of what is free. One party alone gets most of the
resource. Each further party lowers the share of all, and a part is always left for a new one.
"""

from __future__ import annotations

# The multiple, of memory and of slots: one destination alone gets two thirds of the memory, one source alone four
# fifths of the slots.
OF_MEMORY = 2
OF_SLOTS = 4


def fair_share(limit: int, parties: int) -> int:
    """What each of so many parties has of the memory when all hold as much as the rule lets them; at least 1."""
    return max(1, OF_MEMORY * limit // (1 + OF_MEMORY * parties))
