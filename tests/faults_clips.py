"""Faults of clips (tests/faults.py): CLIPS, and SOUND, those that only --check-audio finds."""

from __future__ import annotations

import os
import struct

import numpy as np
import soundfile

from tests import cdsd_tree
from tests.faults import Place, Row


def tone(seconds: float, rate: int = 16000, level: float = 0.3) -> np.ndarray:
    return level * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)


# What is wrong with a clip --------------------------------------------------------------------------------------------


def truncated(at: Place) -> Row:
    os.truncate(at.clip(), at.clip().stat().st_size - 100)
    return "error", "truncated audio", at.clip().name, "", at.utt(), "bytes of sound, the file has"


def no_bytes(at: Place) -> Row:
    os.truncate(at.clip(), 0)
    return "error", "zero-length audio", at.clip().name, "", at.utt(), "0 bytes"


def no_samples(at: Place) -> Row:
    at.clip().write_bytes(cdsd_tree.wav_header(0))
    return "error", "zero-length audio", at.clip().name, "", at.utt(), "0 samples"


def length_never_written(at: Place) -> Row:
    at.clip().write_bytes(cdsd_tree.wav_header(0) + bytes(range(100, 200)) * 320)
    return "error", "header disagrees with size", at.clip().name, "", at.utt(), "32,000 bytes"


def more_sound_than_the_header_says(at: Place) -> Row:
    at.clip().write_bytes(cdsd_tree.wav_header(16000) + bytes(range(100, 200)) * 640)
    return "warning", "header disagrees with size", at.clip().name, "", at.utt(), "32,000 bytes"


def no_sound_file(at: Place) -> Row:
    at.clip().write_text("this is no sound")
    return "error", "unreadable audio", at.clip().name, "", at.utt(), ""


def a_web_page(at: Place) -> Row:
    at.clip().write_text("<html>404 Not Found</html>" * 99)
    return "error", "unreadable audio", at.clip().name, "", at.utt(), ""


def a_folder_for_a_clip(at: Place) -> Row:
    at.clip().unlink()
    at.clip().mkdir()
    return "error", "unreadable audio", at.clip().name, "", at.utt(), "directory"


def a_link_to_nowhere(at: Place) -> Row:
    at.clip().unlink()
    at.clip().symlink_to("gone.wav")
    return "error", "unreadable audio", at.clip().name, "", at.utt(), "No such file"


def no_rate(at: Place) -> Row:
    raw = bytearray(cdsd_tree.wav_header(16000) + bytes(32000))
    struct.pack_into("<I", raw, 24, 0)
    at.clip().write_bytes(raw)
    return "error", "unreadable audio", at.clip().name, "", at.utt(), ""


def too_short(at: Place) -> Row:
    cdsd_tree.write_wav(at.clip(), 0.024)
    return "error", "too short audio", at.clip().name, "", at.utt(), "24.0 ms"


def too_long_for_funasr(at: Place) -> Row:
    cdsd_tree.write_wav(at.clip(), 20.49)
    return "note", "clip above 20.48 s", at.clip().name, "", at.utt(), "20.49 s"


def too_short_for_its_text(at: Place) -> Row:
    cdsd_tree.write_wav(at.clip(1), 0.2)
    return "warning", "more characters than frames", at.clip(1).name, "", at.utt(1), "6 characters, but 0.20 s carry 3"


def telephone_rate(at: Place) -> Row:
    soundfile.write(at.clip(), tone(2, 8000), 8000)
    return "note", "rate not 16 kHz", at.clip().name, "", at.utt(), "8000 Hz"


def studio_rate(at: Place) -> Row:
    soundfile.write(at.clip(), tone(2, 48000), 48000)
    return "note", "rate not 16 kHz", at.clip().name, "", at.utt(), "48000 Hz"


def stereo(at: Place) -> Row:
    soundfile.write(at.clip(), np.stack([tone(2), tone(2)], axis=1), 16000)
    return "note", "not mono", at.clip().name, "", at.utt(), "2 channels"


def a_damaged_flac_header(at: Place) -> Row:
    path = at.clip().with_suffix(".flac")
    soundfile.write(path, tone(2), 16000)
    at.clip().unlink()
    path.write_bytes(b"fLaX" + path.read_bytes()[4:])
    return "error", "unreadable audio", path.name, "", at.utt(), ""


def two_formats(at: Place) -> Row:
    soundfile.write(at.clip().with_suffix(".flac"), tone(2), 16000)
    return "warning", "clip in two formats", ".flac", "", at.utt(), ".wav is taken"


def a_stray_clip(at: Place) -> Row:
    cdsd_tree.write_wav(at.part / "Audio/lost.wav")
    return "warning", "audio without speaker", "Audio/lost.wav", "", "lost", "not read"


# What only decoding shows: --check-audio ------------------------------------------------------------------------------


def clipped(at: Place) -> Row:
    soundfile.write(at.clip(), np.clip(tone(2, level=3.0), -1, 1), 16000)
    return "warning", "clipping", at.clip().name, "", at.utt(), ""


def silent(at: Place) -> Row:
    soundfile.write(at.clip(), tone(2, level=0.0001), 16000)
    return "warning", "silence", at.clip().name, "", at.utt(), ""


def not_a_number(at: Place) -> Row:
    sound = tone(2)
    sound[1000] = np.nan
    soundfile.write(at.clip(), sound, 16000, subtype="FLOAT")
    return "error", "samples not finite", at.clip().name, "", at.utt(), "at 0.06 s"


def integers_stored_as_floats(at: Place) -> Row:
    soundfile.write(at.clip(), 32768 * tone(2), 16000, subtype="FLOAT")
    return "error", "samples out of range", at.clip().name, "", at.utt(), "times full scale"


def a_header_that_counts_itself(at: Place) -> Row:
    raw = bytearray(at.clip().read_bytes())
    raw[40:44] = struct.pack("<I", len(raw))
    at.clip().write_bytes(raw)
    return "warning", "header disagrees with size", at.clip().name, "", at.utt(), "44 bytes more than there are"


def a_flac_that_breaks_off(at: Place) -> Row:
    path = at.clip().with_suffix(".flac")
    soundfile.write(path, tone(2) + 0.1 * np.random.default_rng(0).standard_normal(32000), 16000)
    at.clip().unlink()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return "error", "unreadable audio", path.name, "", at.utt(), ""


CLIPS = (
    *(
        truncated,
        no_bytes,
        no_samples,
        length_never_written,
        more_sound_than_the_header_says,
        no_sound_file,
        a_web_page,
        not_a_number,
        integers_stored_as_floats,
        a_header_that_counts_itself,
    ),
    *(a_folder_for_a_clip, a_link_to_nowhere, no_rate, too_short, too_long_for_funasr, too_short_for_its_text),
    *(telephone_rate, studio_rate, stereo, a_damaged_flac_header, two_formats, a_stray_clip),
)
SOUND = (clipped, silent, a_flac_that_breaks_off)
