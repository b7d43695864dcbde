"""The ranking metrics: order and wording are entries of one table; what is measured is training/validation.py."""

import pytest

from asr.config.schema import TrainConf
from asr.core.metrics import METRICS, Metric
from asr.models import families
from asr.training.checkpoints.checkpoint import best_first
from asr.training.ranking import Ranking


@pytest.mark.parametrize(("metric", "best"), [("cer", "a"), ("acc", "b"), ("loss", "a")])
def test_which_way_is_better(metric, best):
    assert best_first({"a": 0.2, "b": 0.3}, metric)[0] == best
    ranking = Ranking(metric, patience=2)
    worse = 0.4 if metric == "acc" else 0.6
    for name, value, exhausted in (("first", 0.5, False), ("second", worse, False), ("third", worse, True)):
        ranking.validate(name, value)
        assert ranking.is_exhausted == exhausted


@pytest.mark.parametrize(("metric", "text"), [("cer", "CER 12.34 %"), ("acc", "ACC 12.34 %"), ("loss", "loss 0.1234")])
def test_a_value_as_people_read_it(metric, text):
    assert METRICS[metric].text(metric, 0.1234) == text


def test_each_metric_may_be_configured_and_families_rank_by_no_other():
    for name in METRICS:
        assert TrainConf(max_epoch=1, avg_keep_nbest_models_type=name).avg_keep_nbest_models_type == name
    for family in families.FAMILIES.values():
        assert set(family.rankings) <= METRICS.keys()


def test_a_new_metric_is_an_entry(monkeypatch):
    monkeypatch.setitem(METRICS, "speaker_cer", Metric("speaker_cer", "mean CER over speakers, %"))
    assert best_first({"a": 0.3, "b": 0.2}, "speaker_cer") == ["b", "a"]
    assert METRICS["speaker_cer"].text("speaker_cer", 0.2) == "SPEAKER_CER 20.00 %"
