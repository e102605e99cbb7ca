"""The same work done by the peers and by us, in one run: `python -m benchmarks TASK`."""

from ethical_compression.threads import wait_briefly

# Before torch starts its threads, here and, inherited, in every process that is measured.
wait_briefly()
