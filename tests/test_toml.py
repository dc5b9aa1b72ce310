"""One reader of TOML: what it gives, and the one kind of error for what it refuses."""

import tomllib

import pytest

from aecore import toml
from aecore.errors import ConfigError
from aecore.manifest import ManifestError, read_manifest
from aecore.registries import read_registry
from aecore.runs.config import build_config, parse_setting, read_toml

BAD = {
    "deep": "x = " + "[" * 3000 + "]" * 3000,
    "digits": "x = " + "9" * 5000,
    "number": f"x = {2**62}",
    "cut": "x = [",
}


def test_what_is_whole():
    assert toml.loads("[a]\nb = [1, 2.5]\n") == {"a": {"b": [1, 2.5]}}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_refused_everywhere_as_one_kind(tmp_path, text):
    with pytest.raises(tomllib.TOMLDecodeError):
        toml.loads(text)
    file = tmp_path / "plugin.toml"
    file.write_text(text)
    with pytest.raises(ConfigError, match="cannot be read as TOML"):
        read_toml(file)
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(file, "x")
    with pytest.raises(ManifestError, match="cannot be read"):
        read_registry(file)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "config.toml").open("wb") as file:
        file.truncate(5 << 20)
    with pytest.raises(ConfigError, match="larger than 4 MiB"):
        read_toml(tmp_path / "config.toml")


@pytest.mark.parametrize("value", ["9" * 5000, str(2**62), "[" * 3000])
def test_settings_that_nothing_can_be_set_to(value):
    key, found = parse_setting(f"train.epochs={value}")
    with pytest.raises(ConfigError, match=r"train\.epochs"):
        build_config(None, {}, {key: found}, [])
