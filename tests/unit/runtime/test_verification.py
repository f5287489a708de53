import onnx
import pytest

from polyhead import DigestMismatch, ManifestError
from polyhead.verify import golden
from polyhead.verify.golden import verify

HEADS = ("topic", "entities", "embedding")


def shifted(values):
    return [shifted(v) for v in values] if isinstance(values, list) else values + 0.01


@pytest.fixture
def verify_after(bundle_copy, edit_json, reseal):
    """Verifies a bundle whose golden answers were changed and whose digests are right again."""

    def check(change):
        edit_json(bundle_copy / "golden.json", change)
        reseal(bundle_copy)
        return verify(bundle_copy)

    return check


def test_a_file_of_two_sub_models_is_counted_once(collection):
    found = verify(collection)
    assert found.passed
    pages = [
        file for name in ("manifest", "README", "quality") for file in collection.glob(f"{name}*")
    ]
    assert found.files == len({*collection.iterdir()} - {*pages})


def test_a_good_bundle_passes(bundle):
    found = verify(bundle)
    assert found.passed
    assert found.files == 3
    assert found.token_ids_equal
    assert [check.head for check in found.heads] == list(HEADS)
    for check in found.heads:
        assert check.passed
        assert check.reproduced
        assert check.max_error <= check.tolerance == 1e-4
        assert (check.same_decisions, check.texts) == (5, 5)


@pytest.mark.parametrize("head", HEADS)
def test_changed_logits_fail_that_head_only(verify_after, head):
    def change(golden):
        logits = golden["examples"][1]["logits"]
        logits[head] = shifted(logits[head])

    found = verify_after(change)
    assert not found.passed
    assert [check.head for check in found.heads if not check.passed] == [head]
    assert max(check.max_error for check in found.heads) == pytest.approx(0.01, abs=1e-4)


def test_a_larger_tolerance_lets_the_same_change_pass(verify_after):
    def change(golden):
        golden["tolerance"]["model.onnx"]["entities"] = 0.02
        logits = golden["examples"][1]["logits"]
        logits["entities"] = shifted(logits["entities"])

    found = verify_after(change)
    assert all(check.max_error <= check.tolerance for check in found.heads)


def test_another_decision_is_counted(verify_after):
    def change(golden):
        logits = golden["examples"][0]["logits"]["topic"]
        logits[logits.index(min(logits))] += 99

    found = verify_after(change)
    assert found.heads[0].same_decisions == 4
    assert not found.heads[0].passed


def test_logits_of_another_shape_fail(verify_after):
    found = verify_after(lambda golden: golden["examples"][0]["logits"]["topic"].append(0.0))
    assert found.heads[0].max_error == float("inf")
    assert not found.passed


def test_recorded_results_that_are_not_reproduced_fail(verify_after):
    def change(golden):
        golden["examples"][0]["results"]["topic"]["label"] = "other"

    found = verify_after(change)
    assert [check.reproduced for check in found.heads] == [False, True, True]
    assert not found.passed


def test_changed_token_ids_are_reported(verify_after):
    def change(golden):
        golden["examples"][2]["ids"].append(7)

    found = verify_after(change)
    assert not found.token_ids_equal
    assert all(check.passed for check in found.heads)
    assert not found.passed


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda golden: golden["tolerance"].clear(), id="no_graph"),
        pytest.param(lambda golden: golden["tolerance"]["model.onnx"].pop("topic"), id="no_head"),
        pytest.param(lambda golden: golden["tolerance"]["model.onnx"].update(x=1.0), id="foreign"),
    ],
)
def test_tolerances_must_be_for_the_heads_of_the_graph(verify_after, change):
    with pytest.raises(ManifestError, match=r"golden\.json: its tolerances are for"):
        verify_after(change)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda example: example["logits"].pop("topic"), id="no_logits"),
        pytest.param(lambda example: example["results"].pop("topic"), id="no_results"),
        pytest.param(lambda example: example["logits"].update(topic=["a"]), id="text_for_logits"),
        pytest.param(lambda example: example["logits"].update(topic=[[1], 2]), id="ragged"),
    ],
)
def test_golden_answers_that_no_graph_could_give_are_refused(verify_after, change):
    with pytest.raises(ManifestError, match=r"golden\.json: .*topic"):
        verify_after(lambda golden: change(golden["examples"][0]))


def test_digests_are_checked_first(bundle_copy, edit_json):
    edit_json(bundle_copy / "golden.json", lambda golden: golden["examples"].pop())
    with pytest.raises(DigestMismatch, match=r"golden\.json"):
        verify(bundle_copy)


def test_a_bundle_that_a_deploy_replaces_meanwhile_is_read_again(
    bundle_copy, make_bundle, graph, tmp_path, monkeypatch
):
    model = onnx.ModelProto()
    model.CopyFrom(graph)
    model.producer_name = "another exporter"
    other = make_bundle(tmp_path / "other", model=model, answers_of=model)
    real, reads = golden.read_parts, []

    def read(path):
        reads.append(real(path))
        if len(reads) == 1:
            bundle_copy.rename(tmp_path / "old")
            other.rename(bundle_copy)
        return reads[-1]

    monkeypatch.setattr(golden, "read_parts", read)
    assert verify(bundle_copy).passed
    assert len(reads) == 2
