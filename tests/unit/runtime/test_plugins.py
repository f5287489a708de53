"""A registry over entry points of distributions that are written into tmp_path."""

import sys
from textwrap import dedent

import pytest

import polyhead
from polyhead.errors import PluginError, UnknownKind
from polyhead.heads import DECODERS, HeadSpec, decoder
from polyhead.system.plugins import Registry


@pytest.fixture
def install(tmp_path, monkeypatch):
    """`install("name", {"kind.v1": "module:value"}, module="source")` puts it on sys.path."""

    def make(name, kinds, group="tests.kinds", **modules):
        folder = tmp_path / name
        info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"[{group}]", *(f"{kind} = {value}" for kind, value in kinds.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for module, source in modules.items():
            (folder / f"{module}.py").write_text(dedent(source))
            monkeypatch.delitem(sys.modules, module, raising=False)
        monkeypatch.syspath_prepend(folder)

    return make


@pytest.fixture
def registry():
    built_in = {"circle.v1": str.upper, "square.v1": str.lower}
    return Registry(built_in, group="tests.kinds", what="shape", needs=("__call__",))


def test_without_plugins_it_is_the_built_in_kinds(registry):
    assert list(registry) == ["circle.v1", "square.v1"]
    assert len(registry) == 2
    assert registry["circle.v1"] is str.upper
    assert "circle.v1" in registry
    assert "star.v1" not in registry
    assert registry.get("star.v1") is None


def test_a_plugin_is_found_and_loaded_once(registry, install):
    install("stars", {"star.v1": "starry:star"}, starry="def star(): pass")
    assert "star.v1" in registry
    assert registry["star.v1"] is sys.modules["starry"].star
    assert registry["star.v1"] is registry["star.v1"]


def test_names_stand_after_the_built_in_ones_and_import_nothing(registry, install):
    install("stars", {"star.v1": "starless:star", "arrow.v1": "starless:arrow"})
    assert list(registry) == ["circle.v1", "square.v1", "arrow.v1", "star.v1"]
    assert "star.v1" in registry
    assert "starless" not in sys.modules


def test_an_unknown_kind_names_what_is_known_and_the_group(registry, install):
    install("stars", {"star.v1": "starless:star"})
    with pytest.raises(UnknownKind) as caught:
        registry["star.v2"]
    message = str(caught.value)
    assert message.startswith(
        "no shape of the kind 'star.v2'; known: circle.v1, square.v1, star.v1"
    )
    assert "Did you mean 'star.v1'?" in message
    assert "'tests.kinds'" in message


@pytest.mark.parametrize(
    "source",
    ["import no_such_module", "raise OSError('no disk')", "other = 1", "def ("],
    ids=["missing_import", "raises", "no_such_name", "no_python"],
)
def test_a_broken_plugin_is_named_when_it_is_asked_for(registry, install, source):
    install("stars", {"star.v1": "shattered:star"}, shattered=source)
    install("arrows", {"arrow.v1": "pointed:arrow"}, pointed="def arrow(): pass")
    assert registry["circle.v1"] is str.upper
    assert registry["arrow.v1"].__name__ == "arrow"
    with pytest.raises(PluginError, match=r"'star.v1' of stars cannot be loaded"):
        registry["star.v1"]


def test_a_plugin_of_another_form_is_named(registry, install):
    install("stars", {"star.v1": "constant:star"}, constant="star = 5")
    with pytest.raises(PluginError, match=r"'constant:star' of stars is no shape: .* __call__"):
        registry["star.v1"]


def test_two_plugins_of_one_name_are_both_named(registry, install):
    install("stars", {"star.v1": "starry:star"}, starry="def star(): pass")
    install("suns", {"star.v1": "sunny:star"}, sunny="def star(): pass")
    with pytest.raises(PluginError, match="is brought by stars and suns, expected one"):
        registry["star.v1"]


def test_a_built_in_kind_cannot_be_replaced(registry, install):
    install("circles", {"circle.v1": "round_ones:circle"}, round_ones="def circle(): pass")
    assert registry["circle.v1"] is str.upper
    assert list(registry).count("circle.v1") == 1
    assert "round_ones" not in sys.modules


def test_a_claim_to_a_built_in_name_is_refused_by_name(registry, install):
    registry.check_conflict("circle.v1")
    install("circles", {"circle.v1": "round_ones:circle"})
    with pytest.raises(PluginError, match=r"'circle.v1' is a built-in kind, and circles brings"):
        registry.check_conflict("circle.v1")
    registry.check_conflict("square.v1")
    registry.check_conflict("star.v1")


def test_a_decoder_comes_from_an_entry_point(install):
    source = """
    class Decoder:
        width = 1
        def __init__(self, spec):
            self.spec = spec
        def decode(self, logits, encoding):
            return None
    """
    install("waves", {"wave.v1": "wavy:Decoder"}, group=DECODERS.group, wavy=source)
    spec = HeadSpec(kind="wave.v1", output="logits/wave", max_tokens=8)
    assert decoder("wave", spec).spec is spec


def test_a_head_without_decoder_is_a_manifest_error():
    spec = HeadSpec(kind="wave.v7", output="logits/wave", max_tokens=8)
    with pytest.raises(polyhead.ManifestError, match=r"head 'wave': no decoder .*'wave.v7'"):
        decoder("wave", spec)


def test_a_key_error_inside_a_decoder_is_not_an_unknown_kind(install):
    source = "class Decoder:\n    decode = None\n    def __init__(self, spec): {}['inner']"
    install("deep", {"deep.v1": "deeper:Decoder"}, group=DECODERS.group, deeper=source)
    with pytest.raises(KeyError, match="inner"):
        decoder("deep", HeadSpec(kind="deep.v1", output="logits/deep", max_tokens=8))
