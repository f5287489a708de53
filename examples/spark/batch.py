"""A folder of Parquet answered by Spark: each Python worker loads the bundle once.

    pip install "polyhead[map]" pyspark
    spark-submit batch.py bundle/ mails/ answers/

Give each executor's core one Python worker (`spark.task.cpus` is 1, as usual) and leave
`spark.python.worker.reuse` on, so that an engine answers many tasks.
"""

import sys
from collections.abc import Iterable, Iterator

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from polyhead.serving import Worker


def main(bundle: str, source: str, target: str) -> None:
    """Answer every row; those that cannot be have the reason in the column `error`."""
    spark = SparkSession.builder.appName("polyhead").getOrCreate()
    worker = Worker(bundle, text="text")
    rows = spark.read.parquet(source)
    schema = StructType([*rows.schema, *from_arrow_schema(worker.schema)])

    def answered(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            found = worker(batch)
            yield found.cast(pa.schema(map(with_plain_list, found.schema)))

    rows.mapInArrow(answered, schema).write.parquet(target)
    spark.stop()


def with_plain_list(field: pa.Field) -> pa.Field:
    """The same, as Spark knows no lists of a fixed size, which vectors are."""
    if not pa.types.is_fixed_size_list(field.type):
        return field
    return field.with_type(pa.list_(field.type.value_type))


if __name__ == "__main__":
    main(*sys.argv[1:])
