"""What a base model can spell: the same tokens as FunASR's own tokenizer makes, without importing FunASR."""

import io
import json
from pathlib import Path

import pytest
import sentencepiece
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from asr.core.errors import RecipeError
from asr.preparation.vocabulary import Vocabulary, read_vocabulary, unknown_share
from asr.scoring.normalize import normalize_target
from tests import tiny_nano, tiny_sensevoice

TOKENS = ["<blank>", "<s>", "</s>", "你", "好", "a", "ktv", "he@@", "llo", "1", "〇", "<unk>"]
SEG_DICT = {"你": "你", "好": "好", "a": "a", "hello": "he@@ llo", "k": "k", "1": "1", "〇": "〇", "啊": "啊"}
WORDS = st.text(st.sampled_from("你好天a1k〇啊"), min_size=1) | st.sampled_from(
    ["hello", "Hello", "你hello", "〇你好", "ktv"]
)
TEXTS = st.lists(WORDS, min_size=1).map(" ".join)  # as targets are: one blank between words, none outside


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model folder with a seg_dict, named as the hub's models name it."""
    root = tmp_path_factory.mktemp("model")
    (root / "tokens.json").write_text(json.dumps(TOKENS, ensure_ascii=False), encoding="utf-8")
    (root / "seg_dict").write_text("".join(f"{key} {value}\n" for key, value in SEG_DICT.items()), encoding="utf-8")
    (root / "config.yaml").write_text("tokenizer: CharTokenizer\ntokenizer_conf: {unk_symbol: <unk>}\n")
    metas = {"tokenizer_conf": {"token_list": "tokens.json", "seg_dict_file": "seg_dict"}}
    (root / "configuration.json").write_text(json.dumps({"file_path_metas": metas}))
    return root


@given(text=TEXTS)
def test_tokens_are_those_of_funasr_with_a_seg_dict(folder, text):
    from funasr.tokenizer.char_tokenizer import CharTokenizer

    theirs = CharTokenizer(token_list=TOKENS, seg_dict_file=str(folder / "seg_dict"), unk_symbol="<unk>")
    ours = read_vocabulary(folder)
    ids = [TOKENS.index(token) for token, _ in ours.tokenize(text)]
    assert ids == theirs.encode(text)
    count, unknown = ours.look_up(text)
    assert count == len(ids)
    assert bool(unknown) == (theirs.unk_id in ids)


@given(text=TEXTS)
def test_tokens_are_those_of_funasr_without_one(text):
    from funasr.tokenizer.char_tokenizer import CharTokenizer

    theirs = CharTokenizer(token_list=TOKENS, unk_symbol="<unk>")
    ours = Vocabulary(frozenset(TOKENS))
    assert [TOKENS.index(token) for token, _ in ours.tokenize(text)] == theirs.encode(text)
    count, unknown = ours.look_up(text)
    assert count == len(theirs.encode(text))
    assert bool(unknown) == (theirs.unk_id in theirs.encode(text))


def test_a_sentence_that_begins_outside_the_dictionarys_range_is_one_unknown_word(folder):
    vocabulary = read_vocabulary(folder)
    assert vocabulary.look_up("㐂你好")[1] == ["㐂你好"]
    assert vocabulary.look_up("你㐂好")[1] == ["㐂"]
    assert vocabulary.characters == {"你", "好", "a", "1", "〇"}


def test_the_bundled_base_model_is_read_from_its_folder():
    vocabulary = read_vocabulary(Path(__file__).parents[2] / "mini/base")
    assert len(vocabulary.characters) == 350
    assert vocabulary.look_up("今天龘")[1] == ["龘"]


def test_a_tokenizer_that_is_not_known_is_not_checked(tmp_path):
    (tmp_path / "config.yaml").write_text("tokenizer: WhisperTokenizer\n")
    assert read_vocabulary(tmp_path) is None


def test_the_share_is_of_characters_not_of_texts_or_kinds(folder):
    share, lost = unknown_share(["你好", "天天 a", "龘好"], read_vocabulary(folder))
    assert (share, lost) == (3 / 7, ["天", "龘"])
    assert unknown_share([], read_vocabulary(folder)) == (0, [])


def test_a_sentencepiece_model_is_asked_for_each_character(tmp_path):
    tiny_sensevoice.write_folder(tmp_path, list("今天气很好"), list(tiny_sensevoice.TAGS.values()))
    found = read_vocabulary(tmp_path)
    assert (found.look_up("今天龘 很好鑫龘")[1], found.look_up("今天 ktv")[0]) == (["龘", "鑫"], 5)
    assert unknown_share(["今天", "龘龘很"], found) == (2 / 5, ["龘"])
    (tmp_path / tiny_sensevoice.BPE).unlink()
    with pytest.raises(RecipeError, match="no such SentencePiece model; fetch the base model again"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize("dummy_prefix", [True, False])
def test_a_sentencepiece_model_with_bytes_writes_everything(tmp_path, dummy_prefix):
    tiny_sensevoice.write_folder(tmp_path, list("今天"), [])
    held = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["今天天气很好"] * 9),
        model_writer=held,
        vocab_size=300,
        byte_fallback=True,
        add_dummy_prefix=dummy_prefix,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (tmp_path / tiny_sensevoice.BPE).write_bytes(held.getvalue())
    assert unknown_share(["今天龘", "𠮷"], read_vocabulary(tmp_path)) == (0, [])


@pytest.mark.parametrize("fast", [True, False])
def test_a_byte_level_tokenizer_writes_everything_and_another_what_it_has(tmp_path, fast):
    (tmp_path / "config.yaml").write_text("tokenizer: HuggingfaceTokenizer\n")
    tiny_nano.make_tokenizer(tmp_path / tiny_nano.LLM, ["今", "天"])
    path = tmp_path / tiny_nano.LLM / "tokenizer.json"
    if not fast:  # as the hub's older folders have it
        tokenizers.Tokenizer.from_file(str(path)).model.save(str(path.parent))
        path.unlink()
    assert unknown_share(["今天龘", "𠮷 ktv"], read_vocabulary(tmp_path)) == (0, [])
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"今": 0, "<unk>": 1}, unk_token="<unk>"))
    words.save(str(path))
    assert read_vocabulary(tmp_path).look_up("今龘")[1] == ["龘"]
    path.unlink()
    for rest in (tmp_path / tiny_nano.LLM).glob("merges.txt"):
        rest.unlink()
    with pytest.raises(RecipeError, match=r"no tokenizer\.json and no merges\.txt"):
        read_vocabulary(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.yaml", None, "no config.yaml in it, so it is not a FunASR model folder"),
        ("config.yaml", "a: [", "config.yaml: not YAML"),
        ("configuration.json", "[1]", "configuration.json: must be a JSON object; fetch the model again"),
        ("tokens.json", None, "tokens.json: no such token list"),
        ("tokens.json", '{"a": 1}', "tokens.json: not a token list"),
        ("tokens.json", "[]", "tokens.json: the token list is empty"),
        ("seg_dict", None, "seg_dict: no such seg_dict"),
    ],
)
def test_a_broken_model_folder_is_named(folder, tmp_path, name, text, message):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).unlink() if text is None else (tmp_path / name).write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_vocabulary(tmp_path)


def test_a_latin_word_makes_the_same_tokens_with_and_without_blanks_beside_it(folder):
    found = [read_vocabulary(folder).tokenize(normalize_target(text)) for text in ("你好Hello啊", "你好 hello 啊")]
    assert found[0] == found[1]
    assert [token for token, _ in found[0]][2:4] == ["he@@", "llo"]
