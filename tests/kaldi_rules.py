"""The rules of Kaldi's validate_data_dir.sh for a data folder without features, kept by what stage 1 writes."""

from pathlib import Path


def broken_rules(folder: Path) -> list[str]:
    """Each rule that the folder breaks, in words; bytes are compared, as ``LC_ALL=C sort`` does."""
    texts = {name: (folder / name).read_bytes() for name in ("wav.scp", "text", "utt2spk", "spk2utt")}
    lines = {name: text.split(b"\n")[:-1] for name, text in texts.items()}
    ids = {name: [line.split(b" ")[0] for line in each] for name, each in lines.items()}
    broken = [f"{name} does not end in a line break" for name, text in texts.items() if not text.endswith(b"\n")]
    broken += [f"{name} is not sorted, or has an id twice" for name, each in ids.items() if each != sorted(set(each))]
    pairs = [line.split() for line in lines["utt2spk"]]
    if not all(len(pair) == 2 for pair in pairs):
        return [*broken, "utt2spk has not two words a line"]
    if lines["utt2spk"] != sorted(lines["utt2spk"], key=lambda line: (line[line.index(b" ") :], line)):
        broken.append("utt2spk is not sorted when sorted by speaker")
    broken += [f"{utt} does not begin with {speaker}" for utt, speaker in pairs if not utt.startswith(speaker + b"-")]
    broken += [f"{name} has other ids than utt2spk" for name in ("wav.scp", "text") if ids[name] != ids["utt2spk"]]
    said = [[utt, speaker] for line in lines["spk2utt"] for speaker, *own in [line.split(b" ")] for utt in own]
    return broken if said == pairs else [*broken, "spk2utt says something else than utt2spk"]
