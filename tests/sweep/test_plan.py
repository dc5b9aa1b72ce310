"""A sweep file and the runs that it stands for."""

import pytest

from aecore.catalogue import Catalogue
from aecore.errors import CompositionError, ConfigError
from aecore.sweep.plan import Sweep, check, points, read_sweep


def named(**tables):
    return points(Sweep.model_validate(tables))


def test_plugins_times_data_times_grid_times_seeds():
    found = named(
        plugins=["annealing", "ae_pretrain + free-bits", "vae"],
        seeds=[0, 3],
        data=["toy", "toy[:50%]"],
        settings={"train.epochs": 2, "free_bits.mode": "batch"},
        grid={"free_bits.target_kl": [4.0, 8.0], "train.lr": [0.01]},
    )
    assert len(found) == 2 * 2 * (1 + 2 + 1)
    assert found[0].name == "annealing-toy-lr=0.01-s0"
    assert found[0].settings == {"train.epochs": 2, "train.lr": 0.01}  # nothing of free bits
    (one,) = [p for p in found if p.name == "ae_pretrain+free_bits-toy_50-target_kl=8.0-lr=0.01-s3"]
    assert one.plugins == ("ae_pretrain", "free_bits")
    config = one.config()
    assert config.plugins["free_bits"] == {"mode": "batch", "target_kl": 8.0}
    assert (config.train.seed, config.train.epochs, config.train.lr) == (3, 2, 0.01)
    assert config.data.spec == "toy[:50%]"
    assert one.varied == {
        "plugins": "ae_pretrain+free_bits", "data": "toy[:50%]",
        "free_bits.target_kl": "8.0", "train.lr": "0.01", "seed": "3",
    }  # fmt: skip
    assert found[-1].plugins == ()


def test_keys_may_be_tables(tmp_path):
    (tmp_path / "s.toml").write_text(
        'plugins = "betavae"\n[settings]\ntrain.epochs = 2\n[grid.betavae]\nbeta = [0.1, 0.2]\n'
    )
    found = read_sweep(tmp_path / "s.toml")
    assert found.settings == {"train.epochs": 2}
    assert [point.name for point in points(found)] == ["betavae-beta=0.1-s0", "betavae-beta=0.2-s0"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "plugins: field required"),
        ("plugins = []", "plugins = []"),
        ('plugin = ["vae"]', "it is unknown. Did you mean 'plugins'?"),
        ('plugins = ["vae"]\nseeds = 3', "seeds = 3"),
        ('plugins = ["vae"]\n[grid]\n"train.lr" = 0.1', "grid.train.lr = 0.1"),
        ("plugins = [", "cannot be read as TOML"),
    ],
)
def test_a_file_that_is_no_sweep(tmp_path, text, message):
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_sweep(tmp_path / "s.toml")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"grid": {"lr": [1]}}, "'lr' belongs to no section"),
        ({"grid": {"annealin.start": [1]}}, "Did you mean 'annealing'?"),
        ({"settings": {"train.seed": 1}}, "'train.seed' is a list of its own"),
        ({"grid": {"data.spec": ["toy"]}}, "'data.spec' is a list of its own"),
        ({"seeds": [1, 1]}, "'annealing-s1' stands for two runs"),
    ],
)
def test_what_no_run_can_have(tables, message):
    with pytest.raises(ConfigError) as caught:
        named(plugins=["annealing"], **tables)
    assert message in str(caught.value)


def test_a_run_that_could_not_begin_stops_the_sweep_before_any_does():
    catalogue = Catalogue.discover()
    with pytest.raises(CompositionError, match="both own beta_schedule"):
        check(named(plugins=["vae", "annealing+betavae"]), catalogue)
    with pytest.raises(ConfigError, match="betavae-beta=-1-s0: "):
        check(named(plugins=["betavae"], grid={"betavae.beta": [-1]}), catalogue)
