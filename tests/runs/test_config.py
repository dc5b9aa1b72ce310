"""config.toml and --set: what is read, what is refused and how, and that a written file trains the
same run.
"""

import datetime
import tomllib

import pytest
import torch

from aecore.api import opened
from aecore.errors import ConfigError
from aecore.plugin import CriticConfig, PluginConfig
from aecore.runs.checkpoint import load_tensors
from aecore.runs.config import (
    SECTIONS,
    RunConfig,
    build_config,
    parse_config,
    parse_setting,
    read_toml,
    validate_settings,
)


def config(settings=None, plugins=(), flags=None, file=None):
    return build_config(file, flags or {}, settings or {}, plugins)


def complaint(settings=None, plugins=(), flags=None, file=None):
    with pytest.raises(ConfigError) as caught:
        config(settings, plugins, flags, file)
    return str(caught.value)


# --set


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("train.lr=0.5", "train.lr", 0.5),
        ("train.lr=1e-4", "train.lr", 1e-4),
        ("train.epochs=3", "train.epochs", 3),
        ("train.epochs=1_000", "train.epochs", 1000),
        ("x.flag=true", "x.flag", True),
        ("x.flag=True", "x.flag", "True"),
        ("model.sizes=ptb", "model.sizes", "ptb"),
        ('model.sizes="ptb"', "model.sizes", "ptb"),
        ("model.sizes='ptb'", "model.sizes", "ptb"),
        ("data.spec=data/ptb[:20%]", "data.spec", "data/ptb[:20%]"),
        ("data.spec=/a b/c", "data.spec", "/a b/c"),
        ("data.spec=a=b", "data.spec", "a=b"),
        ("data.spec='a=b'", "data.spec", "a=b"),
        ("data.spec=a=1", "data.spec", "a=1"),
        ("data.spec=", "data.spec", ""),
        ("x.betas=[0.5, 0.9]", "x.betas", [0.5, 0.9]),
        ("x.y={a = 1}", "x.y", {"a": 1}),
        ("x.y=5\nz = 6", "x.y", "5\nz = 6"),
        ("x.y= 5 ", "x.y", 5),
        ("x.y= word ", "x.y", "word"),
        ("x.y=-3", "x.y", -3),
        ("x.y=--", "x.y", "--"),
        ("x.y=2024-01-01", "x.y", datetime.date(2024, 1, 1)),
    ],
)
def test_values_are_toml_and_bare_words_are_strings(text, key, value):
    assert parse_setting(text) == (key, value)
    assert type(parse_setting(text)[1]) is type(value)


@pytest.mark.parametrize("text", ["train.lr", "", "train"])
def test_what_is_no_setting(text):
    with pytest.raises(ConfigError) as caught:
        parse_setting(text)
    assert str(caught.value) == (
        f"'{text}' is no setting\n  due: SECTION.KEY=VALUE or PLUGIN.KEY=VALUE\n"
        f"  e.g. --set train.lr=0.5"
    )


@pytest.mark.parametrize("key", ["lr", ".lr", "train.", "."])
def test_keys_have_two_parts(key):
    assert complaint({key: 1}).startswith(f"'{key}' is no setting")


def test_dashes_are_read_as_underscores_in_keys_too():
    assert config({"train.batch-size": 7}).train.batch_size == 7
    assert config({"free-bits.mode": "x"}, ["free-bits"]).plugins == {"free_bits": {"mode": "x"}}


# Order


def test_a_file_gives_way_to_flags_and_flags_to_settings(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(
        "[train]\nseed = 1\nepochs = 1\nlr = 0.1\n[plugins.betavae]\nbeta = 0.1\n[data]\n"
        'spec = "toy[:5]"\n'
    )
    made = config(
        {"train.epochs": 3, "betavae.beta": 0.3},
        ["dae"],
        {"train": {"epochs": 2, "seed": 2, "lr": None}, "data": {}},
        path,
    )
    assert (made.train.seed, made.train.epochs, made.train.lr) == (2, 3, 0.1)
    assert made.plugins == {"betavae": {"beta": 0.3}, "dae": {}}
    assert list(made.plugins) == ["betavae", "dae"]
    assert made.data.spec == "toy[:5]"


def test_the_defaults_are_no_plugin_of_the_file():
    assert config(plugins=["vae", "betavae"]).plugins == {"betavae": {}}


def test_names_in_a_file_are_normalised(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[plugins.free-bits]\nmode = 1\n")
    assert config({"free_bits.mode": 2}, ["free-bits"], file=path).plugins == {
        "free_bits": {"mode": 2}
    }


# Defaults


def test_the_toy_gets_a_toy_and_other_data_the_published_sizes():
    def sizes(made):
        return (made.model.embedding, made.model.hidden, made.model.latent)

    assert sizes(config()) == sizes(config({"data.spec": "toy[:9%]"})) == (32, 64, 8)
    assert (
        sizes(config({"data.spec": "toys"}))
        == sizes(config({"model.sizes": "ptb"}))
        == (256, 256, 32)
    )
    assert sizes(config({"model.sizes": "yahoo", "model.latent": 5})) == (512, 1024, 5)


def test_every_optimiser_brings_its_own_rate():
    assert (config().train.optimiser, config().train.lr) == ("muon", 6e-3)
    assert config({"train.optimiser": "adamw"}).train.lr == 4e-3
    sgd = config({"train.optimiser": "sgd"}).train
    assert (sgd.lr, sgd.schedule) == (1.0, "linear")
    assert config({"train.optimiser": "sgd", "train.lr": 0.5}).train.lr == 0.5


def test_the_published_recipe_is_what_the_papers_ran():
    """He et al. (2019), text.py; Li et al. (2019), text_anneal_fb.py: to the last constant."""
    found = config({"train.recipe": "published", "data.spec": "somewhere"})
    t, m = found.train, found.model
    assert (t.optimiser, t.lr, t.schedule, t.epochs, t.batch_size, t.clip) == (
        "sgd",
        1.0,
        "plateau",
        100,
        32,
        5.0,
    )
    assert (t.warmup_steps, t.average, t.weight_decay, t.select) == (0, 0.0, 0.0, "best")
    assert (t.patience, t.guard, t.decays) == (5, 15, 5)
    assert (m.initialisation, m.dropout_in, m.dropout_out) == ("published", 0.5, 0.5)
    assert (m.embedding, m.hidden, m.latent) == (256, 256, 32)


def test_a_setting_wins_over_the_recipe():
    found = config(
        {"train.recipe": "published", "train.schedule": "cosine", "model.dropout_in": 0.25}
    )
    assert (found.train.schedule, found.train.select, found.train.optimiser) == (
        "cosine",
        "last",
        "sgd",
    )
    assert (found.model.dropout_in, found.model.dropout_out) == (0.25, 0.5)


@pytest.mark.parametrize(
    ("epochs", "rate"), [(1, 0.1), (4, 0.1), (5, 0.2), (8, 0.2), (9, 0.3), (100, 0.3)]
)
def test_dropout_follows_the_epochs_of_the_fast_recipe(epochs, rate):
    found = config({"data.spec": "somewhere", "train.epochs": epochs}).model
    assert (found.dropout_in, found.dropout_out) == (rate, rate)


def test_the_toy_has_a_recipe_of_its_size():
    found = config()
    assert (found.model.dropout_in, found.model.dropout_out, found.train.precision) == (
        0.0,
        0.0,
        "fp32",
    )
    assert config({"train.recipe": "published"}).model.dropout_in == 0.5


def test_every_part_of_a_recipe_is_written_out():
    written = tomllib.loads(config().to_toml())
    for name in (
        "recipe",
        "optimiser",
        "lr",
        "muon_lr",
        "beta1",
        "beta2",
        "weight_decay",
        "warmup_steps",
        "schedule",
        "hold",
    ):
        assert name in written["train"], name
    assert {"average", "batch_size", "select", "precision", "epochs"} <= set(written["train"])
    assert {"initialisation", "embedding_std", "forget_bias", "dropout_in", "dropout_out"} <= set(
        written["model"]
    )


# Refusals


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"train.epochs": 0}, "train.epochs = 0: input should be greater than or equal to 1"),
        ({"train.epochs": "5"}, "train.epochs = '5': input should be a valid integer"),
        ({"train.epochs": 2.0}, "train.epochs = 2.0: input should be a valid integer"),
        ({"train.epochs": True}, "train.epochs = True: input should be a valid integer"),
        ({"train.lr": True}, "train.lr = True: input should be a valid number"),
        ({"train.lr": "0.1"}, "train.lr = '0.1': input should be a valid number"),
        ({"train.lr": float("nan")}, "train.lr = nan: input should be a finite number"),
        ({"train.lr": 0}, "train.lr = 0: input should be greater than 0"),
        ({"train.clip": float("inf")}, "train.clip = inf: input should be a finite number"),
        ({"data.spec": 3}, "data.spec = 3: input should be a valid string"),
        (
            {"model.sizes": "large"},
            "model.sizes = 'large': input should be 'toy', 'ptb' or 'yahoo'",
        ),
        ({"model.sizes": [1]}, "model.sizes = [1]: input should be 'toy', 'ptb' or 'yahoo'"),
        (
            {"train.optimiser": ["sgd"]},
            "train.optimiser = ['sgd']: input should be 'muon', 'adamw' or 'sgd'",
        ),
        ({"model.dropout_in": 1.0}, "model.dropout_in = 1.0: input should be less than 1"),
        ({"train.device": "tpu"}, "train.device = 'tpu': string should match pattern"),
    ],
)
def test_types_and_ranges(settings, line):
    what, came = complaint(settings).split("\n  ", 1)
    assert what == "the configuration is not valid (--set)"
    assert came.startswith(line)


def test_a_whole_number_is_a_float():
    assert config({"train.lr": 1}).train.lr == 1.0


def test_an_unknown_key_gets_the_closest():
    text = complaint({"train.learning": 1, "train.batchsize": 2})
    assert "train.batchsize = 2: extra inputs are not permitted" in text
    assert (
        "'batchsize' is unknown. Did you mean 'batch_size'? known: recipe, seed, epochs, "
        "max_steps, batch_size" in text
    )
    assert "'learning' is unknown. known: recipe, seed" in text


def test_a_section_or_plugin_that_is_not_there():
    assert complaint({"trian.lr": 1}, ["betavae"]) == (
        "'trian.lr' belongs to no section and no active plugin. Did you mean 'train'?\n"
        "  sections: data, model, train, evaluate\n"
        "  plugins:  betavae\n"
        "  to use the plugin, add --plugin trian"
    )
    assert "plugins:  none" in complaint({"ivae.lr": 1})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('data = "toy"', "data is no table"),
        ("model = 3", "model is no table"),
        ("train = [1]", "train is no table"),
        ("plugins = 1", "plugins is no table"),
        ("[plugins]\nbetavae = 3", "plugins.betavae is no table"),
        (
            "[trian]\nlr = 1",
            "'trian' is unknown. Did you mean 'train'? known: data, model, train, evaluate, "
            "plugins, base, versions",
        ),
        ("[train]\nlr = 'x'", "train.lr = 'x': input should be a valid number"),
    ],
)
def test_files_that_are_no_configuration(tmp_path, text, line):
    path = tmp_path / "c.toml"
    path.write_text(text)
    text = complaint(
        {"train.seed": 1}, ["betavae"], {"data": {"spec": "toy"}, "train": {"epochs": 2}}, path
    )
    assert text.startswith(f"the configuration is not valid ({path})")
    assert line in text


@pytest.mark.parametrize(
    "tables", [{"data": "toy"}, {"data": ["toy"]}, {"model": 3}, {"train": 1}, {"plugins": 1}]
)
def test_tables_that_are_none_are_no_traceback_either(tables):
    with pytest.raises(ConfigError, match="input should be a valid dictionary"):
        parse_config(tables, "here")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "there is no file"),
        (b"[train\n", "cannot be read as TOML"),
        (b"x = '\xff'", "cannot be read as TOML"),
    ],
)
def test_files_that_are_none(tmp_path, content, what):
    path = tmp_path / "c.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=what):
        read_toml(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_toml(tmp_path)


def test_a_change_is_validated():
    made = config(plugins=["betavae"])
    assert made.changed("train", epochs=7, device=None).train.epochs == 7
    assert made.changed("train", epochs=7).plugins == made.plugins
    with pytest.raises(ConfigError, match=r"train\.epochs = 0: input should be greater"):
        made.changed("train", epochs=0)


def test_a_configuration_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        config().train.epochs = 3


# Settings of plugins


class Settings(PluginConfig):
    """Every kind of value that a plugin may want."""

    rate: float = 0.5
    count: int = 2
    pair: tuple[float, float] = (0.5, 0.9)
    layers: tuple[int, ...] = ()
    words: frozenset[str] = frozenset()
    name: str = ""


def test_settings_are_strict_and_lists_make_tuples():
    made = validate_settings(
        Settings, {"rate": 1, "pair": [1, 0.5], "layers": [3, 4], "words": ["a"], "name": "x"}, "p"
    )
    assert made == Settings(
        rate=1.0, pair=(1.0, 0.5), layers=(3, 4), words=frozenset({"a"}), name="x"
    )


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"rate": True}, "p.rate = True: input should be a valid number"),
        ({"rate": "1"}, "p.rate = '1': input should be a valid number"),
        ({"rate": float("nan")}, "p.rate = nan: input should be a finite number"),
        ({"count": "5"}, "p.count = '5': input should be a valid integer"),
        ({"count": 5.0}, "p.count = 5.0: input should be a valid integer"),
        ({"pair": [1.0]}, "p.pair.1: field required"),
        ({"pair": [1.0, True]}, "p.pair.1 = True: input should be a valid number"),
        ({"name": 3}, "p.name = 3: input should be a valid string"),
        ({"rat": 1}, "p.rat = 1: extra inputs are not permitted"),
    ],
)
def test_settings_that_are_refused(values, line):
    with pytest.raises(ConfigError) as caught:
        validate_settings(Settings, values, "p")
    what, first, *rest = str(caught.value).split("\n  ")
    assert what == "the settings of 'p' are not valid"
    assert first == line
    assert rest[-1] == "see: aecore plugins info p"
    if "rat" in values:
        assert (
            rest[0]
            == "'rat' is unknown. Did you mean 'rate'? known: rate, count, pair, layers, words, "
            "name"
        )


def test_the_settings_of_a_critic_can_be_written_and_read():
    made = validate_settings(CriticConfig, {"betas": [0.0, 0.9], "clamp": 0.01}, "p")
    assert validate_settings(CriticConfig, made.model_dump(mode="json"), "p") == made
    assert made.betas == (0.0, 0.9)


# Round trip


def test_a_written_configuration_is_read_as_the_same(tmp_path):
    made = config(
        {
            "train.lr": 1e-5,
            "train.max_steps": 7,
            "betavae.beta": 0.1,
            "data.spec": 'a "quoted" \\ = #name',
        },
        ["betavae"],
    )
    path = tmp_path / "c.toml"
    path.write_text(made.to_toml())
    assert config(file=path) == made
    assert RunConfig.model_validate(read_toml(path)).to_toml() == made.to_toml()
    assert set(read_toml(path)) == {*SECTIONS, "plugins", "versions"}


def test_every_default_is_written_out(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(config().to_toml())
    written = read_toml(path)
    for section in SECTIONS:
        fields = RunConfig.model_fields[section].annotation.model_fields
        optional = {name for name, field in fields.items() if field.default is None}
        assert set(written[section]) == set(fields) - optional


def test_the_file_of_a_run_trains_the_same_run_again(tmp_path):
    settings = {
        "train.max_steps": 4,
        "train.threads": 1,
        "train.device": "cpu",
        "controlvae.target_kl": 1,
    }
    first = config({**settings, "data.spec": "toy[:64]"}, ["controlvae"])
    with opened(first, tmp_path / "one") as trainer:
        trainer.run()
    second = build_config(tmp_path / "one" / "config.toml", {}, {}, ())
    assert second.plugins["controlvae"]["ki"] == 1e-3
    with opened(second, tmp_path / "two") as trainer:
        trainer.run()
    one, two = (load_tensors(tmp_path / name / "model.safetensors")[0] for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert set(one) == set(two)
    assert (tmp_path / "one" / "config.toml").read_text() == (
        tmp_path / "two" / "config.toml"
    ).read_text()
