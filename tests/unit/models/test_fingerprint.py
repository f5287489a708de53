import pytest

from polyhead_models import config


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"training": {"epochs": 3}}, id="epochs"),
        pytest.param({"training": {"seed": 2}}, id="seed"),
        pytest.param({"encoder": {"max_tokens": 47}}, id="max_tokens"),
        pytest.param({"heads": {"topic": {"dropout": 0.2}}}, id="dropout"),
        pytest.param({"heads": {"topic": {"hidden": [8]}}}, id="hidden"),
        pytest.param({"heads": {"embedding": None}}, id="one_head_less"),
        pytest.param({"data": {"messages": {"format": "jsonl"}}}, id="format"),
    ],
)
def test_the_fingerprint_changes_with_a_setting(write_config, tmp_path, changes):
    plain = config.load(write_config(tmp_path)).fingerprint
    assert config.load(write_config(tmp_path, **changes)).fingerprint != plain


def test_the_fingerprint_does_not_depend_on_the_place_of_the_data(write_config, tmp_path):
    found = {config.load(write_config(tmp_path / name)).fingerprint for name in ("one", "two")}
    assert len(found) == 1


def test_a_setting_that_is_written_out_equals_its_default(write_config, tmp_path):
    plain = config.load(write_config(tmp_path)).fingerprint
    written = write_config(tmp_path, heads={"topic": {"layers": "last", "loss_weight": 1}})
    assert config.load(written).fingerprint == plain
