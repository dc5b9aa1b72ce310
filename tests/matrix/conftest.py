"""Plugins of somebody else, installed for a test: what the matrix says of them."""

import textwrap

import pytest

HEAD = "import torch\nfrom aecore import Plugin, PluginConfig, hookimpl\n"


@pytest.fixture
def add(site):
    """Install a plugin whose class has this body and these hooks; more of its manifest as TOML."""

    def install(name, body, hooks, manifest=""):
        listed = ", ".join(f'"{hook}"' for hook in hooks)
        module = (
            f"{HEAD}\n\nclass Method(Plugin):\n{textwrap.indent(textwrap.dedent(body), '    ')}"
        )
        table = f'[{name}]\nsummary = "{name}"\napi = ">=1"\nhooks = [{listed}]\n{manifest}'
        site.add(
            f"aecore-{name}",
            {name: f"zoo_{name}:Method"},
            package=f"zoo_{name}",
            module=module,
            manifest=table,
        )

    return install
