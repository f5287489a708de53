"""Memory does not grow with the file: the peak of a job's process, measured."""

import json
import subprocess
import sys

import pytest

JOB = """
import json, multiprocessing, os, re, sys
from pathlib import Path

from polyhead.serving.jobs import job
from polyhead.serving.jobs.state import JobSettings

bundle, path, output = sys.argv[1:]
peaks = {}


def look(rows, of):
    children = [child.pid for child in multiprocessing.active_children()]
    for name, pids in (("job", [os.getpid()]), ("process", children)):
        for pid in pids:  # what was before an exec does not count here, in getrusage it does
            status = Path(f"/proc/{pid}/status").read_text()
            peaks[name] = int(re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])


if __name__ == "__main__":
    job.run(bundle, [path], output, JobSettings(keep=("load",)), processes=1, tell=look)
    json.dump(peaks, sys.stdout)
"""


@pytest.fixture
def peaks(command, many_heads, write_rows, tmp_path):
    """Kilobytes of the job and of its process, at most, over a file of so many rows."""
    script = tmp_path / "job.py"
    script.write_text(JOB)

    def measured(rows, ending):
        # A row group of all rows, in which none is like another: 20 MB, or 100.
        made = [{"text": f"{n} late", "load": f"{n:10}" * 1_000} for n in range(rows)]
        path = write_rows(tmp_path / f"{rows}.{ending}", made)
        (words, environment), output = command, tmp_path / f"out-{rows}-{ending}"
        done = subprocess.run(
            [words[0], script, many_heads, path, output],
            env=environment,
            stdout=subprocess.PIPE,
            check=True,
        )
        return json.loads(done.stdout)

    return measured


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says how much")
def test_a_file_of_five_times_the_size_takes_no_more(peaks, ending):
    small, large = peaks(2_000, ending), peaks(10_000, ending)
    for name in ("job", "process"):
        assert large[name] <= 1.2 * small[name], name
