"""The strict parsers reject what Python's `json` and `int` accept."""

from __future__ import annotations

import pytest

from provisioner.errors import Malformed
from provisioner.stores import shapes
from provisioner.system import answers, strict, swarm
from provisioner.system.strict import inside, json_object, malformed, shown, understood


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("NaN", "not a JSON number"),
        ("[-Infinity]", "not a JSON number"),
        ("1e999", "too large"),
        ("1" * 100_000, "100000 digits"),
        ("[" * 100_000, "100 levels"),
        ("[" * 102 + "]" * 102, "100 levels"),
        ('{"a":' * 101 + "1" + "}" * 101, "100 levels"),
        ('"\\ud800"', "surrogate"),
        ('{"\\udfff": 1}', "surrogate"),
        ('{"a": 1, "b": 2, "a": 3}', "the key a appears twice"),
        ("{", "Expecting"),
        ("", "Expecting"),
    ],
)
def test_invalid_json(text, why):
    with pytest.raises(ValueError, match=why):
        strict.value(text)
    assert json_object(text) == {}


def test_valid_json():
    assert strict.value('{"a": [1, 18446744073709551615, -0.5, null, "\\u00e9\\ud83d\\ude00"]}') == {
        "a": [1, 2**64 - 1, -0.5, None, "\u00e9\U0001f600"]
    }
    assert strict.value("[" * 100 + "]" * 100)


@pytest.mark.parametrize("text", ["", "-1", "+1", " 1", "1 ", "1_0", "\u0661", "\u00b2", "1.0", "9" * 21, "0x1"])
def test_invalid_numbers(text):
    with pytest.raises(ValueError, match="is not a whole number"):
        strict.number(text)


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e5", "-1", "\u0661.0", "1_0.0", ".5", "9" * 5000])
def test_invalid_seconds(text):
    with pytest.raises(ValueError, match="is not a number of seconds"):
        strict.decimal(text)


def test_numbers():
    assert (strict.number("007"), strict.number("18446744073709551615")) == (7, 2**64 - 1)
    assert (strict.decimal("12"), strict.decimal("0.25"), strict.decimal("3.")) == (12.0, 0.25, 3.0)


def test_nested_objects():
    found = {"acl": {"tokens": {"agent": "x"}}, "list": [1]}
    assert inside(found, "acl", "tokens") == {"agent": "x"}
    assert inside(found, "list", "tokens") == inside(found, "acl", "none", "tokens") == inside(None) == {}


def test_what_is_shown_is_short_and_harmless():
    assert shown("\x1b]0;owned\x07a\x1b[2Jb\ud800") == "ab?"
    assert len(shown("x" * 10**6)) < 300


def test_the_error_names_what_was_read():
    with (
        pytest.raises(Malformed, match="its routes can't be understood: ") as caught,
        understood("its routes", "eth0 \x1b[31mred", "look"),
    ):
        strict.number("red")
    assert (caught.value.answer, caught.value.cure) == ("eth0 red", "look")
    assert malformed("x", "y").cure


@pytest.mark.parametrize(
    ("shape", "text", "where"),
    [
        (answers.Info, '{"ContainersRunning": true}', "ContainersRunning: "),
        (answers.Info, '{"Swarm": {"NodeID": "a"}}', "Swarm.LocalNodeState: "),
        (answers.ENGINE["networks"], '[{"Name": "a", "Id": "b", "Driver": 1}]', r"\[0\].Driver: "),
        (answers.ENGINE["nodes"], '[{"ID": "a", "Spec": {}}]', r"\[0\].Spec.Role: "),
        (shapes.EtcdKeys, '{"node": {"nodes": [{"nodes": [{"value": 1}]}]}}', r"node.nodes\[0\].nodes\[0\].value: "),
        (list[shapes.ConsulKey], '[{"Key": "a", "Value": "%"}]', r"\[0\].Value: "),
        (str, "1", "the whole: "),
    ],
)
def test_the_error_names_the_place_of_the_wrong_shape(shape, text, where):
    with pytest.raises(ValueError, match=f"^{where}"):
        answers.parsed(shape, text)


@pytest.mark.parametrize("body", ["\u0661", "!", "MB4XDTk5OTk5OTk5OTk5OVoXDTk5OTk5OTk5OTk5OVo="])
def test_a_certificate_without_a_valid_time(body):
    """The last one has month 99."""
    assert swarm.validity(f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----") is None
