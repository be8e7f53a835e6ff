"""Run a command, and write the largest resident size of it and its children, in KiB, to a file.

usage: python -I -S peak.py FILE COMMAND...    -I -S keep this process small, because a child's peak includes its parent's size.
"""

import os
import resource
import sys

process = os.spawnvp(os.P_WAIT, sys.argv[2], sys.argv[2:])
with open(sys.argv[1], "w", encoding="ascii") as file:  # noqa: PTH123  pathlib would make this process larger
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(process)
