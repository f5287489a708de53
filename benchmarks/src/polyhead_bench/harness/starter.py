"""From a peer's name to its worker: its environment, its model, its process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polyhead_bench import environments, peers
from polyhead_bench.convert.cache import Models
from polyhead_bench.harness.process import PeerProcess
from polyhead_bench.scenarios.context import RunSettings


@dataclass(frozen=True)
class Starter:
    """Starts workers of one run, of a model in the forms that peers ask for."""

    models: Models
    settings: RunSettings

    def start(self, name: str, options: Mapping[str, Any]) -> PeerProcess:
        """A worker of a peer.

        Args:
            name: of the peer.
            options: over the peer's own. Other ``heads`` than the run's ask for a model of these
                alone; ``threads`` is another number of threads.

        Raises:
            PeerFault: when it is not installed, its model cannot be made, or it cannot be loaded.
        """
        spec = peers.spec(name)
        heads = tuple(options.get("heads", self.settings.heads))
        home: dict[str, Any] = {}
        if spec.environment is None:
            peers.check_installed(name)
        else:
            cache = self.models.environments
            home["python"] = environments.python(cache, spec.environment)
            home["packages"] = environments.packages(cache, spec.environment)
        folder = self.models.folder(spec.model, heads, pruned="heads" in options)
        return PeerProcess(
            name,
            folder,
            **home,
            threads=options.get("threads", self.settings.threads),
            options={"heads": heads, "bundle": str(self.models.bundle), **options},
            limit_s=self.settings.limit_s,
        )
