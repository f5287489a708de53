import numpy as np

from polyhead_export.passes.clean import clean

TEXT = """
untidy (float[16] x) => (float[16] y) {
    two = Constant<value = float[16] {2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2}>()
    same = Identity(x)
    doubled = Mul(same, two)
    unread = Exp(doubled)
    y = Add(doubled, weight)
}"""


def test_constants_identities_and_dead_nodes_go(parse, show):
    model = parse(TEXT, weight=np.ones(1, np.float32))
    assert show(model) == [
        "two = Constant<value=FLOAT[16]>()",
        "same = Identity(x)",
        "doubled = Mul(same, two)",
        "unread = Exp(doubled)",
        "y = Add(doubled, weight)",
    ]
    clean()(model)
    assert show(model) == [
        "doubled = Mul(x, two)",
        "y = Add(doubled, weight)",
    ]


def test_constants_become_weights_and_unread_weights_go(parse):
    model = parse(TEXT, weight=np.ones(1, np.float32), unread_weight=np.ones(9, np.float32))
    clean()(model)
    assert set(model.graph.initializers) == {"two", "weight"}


def test_operator_sets_that_nothing_uses_go(parse):
    model = parse(TEXT, weight=np.ones(1, np.float32))
    model.graph.opset_imports["com.microsoft"] = 1
    clean()(model)
    assert dict(model.graph.opset_imports) == {"": 23}


def test_the_numbers_stay(parse, run):
    model = parse(TEXT, weight=np.ones(1, np.float32))
    clean()(model)
    x = np.arange(16, dtype=np.float32)
    np.testing.assert_array_equal(run(model, x=x), 2 * x + 1)


def test_nodes_stand_in_the_order_of_use(parse, ops):
    model = parse(TEXT, weight=np.ones(1, np.float32))
    last = model.graph[-1]
    model.graph.remove(last)
    model.graph.insert_before(model.graph[0], last)
    clean()(model)
    assert ops(model) == "Mul Add"


def test_a_second_time_changes_nothing(parse):
    model = parse(TEXT, weight=np.ones(1, np.float32))
    assert clean()(model).modified
    assert not clean()(model).modified
