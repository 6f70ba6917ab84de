"""The services of Posthouse, and what starts them."""

import os

# gRPC's older way to wait for sockets, in the thread that takes the events: half as many context switches a call as
# with the thread pool of its event engine (docs/decisions/grpc-polling.md). gRPC reads this when it is imported.
os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_client,-event_engine_listener")
