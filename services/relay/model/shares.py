"""What one of several parties may have of something bounded. Pure.

The rule is the dynamic threshold (A. K. Choudhury, E. L. Hahne: Dynamic Queue Length Thresholds for Shared-Memory
Packet Switches, 1998): nobody may hold more than a fixed multiple of what is free. One party alone gets most of the
whole; each further one lowers the threshold of all, and something is always left for a newcomer.
"""

from __future__ import annotations

# The multiple, of memory and of slots: one destination alone gets two thirds of the memory, one source alone four
# fifths of the slots.
OF_MEMORY = 2
OF_SLOTS = 4


def fair_share(limit: int, parties: int) -> int:
    """What each of so many parties has of the memory when all hold as much as the rule lets them; at least 1."""
    return max(1, OF_MEMORY * limit // (1 + OF_MEMORY * parties))
