"""Our dataset with FunASR's frontend and real clips: what a clip is in an epoch depends on nothing but seed and key."""

import json
import multiprocessing
import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from funasr.register import tables
from hypothesis import given
from hypothesis import strategies as st

from asr.core.errors import RecipeError
from asr.core.manifest import Utterance, write_manifest
from asr.data import dataloader
from asr.data.augmentation import GAIN, SPEED, TEMPO, Augmentation, augmentation, frames
from asr.data.chance import hashes_of, permutation
from asr.data.dataset import RecipeAudioDataset, RecipeIndex
from asr.data.waveforms import at_speed, at_tempo, samples_at
from asr.training.worker import explained
from tests import tiny
from tests.patience import PATIENCE

SECONDS = [0.4, 0.5, 0.7, 0.8, 1.1, 1.3, 1.6, 2.0, 2.9, 0.06]
VARIED = {"speed_perturb": [0.9, 1.0, 1.1], "gain_db": 6}


class Digits:
    """A tokenizer of the ten digits."""

    def encode(self, text):
        return [tiny.TOKENS.index(character) for character in text]


def frontend(dither=1.0):
    return tables.frontend_classes.get("WavFrontend")(lfr_m=7, lfr_n=6, dither=dither)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_manifest(folder / "train.jsonl", tiny.make_clips(folder / "train", SECONDS))
    return folder / "train.jsonl"


def dataset(path, dither=1.0, **conf):
    return RecipeAudioDataset(str(path), frontend=frontend(dither), tokenizer=Digits(), **conf)


def loader(path, workers=0, **conf):
    conf = {"batch_sampler": "ShuffledBatchSampler", "batch_size": 400, "num_workers": workers, **conf}
    conf = {"sort_size": 1024, "pin_memory": False, **conf}
    paths = {"train_data_set_list": str(path), "valid_data_set_list": str(path)}
    return dataloader.RecipeDataloader(frontend(), Digits(), dataset_conf=conf, **paths)


def at(data, index, epoch):
    """A clip as it is in an epoch."""
    data.epoch = epoch
    return data[index]


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[key], other[key]) if torch.is_tensor(one[key]) else one[key] == other[key] for key in one
    )


def tone(path, hertz, seconds, rate=16000, level=0.1):
    soundfile.write(path, level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate), rate, "FLOAT")
    count = int(seconds * rate)
    return Utterance(path.stem, str(path), "一", count * 100 // rate, 1, "01", seconds, count)


def pitch(samples):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return np.argmax(spectrum) * 16000 / len(samples)


def test_batches_are_those_of_funasrs_dataset(manifest):
    theirs = tables.dataset_classes.get("AudioDataset")(
        str(manifest), index_ds="IndexDSJsonl", frontend=frontend(0.0), tokenizer=Digits(), max_token_length=9999
    )
    ours = dataset(manifest, 0.0)
    assert len(ours) == len(theirs) == len(SECONDS)
    assert same(ours.collator([ours[i] for i in (1, 2, 3)]), theirs.collator([theirs[i] for i in (1, 2, 3)]))
    assert [ours.get_source_len(i) for i in range(len(ours))] == [theirs.get_source_len(i) for i in range(len(theirs))]
    assert [ours.get_target_len(i) for i in range(len(ours))] == [theirs.get_target_len(i) for i in range(len(theirs))]


def test_the_same_clip_is_bit_equal_and_another_epoch_or_seed_differs(manifest):
    first, again, seeded = dataset(manifest, **VARIED), dataset(manifest, **VARIED), dataset(manifest, sampler_seed=1)
    torch.manual_seed(0)
    item = at(first, 8, 3)
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert same(item, at(again, 8, 3))
    assert torch.equal(state, torch.get_rng_state())  # the process's own generator is left as it was
    for other in (at(first, 8, 4), at(seeded, 8, 3)):
        assert not same(item, other)


def test_a_clip_does_not_depend_on_its_place_in_the_manifest(manifest, tmp_path):
    lines = manifest.read_text(encoding="utf-8").splitlines(keepends=True)
    (tmp_path / "turned.jsonl").write_text("".join(reversed(lines)).rstrip("\n"), encoding="utf-8")
    one, other = dataset(manifest, **VARIED), dataset(tmp_path / "turned.jsonl", **VARIED)
    assert len(other) == len(one)
    for index in range(len(one)):
        assert same(at(one, index, 5), at(other, len(one) - 1 - index, 5))


def test_validation_is_never_varied_and_the_same_in_every_epoch(manifest):
    validation = dataset(manifest, is_training=False, **VARIED)
    plain = dataset(manifest, 0.0)
    assert same(at(validation, 4, 1), at(validation, 4, 2))
    undithered = dataset(manifest, 0.0, is_training=False, **VARIED)
    told = [{**plain[i], "target": plain.index_ds[i]["target"]} for i in range(len(plain))]
    assert all(same(at(undithered, i, 7), item) for i, item in enumerate(told))
    assert (validation.source_lens(3) == plain.source_lens(0)).all()


@pytest.mark.parametrize(("speed", "hertz"), [(0.9, 900), (1.1, 1100)])
def test_another_speed_has_its_length_and_its_pitch(tmp_path, speed, hertz):
    write_manifest(tmp_path / "a.jsonl", [tone(tmp_path / "a.wav", 1000, 3)])
    made = dataset(tmp_path / "a.jsonl", speed_perturb=[speed])
    samples = made.audio(made.index_ds[0], 0)
    assert len(samples) == round(48000 / speed)
    assert pitch(samples) == pytest.approx(hertz, abs=1)
    assert np.abs(samples[2000:-2000]).max() == pytest.approx(0.1, rel=0.01)
    assert made.get_source_len(0) == made.source_lens(0)[0] == round(48000 / speed) // 160
    assert made[0]["speech"].shape[0] == pytest.approx(300 / speed / 6, abs=1)  # LFR frames


def test_a_gain_is_exact_and_uniform_in_decibels(tmp_path):
    write_manifest(tmp_path / "a.jsonl", [tone(tmp_path / "a.wav", 1000, 0.5)])
    made = dataset(tmp_path / "a.jsonl", gain_db=6)
    plain = dataset(tmp_path / "a.jsonl").audio(made.index_ds[0], 0)
    for epoch in range(20):
        (wanted,) = GAIN.drawn(6, hashes_of(["a"]), 0, epoch)
        factor = made.audio(made.index_ds[0], epoch) / np.where(plain == 0, 1, plain)
        assert 20 * np.log10(factor[plain != 0]) == pytest.approx(wanted, abs=1e-4)
    drawn = GAIN.drawn(6, hashes_of(map(str, range(4000))), 0, 0)
    assert min(drawn) > -6
    assert max(drawn) < 6
    assert np.quantile(drawn, [0.25, 0.5, 0.75]) == pytest.approx([-3, 0, 3], abs=0.3)


def test_switching_one_on_leaves_the_others_as_they_were():
    hashes, samples = hashes_of(map(str, range(500))), np.full(500, 16000)
    one = augmentation({"speed_perturb": [0.9, 1.0, 1.1]}, 7).lengths(samples, hashes, 2)
    other = augmentation({"speed_perturb": [0.9, 1.0, 1.1], "tempo": [0.8, 1.25], "gain_db": 6}, 7)
    tempo = TEMPO.drawn([0.8, 1.25], hashes, 7, 2)
    assert (other.lengths(samples, hashes, 2) == samples_at(one, tempo)).all()
    assert set(zip(one.tolist(), tempo.tolist(), strict=True)) == {
        (length, factor) for length in set(one.tolist()) for factor in (0.8, 1.25)
    }
    drawn = SPEED.drawn([0.9, 1.0, 1.1], hashes_of(map(str, range(30000))), 7, 2)
    shares = np.unique(drawn, return_counts=True)[1] / 30000
    assert shares == pytest.approx([1 / 3] * 3, abs=0.01)


def test_golden_draws():
    """The same on every machine; a change here changes every run that is gone on with."""
    hashes = hashes_of(["S001T010E000N00001", "甲"])
    assert hashes.tolist() == [14139376820825194527, 9087103938155524026]
    assert SPEED.drawn([0.9, 1.0, 1.1], hashes, 3, 4).tolist() == [1.0, 1.1]
    assert TEMPO.drawn([0.9, 1.0, 1.1], hashes, 3, 4).tolist() == [1.0, 0.9]
    assert GAIN.drawn(6, hashes, 3, 4)[0] == pytest.approx(-5.513354027938874)
    assert permutation(6, 3, 4, 1).tolist() == [2, 1, 0, 4, 5, 3]
    assert augmentation({"speed_perturb": [], "gain_db": None}, 0) == augmentation({"tempo": None}, 0) == Augmentation()


@pytest.mark.parametrize("tempo", [0.8, 1.25])
def test_another_tempo_has_its_length_and_the_old_pitch(tmp_path, tempo):
    write_manifest(tmp_path / "a.jsonl", [tone(tmp_path / "a.wav", 1000, 3)])
    made = dataset(tmp_path / "a.jsonl", tempo=[tempo])
    samples = made.audio(made.index_ds[0], 0)
    assert len(samples) == round(48000 / tempo)
    assert samples.dtype == np.float32
    assert pitch(samples) == pytest.approx(1000, abs=1)
    assert np.abs(samples[2000:-2000]).max() == pytest.approx(0.1, rel=0.1)  # within 1 dB
    assert made.get_source_len(0) == made.source_lens(0)[0] == round(48000 / tempo) // 160


def test_a_clip_under_all_of_them_is_as_drawn_and_as_long_as_the_sampler_counts(tmp_path):
    write_manifest(tmp_path / "a.jsonl", [tone(tmp_path / "a.wav", 1000, 1)])
    conf = {"speed_perturb": [0.9, 1.1], "tempo": [0.8, 1.2], "gain_db": 6, "sampler_seed": 5}
    made, plain = dataset(tmp_path / "a.jsonl", **conf), dataset(tmp_path / "a.jsonl")
    source, hashes, lengths = plain.audio(plain.index_ds[0], 0), hashes_of(["a"]), set()
    for epoch in range(12):
        (speed,), (tempo,) = SPEED.drawn([0.9, 1.1], hashes, 5, epoch), TEMPO.drawn([0.8, 1.2], hashes, 5, epoch)
        (gain,) = GAIN.drawn(6, hashes, 5, epoch)
        samples = made.audio(made.index_ds[0], epoch)
        wanted = at_tempo(at_speed(source, speed), tempo) * np.float32(10 ** (gain / 20))
        assert np.array_equal(samples, wanted)
        assert made.source_lens(epoch)[0] == frames(len(samples))
        assert len(samples) <= made.augmentation.longest(len(source))
        lengths.add(len(samples))
    assert len(lengths) == 4


@pytest.mark.parametrize("change", [at_speed, at_tempo])
@given(count=st.integers(1, 50_000), speed=st.sampled_from([0.5, 0.9, 0.95, 1.05, 1.1, 1.25, 2.0]))
def test_the_stated_length_is_the_length(change, count, speed):
    noise = np.random.default_rng(count).standard_normal(count).astype(np.float32)
    changed = change(noise, speed)
    assert len(changed) == samples_at(count, speed)
    assert np.isfinite(changed).all()


def test_a_clip_at_another_rate_is_never_longer_than_stated(tmp_path):
    clips = [
        tone(tmp_path / f"{n}.wav", 300, 1 + n * 0.0137, rate) for n, rate in enumerate((8000, 44100, 48000, 22050))
    ]
    write_manifest(tmp_path / "a.jsonl", clips)
    made = dataset(tmp_path / "a.jsonl", speed_perturb=[0.9, 1.1])
    for epoch in range(4):
        for index, stated in enumerate(made.source_lens(epoch)):
            assert 0 <= stated - len(made.audio(made.index_ds[index], epoch)) // 160 <= 2


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("name", ["ShuffledBatchSampler", "BatchSampler", "EspnetStyleBatchSampler"])
def test_batches_do_not_depend_on_workers(manifest, workers, name):
    conf = {"batch_sampler": name, "max_token_length": 5000, "batch_type": "token", **VARIED}
    alone, other = loader(manifest, 0, **conf), loader(manifest, workers, **conf)
    for epoch in range(3):
        (one, _), (two, validation) = alone.build_iter(epoch), other.build_iter(epoch)
        for batches in (one, two):
            batches.batch_sampler.set_epoch(epoch)  # as train_epoch does
        pairs = list(zip(one, two, strict=True))
        assert all(same(*pair) for pair in pairs)
        assert sum(len(batch["text_lengths"]) for batch, _ in pairs) == len(SECONDS)
        assert len(two) == len(pairs)
        assert all(batch["speech_lengths"].max() * 6 * len(batch["speech"]) <= 400 + 60 for batch, _ in pairs)
        assert sum(len(batch["text_lengths"]) for batch in validation) == len(SECONDS)


@pytest.mark.parametrize("when", ["", "del held; import gc; gc.collect()"])
def test_python_ends_whenever_the_loader_is_freed(manifest, when):
    script = f"""
from pathlib import Path
from tests.unit.test_dataset import loader
held = [iter(loader(Path({str(manifest)!r}), 2).build_iter(0)[0])]
next(held[0])
held.append(held)  # freed by the collector alone, in no order
{when}
print("held")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("held\n")


def test_batches_come_through_pipes_and_not_through_shared_memory(manifest):
    for batch in loader(manifest, 2).build_iter(0)[0]:
        assert type(batch) is dict
        assert not any(item.is_shared() for item in batch.values())


def test_a_worker_that_cannot_send_a_batch_ends_and_training_with_it(manifest):
    script = f"""
from pathlib import Path
from tests.unit.test_dataset import loader
made = loader(Path({str(manifest)!r}), 1)
made.training.collator = lambda clips: {{"speech": lambda: None}}  # which cannot be pickled
list(made.build_iter(0)[0])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert "RuntimeError: DataLoader worker" in done.stderr
    assert "Can't get local object" in done.stderr or "Can't pickle" in done.stderr


@pytest.mark.parametrize(
    "at_the_kill", ["pass", "time.sleep(2)"], ids=["waiting", "in a block that catches everything"]
)
def test_a_worker_that_is_killed_in_the_middle_of_a_batch_ends_the_training_in_one_line(manifest, at_the_kill):
    """What it has sent of a batch is never followed by the rest, which the trainer must not wait for."""
    script = f"""
import multiprocessing, os, signal, sys, time
from pathlib import Path
import numpy, torch
from asr.core import errors
from asr.training.worker import explained
from tests.patience import wait_until
from tests.unit.test_dataset import loader
made = loader(Path({str(manifest)!r}), 1, batch_type="example", batch_size=1)
made.training.collator = lambda clips: {{"speech": torch.zeros(3_000_000)}}  # 12 MB; a pipe holds 64 kB
batches = iter(made.build_iter(0)[0])
next(batches)
(worker,) = [child.pid for child in multiprocessing.active_children()]
def sending():
    threads = Path(f"/proc/{{worker}}/task").iterdir()
    return any((thread / "wchan").read_text().endswith("pipe_write") for thread in threads)
wait_until(sending, "a batch that is being sent")
try:
    os.kill(worker, signal.SIGKILL)
    {at_the_kill}
except RuntimeError:
    pass
try:
    while True:
        next(batches)
except Exception as error:
    print(explained(error, {{"output_dir": ".", "dataset_conf": {{"num_workers": 1}}}}), flush=True)
    os._exit(0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert "training: a data worker was killed, most likely out of memory" in done.stdout, done.stderr


def test_what_is_waited_for_is_told_again_and_again(manifest, tmp_path, monkeypatch, caplog):
    lines = manifest.read_text().splitlines()
    stuck = json.loads(lines[0]) | {"source": str(tmp_path / "never.wav")}
    (tmp_path / "stuck.jsonl").write_text("\n".join([json.dumps(stuck), *lines[1:]]) + "\n")
    os.mkfifo(tmp_path / "never.wav")  # to open it is to wait for ever
    monkeypatch.setattr(dataloader, "WAITING", 0.01)
    made = loader(tmp_path / "stuck.jsonl", 1, batch_type="example", batch_size=len(lines)).build_iter(0)[0]
    batches = iter(made)

    def end_when_told():
        while "more than 0.0005 minutes" not in caplog.text:  # the third line
            time.sleep(0.01)
        for child in multiprocessing.active_children():
            child.kill()

    threading.Thread(target=end_when_told).start()
    with caplog.at_level("WARNING", "asr.progress"), pytest.raises(RuntimeError, match="DataLoader worker"):
        next(batches)
    first = rf"waiting for a batch for more than 0\.0*166667 minutes: {len(lines)} clips, the first /.*wav; its 1 data"
    assert re.match(first, caplog.messages[0]), caplog.messages[0]


def test_a_resumed_epoch_gives_the_rest_of_its_batches(manifest):
    whole = list(loader(manifest, **VARIED).build_iter(2)[0])
    first, _ = (one := loader(manifest, **VARIED)).build_iter(2)
    place = first.batch_sampler.position(2)
    assert all(
        same(*pair)
        for pair in zip(
            loader(manifest, **VARIED).build_iter(2, start_step=dataloader.EpochStart(2))[0], whole[2:], strict=True
        )
    )
    resumed = dataloader.EpochStart(2, place)
    assert all(same(*pair) for pair in zip(one.build_iter(2, start_step=resumed)[0], whole[2:], strict=True))
    assert len(list(one.build_iter(3)[0])) == len(one.build_iter(3)[0])
    smaller = loader(manifest, batch_size=350, **VARIED)
    rest = sum(len(batch["text"]) for batch in smaller.build_iter(2, start_step=resumed)[0])
    assert rest + sum(len(batch["text"]) for batch in whole[:2]) == len(SECONDS)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("harm", ["gone", "cut", "text", "nan"])
def test_a_clip_that_cannot_be_read_leaves_its_batch_as_if_it_had_never_been_in_it(tmp_path, workers, harm):
    clips = tiny.make_clips(tmp_path, [0.5, 0.6, 0.7])
    for name, items in (("all", clips), ("others", [clips[0], clips[2]])):
        write_manifest(tmp_path / f"{name}.jsonl", items)
    path = Path(clips[1].source)
    if harm == "gone":
        path.unlink()
    elif harm == "nan":
        audio, rate = soundfile.read(path)
        soundfile.write(path, np.where(np.arange(len(audio)) == 77, np.nan, audio), rate, "FLOAT")
    else:
        path.write_bytes(path.read_bytes()[:1000] if harm == "cut" else b"no sound")
    (batch,) = loader(tmp_path / "all.jsonl", workers).build_iter(0)[0]
    (others,) = loader(tmp_path / "others.jsonl").build_iter(0)[0]
    (found,), blank = batch.pop("unreadable"), batch.pop("blank")
    assert (blank, tuple(found[:3])) == (False, (3, clips[1].key, str(path)))
    says = {
        "gone": "is not there any more",
        "cut": "has 0.03 s now, and had 0.60 s in stage 1",
        "text": "cannot be decoded",
        "nan": "NaN or infinite",
    }
    assert says[harm] in found[3]
    order = torch.argsort(batch["speech_lengths"].view(-1)), torch.argsort(others["speech_lengths"].view(-1))
    assert same(
        *({key: value[rows] for key, value in made.items()} for made, rows in zip((batch, others), order, strict=True))
    )


@pytest.mark.parametrize("dither", [0.0, 1.0])
def test_a_batch_of_which_nothing_can_be_read_is_one_silent_clip_that_says_so(tmp_path, dither):
    clips = tiny.make_clips(tmp_path, [0.5, 0.6, 0.7])
    write_manifest(tmp_path / "a.jsonl", clips)
    for item in clips[1:]:
        Path(item.source).write_bytes(b"no sound")
    data = dataset(tmp_path / "a.jsonl", dither)
    batch = data.collator([data[1], data[2]])
    assert batch["blank"]
    assert [item[1] for item in batch["unreadable"]] == [clips[1].key, clips[2].key]
    assert batch["speech"].shape[:2] == (1, 10)  # of the 60 frames of a clip of 0.6 s, 6 and 6 stacked
    assert torch.isfinite(batch["speech"]).all()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_folder_that_is_gone_stops_training_at_once(tmp_path, workers):
    clips = tiny.make_clips(tmp_path / "disk", [0.5, 0.6, 0.7])
    write_manifest(tmp_path / "a.jsonl", clips)
    (tmp_path / "disk").rename(tmp_path / "unmounted")
    for place in ("gone", "an empty mount point"):
        with pytest.raises(RecipeError) as caught:
            list(loader(tmp_path / "a.jsonl", workers).build_iter(0)[0])
        line = str(explained(caught.value, {"dataset_conf": {}}))
        assert line == f"{tmp_path}/disk: not there any more, or empty; mount its disk, or put it back", place
        (tmp_path / "disk").mkdir(exist_ok=True)


def test_the_index_reads_lines_as_they_are(tmp_path):
    clips = tiny.make_clips(tmp_path, [0.5, 0.6])
    odd = clips[0]._replace(target="一 A\u2028二", source="/data/aishell/甲.wav")
    write_manifest(tmp_path / "a.jsonl", [odd, clips[1]])
    index = RecipeIndex(tmp_path / "a.jsonl")
    assert len(index) == 2
    assert (index[0]["target"], index[0]["source"]) == (odd.target, odd.source)  # FunASR would strip the blank


def test_the_launcher_registers_everything_by_importing_the_dataloader():
    code = (
        "import asr.data.dataloader; from funasr.register import tables as t;"
        "print('ShuffledBatchSampler' in t.batch_sampler_classes, 'RecipeAudioDataset' in t.dataset_classes)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split()[-2:] == ["True", "True"], done.stderr
