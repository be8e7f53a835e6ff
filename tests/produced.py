"""Records which ids of the catalogue of causes the code produces in tests. After a complete run, none may be missing.

An id counts if the package's code creates a problem, an error or a failure with it. Those that a test creates do not count.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import provisioner
from provisioner import errors, model
from provisioner.causes import CAUSES, connections

if TYPE_CHECKING:
    from collections.abc import Collection

SOURCE = f"{Path(provisioner.__file__).parent}/"
UNIT, CONTRACT = "tests/unit", "tests/contract"

# These need real SSH servers, which only the contract tests have.
OF_CONTRACT = frozenset({*(cause.id for cause in connections.FAMILY.causes), "lock-lost"})

# Only scripts on hosts report these. The code takes their ids from the scripts' output, so any test could produce them.
OF_SCRIPTS = frozenset({
    "account-failed", "container-stays", "engine-failed", "file-failed", "founder-changed", "network-failed", "node-failed",
    "packages-failed", "packages-locked", "packages-needed", "packages-unknown", "path-unsafe", "rules-failed", "store-failed",
    "swarm-stays", "unit-failed",
})  # fmt: skip

produced: set[str] = set()


def _record(kind: type, name: str) -> None:
    made = kind.__init__

    def init(self: object, *args: object, **values: object) -> None:
        made(self, *args, **values)
        frame = sys._getframe(1)
        while frame.f_back and frame.f_code.co_name == "__init__":
            frame = frame.f_back
        if frame.f_code.co_filename.startswith(SOURCE):
            produced.add(getattr(self, name))

    kind.__init__ = init  # type: ignore[misc]


for _kind, _name in ((model.Problem, "id"), (errors.ProvisionerError, "cause"), (model.Failure, "check")):
    _record(_kind, _name)


def pytest_testnodedown(node: Any) -> None:
    """Add what a worker has produced when it ends."""
    produced.update(getattr(node, "workeroutput", {}).get("produced", ()))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    if hasattr(config, "workerinput"):
        config.workeroutput["produced"] = sorted(produced)
    elif session.exitstatus == pytest.ExitCode.OK and (lacking := missing(whole(config), produced)):
        print(f"\nfailed: no test had the code produce these ids of the catalogue of causes: {', '.join(lacking)}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def whole(config: pytest.Config) -> frozenset[str]:
    """Return the folders of which all tests without a lab ran."""
    option = config.option
    if option.keyword or option.markexpr not in {"", "not lab"} or option.deselect or getattr(option, "lf", False):
        return frozenset()
    without = {CONTRACT} if os.environ.get("PROVISIONER_NO_SSHD") else set()
    return frozenset(str(Path(arg)) for arg in config.args) - without


def missing(folders: Collection[str], found: Collection[str]) -> list[str]:
    """Return the ids that a run of these folders had to produce, but did not."""
    if UNIT not in folders:
        return []
    elsewhere = OF_SCRIPTS if CONTRACT in folders else OF_SCRIPTS | OF_CONTRACT
    return sorted(CAUSES.keys() - elsewhere - set(found))
