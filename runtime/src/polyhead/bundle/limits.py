"""The most that a bundle may hold, and beside each the largest that an honest one is known to hold.

A bundle beyond them is refused before onnxruntime or the tokenizers library sees it, which such
sizes would keep busy for minutes or cost gigabytes. What no limit here can tell from honest work,
such as one huge multiplication, is for ``polyhead verify --isolated`` to bound.
"""

from __future__ import annotations

from dataclasses import dataclass

from polyhead.errors import BundleError


@dataclass(frozen=True)
class BundleLimit:
    """One row of the table.

    Attributes:
        what: is counted, for messages.
        most: allowed.
        largest: known among the families that polyhead supports, and whose it is. "About" is said
            of published models that were not at hand to be measured.
    """

    what: str
    most: int
    largest: str

    def check(self, found: int, where: str, error: type[BundleError] = BundleError) -> None:
        """Refuse more than the most.

        Raises:
            BundleError: as `error`.
        """
        if found > self.most:
            raise error(
                f"{where}: {min(found, 10**30):,} {self.what}, at most {self.most:,} are allowed"
                f" (the largest known: {self.largest}). Get the bundle again from whom you trust."
            )


MIB = 2**20

MANIFEST_BYTES = BundleLimit("bytes of manifest.json", 16 * MIB, "6.8 kB, the demo's")
GOLDEN_BYTES = BundleLimit("bytes of golden answers", 128 * MIB, "203 kB, the demo's")
TOKENIZER_BYTES = BundleLimit("bytes of a tokenizer", 64 * MIB, "about 34.4 MB, mmBERT's")
CARD_BYTES = BundleLimit("bytes of a model card or its picture", 16 * MIB, "50 kB, the demo's")
CALIBRATION_BYTES = BundleLimit("bytes of calibration.json", 64 * MIB, "147 kB, the demo's")
GRAPH_BYTES = BundleLimit("bytes of a graph", 2**31, "2 GiB, which is protobuf's own limit")

SUB_MODELS = BundleLimit("sub-models", 256, "8, in the benchmarks")
GRAPHS = BundleLimit("graphs", 256, "5, with all targets and one for a head alone")
HEADS = BundleLimit("heads", 1_000, "8, in the tests")

NODES = BundleLimit(
    "operators", 20_000, "about 4,000, DeBERTa-v2-xlarge's, by 167 of one with 2 of its 48 layers"
)
INPUTS = BundleLimit("inputs of operators", 30_000, "about 10,000, DeBERTa-v2-xlarge's")
WEIGHTS = BundleLimit("weights and constants", 10_000, "about 2,800, DeBERTa-v2-xlarge's")
FIELDS = BundleLimit(
    "protobuf fields", 500_000, "about 80,000, DeBERTa-v2-xlarge's; 3,209 of MiniLM"
)
STRUCTURE_BYTES = BundleLimit(
    "bytes of a graph beside its weights",
    32 * MIB,
    "72 kB, MiniLM's; about 10 MB with notes of PyTorch at each operator",
)

DECODER_LAYERS = BundleLimit("layers of a decoder", 128, "24, T5-large's")
DECODER_WIDTH = BundleLimit("width of all attention heads of a layer", 65_536, "16,384, T5-11b's")
ANSWER_TOKENS = BundleLimit("tokens of an answer", 16_384, "1,024, BART's and mBART's")

COMMAS = BundleLimit("commas in a tokenizer", 2_200_000, "about 1,420,000, mmBERT's")
COMPONENTS = BundleLimit("components in one part of a tokenizer", 16, "7, ALBERT's normalizer")
COMPONENT_CHARACTERS = BundleLimit(
    "characters in one part of a tokenizer", 32_768, "1,250, SeamlessM4T's, all parts together"
)
ADDED_TOKENS = BundleLimit("added tokens", 10_000, "about 250, mmBERT's")
ADDED_TOKEN_CHARACTERS = BundleLimit(
    "characters in an added token", 256, "about 31, blanks of mmBERT"
)
ADDED_BYTES = BundleLimit(
    "bytes in all added tokens, when normalised", 2_000_000, "about 55,000, NLLB's"
)
AFFIX_CHARACTERS = BundleLimit("characters of a prefix or suffix", 16, "4, </w>")
GROWTH = BundleLimit("times the length of a text, made by Replace", 16, "2, DeBERTa-v2's")
CHARSMAP_BYTES = BundleLimit("bytes of a charsmap", MIB, "237,539, XLM-RoBERTa's")
CHARSMAP_RULE_BYTES = BundleLimit("bytes in place of a character", 64, "33, XLM-RoBERTa's")
SPECIAL_TOKENS = BundleLimit("special tokens around a text", 64, "4, RoBERTa's around a pair")
VOCABULARY = BundleLimit("tokens or merges", MIB, "about 580,000 merges, mmBERT's")
TOKEN_CHARACTERS = BundleLimit("characters in a token", 4_096, "about 1,024, blanks of ModernBERT")
UNIGRAM_BYTES = BundleLimit(
    "bytes of all pieces of a Unigram model", 16_000_000, "about 2,581,000, XLM-RoBERTa's"
)
# The library keeps 330 bytes for each.
UNIGRAM_BEGINNINGS = BundleLimit(
    "different beginnings of pieces of a Unigram model",
    2_800_000,
    "2,580,503, of the 900,000 most frequent words of 40 languages",
)
WORD_CHARACTERS = BundleLimit("characters of a word that is looked up", 1_000, "100, BERT's")
