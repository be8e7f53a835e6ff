"""The manual page and the release notes are current and well-formed."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from provisioner import manual

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "man/provisioner.1"
NOTES = ROOT / "scripts/release-notes"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == manual.page(), "run: python -m provisioner.manual >man/provisioner.1"


def test_every_command_has_its_options() -> None:
    text = PAGE.read_text()
    for words in ("provisioner up", "provisioner inventory import ansible", "provisioner lab break"):
        assert f".SS \\fB{words}\\fR" in text
    assert ".TP\n\\fB\\-\\-trust\\fR\n" in text


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
def test_groff_accepts_it() -> None:
    done = subprocess.run(["groff", "-man", "-ww", "-z", PAGE], check=True, capture_output=True, text=True)
    assert done.stderr == ""


def test_exit_codes_are_those_of_the_documents() -> None:
    documented = re.findall(r"(?m)^\| (\d+) \|", (ROOT / "docs/commands.md").read_text().split("## Exit codes")[1])
    assert re.findall(r"(?m)^\.TP\n\\fB(\d+)\\fR$", PAGE.read_text()) == documented


def notes(*words: str, script: Path = NOTES) -> subprocess.CompletedProcess[str]:
    return subprocess.run([script, *words], check=False, capture_output=True, text=True)


def test_release_notes(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    script = Path(shutil.copy(NOTES, tmp_path / "scripts"))
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## [Unreleased]\n\n- new\n\n## [1.10.0] - 2026-01-02\n\n### Added\n\n- a\n\n\n- b\n\n## [1.1.0]\n\n- c\n"
    )
    assert notes("1.10.0", script=script).stdout == "### Added\n\n- a\n\n\n- b\n"
    assert notes("v1.1.0", script=script).stdout == "- c\n"
    missing = notes("1.1", script=script)
    assert (missing.returncode, missing.stdout) == (1, "")
    assert missing.stderr.strip() == "CHANGELOG.md has no section [1.1]; it has: Unreleased 1.10.0 1.1.0"
    assert notes(script=script).returncode == 64
    assert notes("Unreleased").stdout
