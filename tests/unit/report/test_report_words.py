import pytest
from report_samples import HARMLESS, HOSTILE

from provisioner.report import words


@pytest.mark.parametrize(
    ("raw", "harmless"),
    [
        ("plain text, even with [markup]", "plain text, even with [markup]"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hcleared", "cleared"),
        ("\x1b]0;window title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]unended swallows nothing", "unended swallows nothing"),
        ("\x9b2Jcleared", "cleared"),
        ("\x1bPdevice\x1b\\control", "control"),
        ("lone \x1b", "lone "),
        ("bell\x07back\x08carriage\rnull\x00", "bellbackcarriagenull"),
        ("abc\u202edcba", "abcdcba"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("half \ud83d of a pair", "half \ufffd of a pair"),
        ("two\r\nlines\tand a tab", "two\nlines\tand a tab"),
        ("größer ✓ 日本", "größer ✓ 日本"),
        (HOSTILE, HARMLESS),
    ],
)
def test_texts_are_made_harmless(raw, harmless):
    assert words.block(raw) == harmless


def test_a_line_is_one_line():
    assert words.line(" a\n b\tc \x1b[1m\n") == "a b c"


def test_many_escapes_take_no_time():
    assert words.block("\x1b]" * 200_000) == ""


def test_contents_of_files_show_their_control_characters():
    assert words.exact("a\r\x1b[2J\x7f\u202e\x9b") == "a^M^[[2J^?\\u202e\\u009b"


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0.00 s"), (0.416, "0.42 s"), (12.34, "12.3 s"), (60, "1 min 00 s"), (123.9, "2 min 03 s")]
)
def test_seconds(value, text):
    assert words.seconds(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.0421, "42 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s"), (1.23, "1.2 s")])
def test_moments(value, text):
    assert words.moment(value) == text


def test_hosts_are_named_shortly_but_never_wrongly():
    six = ["a", "b", "c", "d", "e", "f"]
    eight = [*six, "g", "h"]
    assert words.hosts(["a", "b"], ["a", "b"]) == "a, b"
    assert words.hosts(six, six) == "all 6 hosts"
    assert words.hosts(six, eight) == "6 hosts (all but g, h)"
    assert words.hosts(six, [*eight, "i", "j"]) == "a, b, c, d, e, f"
    assert words.hosts(six, ["a"]) == "a, b, c, d, e, f"


def test_the_first_line_of_an_error_leaves_the_host_out():
    assert words.first_line("node1: no space\n  tried: x", "node1") == "no space"
    assert words.first_line("", "node1") == ""
