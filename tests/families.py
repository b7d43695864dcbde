"""The census: every YAML that trains, with the tiny case by which it is tried. A YAML without one fails CI."""

from __future__ import annotations

from tests import tiny_conformer, tiny_nano, tiny_paraformer, tiny_sensevoice, tiny_whisper
from tests.dozen import Case

CASES: dict[str, Case] = {
    "paraformer": tiny_paraformer.CASE,
    "paraformer_lora": tiny_paraformer.LORA,
    "paraformer_manual": tiny_paraformer.MANUAL,
    "paraformer_scratch": tiny_paraformer.SCRATCH,
    "sensevoice": tiny_sensevoice.CASE,
    "sensevoice_lora": tiny_sensevoice.LORA,
    "conformer": tiny_conformer.CASE,
    "conformer_lora": tiny_conformer.LORA,
    "conformer_scratch": tiny_conformer.SCRATCH,
    "nano": tiny_nano.CASE,
    "nano_lora": tiny_nano.LORA,
    "whisper": tiny_whisper.CASE,
    "whisper_lora": tiny_whisper.LORA,
    "whisper_base_cpu": tiny_whisper.BASE_CPU,
}
# The recipe's smallest run is tried with its own corpus and base model.
TRIED_ELSEWHERE = {"conf/mini.yaml": "tests/e2e/test_mini.py", "conf/my_voice.yaml": "tests/e2e/test_my_voice.py"}
