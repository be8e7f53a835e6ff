"""Templates are rendered strictly and deterministically, with one shell word for each value."""

from __future__ import annotations

import subprocess

import jinja2
import pytest

from provisioner import render

HOSTILE = ["$(id)", "`id`", "a'b", 'a"b', "a\nb", "-rf", "a b", "", "*", "\\", "!", "~", "é", "{{ 7 }}", "a;b", "$HOME"]


def shell(script):
    done = subprocess.run(
        ["sh", "-c", f"set -f; show() {{ printf '<%s>' \"$@\"; }}; {script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(render, "folder", lambda: tmp_path)
    render._environment.cache_clear()
    yield tmp_path
    render._environment.cache_clear()


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_is_one_word(folder, value):
    (folder / "a.sh").write_text("show {{ value }} {{ 'x' ~ value }} end")
    assert shell(render.script("a.sh", value=value)) == f"<{value}><x{value}><end>"


def test_several_values_are_several_words(folder):
    (folder / "a.sh").write_text("show {{ values | words }} end")
    assert shell(render.script("a.sh", values=HOSTILE)) == "".join(f"<{value}>" for value in [*HOSTILE, "end"])


@pytest.mark.parametrize("value", HOSTILE)
def test_contents_travel_as_base64(folder, value):
    (folder / "a.sh").write_text("printf %s {{ value | b64 }} | base64 -d")
    assert shell(render.script("a.sh", value=value)) == value


@pytest.mark.parametrize("make", [render.text, render.script])
@pytest.mark.parametrize(
    "template", ["{{ missing }}", "{{ missing | b64 }}", "{{ value.missing }}", "{{ missing | words }}"]
)
def test_a_missing_value_is_an_error(folder, make, template):
    (folder / "a").write_text(template)
    with pytest.raises((jinja2.UndefinedError, AttributeError, TypeError)):
        make("a", value="x")


def test_files_are_not_quoted(folder):
    (folder / "a").write_text("{{ value }}\n")
    assert render.text("a", value="a b'c") == "a b'c\n"


def test_json_is_deterministic_and_keeps_order_and_letters(folder):
    (folder / "a").write_text("{{ value | json(2) }}")
    assert render.text("a", value={"b": "é</", "a": [1, True, None]}) == (
        '{\n  "b": "é</",\n  "a": [\n    1,\n    true,\n    null\n  ]\n}'
    )


def test_the_library_is_sound():
    subprocess.run(["sh", "-n"], input=render.library(), text=True, check=True)
    assert render.library().endswith("}\n")


def test_a_program_is_filled_at_once_and_by_whole_words():
    assert render.filled("for p in WORDS; do SAYS_MORE $p; done; SAYS", {"WORDS": "SAYS 'b c'", "SAYS": "echo"}) == (
        "for p in SAYS 'b c'; do SAYS_MORE $p; done; echo"
    )


def test_the_comments_at_the_beginning_of_a_program_are_not_sent():
    assert (render.folder() / "read-system.sh").read_text().startswith("# Part of the program")
    assert render.program("read-system.sh").startswith("read -r v </proc/sys/kernel/hostname")
