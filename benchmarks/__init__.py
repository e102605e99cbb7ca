"""The same work done by the peers and by us, in one run: `python -m benchmarks TASK`."""

import os

# Before torch starts its threads, here and, inherited, in every process that is measured: on a
# machine that computes other things too, threads that spin while they wait cost both sides.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
