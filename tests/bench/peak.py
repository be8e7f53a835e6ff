"""Runs a command and writes the largest resident size that it or a child of it had, in KiB, to a file.

usage: python -I -S peak.py FILE COMMAND...    Started with -I -S because a child's peak begins with that of its parent.
"""

import os
import resource
import sys

process = os.spawnvp(os.P_WAIT, sys.argv[2], sys.argv[2:])
with open(sys.argv[1], "w", encoding="ascii") as file:  # noqa: PTH123  pathlib would make this process larger
    file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(process)
