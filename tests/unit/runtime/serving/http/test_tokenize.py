"""``POST /v1/tokenize``: what the encoder reads."""

import pytest


def test_ids_offsets_and_windows_are_those_of_the_engine(client, engine_of_many_heads):
    text = "the parcel was late . " * 9
    [expected] = engine_of_many_heads.encode([text])
    found = client.post("/v1/tokenize", json={"text": text}).json()
    assert found == {
        "model": "many",
        "ids": expected.ids.tolist(),
        "offsets": expected.offsets.tolist(),
        "special": expected.special.tolist(),
        "windows": [[window.start, window.stop] for window in expected.windows],
        "truncated": False,
    }
    assert len(found["windows"]) > 1


def test_offsets_in_utf16(client):
    found = {
        offsets: client.post("/v1/tokenize", json={"text": "👍 anna", "offsets": offsets}).json()
        for offsets in ("codepoints", "utf16")
    }
    assert found["codepoints"]["offsets"][-2] == [2, 6]
    assert found["utf16"]["offsets"][-2] == [3, 7]


def test_texts_and_pairs_and_what_is_neither(client, engine_of_many_heads):
    body = {"texts": ["anna", ["who?", "anna"], None]}
    first, pair, bad = client.post("/v1/tokenize", json=body).json()["texts"]
    for found, item in ((first, "anna"), (pair, ("who?", "anna"))):
        assert found["ids"] == engine_of_many_heads.encode([item])[0].ids.tolist()
    assert bad["error"]["title"] == "InvalidText"
    assert bad["error"]["index"] == 2


@pytest.mark.parametrize("text", ["a" * 200_001, 7])
def test_what_it_refuses(client, text, refused):
    if type(text) is int:
        refused(client.post("/v1/tokenize", json={"text": text}), 400, "MalformedRequest")
    else:
        refused(client.post("/v1/tokenize", json={"text": text}), 422, "TextTooLong")
