"""From a folder of recordings to a model to serve: scripts/my_voice.sh on a simulated speaker of the mini corpus."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import soundfile

from asr.audio.reading import read_audio
from asr.serving.voice_corpus import VoiceCorpus
from tests.recipe import REPOSITORY

CORPUS = REPOSITORY / "mini/corpus/after_catting/1h"
SPEAKER = "15"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """The speaker's clips, as the page that records would have kept them."""
    folder = tmp_path_factory.mktemp("recordings") / "me and my voice"
    corpus = VoiceCorpus(folder)
    for line in (CORPUS / f"Text/{SPEAKER}_label.txt").read_text(encoding="utf-8").splitlines():
        utt, text = line.split()
        stream, samples = io.BytesIO(), read_audio(CORPUS / f"Audio/{SPEAKER}/{utt}.opus")
        soundfile.write(stream, np.clip(samples, -1, 1), 16000, format="WAV", subtype="PCM_16")
        corpus.add(stream.getvalue(), text)
    corpus.close()
    return folder


def test_a_folder_of_recordings_becomes_a_model_and_the_line_that_serves_it(recipe, recordings):
    words = ("--tag", "my_voice", "--base", "mini/base", "--ngpu", "0", "++train_conf.max_epoch=1")
    done = recipe.run(str(recordings), *words, command=("bash", "scripts/my_voice.sh"))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    *_, before, after, verdict, last = done.stdout.splitlines()
    assert [line.split()[0] for line in (before, after)] == ["before", "after"]
    assert "95 % interval over utterances" in verdict
    assert last == f"serve it: bash {recipe.root}/scripts/serve.sh --model {recipe.root}/exp/my_voice/model"
    exp = recipe.root / "exp/my_voice"
    score = json.loads((exp / "score/score.json").read_text(encoding="utf-8"))
    assert (score["reference"]["n_utt"], score["reference"]["n_speakers"]) == (3, 1)
    assert (exp / "deploy/parity.json").is_file()
