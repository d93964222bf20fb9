"""The Stillroom server."""

import os

# The server starts processes by fork and exec. gRPC's handlers of a fork are for those who never
# exec; between the two they crashed one child in ten. Read when gRPC is first used.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
