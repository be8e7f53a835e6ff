"""The entry point of the command and of `python -m provisioner`."""

import gc

gc.set_threshold(200_000)  # a run is short, so garbage collection among the imports costs more than it frees

from provisioner.cli import main  # noqa: E402 - after the line above

if __name__ == "__main__":
    main()
