"""Runs `ansible-inventory --list` for many sources: the imports take most of its time, so they are done once.

Runs in the environment of ansible-core, not in that of the tests. Arguments: folders, each with a file `source` that names the
source. Writes the answer and the messages to the files `listed` and `said` there.
"""

import os
import sys

from ansible.cli.inventory import main  # type: ignore[import-not-found]

for folder in sys.argv[1:]:
    if (child := os.fork()) == 0:
        os.chdir(folder)
        with open("source") as file, open("listed", "w") as listed, open("said", "w") as said:  # noqa: PTH123
            os.dup2(listed.fileno(), 1)
            os.dup2(said.fileno(), 2)
            main(["ansible-inventory", "-i", file.read(), "--list"])
    else:
        os.waitpid(child, 0)
