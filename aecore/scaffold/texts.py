"""The frames of the files of a new plugin; ``@word@`` is filled in."""

from __future__ import annotations

#: What the tests use beyond the imports of the templates.
IMPORTS = ("from aecore.testing import Check, Subject, parametrize_with_checks",)

PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "@distribution@"
version = "0.1.0"
description = "@name@ for aecore."
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["@requirement@"]

[project.optional-dependencies]
test = ["pytest>=8"]

[project.entry-points."aecore.plugins"]
@name@ = "@package@:@cls@"

[tool.hatch.build]
dev-mode-dirs = ["src"]

[tool.hatch.build.targets.wheel]
packages = ["src/@package@"]

[tool.pytest.ini_options]
testpaths = ["tests"]
"""

README = """\
# @distribution@

@summary@.

```
pip install -e .
aecore train --plugin @name@ --set @name@.@setting@=@value@
```

All settings: `aecore plugins info @name@`. The conformance kit: `aecore plugins check @name@`,
or, with the tests against numbers, `python -m pytest`.
"""

MODULE = '''\
"""@name@: @summary@.

Source: the paper, its venue and year, a link; the authors' file if there is one.
Deviations: what differs from it here, and why.
"""

@imports@


class Method(Plugin):
@formula@

    class Config(@base@):
        """Settings; `aecore plugins info @name@` shows them."""

@settings@

    config: Config@roles@
@constructor@
@methods@
'''

CONSTRUCTOR = """\
    def __init__(self, config: PluginConfig, sizes: Sizes) -> None:
        super().__init__(config, sizes)
"""

TESTS = '''\
"""@name@: the conformance kit, then numbers worked by hand."""

@imports@


def method(**settings: Any) -> Method:
    sizes = Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    return Method(Method.Config(**settings), sizes)


@parametrize_with_checks("@name@")
def test_conformance(subject: Subject, check: Check) -> None:
    check(subject)


@tests@
'''

MANIFEST = """\
[@name@]
summary = "@summary@"
api = "@api@"
hooks = @hooks@
@tables@
# [@name@.paper]
# title = "..."
# venue = "..."
# year = 2026
# url = "https://..."

# [@name@.exceptions]
# check_shapes = "why the method cannot pass this check"
"""
