"""Which kernel onnxruntime multiplies int8 matrices with on a CPU, and what that asks of a session.

onnxruntime chooses by what the CPU can do; activations are u8 and weights s8:

| CPU | adds products in | exact |
|---|---|---|
| x86 with AMX, AVX512-VNNI or AVX-VNNI | 32 bits | yes |
| x86 with AVX512 or AVX2 and none of these, or older | 16 bits, two at a time | up to ±64 |
| ARM with i8mm, with dot products, or neither | 32 bits | yes |

Weights of an export lie within ±64, so that all of them are exact everywhere. Bundles of versions
before have weights up to ±127: where the sum of two products is cut off at 16 bits, their sessions
ask for onnxruntime's slower kernels, which are exact (``session.x64quantprecision``). It looks at
the weights and takes the fast ones all the same where these lie within ±64 (MiniLM, onnxruntime
1.32, one core of an AMD Zen 3, 1 x 64 tokens: 14.4 ms so for ±127, 12.6 for ±64, 12.1 without).

onnxruntime before 1.25 had wrong kernels for AMX; `polyhead.system.onnx_runtime` sees to that.
Whether int8 is faster than fp32 is not decided here: `polyhead bench run` measures both, and
`polyhead.load` takes either.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

from polyhead.system.cpu import Cpu

_X86 = ("x86_64", "amd64", "i686", "x86")
# By flags of the kernel's, the first that the CPU has.
_BY_FLAG = {
    "amx_int8": "AMX",
    "avx512_vnni": "AVX512-VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx512f": "AVX512 without VNNI",
    "avx2": "AVX2 without VNNI",
    "i8mm": "i8mm",
    "asimddp": "dot product",
    "asimd": "NEON",
}
_EXACT_ON_X86 = ("AMX", "AVX512-VNNI", "AVX-VNNI")


@dataclass(frozen=True)
class Int8Kernel:
    """How int8 matrices are multiplied.

    Attributes:
        name: of the instructions, for people; "unknown" where the CPU's flags cannot be read.
        saturates: whether the sum of two products may be cut off at 16 bits, with weights beyond
            ±64. On x86 of unknown flags the answer is the safe one.
    """

    name: str
    saturates: bool


def int8_kernel(cpu: Cpu) -> Int8Kernel:
    """The kernel for a CPU."""
    name = next((name for flag, name in _BY_FLAG.items() if flag in cpu.flags), "unknown")
    x86 = platform.machine().lower() in _X86
    return Int8Kernel(name, saturates=x86 and name not in _EXACT_ON_X86)
