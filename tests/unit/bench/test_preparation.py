from dataclasses import replace

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


class Counted(Forms):
    """Notes what it would export, and makes nothing."""

    def _polyhead(self, words):
        self.note(" ".join(words))


def test_a_bundle_of_one_head_is_the_separate_one(models, tmp_path):
    notes = []
    forms = Counted(
        bundle=models.bundle, checkpoint=models.checkpoint, cache=tmp_path, note=notes.append
    )
    alone = forms.folder("bundle", ["topic"], pruned=True)
    assert alone == forms.folder("separate", ["topic"]) / "topic"
    assert forms.folder("separate", ["topic"]) / "topic" == alone
    assert len(set(notes)) == 1


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_all_heads_of_an_int8_bundle_are_the_bundle_itself(
    models, tmp_path, precision, monkeypatch
):
    found = read(models.bundle)
    graph = replace(found.manifest.graphs[0], precision=precision)
    known = replace(found, manifest=replace(found.manifest, graphs=(graph,)))
    monkeypatch.setattr("polyhead_bench.preparation.read", lambda _: known)
    forms = Counted(
        bundle=models.bundle, checkpoint=models.checkpoint, cache=tmp_path, note=lambda _: None
    )
    taken = forms.folder("bundle", ["topic"], pruned=True) == models.bundle
    assert taken is (precision == "int8")
