"""Graph passes on onnx-ir, one file each."""

from __future__ import annotations

from polyhead_export.passes.attention_layout import AttentionLayout
from polyhead_export.passes.clean import clean, deduplicated
from polyhead_export.passes.drop_mask import DropMask
from polyhead_export.passes.fold_attention_scale import FoldAttentionScale
from polyhead_export.passes.fold_constants import FoldConstants
from polyhead_export.passes.fold_positions import FoldPositions
from polyhead_export.passes.half_precision import HalfPrecision
from polyhead_export.passes.lower_ort_cpu import LowerToOrtCpu
from polyhead_export.passes.padding_mask import PaddingMask
from polyhead_export.passes.prune_heads import PruneHeads
from polyhead_export.passes.quantise_embeddings import QuantiseEmbeddings
from polyhead_export.passes.quantise_linears import QuantiseLinears
from polyhead_export.passes.rotary_layout import RotaryLayout
from polyhead_export.passes.smooth import Smooth
from polyhead_export.passes.split_heads import SplitHeads
from polyhead_export.passes.stable_mean import StableMean

__all__ = [
    "AttentionLayout",
    "DropMask",
    "FoldAttentionScale",
    "FoldConstants",
    "FoldPositions",
    "HalfPrecision",
    "LowerToOrtCpu",
    "PaddingMask",
    "PruneHeads",
    "QuantiseEmbeddings",
    "QuantiseLinears",
    "RotaryLayout",
    "Smooth",
    "SplitHeads",
    "StableMean",
    "clean",
    "deduplicated",
]
