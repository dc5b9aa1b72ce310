"""The frames of the files of a new plugin; ``@word@`` is filled in."""

from __future__ import annotations

from aecore.scaffold.exemplars import Import

#: What the frames use beyond the imports of the worked methods.
IMPORTS = {
    Import("aecore.testing", "Check"),
    Import("aecore.testing", "Subject"),
    Import("aecore.testing", "parametrize_with_checks"),
}

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

All settings: `aecore plugins info @name@`. The conformance kit: `aecore plugins check @name@`, or, with the tests against
numbers, `python -m pytest`.
"""

MODULE = '''\
"""@name@: @summary@.

Source: the paper, its venue and year, a link; the authors' file if there is one.
Deviations: what differs from it here, and why.
"""

@imports@


@code@
'''

TESTS = '''\
"""@name@: the conformance kit, then numbers worked by hand."""

@imports@


@code@
'''

SETTINGS = '"""Settings; `aecore plugins info @name@` shows them."""\n'

CONFORMANCE = """\
def method(**settings: Any) -> Method:
    sizes = Sizes(vocabulary=9, embedding=2, hidden=3, latent=2)
    return Method(Method.Config(**settings), sizes)


@parametrize_with_checks("@name@")
def test_conformance(subject: Subject, check: Check) -> None:
    check(subject)"""

MANIFEST = """\
[@name@]
summary = @summary@
api = @api@
hooks = @hooks@
@provides@@requires@
# [@name@.paper]
# title = "..."
# venue = "..."
# year = 2026
# url = "https://..."

# [@name@.exceptions]
# check_shapes = "why the method cannot pass this check"
"""
