"""Runs scripts as forks of a process that has imported what polyhead and the hub's client need.

A line on stdin is JSON: a script, its argument, what it finds in the environment, and the pipe that
takes what it prints; that ends with its process. The client itself reads the environment while it
is imported, so each fork imports that again.
"""

import json
import os
import sys

import huggingface_hub

import polyhead.bundle.hub  # noqa: F401

huggingface_hub.HfApi, huggingface_hub.hf_hub_download  # noqa: B018 - imported at the first look
for name in list(sys.modules):
    if name.partition(".")[0] == "huggingface_hub":
        del sys.modules[name]
sys.stdout.write("ready\n")
sys.stdout.flush()
for line in sys.stdin:
    script, argument, environment, pipe = json.loads(line)
    if os.fork() == 0:
        os.environ.update(environment)
        for number, target in ((1, pipe), (2, f"{pipe}.errors")):
            file = os.open(target, os.O_WRONLY | os.O_CREAT)
            os.dup2(file, number)
            os.close(file)
        sys.argv[1:] = [argument]
        exec(script, {"__name__": "__main__"})
        break  # and end as any program
