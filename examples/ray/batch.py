"""A folder of Parquet answered by Ray Data: an actor a core, each with an engine of one thread.

    pip install "polyhead[map]" "ray[data]"
    python batch.py bundle/ mails/ answers/ --checkpoint checkpoint/

One core stays free: the actors keep theirs to the end, and Ray reads and writes files in tasks that
need one, too. With all cores taken by actors nothing would ever be read. A checkpoint is read by an
actor of Ray's own, so that two stay free. Where that leaves none, the one actor books no core.

With --checkpoint a run that was ended goes on where it was: Ray notes the rows that are written by
their column `id`, which no two rows may share, and passes them over next time.
"""

import argparse

import ray
from ray.data.checkpoint import CheckpointConfig

from polyhead.serving import Worker


def main() -> None:
    """Answer every row; those that cannot be have the reason in the column `error`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", help="on every machine at this path, or hf:…")
    parser.add_argument("rows")
    parser.add_argument("answers")
    parser.add_argument("--text", default="text")
    parser.add_argument("--processes", type=int, help="actors (as many as cores are left)")
    parser.add_argument("--checkpoint")
    given = parser.parse_args()
    ray.init()
    cores = int(ray.cluster_resources()["CPU"])
    free = cores - (2 if given.checkpoint else 1)
    if given.checkpoint:
        ray.data.DataContext.get_current().checkpoint_config = CheckpointConfig(
            id_column="id", checkpoint_path=given.checkpoint
        )
    rows = ray.data.read_parquet(given.rows)
    answered = rows.map_batches(
        Worker,
        fn_constructor_args=(given.bundle,),
        fn_constructor_kwargs={"text": given.text},
        compute=ray.data.ActorPoolStrategy(size=given.processes or max(1, free)),
        num_cpus=int(free > 0),
        batch_size=2048,
        batch_format="pyarrow",
    )
    answered.write_parquet(given.answers)


if __name__ == "__main__":
    main()
