"""`shrink` from end to end on a tiny encoder of every family that trains."""

import pytest
import torch

from polyhead_models import checkpoint as checkpoints
from polyhead_models import encoder as encoders
from polyhead_models.shrinking import ShrinkSettings, anatomy, shrink
from polyhead_models.shrinking.students import Standing, student

NARROW = ("bert", "roberta", "distilbert", "electra", "deberta-v2", "modernbert")


@pytest.fixture(scope="module", autouse=True)
def costs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("name", [*NARROW, "mpnet", "albert"])
def test_every_family_can_be_shrunk(name, families, learnt, tmp_path):
    if name not in families:
        pytest.skip("this transformers has it not")
    key = "n_layers" if name == "distilbert" else "num_hidden_layers"
    torch.manual_seed(3)
    encoder = encoders.build({**families[name], key: 3})
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    # Its heads over another encoder: untrained, but a checkpoint of the family.
    checkpoints.save(teacher, student(learnt, encoder, Standing.even(3, 2)), {"validation": {}})
    heads = 2 if name in NARROW else anatomy.shape_of(encoder).attention_heads
    asked = ShrinkSettings(
        layers=2, attention_heads=heads, speed_up=1.01, steps=(0, 2), max_drop=100, max_distance=2
    )
    found = shrink(teacher, tmp_path / "student", asked)
    small = checkpoints.load(found.path)
    shape = anatomy.shape_of(small.model.encoder)
    assert (shape.layers, shape.attention_heads) == (2, heads)
    assert set(small.engine()("parcel 3 is late")) == set(learnt.model.specs)
