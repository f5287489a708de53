"""One setting from the configuration to the engine: training, evaluation, export, serving."""

import json
import shutil
from dataclasses import replace

import pytest
import tokenizers
import transformers

from polyhead import load
from polyhead.bundle import read, read_parts, writer
from polyhead.cli.main import main
from polyhead.verify.golden import verify
from polyhead_export import optimum_folder
from polyhead_export.combining import combine
from polyhead_export.errors import DeployedError
from polyhead_export.importing import import_folder
from polyhead_export.pipeline import export
from polyhead_export.settings import ExportSettings
from polyhead_models import checkpoint as checkpoints
from polyhead_models import combining
from polyhead_models.config import HeadConfig, TeacherConfig
from polyhead_models.data import examples, statistics
from polyhead_models.errors import CombineError
from polyhead_models.evaluation import evaluate
from polyhead_models.importing import ImportOptions, import_model
from polyhead_models.training import train
from polyhead_models.training.rows import training_rows

TEXT = "Why [SEP] was I billed 3 times in Oslo? [CLS]"


@pytest.fixture(scope="module")
def expected(wordpiece_json):
    """Token ids of TEXT by setting."""
    found = {}
    for how in ("parse", "text"):
        raw = tokenizers.Tokenizer.from_str(wordpiece_json)
        raw.encode_special_tokens = how == "text"
        found[how] = raw.encode(TEXT).ids
    assert found["text"] != found["parse"]
    return found


@pytest.fixture(scope="module")
def made(make_config, any_loss, tmp_path_factory):
    """`made[how]`: configuration, checkpoint and bundle over data with special tokens in it."""
    found = {}
    for how in ("text", "parse"):
        folder = tmp_path_factory.mktemp(how)
        config = make_config(folder)
        config = replace(config, encoder=replace(config.encoder, special_tokens=how))
        for split in ("train", "validation", "test"):
            file = folder / f"{split}.jsonl"
            row = {"text": TEXT, "topic": "billing", "entities": []}
            file.write_text(file.read_text(encoding="utf-8") + json.dumps(row) + "\n", "utf-8")
        checkpoint = train(config, folder / "checkpoint").path
        settings = ExportSettings(precision="fp32", limits=any_loss)
        export(checkpoint, folder / "bundle", settings)
        found[how] = config, checkpoint, folder / "bundle"
    return found


def test_newly_trained_models_read_them_as_text(checkpoint, exported):
    assert checkpoints.load(checkpoint).tokenizer.special_tokens == "text"
    assert read(exported("fp32")).manifest.special_tokens == "text"


@pytest.mark.parametrize("how", ["text", "parse"])
def test_all_that_read_a_text_read_the_same_tokens(made, expected, how):
    config, folder, bundle = made[how]
    loaded = checkpoints.load(folder)
    rows = training_rows(loaded, examples.load(config, "train"))
    assert rows[-1].ids.tolist() == expected[how]
    assert loaded.engine().encode([TEXT])[0].ids.tolist() == expected[how]
    golden = [e for e in read(bundle).golden().examples if e.text == TEXT]
    with load(bundle, verify="golden") as engine:
        assert engine.encode([TEXT])[0].ids.tolist() == expected[how]
        assert engine.info()["special_tokens"] == how
        trained, found = loaded.engine().logits([TEXT])["topic"], engine.logits([TEXT])["topic"]
        assert found[0] == pytest.approx(trained[0], abs=1e-4)
    for example in golden:
        assert list(example.ids) == expected[how]
    assert verify(bundle).passed


@pytest.mark.parametrize("how", ["text", "parse"])
def test_lengths_of_the_data_are_those_of_the_encoder(made, expected, how):
    config = replace(made[how][0], heads={"topic": made[how][0].heads["topic"]})
    tokens = [len(checkpoints.load(made[how][1]).tokenizer.encode([TEXT])[0])]
    assert tokens == [len(expected[how])]
    longest = statistics.report(config).heads["topic"].splits["train"].tokens
    assert longest.max >= len(expected[how])


@pytest.mark.parametrize("how", ["text", "parse"])
def test_checkpoint_and_bundle_are_evaluated_alike(made, how):
    config, checkpoint, bundle = made[how]
    one, other = (
        evaluate(engine, examples.load(config, "test")) for engine in _engines(checkpoint, bundle)
    )
    assert set(one) == set(other)
    for name, figures in one.items():
        assert figures.figures == pytest.approx(other[name].figures, rel=1e-4)
        assert replace(figures, figures={}, value=0) == replace(other[name], figures={}, value=0)


def _engines(checkpoint, bundle):
    return checkpoints.load(checkpoint).engine(), load(bundle)


@pytest.mark.parametrize("how", ["text", "parse"])
def test_card_and_inspect_say_it(made, how, capsys):
    said = {"text": "plain text", "parse": "the tokens themselves"}[how]
    card = (made[how][2] / "README.md").read_text(encoding="utf-8")
    assert f"Special tokens in texts are read as {said}." in card
    assert main(["inspect", str(made[how][2])]) == 0
    assert f"special tokens in texts are read as {said}" in capsys.readouterr().out


def test_a_checkpoint_without_the_setting_is_parsed_as_it_was(made, tmp_path, expected):
    old = shutil.copytree(made["text"][1], tmp_path / "old")
    file = old / checkpoints.DESCRIPTION
    data = json.loads(file.read_text(encoding="utf-8"))
    del data["config"]["encoder"]["special_tokens"]
    file.write_text(json.dumps(data), encoding="utf-8")
    loaded = checkpoints.load(old)
    assert loaded.description.config.encoder.special_tokens == "parse"
    assert loaded.engine().encode([TEXT])[0].ids.tolist() == expected["parse"]


def test_heads_that_read_in_different_ways_are_not_put_over_one_encoder(made, tmp_path):
    other = _saved(made["text"][1], tmp_path / "other", "parse")
    with pytest.raises(CombineError, match=r"special tokens in texts as 'text'.*as 'parse'"):
        combining.combine(
            [combining.Part(made["text"][1]), combining.Part(other, "b-")], tmp_path / "both"
        )


def _saved(source, target, how):
    """A copy of a checkpoint with another setting."""
    shutil.copytree(source, target)
    file = target / checkpoints.DESCRIPTION
    data = json.loads(file.read_text(encoding="utf-8"))
    data["config"]["encoder"]["special_tokens"] = how
    file.write_text(json.dumps(data), encoding="utf-8")
    return target


def test_new_heads_over_a_checkpoint_that_reads_otherwise_are_told(made, tmp_path, caplog):
    config, checkpoint, _ = made["parse"]
    over = replace(config.encoder, name=str(checkpoint), special_tokens="text")
    heads = {"topic": config.heads["topic"]}
    train(replace(config, encoder=over, heads=heads), tmp_path / "new")
    assert "as 'parse', and the new heads as 'text'" in caplog.text
    assert 'set special_tokens = "parse" under [encoder]' in caplog.text


def test_combined_bundles_each_read_in_their_own_way(made, tmp_path, caplog, expected):
    caplog.set_level("INFO", "polyhead_export")
    combine([(made["text"][2], "t-"), (made["parse"][2], "p-")], tmp_path / "both")
    parts = [part.manifest for part in read_parts(tmp_path / "both")]
    assert [part.special_tokens for part in parts] == ["text", "parse"]
    assert len({part.tokenizer.file for part in parts}) == 1
    with load(tmp_path / "both", verify="golden") as both:
        found = both.logits([TEXT])
        for how in ("text", "parse"):
            with load(made[how][2]) as alone:
                assert (found[f"{how[0]}-topic"][0] == alone.logits([TEXT])["topic"][0]).all()


def test_one_graph_is_not_made_of_two_that_read_in_different_ways(exported, tmp_path, caplog):
    caplog.set_level("INFO", "polyhead_export")
    other = shutil.copytree(exported("fp32"), tmp_path / "other")
    writer.write_manifest(other, replace(read(other).manifest, special_tokens="parse"))
    combine([(exported("fp32"), ""), (other, "p-")], tmp_path / "both")
    assert "they read special tokens in texts in different ways" in caplog.text


def test_a_deployed_bundle_keeps_its_way(checkpoint, exported, any_loss, tmp_path):
    other = _saved(checkpoint, tmp_path / "other", "parse")
    settings = ExportSettings(limits=any_loss, calibrated_as=exported("int8"))
    with pytest.raises(DeployedError, match='special_tokens = "text"'):
        export(other, tmp_path / "bundle", settings)


@pytest.fixture(scope="module")
def optimum(made, tmp_path_factory):
    """`optimum[how]`: one head in Optimum's format; nobody writes to it."""
    folder = tmp_path_factory.mktemp("optimum")
    for how, (_, checkpoint, _) in made.items():
        optimum_folder.write(checkpoint, folder / how, ["topic"])
    return {how: folder / how for how in made}


@pytest.mark.parametrize("how", ["text", "parse"])
def test_transformers_reads_the_optimum_folder_alike(optimum, how, expected):
    tokenizer = transformers.AutoTokenizer.from_pretrained(optimum[how])
    assert tokenizer(TEXT)["input_ids"] == expected[how]


@pytest.mark.parametrize("how", ["text", "parse"])
def test_an_import_obeys_the_folder(optimum, tmp_path, how, expected):
    """Both ways in: the graph with its folder, and weights of the transformers library."""
    folder = optimum[how]
    import_folder(folder, tmp_path / "bundle", ImportOptions())
    assert read(tmp_path / "bundle").manifest.special_tokens == how
    with load(tmp_path / "bundle", verify="golden") as engine:
        assert engine.encode([TEXT])[0].ids.tolist() == expected[how]
    with_weights = tmp_path / "model"
    config = transformers.BertConfig.from_pretrained(folder)
    transformers.BertForSequenceClassification(config).save_pretrained(with_weights)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / file, with_weights)
    import_model(str(with_weights), tmp_path / "imported", ImportOptions())
    loaded = checkpoints.load(tmp_path / "imported")
    assert loaded.engine().encode([TEXT])[0].ids.tolist() == expected[how]


def test_an_import_without_a_word_of_it_is_parsed(optimum, tmp_path, expected):
    folder = shutil.copytree(optimum["text"], tmp_path / "topic")
    (folder / "tokenizer_config.json").unlink()
    import_folder(folder, tmp_path / "bundle", ImportOptions())
    with load(tmp_path / "bundle") as engine:
        assert engine.encode([TEXT])[0].ids.tolist() == expected["parse"]


def test_a_pupil_of_a_teacher_that_reads_otherwise_learns_per_text(made, tmp_path):
    config, _, _ = made["text"]
    teacher = TeacherConfig(checkpoint=str(made["parse"][1]))
    head = HeadConfig(kind="classification", data="mail", target="topic", teacher=teacher)
    found = train(replace(config, heads={"topic": head}), tmp_path / "pupil")
    assert checkpoints.load(found.path).tokenizer.special_tokens == "text"
