import json
import string
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from polyhead.bundle import EncoderInfo, FileEntry, Graph, HeadQuality, Manifest
from polyhead.errors import ManifestError
from polyhead.heads import HeadSpec
from polyhead.system.schema import parse, plain

NAMES = st.text(string.ascii_letters + "äß東👍 _-", min_size=1, max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NUMBERS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
SCALES = st.tuples(NUMBERS, NUMBERS.filter(lambda factor: factor > 0))
THRESHOLD = st.floats(0, 1)
SPECS = st.builds(
    HeadSpec,
    kind=NAMES,
    output=NAMES,
    activation=st.sampled_from(["softmax", "sigmoid", "span", "identity"]),
    scale=st.none() | SCALES,
    layers=st.sampled_from(["last", "mix"]) | st.integers(-12, 12),
    pooling=st.sampled_from(["cls", "mean", "max", None]),
    input=st.sampled_from(["text", "pair"]),
    max_tokens=st.integers(20, 512),
    stride=st.integers(0, 19),
)
LABELLED = st.dictionaries(NAMES, THRESHOLD, max_size=4)

QUALITY = st.builds(
    HeadQuality,
    split=NAMES,
    texts=st.integers(),
    metric=st.none() | NAMES,
    fp32=st.none() | NUMBERS,
    exported=st.none() | NUMBERS,
    agreement=NUMBERS,
    max_logit_error=NUMBERS,
)


@st.composite
def specs(draw: st.DrawFn) -> HeadSpec:
    thresholds = draw(LABELLED)
    labelled = {"labels": tuple(thresholds)}
    if draw(st.booleans()):
        labelled["thresholds"] = tuple(thresholds.values())
    return replace(draw(SPECS), **labelled)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    names = draw(st.lists(NAMES, unique=True, min_size=4, max_size=6))
    heads = draw(st.dictionaries(NAMES, specs(), min_size=1, max_size=3))
    entry = {"sha256": draw(NAMES), "size": draw(st.integers(0))}
    graphs = tuple(
        Graph(
            file=name,
            **entry,
            precision=draw(st.sampled_from(["fp32", "int8"])),
            layout="exact",
            target=draw(st.sampled_from(["onnx", "ort-cpu"])),
            heads=tuple(draw(st.lists(st.sampled_from(sorted(heads)), max_size=3))),
            inputs=tuple(draw(st.lists(NAMES, max_size=2))),
        )
        for name in names[3:]
    )
    sizes = st.integers(3, 9999)
    texts = dict.fromkeys(("name", "family", "fingerprint"), NAMES)
    numbers = dict.fromkeys(("hidden_size", "layers", "max_tokens"), sizes)
    return Manifest(
        format="polyhead-bundle",
        version=draw(st.integers()),
        encoder=draw(st.builds(EncoderInfo, **texts, **numbers)),
        tokenizer=FileEntry(file=names[0], **entry),
        golden=FileEntry(file=names[1], **entry),
        card=FileEntry(file=names[2], **entry),
        graphs=graphs,
        heads=heads,
        quality=draw(st.dictionaries(NAMES, QUALITY, max_size=2)),
        provenance=draw(st.dictionaries(st.text(), JSON, max_size=3)),
    )


@settings(max_examples=50)
@given(manifests())
def test_a_manifest_comes_back_from_json_as_it_was(manifest):
    data = json.loads(json.dumps(plain(manifest)))
    assert parse(Manifest, data, where="manifest.json", error=ManifestError) == manifest
