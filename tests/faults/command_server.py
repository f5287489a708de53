"""Runs `polyhead` commands as forks of a process that has imported all that they need.

A command line a line on stdin, as a JSON list; its process's number on stdout, then its status. So
a command takes as long as its work, and a signal at a random moment hits the work.
"""

import json
import os
import signal
import sys
import traceback
from importlib import import_module

from polyhead.cli.main import main

for module in ("training.run", "importing.convert", "combining.combine", "cli.heads"):
    import_module(f"polyhead_models.{module}")
for module in ("pipeline", "optimum_folder", "importing.convert", "combining.combine"):
    import_module(f"polyhead_export.{module}")
import_module("tqdm.contrib.logging")
import_module("huggingface_hub").HfApi  # noqa: B018 - it is imported at the first look

for line in sys.stdin:
    words = json.loads(line)
    # It is told once it listens.
    told, tell = os.pipe()
    if (child := os.fork()) == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        said = os.open(words.pop(0), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 2)
        os.write(tell, b"1")
        code = 1
        try:
            code = main(words)
        except SystemExit as problem:
            code = int(problem.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.read(told, 1)
    os.close(told)
    os.close(tell)
    sys.stdout.write(f"{child}\n")
    sys.stdout.flush()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.stdout.write(f"{status}\n")
    sys.stdout.flush()
