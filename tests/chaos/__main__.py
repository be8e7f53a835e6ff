"""Random crashes: commands are killed, run concurrently and lose hosts. Afterwards `up` must repair everything.

scripts/chaos consul 10 4711        play ten rounds, with the seeds 4711 to 4720
scripts/chaos consul 1 4713         repeat one of them
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from provisioner.lab import Lab
from tests.chaos.play import Player
from tests.chaos.scenario import HOSTS, KINDS, draw


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="scripts/chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("rounds", type=int, help="the number of rounds")
    parser.add_argument("seed", type=int, help="the seed of the first round; each further round uses the next seed")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line, for each round")
    parser.add_argument(
        "--logs",
        type=Path,
        metavar="DIR",
        help="the folder for logs of failed rounds (default: the folder for temporary files)",
    )
    parser.add_argument("--drawn", action="store_true", help="print the rounds without playing them")
    parser.add_argument("--stop", action="store_true", help="stop after the first failed round, and keep its lab")
    words = parser.parse_args()
    kind, seeds = KINDS[words.kind], range(words.seed, words.seed + words.rounds)
    if words.drawn:
        for seed in seeds:
            drawn = draw(kind, seed)
            print(
                f"{kind.name} {seed}: {drawn.start} hosts: {'; '.join(map(str, drawn.acts))} | then {', '.join(drawn.healing)}"
            )
        return 0
    if words.logs:
        words.logs.mkdir(parents=True, exist_ok=True)
    failed, lab = (
        0,
        Lab.up(
            f"chaos-{kind.name}-{os.getpid()}", len(HOSTS), kind.image, say=lambda text: print(text, file=sys.stderr)
        ),
    )
    try:
        player = Player(kind, lab, words.logs)
        for seed in seeds:
            result = player.play(seed)
            print(json.dumps(result.as_dict()) if words.json else result, flush=True)
            failed += bool(result.wrong)
            if failed and words.stop:
                print(
                    f"the lab is kept: provisioner lab ssh --name {lab.name} {HOSTS[0]}; to remove it: provisioner lab down --name {lab.name}",
                    file=sys.stderr,
                )
                return 1
    except KeyboardInterrupt:
        return 130
    finally:
        if not (failed and words.stop):
            lab.down()
    if not words.json:
        print(f"{words.rounds - failed} of {words.rounds} rounds settled")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
