"""Finding plugins among throw-away distributions, without importing one, and what is said of those
that are broken.
"""

import subprocess
import sys
import textwrap

import pytest

from aecore.assembly import assemble
from aecore.catalogue import Catalogue, Listing, hook_kinds, normalise, read_registry, registry_path
from aecore.errors import CompositionError, PluginError
from aecore.manifest import ManifestError

MANIFEST = """
[{name}]
summary = "a schedule"
api = "{api}"
hooks = [{hooks}]
{more}
"""
MODULE = """
from aecore import Plugin, hookimpl


class Method(Plugin):
    @hookimpl
    def beta_schedule(self, index):
        return 1.0
"""


def toml(name, hooks='"beta_schedule"', api=">=1,<2", more=""):
    return MANIFEST.format(name=name, hooks=hooks, api=api, more=more)


def ramp(
    site,
    *,
    name="ramp",
    module=MODULE,
    manifest=None,
    distribution="aecore-ramp",
    target="aecore_ramp:Method",
):
    """One distribution with one plugin; by default a good one."""
    written = toml(name) if manifest is None else manifest
    return site.add(
        distribution, {name: target}, package="aecore_ramp", module=module, manifest=written
    )


def entry(name="ramp"):
    return Catalogue.discover().entries[name]


def test_a_good_one(site):
    ramp(site)
    found = entry()
    assert (found.status, found.problem, found.source, found.target) == (
        "ok",
        "",
        "aecore-ramp 1.0",
        "aecore_ramp:Method",
    )
    assert Catalogue.discover().part("ramp").distribution == "aecore-ramp 1.0"
    assert "aecore_ramp" not in sys.modules


def test_it_loads_on_demand(site):
    ramp(site)
    assert Catalogue.discover().load("ramp").__name__ == "Method"
    assert "aecore_ramp" in sys.modules


def test_a_submodule_may_hold_the_class(site):
    ramp(site, target="aecore_ramp.inner:Method", module="")
    (site.path / "aecore_ramp" / "inner.py").write_text(MODULE)
    assert entry().status == "ok"
    assert "aecore_ramp" not in sys.modules
    assert Catalogue.discover().load("ramp").__module__ == "aecore_ramp.inner"


def test_listing_imports_neither_plugins_nor_torch(site):
    ramp(site, module="raise RuntimeError('imported')")
    code = f"""
        import sys
        sys.path.insert(0, {str(site.path)!r})
        from aecore.catalogue import Catalogue
        from aecore.composition import compose
        found = Catalogue.discover()
        assert found.entries["ramp"].status == "ok"
        compose([found.part("ramp")], found.defaults)
        heavy = ("torch", "aecore_ramp", "aecore_betavae")
        print(sorted(name for name in heavy if name in sys.modules))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr


def test_two_plugins_in_one_distribution(site):
    points = {"first": "aecore_ramp:Method", "second-one": "aecore_ramp:Method"}
    site.add(
        "aecore-two",
        points,
        package="aecore_ramp",
        module=MODULE,
        manifest=toml("first") + toml("second_one"),
    )
    entries = Catalogue.discover().entries
    assert entries["first"].source == entries["second_one"].source == "aecore-two 1.0"
    assert entries["second_one"].status == "ok"


BROKEN = {
    "no TOML": ("[ramp\n", "the plugin.toml of 'ramp' cannot be read"),
    "no such table": (toml("ram"), "plugin.toml has no table [ramp]"),
    "broken schema": (toml("ramp", more="colour = 1"), "the manifest of 'ramp' is not valid"),
    "unknown hook": (toml("ramp", hooks='"beta_shedule"'), "Did you mean 'beta_schedule'?"),
    "contradiction": (
        toml("ramp", hooks='"prior_sample"'),
        "the manifest of 'ramp' contradicts itself",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_manifest(site, case):
    manifest, problem = BROKEN[case]
    ramp(site, manifest=manifest)
    assert entry().status == "broken"
    assert problem in entry().problem
    with pytest.raises(
        CompositionError, match="the plugin 'ramp' is installed but broken"
    ) as caught:
        Catalogue.discover().entry("ramp")
    assert problem in str(caught.value)


TARGETS = {
    "no such package": ("gone_nowhere:Method", "the package 'gone_nowhere' cannot be found"),
    "a single file": ("single_file:Method", "the package 'single_file' is a single file"),
    "no manifest": ("aecore_bare:Method", "'ramp' has no plugin.toml"),
    "no module": (":Method", "the entry point ':Method' names no module"),
    "relative": (".aecore_bare:Method", "the entry point '.aecore_bare:Method' names no module"),
}


@pytest.mark.parametrize("case", TARGETS)
def test_a_target_without_a_manifest(site, case):
    target, problem = TARGETS[case]
    site.add("aecore-ramp", {"ramp": target}, package="aecore_bare", module=MODULE)
    (site.path / "single_file.py").write_text(MODULE)
    assert entry().status == "broken"
    assert problem in entry().problem


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("Ramp", "'Ramp' is no name for a plugin"),
        ("2ramps", "'2ramps' is no name for a plugin"),
        ("ra.mp", "'ra.mp' is no name for a plugin"),
        ("train", "'train' is a section of config.toml, so no plugin can have the name"),
        ("versions", "'versions' is a section of config.toml, so no plugin can have the name"),
    ],
)
def test_names_that_settings_could_not_reach(site, name, problem):
    ramp(site, name=name)
    assert entry(name).status == "broken"
    assert problem in entry(name).problem


def test_an_incompatible_one(site):
    ramp(site, manifest=toml("ramp", api=">=2"))
    assert (entry().status, entry().problem) == (
        "incompatible",
        "it is written for API >=2, this aecore has API 1: upgrade one of the two",
    )
    with pytest.raises(CompositionError, match="the plugin 'ramp' is installed but incompatible"):
        assemble({"ramp": {}}, Catalogue.discover())


def test_a_name_in_two_distributions(site):
    ramp(site)
    site.add("somebodys-ramp", {"ramp": "aecore_ramp:Method"}, version="0.3")
    assert entry().status == "duplicate"
    assert (
        entry().problem == "claimed by aecore-ramp 1.0, somebodys-ramp 0.3: uninstall all but one"
    )
    with pytest.raises(CompositionError, match="the plugin 'ramp' is installed but duplicate"):
        Catalogue.discover().load("ramp")


def test_one_that_takes_the_name_of_the_defaults(site):
    ramp(site, name="vae")
    assert entry("vae").status == "duplicate"
    assert Catalogue.discover().defaults.distribution == "aecore"


def test_a_broken_one_breaks_nothing_else(site):
    ramp(site, manifest="[[[")
    site.add("aecore-other", {"other": "nowhere_at_all:X"})
    catalogue = Catalogue.discover()
    assert catalogue.entry("betavae").status == "ok"
    assert assemble({"betavae": {}}, catalogue).composition.names == ("betavae",)


def test_an_import_that_raises(site):
    ramp(site, module="import nothing_of_this_name")
    assert entry().status == "ok"
    with pytest.raises(CompositionError) as caught:
        Catalogue.discover().load("ramp")
    assert str(caught.value) == (
        "the plugin 'ramp' (aecore-ramp 1.0) cannot be imported\n"
        "  target: aecore_ramp:Method\n"
        "  raised: ModuleNotFoundError: No module named 'nothing_of_this_name'\n"
        "  the other plugins are not affected"
    )
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        ("Method = 3", "int"),
        ("def Method(): pass", "function"),
        ("class Method: pass", "type"),
        ("", None),
    ],
)
def test_a_target_that_is_no_plugin_class(site, module, kind):
    ramp(site, module=module)
    with pytest.raises(CompositionError) as caught:
        Catalogue.discover().load("ramp")
    if kind is None:
        assert "raised: AttributeError" in str(caught.value)
        return
    assert str(caught.value) == (
        "the entry point of 'ramp' (aecore-ramp 1.0) is no plugin class\n"
        f"  target: aecore_ramp:Method, a {kind}\n"
        "  due: a class that derives from aecore.Plugin"
    )


def body(text, decorator="@hookimpl"):
    """A module whose plugin class has this one method, on line 7 of the file."""
    return (
        f"from aecore import Plugin, hookimpl\n\n\nclass Method(Plugin):\n    x = 1\n\n"
        f"    {decorator}\n    {text}\n"
    )


CLASSES = {
    "misspelt hook": (
        body("def beta_shedule(self): return 1.0"),
        "implements an unknown hook 'beta_shedule'. Did you mean 'beta_schedule'?",
        (),
    ),
    "unknown argument": (
        body("def beta_schedule(self, step): return 1.0"),
        "asks for an argument 'step' that beta_schedule does not offer.",
        ("offered: beta_schedule(index, epoch, total_steps, kl)",),
    ),
    "default value": (
        body("def beta_schedule(self, kl=None): return 1.0"),
        "gives the argument 'kl' of beta_schedule a default value; arguments are always passed",
        (),
    ),
    "keyword only": (
        body("def beta_schedule(self, *, kl): return 1.0"),
        "takes the argument 'kl' of beta_schedule by keyword only",
        ("likely: remove the *",),
    ),
    "keywords": (
        body("def beta_schedule(self, **rest): return 1.0"),
        "asks for an argument 'rest' that beta_schedule does not offer.",
        ("offered: beta_schedule(index, epoch, total_steps, kl)",),
    ),
    **{
        option: (
            body("def beta_schedule(self): return 1.0", f"@hookimpl({option}=True)"),
            f"marks beta_schedule with {option}, which aecore refuses",
            ("order is the order of --plugin",),
        )
        for option in ("wrapper", "hookwrapper", "tryfirst", "trylast")
    },
}


@pytest.mark.parametrize("case", CLASSES)
def test_a_class_that_breaks_the_contract_of_a_hook(site, case):
    module, what, more = CLASSES[case]
    ramp(site, module=module)
    with pytest.raises(PluginError) as caught:
        Catalogue.discover().load("ramp")
    assert caught.value.what == f"'ramp' (aecore-ramp 1.0) {what}"
    assert caught.value.evidence == ("hook:   aecore_ramp/__init__.py:7", *more)
    assert caught.value.plugin == "ramp"


@pytest.mark.parametrize(
    ("hooks", "module", "implements", "declares"),
    [
        ('"beta_schedule", "extra_loss"', MODULE, "beta_schedule", "beta_schedule, extra_loss"),
        ("", MODULE, "beta_schedule", "no hook"),
        ('"beta_schedule"', MODULE.replace("    @hookimpl\n", ""), "no hook", "beta_schedule"),
        ('"extra_loss"', MODULE, "beta_schedule", "extra_loss"),
    ],
)
def test_a_class_that_differs_from_its_manifest(site, hooks, module, implements, declares):
    ramp(site, module=module, manifest=toml("ramp", hooks=hooks))
    with pytest.raises(PluginError) as caught:
        Catalogue.discover().load("ramp")
    assert str(caught.value) == (
        "'ramp' (aecore-ramp 1.0) differs from its plugin.toml\n"
        f"  implements: {implements}\n"
        f"  declares:   {declares}\n"
        "  likely: a missing @hookimpl, or a hook that plugin.toml does not list"
    )


def test_hooks_may_be_inherited_renamed_and_decorated(site):
    module = """
import functools

from aecore import Plugin, hookimpl


def twice(function):
    @functools.wraps(function)
    def wrapped(*arguments):
        return 2 * function(*arguments)

    return wrapped


class Base(Plugin):
    @hookimpl(specname="beta_schedule")
    @twice
    def weight(self, index):
        return 1.0


class Method(Base):
    pass
"""
    ramp(site, module=module)
    assert Catalogue.discover().load("ramp").__name__ == "Method"


# Names


def test_dashes_are_read_as_underscores(site):
    ramp(site, name="two-words", manifest=toml("two_words"))
    assert Catalogue.discover().entry("two-words") is not None
    assert Catalogue.discover().entry("two_words").name == "two_words"
    assert normalise(" free-bits ") == "free_bits"


def listing(name):
    return Listing(distribution=f"aecore-{name}", install=f"pip install aecore-{name}", summary="s")


def catalogue(known=()):
    return Catalogue(Catalogue.discover().entries, {name: listing(name) for name in known})


def unknown(name, known=()):
    with pytest.raises(CompositionError) as caught:
        catalogue(known).entry(name)
    return str(caught.value).split("\n")


INSTALLED = "  installed: annealing, betavae, controlvae"


@pytest.fixture
def three(monkeypatch):
    """As if nothing but the first three plugins were installed."""
    found = Catalogue.discover().entries
    kept = {name: found[name] for name in ("annealing", "betavae", "controlvae", "vae")}
    monkeypatch.setattr(Catalogue, "discover", classmethod(lambda cls: cls(kept, {})))


@pytest.mark.usefixtures("three")
def test_an_unknown_name_gets_the_closest():
    assert unknown("control-vae") == [
        "no plugin is called 'control_vae'. Did you mean 'controlvae'?",
        INSTALLED,
        "  see: aecore plugins list",
    ]


@pytest.mark.usefixtures("three")
def test_a_name_like_none_gets_no_guess():
    assert unknown("zzz")[0] == "no plugin is called 'zzz'."


@pytest.mark.usefixtures("three")
def test_one_that_is_known_but_not_installed():
    assert unknown("ivae", ["ivae", "wgan"]) == [
        "the plugin 'ivae' is not installed",
        INSTALLED,
        "  try: pip install aecore-ivae",
    ]


@pytest.mark.usefixtures("three")
def test_a_misspelt_one_that_is_only_known():
    assert unknown("ivea", ["ivae", "wgan", "betavae"]) == [
        "no plugin is called 'ivea'. Did you mean 'ivae'?",
        INSTALLED,
        "  'ivae' and 1 more are in registry.toml but not installed: pip install aecore-ivae",
        "  see: aecore plugins list",
    ]


def test_the_registry_is_read_and_refused(tmp_path):
    path = tmp_path / "registry.toml"
    assert read_registry(path) == {}
    path.write_text('[x]\ndistribution = "d"\ninstall = "i"\nsummary = "s"\n')
    assert read_registry(path)["x"].install == "i"
    path.write_text("[x\n")
    with pytest.raises(ManifestError, match="the registry cannot be read"):
        read_registry(path)
    path.write_text('[x]\ndistribution = "d"\n')
    with pytest.raises(ManifestError, match=r"x\.install: field required"):
        read_registry(path)


def test_our_registry_is_valid():
    assert {"annealing", "betavae", "controlvae"} <= set(read_registry(registry_path()))


def test_kinds_are_shown():
    assert hook_kinds(("kl_term", "kl_penalty", "extra_loss")) == [
        "kl_term (owner)",
        "kl_penalty (chain)",
        "extra_loss (all)",
    ]


# From names to a composition

FREE = """
from typing import Literal

from pydantic import Field

from aecore import Plugin, PluginConfig, hookimpl


class Method(Plugin):
    class Config(PluginConfig):
        mode: Literal["dimension", "sentence", "odd", "more"] = Field("dimension", description="")
        weights: tuple[float, float] = Field((0.5, 0.25), description="")

    @classmethod
    def manifest(cls, declared, config):
        change = {"requires": declared.requires.model_copy(update={"kl": config.mode})}
        if config.mode == "odd":
            change = {"provides": declared.provides.model_copy(update={"prior": "standard"})}
        if config.mode == "more":
            change = {"hooks": ("kl_penalty", "extra_loss")}
        return declared.model_copy(update=change)

    @hookimpl
    def kl_penalty(self, kl):
        return kl
"""
NORMAL = """
import torch

from aecore import Plugin, hookimpl


class Method(Plugin):
    @hookimpl
    def prior_logprob(self, z):
        return -z.square().sum(-1)

    @hookimpl
    def prior_sample(self, n):
        return torch.randn(n, self.sizes.latent)
"""


@pytest.fixture
def free(site):
    """free_bits-like and flowprior-like plugins, installed as distributions."""
    requires = '[free.requires]\nkl = "dimension"'
    manifest = toml("free", hooks='"kl_penalty"', more=requires)
    site.add(
        "aecore-free",
        {"free": "aecore_free:Method"},
        package="aecore_free",
        module=FREE,
        manifest=manifest,
    )
    provides = '[normal.provides]\nprior = "density"'
    manifest = toml("normal", hooks='"prior_logprob", "prior_sample"', more=provides)
    site.add(
        "aecore-normal",
        {"normal": "aecore_normal:Method"},
        package="aecore_normal",
        module=NORMAL,
        manifest=manifest,
    )
    return site


@pytest.mark.usefixtures("free")
def test_a_setting_may_mend_a_composition():
    found = Catalogue.discover()
    with pytest.raises(CompositionError, match="'free' does not compose with 'normal'"):
        assemble({"free": {}, "normal": {}}, found)
    assembly = assemble({"free": {"mode": "sentence"}, "normal": {}}, found)
    assert assembly.composition.names == ("free", "normal")
    with pytest.raises(CompositionError, match="'free' does not compose with 'normal'"):
        assemble({"free": {"mode": "dimension"}, "normal": {}}, found)


@pytest.mark.usefixtures("free")
def test_what_no_setting_was_given_for_is_refused_unimported():
    with pytest.raises(CompositionError):
        assemble({"free": {}, "normal": {}}, Catalogue.discover())
    assert "aecore_free" not in sys.modules


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize(
    ("mode", "line"),
    [
        (
            "odd",
            "provides.prior belongs to the owner of prior_logprob, which is not among its hooks",
        ),
        ("more", "extra_loss is not among the hooks in plugin.toml"),
    ],
)
def test_a_manifest_that_goes_wrong_under_its_settings(mode, line):
    with pytest.raises(PluginError) as caught:
        assemble({"free": {"mode": mode}}, Catalogue.discover())
    assert (
        str(caught.value)
        == f"the manifest of 'free' (aecore-free 1.0) under its settings is wrong\n  {line}"
    )


@pytest.mark.usefixtures("free")
def test_settings_and_versions_are_written_out_and_read_again(tmp_path):
    from aecore.runs.config import build_config

    found = Catalogue.discover()
    config = build_config(None, {}, {"free.weights": [1.0, 2]}, ["free"])
    written = assemble(config.plugins, found).write_out(config)
    path = tmp_path / "config.toml"
    path.write_text(written.to_toml())
    again = build_config(path, {}, {}, ())
    assert again.plugins == {"free": {"mode": "dimension", "weights": [1.0, 2.0]}}
    assert assemble(again.plugins, found).settings["free"].weights == (1.0, 2.0)
    assert again.versions["aecore-free"] == "1.0"
    assert set(again.versions) == {"aecore", "torch", "aecore-free"}
