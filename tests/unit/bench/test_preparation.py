import pytest

from polyhead.bundle import read
from polyhead_bench.errors import PeerFault
from polyhead_bench.preparation import Models as Forms


def test_a_form_is_made_once(models, tmp_path):
    notes = []
    forms = Forms(
        bundle=models.bundle, checkpoint=models.checkpoint, cache=tmp_path, note=notes.append
    )
    first = forms.folder("fp32", ["topic"])
    assert read(first).manifest.graphs[0].precision == "fp32"
    assert forms.folder("fp32", ["topic"]) == first
    assert len(notes) == 1
    assert notes[0].startswith("$ polyhead export ")


def test_the_bundle_and_the_checkpoint_are_taken_as_they_are(models, tmp_path):
    forms = Forms(bundle=models.bundle, checkpoint=models.checkpoint, cache=tmp_path, note=print)
    assert forms.folder("bundle", ["topic"]) == models.bundle
    assert forms.folder("checkpoint", ["topic"]) == models.checkpoint


def test_a_failed_command_is_named(models, tmp_path):
    forms = Forms(bundle=models.bundle, checkpoint=models.checkpoint, cache=tmp_path, note=print)
    with pytest.raises(PeerFault, match=r"'polyhead export .* --heads nothing' failed: .*nothing"):
        forms.folder("fp32", ["nothing"])


def test_other_forms_need_the_checkpoint(models, tmp_path):
    forms = Forms(bundle=models.bundle, checkpoint=None, cache=tmp_path, note=print)
    with pytest.raises(PeerFault, match="pass --checkpoint"):
        forms.folder("fp32", ["topic"])
