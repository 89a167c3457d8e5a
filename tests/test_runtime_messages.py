"""What the runtime tells users: one sentence per kind, its facts always given, no flag in any."""

import ast
import pickle
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from export.runtime.errors import InputFault, ModelFault, RuntimeFault
from export.runtime.messages import MESSAGES, Message
from export.wording import REMEDIES, words

ROOT = Path(__file__).parents[1]
# where the kind is an argument of a function
PASSED_ON = ("export/runtime/errors.py", "qgis_plugin/gdal_io/calls.py")
MAKERS = {"RuntimeFault", "ModelFault", "InputFault", "Cancelled", "Message"}


def facts_of(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


def constants(node: ast.expr) -> list[str]:
    """Texts that an argument can be: itself, or either side of a choice."""
    if isinstance(node, ast.IfExp):
        return constants(node.body) + constants(node.orelse)
    return [node.value] if isinstance(node, ast.Constant) else []


def made() -> Iterator[tuple[str, list[str], set[str] | None]]:
    """Of each message that our code makes: where, the kinds it can be of, its facts (None where they are a variable)."""
    for path in [*(ROOT / "export").rglob("*.py"), *(ROOT / "qgis_plugin").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS):
                continue
            kinds = constants(node.args[0]) if node.args else ["cancelled"]
            given = node.args[1] if len(node.args) > 1 else None
            facts: set[str] | None = {word.arg for word in node.keywords if word.arg}
            if isinstance(given, ast.Dict):
                facts = {key.value for key in given.keys if isinstance(key, ast.Constant)}
            elif given is not None:
                facts = None
            yield f"{path.relative_to(ROOT)}:{node.lineno}", kinds, facts


def test_every_message_has_a_sentence_and_its_facts():
    seen = 0
    for where, kinds, facts in made():
        assert kinds or where.startswith(PASSED_ON), f"{where}: no kind"
        for kind in kinds:
            assert kind in MESSAGES, where
            assert facts is None or facts_of(MESSAGES[kind]) <= facts, where
            seen += 1
    assert seen > 80


def test_every_kind_is_used():
    used = {kind for _, kinds, _ in made() for kind in kinds} | {"worded"}
    assert set(MESSAGES) - used == set()


def test_no_sentence_names_a_flag():
    assert [sentence for sentence in MESSAGES.values() if "--" in sentence] == []


def test_remedies_belong_to_kinds_and_use_their_facts():
    assert set(REMEDIES) <= set(MESSAGES)
    facts = {kind: facts for _, kinds, facts in made() for kind in kinds if facts is not None}
    for kind, remedy in REMEDIES.items():
        assert facts_of(remedy) <= facts.get(kind, set()) | facts_of(MESSAGES[kind]), kind


def test_the_shell_appends_the_flag_that_helps():
    note = Message("no_nodata", {"share": 0.31, "value": 0.0}).about("a.tif")
    assert str(note) == "a.tif: 31% of it is 0 in every band and no nodata value is declared"
    assert words(note) == f"{note}; if that is empty, give --nodata 0"
    assert words(InputFault("no_such_file", where="a.tif")) == "a.tif: no such file"
    assert words(InputFault.worded("{as it is}")) == "{as it is}"


def test_a_message_can_be_a_fact_of_another_and_sizes_are_for_people():
    reason = ModelFault("card_color", color="RED").message
    fault = ModelFault("bad_card", where="m.onnx", reason=reason)
    assert str(fault) == "m.onnx: the model card is not valid ('RED' is not a colour like 1C6330)"
    assert str(ModelFault("model_memory", where="m.onnx", free=2.5e9)).endswith("(2.5 GB)")


@pytest.mark.parametrize("kind", [RuntimeFault, ModelFault, InputFault])
def test_faults_cross_processes_with_their_facts(kind):
    again = pickle.loads(pickle.dumps(kind("no_such_band", where="a.tif", band="9", bands="1, 2")))
    assert type(again) is kind
    assert str(again) == "a.tif: has no band '9'; it has 1, 2"
