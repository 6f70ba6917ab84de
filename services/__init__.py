"""The services of Posthouse, and the programs that start them."""

import gc
import os

# This selects gRPC's older way to wait for sockets, in the thread that handles the events. It needs half as many
# context switches for a call as the thread pool of gRPC's event engine (docs/decisions/grpc-polling.md). gRPC reads
# this when it is imported.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")

# The start of a service makes some 100,000 objects, nearly all of which stay. Python's own thresholds would let the
# garbage collector look at them several times, which costs a seventh of the CPU time of a start.
gc.set_threshold(20_000, 20, 50)
