"""A graph that gives what no head can read: a typed error that names the head, and no answer."""

import asyncio

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from polyhead import Batcher, Engine, GraphError, InvalidText, load

MANY = "z " * 60


class Spoilt:
    """A back end that puts a value into the logits of texts with a token."""

    def __init__(self, backend, token, value, output):
        self._backend, self._token, self._value, self._output = backend, token, value, output
        self.inputs = backend.inputs

    def run(self, outputs, feeds):
        found = self._backend.run(outputs, feeds)
        rows = (feeds["input_ids"] == self._token).any(axis=1)
        for name, array in zip(outputs, found, strict=True):
            if name == self._output:
                array[rows, ..., -1] = self._value
        return found

    def info(self):
        return {}


@pytest.fixture
def spoilt(many_heads):
    """`spoilt(head, value)`: an engine whose head gives that value for texts with a "z"."""
    made = []

    def make(head, value, **settings):
        with load(many_heads) as good:
            (part,) = good._model.parts
            token = int(good.encode(["z"])[0].ids[1])
            backend = Spoilt(part.backend, token, value, good.heads[head].output)
            engine = Engine(backend, good.tokenizer, good.heads, max_tokens=24, **settings)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.close()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("text", ["z", MANY], ids=["one_window", "windows"])
def test_every_kind_of_head_refuses_what_is_no_number(spoilt, engine_of_many_heads, value, text):
    for head, spec in engine_of_many_heads.heads.items():
        engine = spoilt(head, value)
        texts = ["anna", text, "thanks"]
        if spec.input == "pair":
            texts = [("in", each) for each in texts]
        with pytest.raises(GraphError, match=rf"input 1: .*nan or infinite .*'{head}'"):
            engine.predict(texts)
        with pytest.raises(GraphError, match=rf"'{head}'"):
            engine(texts[1])


def test_the_others_of_a_list_are_answered(spoilt, engine_of_many_heads):
    engine = spoilt("topic", np.nan)
    found = engine.predict(["anna", "z", "\ud83d", MANY, "thanks"], errors="return")
    assert [type(each) for each in found[1:4]] == [GraphError, InvalidText, GraphError]
    for text, own in (("anna", found[0]), ("thanks", found[4])):
        assert own.to_dict() == engine_of_many_heads(text).to_dict()


def test_another_head_is_answered(spoilt):
    engine = spoilt("topic", np.nan)
    assert engine("z", heads=["urgency"])["urgency"].value
    assert np.isnan(engine.logits(["z"], heads=["topic"])["topic"][0]).any()  # as they are


def test_the_others_of_a_batch_are_answered(spoilt, engine_of_many_heads):
    async def serve():
        async with Batcher(spoilt("topic", np.nan)) as batcher:
            calls = [batcher.predict(text) for text in ("anna", "z", "thanks")]
            return await asyncio.gather(*calls, return_exceptions=True)

    first, bad, last = asyncio.run(serve())
    assert isinstance(bad, GraphError)
    assert first.to_dict() == engine_of_many_heads("anna").to_dict()
    assert last.to_dict() == engine_of_many_heads("thanks").to_dict()


def retyped(graph, name, kind, shape, *nodes):
    """The graph with nodes that make an output of that name, of another type or shape."""
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    for node in model.graph.node:
        for index, output in enumerate(node.output):
            if output == name:
                node.output[index] = "before"
        for index, source in enumerate(node.input):
            if source == name:
                node.input[index] = "before"
    model.graph.node.extend(nodes)
    for index, output in enumerate(model.graph.output):
        if output.name == name:
            model.graph.output[index].CopyFrom(helper.make_tensor_value_info(name, kind, shape))
    return model


@pytest.mark.parametrize(
    ("kind", "number"), [("STRING", 8), ("DOUBLE", 11), ("FLOAT16", 10), ("INT64", 7)]
)
def test_logits_of_another_type_are_refused_at_load(make_bundle, tmp_path, graph, kind, number):
    node = helper.make_node("Cast", ["before"], ["logits/topic"], to=number)
    model = retyped(graph, "logits/topic", getattr(TensorProto, kind), ["batch", 3], node)
    with pytest.raises(GraphError, match=r"head 'topic' has logits of the type .*tensor\(float\)"):
        load(make_bundle(tmp_path / "b", model=model))


@pytest.mark.parametrize(
    ("output", "shape", "node"),
    [
        ("logits/topic", [], {"op_type": "ReduceMax", "keepdims": 0}),
        ("logits/topic", ["batch", "n"], {"op_type": "Concat", "axis": 1}),
        ("logits/topic", ["n", 3], {"op_type": "Concat", "axis": 0}),
        ("logits/entities", ["batch", "n", 5], {"op_type": "Concat", "axis": 2}),
        ("logits/entities", ["batch", "n", 5], {"op_type": "Concat", "axis": 1}),
        ("logits/entities", ["n", "tokens", 5], {"op_type": "Concat", "axis": 0}),
        ("logits/entities", ["batch", "n"], {"op_type": "Flatten", "axis": 1}),
        ("logits/embedding", ["batch", "n", "m"], {"op_type": "Unsqueeze"}),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_logits_of_another_shape_give_no_answer(make_bundle, tmp_path, graph, output, shape, node):
    def answer(texts):
        with load(tmp_path / "b") as engine:
            return engine.predict(texts)

    doubled = ["before", "before"] if node["op_type"] == "Concat" else ["before"]
    if node["op_type"] == "Unsqueeze":
        doubled.append("one")
    model = retyped(
        graph,
        output,
        TensorProto.FLOAT,
        shape,
        helper.make_node(inputs=doubled, outputs=[output], **node),
    )
    model.graph.initializer.append(helper.make_tensor("one", TensorProto.INT64, [1], [1]))
    make_bundle(tmp_path / "b", model=model)
    for texts in (["anna"], ["anna", "the parcel was late"]):
        with pytest.raises(GraphError):  # some at load, some at the first text
            answer(texts)
