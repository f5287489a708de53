"""A graph's file while other processes write to it, or read it with the same descriptor."""

import os

import pytest

from polyhead import DigestMismatch
from polyhead.inference._graph_file import GraphFile


@pytest.fixture
def graph_path(bundle_copy):
    return bundle_copy / "model.onnx"


def test_a_file_that_is_cut_short_while_it_is_checked_is_no_crash(graph_path):
    file = GraphFile(graph_path, check=lambda _: os.truncate(graph_path, 0))
    with pytest.raises(DigestMismatch, match="changed while it was read"), file.opened():
        pass


def test_a_file_that_is_written_while_it_is_opened_is_refused(graph_path):
    with pytest.raises(DigestMismatch, match="changed while it was read"):  # noqa: SIM117
        with GraphFile(graph_path).opened():
            graph_path.write_bytes(graph_path.read_bytes())


def test_it_is_read_from_its_beginning_wherever_another_process_is(graph_path):
    contents = []
    file = GraphFile(graph_path, check=contents.append)
    with file.opened():
        pass
    os.utime(graph_path)  # so that it is checked again
    os.lseek(file._kept, 0, os.SEEK_END)
    with file.opened():
        pass
    assert contents == [graph_path.read_bytes()] * 2
