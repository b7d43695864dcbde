"""exp/TAG/adapter: on its model it says, to the bit, what exp/TAG/model says; one model in memory serves many."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

from asr.averaging.mean import mean_state
from asr.config.stage_files import read_decode_settings
from asr.core import kaldi_text
from asr.core.errors import RecipeError
from asr.core.files import write_json
from asr.core.manifest import read_manifest, write_manifest
from asr.core.run_records import read_decode
from asr.decoding import run as decoding
from asr.decoding.batches import batches
from asr.models import adapter_folder, lineage, lora
from asr.models.adapter_folder import Adapters
from asr.models.loading import load
from asr.serving.decoder import open_decoder
from tests import tiny
from tests.patience import PATIENCE
from tests.trained import lora_conf, weights
from tests.unit.test_lora import CONF, FAMILIES, adapted

NEWEST = 1


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny.make_model(tmp_path_factory.mktemp("adapters") / "base")


@pytest.fixture(scope="module")
def make(base, tmp_path_factory):
    """Make a run's adapter and its averaged model: (folder of the adapter, folder of the model)."""
    made = {}

    def of(name, seed, family=FAMILIES[0]):
        if (name, family) not in made:
            exp = tmp_path_factory.mktemp("exp") / name
            exp.mkdir()
            (exp / "base").symlink_to(base)
            names = [f"model.pt.ep{number}" for number in range(3)]
            for number, each in enumerate(names):
                state = lora.trained_state(adapted(base, family, seed=seed + number))
                torch.save({"state_dict": state}, exp / each)
            write_json(exp / "lineage.json", record(seed))
            how = lora.merging(family, lora_conf(family, **CONF))
            adapter_folder.write(exp, names, NEWEST, how, "shared")
            mean = mean_state([exp / each for each in names], NEWEST, how, base / "model.pt")
            shutil.copytree(base, exp / "model")
            torch.save({"state_dict": mean}, exp / "model/model.pt")
            made[name, family] = exp / "adapter", exp / "model"
        return made[name, family]

    return of


def record(seed):
    return {"schema_version": 1, "ancestors": [], "not_known": [], "clips": [f"{seed:064d}"], "fingerprints": []}


@pytest.fixture
def speakers(make, tmp_path):
    """A folder of the adapters of speakers 02 and 05."""
    for name, seed in (("02", 10), ("05", 20)):
        shutil.copytree(make(name, seed)[0], tmp_path / "adapters" / name)
    return tmp_path / "adapters"


def same(module, state):
    return all(torch.equal(value, state[key].to(value.dtype)) for key, value in module.state_dict().items())


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_on_its_model_is_the_averaged_model_to_the_bit_and_comes_off_again(base, make, family):
    folder, model = make("02", 10, family)
    module = load(base).model
    adapters = Adapters(folder, base, module)
    untouched, merged = weights(base / "model.pt"), weights(model / "model.pt")
    assert not same(module, merged)
    for _ in range(2):
        assert adapters.use("whoever") == folder  # an adapter itself is everybody's
        assert same(module, merged)
    assert (folder / "adapter.pt").stat().st_size < (base / "model.pt").stat().st_size
    assert not same(module, untouched)


def test_one_model_serves_many_speakers_in_turn_and_who_has_none_gets_the_model_as_it_was(base, make, speakers):
    module = load(base).model
    adapters = Adapters(speakers, base, module)
    states = {"02": make("02", 10)[1], "05": make("05", 20)[1], "07": base, "": base}
    for who in ("02", "05", "05", "07", "02", "", "05", "02"):
        assert adapters.use(who) == (speakers / who if who in ("02", "05") else None)
        assert same(module, weights(states[who] / "model.pt")), who


def test_no_batch_is_of_two_adapters_and_without_adapters_nothing_changes(tmp_path):
    items = [item._replace(speaker=f"{n % 3}") for n, item in enumerate(tiny.make_clips(tmp_path, [0.3, 0.5, 0.4] * 4))]
    plan = batches(items, 100, {"0", "2"})
    whose = {item.key: item.speaker for item in items}
    for batch in plan:
        assert len({clip.adapter for clip in batch}) == 1
        assert {whose[clip.key] for clip in batch} <= ({batch[0].adapter} if batch[0].adapter else {"1"})
    assert [batch[0].adapter for batch in plan] == ["", "0", "2"]
    assert sorted(clip.key for batch in plan for clip in batch) == sorted(whose)
    assert batches(items, 1) == batches(items, 1, ())


@pytest.mark.slow
def test_each_speaker_is_decoded_by_an_adapter_of_their_own_and_the_others_by_the_model(base, make, speakers, tmp_path):
    clips = tiny.make_clips(tmp_path / "clips", [0.8, 1.1, 1.4, 0.9, 1.2, 0.7])
    items = [item._replace(speaker=who) for item, who in zip(clips, ("02", "05", "07") * 2, strict=True)]
    write_manifest(tmp_path / "test.jsonl", items)
    alone = {
        who: load(folder) for who, folder in {"02": make("02", 10)[1], "05": make("05", 20)[1], "07": base}.items()
    }
    wanted = {item.key: tiny.decode(alone[item.speaker], [item], 60)[item.key] for item in items}
    plain = {item.key: tiny.decode(alone["07"], [item], 60)[item.key] for item in items}
    assert sum(wanted[key] != plain[key] for key in plain) == 4
    conf = {**read_decode_settings(), "adapter": str(speakers)}
    decoding.run(base, tmp_path / "test.jsonl", tmp_path / "tuned", 0, conf)
    assert dict(kaldi_text.read_text(tmp_path / "tuned/hyp.txt")) == wanted
    found = read_decode(tmp_path / "tuned")
    assert found["adapted"] == {"speakers": 2, "of_speakers": 3, "clips": 4, "of_clips": 6}
    inputs = decoding.fingerprint(base, tmp_path / "test.jsonl", conf)
    assert decoding.is_up_to_date(tmp_path / "tuned", inputs)
    assert "adapters" not in decoding.fingerprint(base, tmp_path / "test.jsonl", decoding.untouched(conf))
    (speakers / "05").rename(speakers / "07")  # the same files, somebody else's
    assert not decoding.is_up_to_date(tmp_path / "tuned", decoding.fingerprint(base, tmp_path / "test.jsonl", conf))


def damage(folder):
    content = bytearray((folder / "adapter.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "adapter.pt").write_bytes(content)


def set_key(**values):
    return lambda folder: write_json(
        folder / "adapter.json", {**json.loads((folder / "adapter.json").read_text()), **values}
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            set_key(of_sha256="0" * 64),
            "an adapter of shared, and .*/base/model.pt has other weights; give it the model",
        ),
        (set_key(schema_version=2), "adapter.json: is not of schema_version 1; run its stage 4 again"),
        (damage, "adapter.pt: is not as stage 4 wrote it; copy the folder anew"),
        (lambda folder: (folder / "adapter.pt").unlink(), "adapter.pt: is not as stage 4 wrote it"),
        (lambda folder: (folder / "adapter.json").write_text("{"), r"adapter.json:1: not JSON .*; copy it anew"),
        (shutil.rmtree, r"adapters: no adapter in it \(adapter.json, or SPEAKER/adapter.json\)"),
    ],
)
def test_what_is_no_adapter_of_this_model_is_refused_in_a_line(base, speakers, change, message):
    shutil.rmtree(speakers / "05")
    change(speakers / "02")
    with pytest.raises(RecipeError, match=message):
        Adapters(speakers, base, torch.nn.Module())


def test_clips_that_an_adapter_was_trained_on_are_not_tested_on(base, speakers, tmp_path):
    items = tiny.make_clips(tmp_path / "clips", [0.8, 1.1])
    write_manifest(tmp_path / "test.jsonl", items)
    folders = [speakers / "02", speakers / "05"]
    lineage.refuse(base, "shared", tmp_path / "test.jsonl", folders)
    clip = lineage.identify(read_manifest(tmp_path / "test.jsonl"))[1]
    write_json(speakers / "05/lineage.json", {**record(1), "clips": [clip.digest]})
    with pytest.raises(RecipeError, match=rf"1 of its 2 clips were trained on .*first {items[1].key}"):
        lineage.refuse(base, "shared", tmp_path / "test.jsonl", folders)


def transcribe(*words):
    command = [sys.executable, "-m", "asr.transcribe", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)


@pytest.mark.slow
def test_transcribe_and_the_server_use_the_adapter_that_is_asked_for(base, make, speakers, tmp_path):
    (clip,) = tiny.make_clips(tmp_path / "clips", [1.5])
    texts = {
        who: tiny.decode(load(folder), [clip], 60)[clip.key] for who, folder in (("02", make("02", 10)[1]), ("", base))
    }
    assert texts["02"] != texts[""]
    done = transcribe("--model", base, "--adapter", speakers, "--speaker", "02", clip.source)
    assert (done.stdout, done.stderr) == (f"{clip.source}\t{texts['02']}\n", "")
    done = transcribe("--model", base, "--adapter", speakers, "--speaker", "07", clip.source)
    assert done.stdout == f"{clip.source}\t{texts['']}\n"
    assert done.stderr == (f"note: {speakers}: no adapter of 07 (there are: 02, 05); the model is used without one\n")
    done = transcribe("--model", base, "--adapter", speakers, clip.source)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: --adapter {speakers}: say whose with --speaker NAME: 02, 05\n"
    assert "give --adapter DIR as well" in transcribe("--model", base, "--speaker", "02", clip.source).stderr

    served = open_decoder(base, adapter=speakers, speaker="05")
    assert served.models() == {"base": "05", "base@02": "02", "base@05": "05"}

    def heard(speaker):
        return "".join(each.text for each in served.segments(tmp_path / clip.source, 1, lambda: False, speaker))

    assert (heard("02"), heard(""), heard("02")) == (texts["02"], texts[""], texts["02"])
    assert heard(None) == heard("05") != texts[""]
