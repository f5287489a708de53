"""What a batcher counts."""

import asyncio

import pytest

from polyhead import Batcher, InvalidText, load


def test_the_numbers_add_up(engine, serve, requests):
    texts = ["anna", "oslo", "the parcel", "late " * 60]

    async def scenario(batcher):
        found = await asyncio.gather(*requests(batcher, *texts))
        with pytest.raises(InvalidText):
            await batcher.predict(None)
        return found, batcher.stats()

    found, stats = serve(engine, scenario)
    assert (stats.requests, stats.answered, stats.errors) == (5, 4, 1)
    assert (stats.batches, stats.texts) == (2, 5)
    assert stats.windows == sum(p.windows for p in found)
    assert stats.groups == len({3, 4, 24}) + (found[3].windows - 1) // (256 // 24)
    assert 0 < stats.group_fill <= 1
    assert stats.queue_histogram[-1] == 5
    assert stats.queue_ms >= 0
    assert (stats.waiting, stats.running) == (0, 0)


def test_a_batcher_without_traffic_has_numbers(engine):
    stats = Batcher(engine).stats()
    assert (stats.requests, stats.group_fill, stats.queue_ms) == (0, 0, 0)


def test_the_numbers_follow_a_reload(bundle, bundle_copy, edit_json, serve):
    def shorten(manifest):
        manifest["encoder"]["max_tokens"] = 12
        for head in manifest["heads"].values():
            head["max_tokens"] = 12

    edit_json(bundle_copy / "manifest.json", shorten)
    text = "late " * 60

    async def scenario(batcher):
        await batcher.predict(text)
        engine.reload(bundle_copy)
        before = batcher.stats()
        windows = (await batcher.predict(text)).windows
        after = batcher.stats()
        return windows, after.windows - before.windows, after.tokens - before.tokens

    with load(bundle, threads=1) as engine:
        windows, counted, tokens = serve(engine, scenario)
    assert counted == windows
    assert tokens == 12 * windows


def test_groups_are_filled_by_the_most_tokens_that_they_could_have(simulate, stand_in):
    """Also when that changes, as threads may."""
    engine = stand_in()

    async def scenario(batcher):
        await batcher.predict("8 tokens of 256")
        engine.batch_tokens, engine.threads = 16, 8
        await batcher.predict("8 tokens of 16")
        return batcher.stats(), batcher._dispatch.admission.threads

    stats, threads = simulate(engine, scenario)
    assert (stats.groups, stats.group_tokens, stats.batch_tokens) == (2, 272, 16)
    assert stats.group_fill == 16 / 272
    assert threads == 8
