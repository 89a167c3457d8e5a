#!/usr/bin/env bash
# One would guess: in a TreeEnsembleRegressor of ONNX (ai.onnx.ml 3) each node names its tree in nodes_treeids, so the order of the
# nodes does not matter as long as each tree's root comes before its other nodes: node by node, or level by level over all trees.
# What happens (onnxruntime 1.24.1 and 1.31.1): nodes of two trees that alternate load without a word and answer wrongly, 1.65
# instead of 0.35 for two stumps whose leaves hold 0.25 to 0.75 and 0.1 to 0.2. onnx's checker accepts the file, and its reference
# evaluator gives the right sums in both orders.
# Who meets it: exporters of forests that grow all trees together, level by level, as numpy and GPU code does. Write all nodes of
# a tree together, and compare the session with the forest.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat > probe.py <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}")
# tree, node, mode, feature, next node if feature <= 0, next node otherwise; a stump of each feature
STUMPS = [(tree, node, mode, tree, 1, 2) for tree in (0, 1) for node, mode in enumerate(["BRANCH_LEQ", "LEAF", "LEAF"])]
LEAVES = [(0, 1, 0.25), (0, 2, 0.75), (1, 1, 0.1), (1, 2, 0.2)]
PLACES = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], np.float32)
RIGHT = np.array([0.35, 0.45, 0.85, 0.95], np.float32)


def forest(order: list[int]) -> onnx.ModelProto:
    trees, numbers, modes, features, low, high = zip(*(STUMPS[number] for number in order))
    leaf_trees, leaf_numbers, weights = zip(*LEAVES)
    node = helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, nodes_treeids=trees,
        nodes_nodeids=numbers, nodes_modes=modes, nodes_featureids=features, nodes_values=[0.0] * len(order),
        nodes_truenodeids=low, nodes_falsenodeids=high, target_treeids=leaf_trees, target_nodeids=leaf_numbers,
        target_ids=[0] * len(LEAVES), target_weights=weights,
    )  # fmt: skip
    values = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, count])] for name, count in (("x", 2), ("y", 1))
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(helper.make_graph([node], "g", *values), opset_imports=opsets, ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


for order, of in (([0, 1, 2, 3, 4, 5], "tree by tree"), ([0, 3, 1, 4, 2, 5], "alternating")):
    model = forest(order)
    reference = ReferenceEvaluator(model).run(None, {"x": PLACES})[0].ravel()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    given = session.run(None, {"x": PLACES})[0].ravel()
    print(f"{of}: reference {reference.round(2)}, onnxruntime {given.round(2)}")
    assert np.allclose(reference, RIGHT)
    assert np.allclose(given, RIGHT) == (of == "tree by tree")
PY
for version in 1.24.1 1.31.1; do
  python3 -m venv "venv-$version"
  "venv-$version/bin/python" -m pip install --quiet --disable-pip-version-check "onnx==1.21.0" "onnxruntime==$version"
  "venv-$version/bin/python" probe.py
done
