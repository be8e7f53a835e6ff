"""The catalogue describes every problem that the code can create, and no other."""

import ast
import re
import string
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

import provisioner
from provisioner import causes, errors
from provisioner.causes import CAUSES, FAMILIES, Kind
from provisioner.inventory.store_models import Store
from provisioner.model import Problem, Severity
from provisioner.transport import network

SOURCE = Path(provisioner.__file__).parent
EXPLAIN = SOURCE / "explain"
TEMPLATES = SOURCE.parent / "templates"
KINDS = {
    name: kind
    for name, kind in {**vars(errors), **vars(network)}.items()
    if isinstance(kind, type) and issubclass(kind, errors.ProvisionerError)
}
FIELDS = ("id", "host", "evidence", "values", "variant", "warns")


# External.findings sets `warns` for these if a host can use another endpoint of the store.
OF_AN_ENDPOINT = {"store-unreachable", "store-forbidden", "store-no-leader", "store-without-v2"}


class Made:
    """One place in the code that creates a problem, with the possible values of its arguments according to the source."""

    def __init__(self, path, call, function):
        self.where = f"{path.relative_to(SOURCE)}:{call.lineno}"
        self.arguments = dict(zip(FIELDS, call.args, strict=False)) | {word.arg: word.value for word in call.keywords}
        self.function = function

    def nodes(self, field):
        """Return the argument or, if it is a variable, everything that the function assigns to it."""
        node = self.arguments.get(field)
        if not isinstance(node, ast.Name):
            return [node] if node else []
        found = []
        for assign in ast.walk(self.function):
            if isinstance(assign, ast.Assign):
                for target in assign.targets:
                    if isinstance(target, ast.Name) and target.id == node.id:
                        found.append(assign.value)
                    if isinstance(target, ast.Tuple) and isinstance(assign.value, ast.Tuple):
                        pairs = zip(target.elts, assign.value.elts, strict=True)
                        found += [value for name, value in pairs if isinstance(name, ast.Name) and name.id == node.id]
        return found

    @property
    def ids(self):
        node = self.arguments["id"]
        if isinstance(node, ast.Constant):
            return {node.value}
        assert isinstance(node, ast.JoinedStr), f"{self.where}: the id must be written out where the problem is made"
        parts = [re.escape(part.value) if isinstance(part, ast.Constant) else "[a-z]+" for part in node.values]
        return {found for found in CAUSES if re.fullmatch("".join(parts), found)}

    @property
    def variants(self):
        if "variant" not in self.arguments:
            return {""}
        return {text for node in self.nodes("variant") for text in _texts(node)}

    @property
    def values(self):
        dicts = [each for node in self.nodes("values") for each in ast.walk(node) if isinstance(each, ast.Dict)]
        return {key.value for each in dicts for key in each.keys}


def _texts(node):
    if isinstance(node, ast.IfExp):
        return _texts(node.body) | _texts(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) else set()


@cache
def made():
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        if path.is_relative_to(EXPLAIN):
            continue  # a function there creates several problems; tests/unit/explain checks these
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if not any(isinstance(node, ast.ImportFrom) and _has_problem(node) for node in ast.walk(tree)):
            continue  # inventory/ has another class of this name
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Problem":
                around = [f for f in functions if f.lineno <= call.lineno <= f.end_lineno]
                found.append(Made(path, call, max(around, key=lambda f: f.lineno)))
    return found


@cache
def observed():
    """Return the ids that the detectors of `explain` have as literals."""
    nodes = (node for path in EXPLAIN.glob("*.py") for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and node.value in CAUSES}


def _has_problem(node):
    return node.module == "provisioner.model" and "Problem" in {alias.name for alias in node.names}


def templates(cause):
    return {"": cause.cure, **cause.variants}


def named(template):
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def of_problems():
    return set().union(*(one.ids for one in made()))


@cache
def of_errors():
    """Return each place that creates an error: where, its class ("" for a helper), and the expression of its id ("" if none)."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            kind = getattr(call.func, "id", "") if isinstance(call, ast.Call) else ""
            given = [word.value for word in getattr(call, "keywords", ()) if word.arg == "cause"]
            given += call.args[1:2] if kind == "Failure" else []
            if given or kind in KINDS:
                where = f"{path.relative_to(SOURCE)}:{call.lineno}"
                found.append((where, kind if kind in KINDS else "", ast.unparse(given[0]) if given else ""))
    return found


def literals():
    return {ast.literal_eval(name) for _, _, name in of_errors() if name.startswith("'")}


def of_scripts():
    """Return the ids that scripts on hosts report, see templates/lib.sh."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in TEMPLATES.iterdir() if path.is_file())
    shell = re.findall(r"^[^#]*?\bfail(?:_all)? (\S+)", text, re.MULTILINE)
    perl = re.findall(
        r'(?:print STDERR "provisioner: |// "|, ")([a-z]+-[a-z-]+)(?:\\t|"\) \.|"\);$)', text, re.MULTILINE
    )
    return {*shell, *perl}


def test_every_id_that_the_code_uses_is_in_the_catalogue():
    for one in made():
        assert one.ids, one.where
        assert one.ids <= CAUSES.keys(), one.where
    assert literals() <= CAUSES.keys()
    assert of_scripts() <= CAUSES.keys()


def test_every_id_in_the_catalogue_is_used():
    of_classes = {kind.cause for kind in KINDS.values() if hasattr(kind, "cause")}
    assert observed() | of_problems() | literals() | of_classes | of_scripts() == set(CAUSES)


def test_every_error_has_an_id():
    """The id is the default of its class, a literal, or the id of the error or problem that it passes on."""
    for where, kind, name in of_errors():
        if not name:
            assert hasattr(KINDS[kind], "cause"), where
        elif not name.startswith("'"):
            assert name.rpartition(".")[2] in {"cause", "id", "check"}, where


@pytest.mark.parametrize("kind", [errors.ProvisionerError, errors.StepFailed, errors.StoreError])
def test_an_error_whose_class_says_nothing_must_have_one(kind):
    with pytest.raises(AttributeError):
        kind("it broke")
    assert kind("it broke", cause="not-converged").cause == "not-converged"


def test_each_kind_of_store_has_the_causes_that_are_named_after_it():
    for kind in Store.model_json_schema()["properties"]["kind"]["enum"]:
        assert {f"foreign-{kind}", f"foreign-{kind}-data"} <= CAUSES.keys()


def test_ids_are_unique_and_spelled_alike():
    ids = [cause.id for family in FAMILIES for cause in family.causes]
    assert len(ids) == len(set(ids)) == len(CAUSES)
    assert all(re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", one) for one in ids)
    names = [family.name for family in FAMILIES]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES)
def test_an_entry_is_whole(cause):
    """Code uses each of its cures and sets exactly the values in the cure. Only causes that may warn do."""
    of = [one for one in made() if cause.id in one.ids]
    if not of and cause.id in observed():
        return  # test_explain.py checks it
    if not of:  # only errors use it, and an error has its own cure
        assert (cause.variants, named(cause.cure), cause.warns) == ({}, set(), "")
        return
    used = set().union(*(one.variants for one in of))
    there = {name for name in templates(cause) if name or "" in used}
    assert used == there or (cause.id in observed() and used < there)  # test_explain.py checks the other cures
    for one in of:
        wanted = set().union(*(named(templates(cause)[variant]) for variant in one.variants))
        assert one.values == wanted, one.where
    assert (any("warns" in one.arguments for one in of) or cause.id in OF_AN_ENDPOINT) == bool(cause.warns)
    assert not (cause.warns and cause.severity is Severity.WARNING)


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES)
def test_an_entry_is_told_in_sentences(cause):
    assert cause.title
    assert cause.title[-1] != "."
    sentences = re.findall(r"[^.]+(?:\.(?=\S)[^.]*)*\.(?=\s|$)", cause.why)
    assert 1 <= len(sentences) <= 4
    assert cause.why.endswith(".")
    assert all(len(sentence.split()) < 30 for sentence in sentences), sentences
    assert all(cure and cure[-1] != "." for cure in templates(cause).values())


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES)
def test_its_commands_are_whole_and_those_that_run_are_known(cause):
    """No comments: if a value in a comment had several lines, the shell would run them."""
    assert not [command for found in cause.commands.values() for command in found if "#" in command or "\n" in command]
    assert cause.commands.keys() <= templates(cause).keys()
    assert cause.fixes <= cause.commands.keys()


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES)
def test_it_says_what_its_commands_change(cause):
    """By it, cures that contradict each other are found. It uses no other values than the cure."""
    assert cause.touches.keys() <= templates(cause).keys()
    for variant, text in cause.touches.items():
        used = named(templates(cause)[variant]).union(*map(named, cause.commands.get(variant, ())))
        assert text
        assert named(text) <= used


def test_what_a_cause_explains_is_known_and_leads_nowhere_back():
    def follow(name, seen):
        assert name in CAUSES
        assert name not in seen, [*seen, name]
        for consequence in CAUSES[name].explains:
            follow(consequence, (*seen, name))

    for name in CAUSES:
        follow(name, ())


def test_refusals_of_commands_are_told_apart():
    refusals = {name for name, cause in CAUSES.items() if cause.kind is Kind.REFUSAL}
    assert {
        "host-lives",
        "containers-attached",
        "last-server",
        "unknown-host",
        "even-servers",
        "still-named",
    } <= refusals
    assert {cause.id for family in FAMILIES if family.name == "commands" for cause in family.causes} == refusals


def test_a_cure_names_the_values_of_its_problem():
    problem = Problem("disk-full", "node1", "/var is full", {"mount": "/var"})
    assert causes.cure(problem) == "free space on /var; its largest folders: du -xh /var | sort -h | tail"
    assert causes.severity(problem) is Severity.STOP


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES)
def test_commands_of_provisioner_in_a_cure_are_whole(cause):
    for cure in templates(cause).values():
        for command in re.findall(r"provisioner (?:up|plan|verify|doctor|remove|down|rotate)[^`),:.]*", cure):
            assert "INVENTORY" in command


def test_a_cure_names_the_inventory_that_its_problem_has():
    problem = Problem("store-down", "node1", "Consul does not run")
    assert causes.cure(problem) == "bring the store back first: provisioner up INVENTORY"
    known = replace(problem, values={"inventory": "my cluster.yml"})
    assert causes.cure(known) == "bring the store back first: provisioner up 'my cluster.yml'"


@pytest.mark.parametrize(
    "text",
    [
        "`PROVISIONER_INVENTORY` names it",
        "INVENTORY",
        "provisioner up cluster.yml\n| INVENTORY",
        "`provisioner up` INVENTORY",
    ],
)
def test_only_a_command_of_provisioner_gets_the_inventory(text):
    assert errors.with_inventory(text, "a.yml") == text


def test_braces_in_a_value_mean_nothing():
    for value in ("{0}", "{mount.__class__}", "{", "}}{{"):
        assert value in causes.cure(Problem("disk-full", "node1", "full", {"mount": value}))


def test_what_only_warns_at_this_place_is_a_warning():
    stop = Problem("server-left-out", "", "one is left out", variant="removable")
    assert causes.severity(stop) is Severity.STOP
    assert (
        causes.severity(Problem("server-left-out", "", "one is left out", variant="removable", warns=True))
        is Severity.WARNING
    )
