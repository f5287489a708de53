"""A folder of Optimum, transformers.js or sentence-transformers with an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyhead.errors import SourceError
from polyhead.system.schema import read_json

_JSON_LIMIT = 64 * 2**20
_USUAL = ("model.onnx", "onnx/model.onnx")
_SENTENCES = "modules.json"
# Positions that a family keeps for padding: RoBERTa counts from padding_idx + 1.
_OFFSET = {"roberta": 2, "xlm-roberta": 2, "camembert": 2, "mpnet": 2}


@dataclass(frozen=True)
class Folder:
    """Its files.

    Attributes:
        path: the folder.
        graph: the ONNX file.
        config: config.json.
        tokenizer: tokenizer.json.
        settings: tokenizer_config.json; empty where there is none.
    """

    path: Path
    graph: Path
    config: Mapping[str, Any]
    tokenizer: Path
    settings: Mapping[str, Any]

    @property
    def architecture(self) -> str | None:
        """The class of transformers that config.json names."""
        found = self.config.get("architectures")
        return str(found[0]) if isinstance(found, list) and found else None

    @property
    def pooling(self) -> str | None:
        """How a folder of sentence-transformers pools; None for other folders.

        Raises:
            SourceError: for modules that stand behind the graph and that polyhead has not, and
                when what they say cannot be read.
        """
        file = self.path / _SENTENCES
        if not file.is_file():
            return None
        found = None
        for kind, place in _modules(file):
            if kind == "Pooling":
                found = _pooling(self.path / place)
            elif kind not in ("Transformer", "Normalize", "Dropout"):
                raise SourceError(
                    f"{file}: a module {kind!r} stands behind the graph; polyhead imports"
                    " Transformer, Pooling and Normalize here. Import the PyTorch folder, with"
                    " polyhead-models."
                )
        return found

    def max_tokens(self, wish: int | None) -> int:
        """Longest input: the wish, or the least of what the files say.

        Raises:
            SourceError: when nothing says it, or the wish is beyond it.
        """
        said = [self.config.get("max_position_embeddings"), self.config.get("n_positions")]
        family = str(self.config.get("model_type"))
        capacity = [int(n) - _OFFSET.get(family, 0) for n in said if isinstance(n, int) and n > 3]
        sentence = self.path / "sentence_bert_config.json"
        limits = [self.settings.get("model_max_length")]
        if sentence.is_file():
            limits.append(_table(sentence).get("max_seq_length"))
        usual = [int(n) for n in limits if isinstance(n, int | float) and 3 <= n < 1e6]
        if wish is not None and capacity and wish > min(capacity):
            raise SourceError(
                f"{self.path}: max_tokens: found {wish}; it reads at most {min(capacity)}."
            )
        if wish is None and not capacity + usual:
            raise SourceError(
                f"{self.path}: no file says how many tokens it reads. Say it with --max-tokens."
            )
        return wish if wish is not None else min(capacity + usual)


def graph_of(path: Path) -> Path | None:
    """The ONNX file of a folder, or of a path that is one; None where there is none.

    Raises:
        SourceError: when there are several and none is called model.onnx.
    """
    if path.is_file() and path.suffix == ".onnx":
        return path
    for name in _USUAL:
        if (path / name).is_file():
            return path / name
    found = sorted(path.glob("model*.onnx")) + sorted((path / "onnx").glob("model*.onnx"))
    if len(found) > 1:
        names = ", ".join(str(file.relative_to(path)) for file in found)
        raise SourceError(f"{path}: several graphs: {names}. Name one of them as SOURCE.")
    return found[0] if found else None


def read(path: Path) -> Folder:
    """Read what lies beside a graph.

    Args:
        path: of the folder, or of one of its graphs.

    Raises:
        SourceError: when a graph, config.json or tokenizer.json is missing or not readable.
    """
    graph = graph_of(path)
    if graph is None:
        raise SourceError(f"{path}: no model.onnx and no onnx/model*.onnx here.")
    top = path
    if path.is_file():
        top = path.parent.parent if path.parent.name == "onnx" else path.parent
    for name in ("config.json", "tokenizer.json"):
        if not (top / name).is_file():
            raise SourceError(f"{top}: no {name} here; an ONNX folder has one beside its graph.")
    settings = top / "tokenizer_config.json"
    return Folder(
        top,
        graph,
        _table(top / "config.json"),
        top / "tokenizer.json",
        _table(settings) if settings.is_file() else {},
    )


def _modules(file: Path) -> list[tuple[str, str]]:
    """Class and folder of each module."""
    listed = read_json(file, limit_bytes=_JSON_LIMIT, error=SourceError)
    found = []
    for item in listed if isinstance(listed, list) else [None]:
        told = item if isinstance(item, Mapping) else {}
        place, kind = told.get("path"), told.get("type")
        if not isinstance(place, str) or not isinstance(kind, str):
            raise SourceError(f"{file}: expected a list of modules with 'path' and 'type'.")
        if Path(place).is_absolute() or ".." in Path(place).parts:
            raise SourceError(f"{file}: the path {place!r} leads out of the folder.")
        found.append((kind.rpartition(".")[2], place))
    return found


def _pooling(folder: Path) -> str:
    settings = _table(folder / "config.json")
    modes = [
        key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for key, on in settings.items()
        if key.startswith("pooling_mode_") and on is True
    ]
    stated = settings.get("pooling_mode")
    modes += [stated] if isinstance(stated, str) else []
    if len(modes) != 1 or modes[0] not in ("cls", "mean", "max"):
        raise SourceError(
            f"{folder}: pools by {' and '.join(modes) or 'nothing'}; polyhead pools by one of cls,"
            " mean and max."
        )
    return modes[0]


def _table(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise SourceError(f"{path}: no such file. Copy the folder again.")
    found = read_json(path, limit_bytes=_JSON_LIMIT, error=SourceError)
    if not isinstance(found, Mapping):
        raise SourceError(f"{path}: expected a table of keys and values.")
    return found
