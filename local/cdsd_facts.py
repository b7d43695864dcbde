"""What is known of CDSD: its parts, their split files, and published results."""

from __future__ import annotations

from pathlib import Path

_CONF = Path(__file__).resolve().parents[1] / "conf"
# The parts, and the default split of each, with the published counts of utterances where there are some.
SPLIT_FILES = {part: _CONF / f"split_cdsd_{part}.yaml" for part in ("1h", "10h")}
PARTS = tuple(SPLIT_FILES)
# Published on clips that are not the ones scored: something to read a CER beside, never a test that was passed.
REFERENCE_LINES = (
    {
        "name": "human listeners",
        "name_zh": "人类听写",
        "cer": 0.2045,
        "note": "other clips, other listeners",
        "note_zh": "其他录音，其他听者",
        "source": "CDSD paper, arXiv 2310.15930",
    },
    {
        "name": "best system of the CDSD paper",
        "name_zh": "CDSD 论文的最好系统",
        "cer": 0.164,
        "note": "other clips: Part A, split not known; ESPnet Conformer, staged pre-training",
        "note_zh": "其他录音：A 部分，划分不详；ESPnet Conformer，分阶段预训练",
        "source": "CDSD paper, arXiv 2310.15930",
    },
    {
        "name": "Paraformer, fine-tuned",
        "name_zh": "微调的 Paraformer",
        "cer": 0.3762,
        "note": "unseen speakers: other clips, the older release of 24 speakers",
        "note_zh": "未见过的说话人：其他录音，24 位说话人的旧版",
        "source": "DysASR",
    },
)
