"""The published schedule, traced by hand."""

from aecore.runs.config import TrainConfig
from aecore.training.meter import Meter
from aecore.training.plateau import Plateau

CONFIG = TrainConfig.model_validate({"recipe": "published", "patience": 2, "guard": 3, "decays": 2})


def test_the_counters_by_hand():
    plateau = Plateau(1.0)
    #          value  halved  bad  reference
    expected = [
        (10.0, False, 0, 10.0),
        (11.0, False, 1, 10.0),
        (12.0, False, 2, 10.0),  # two bad epochs, but epoch 2 is before the guard
        # the counter went on growing, so the guard's own epoch halves at once
        (11.5, True, 0, 11.5),
        # better than the reference, which is now the worse value, not the best
        (11.4, False, 0, 11.4),
        (11.6, False, 1, 11.4),
        (11.6, True, 0, 11.6),
    ]
    for epoch, (value, halved, bad, reference) in enumerate(expected):
        assert plateau.update(value, epoch, CONFIG) is halved, epoch
        assert (plateau.bad, plateau.reference) == (bad, reference)
    assert plateau.lr == 0.25
    assert plateau.exhausted(CONFIG)
    assert Plateau(**plateau.state()) == plateau


def test_a_meter_weights_by_sentences_and_its_state_is_exact():
    meter = Meter()
    meter.add({"kl": 2.0}, 32)
    meter.add({"kl": 5.0, "rec": 0.1}, 4)
    assert meter.means() == {"kl": (64 + 20) / 36, "rec": 0.1}
    again = Meter(meter.state())
    again.add({"kl": 0.3}, 7)
    meter.add({"kl": 0.3}, 7)
    assert again.means() == meter.means()
