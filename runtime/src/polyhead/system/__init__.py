"""Comes in: nothing of models. Goes out: what the machine can do, whole files, strict parsing.

CPU and cgroup, onnxruntime, plugins, and checks of plain data and arguments.
"""
