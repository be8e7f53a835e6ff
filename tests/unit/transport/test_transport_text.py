import pytest

from provisioner.transport.text import clean, tail


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain\n\ttext", "plain\n\ttext"),
        ("žluť".encode(), "žluť"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07a\x1b]52;c;Zm9v\x1b\\b", "ab"),
        (b"\x1bPq#0\x1b\\a", "a"),
        (b"\x1b(Ba\x1b7b\x1bMc", "abc"),
        (b"a\rb\x08c\x00d\x7fe\x0b\x0cf", "abcdef"),
        ("a\u009b31mb\u202ec".encode(), "a31mbc"),
        (b"cut off \x1b[31", "cut off "),
        (b"cut off \x1b", "cut off "),
    ],
)
def test_control_sequences_for_terminals_are_removed(raw, text):
    assert clean(raw) == text


@pytest.mark.parametrize("piece", [b"\x1b]", b"\x1b[", b"\x1bP", b"\x1b[0", b"\x1b"])
@pytest.mark.timeout(20)
def test_hostile_output_takes_linear_time(piece):
    clean(piece * 500_000)


def test_the_tail_fits_a_page():
    assert tail("1\n2\n3\n\n", lines=2) == "2\n3"
    assert tail("x" * 500) == "x" * 200
    assert tail("") == ""
