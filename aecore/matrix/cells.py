"""A cell of the matrix: what composition says of a company, and what became of it in training."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from aecore.manifest import Kept

Status = Literal["sound", "broken", "refused"]


class Cell(BaseModel):
    """One company.

    Attributes:
        plugins: in the order of ``--plugin``.
        kind: what forbids it: owners, corpus, space, needs, base; empty where it composes.
        reason: the refusal, in a line.
        wrong: what went wrong when it was trained; of a refused one, that training began all the
            same.
        anyway: of a refused one whose needs are not met, what goes wrong when it is trained all the
            same; nothing: the refusal rests on what the figures would mean.
        invariants: by ``plugin.invariant``; measured by ``--evidence``.
        seconds: what the trial took.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    plugins: tuple[str, ...]
    kind: str = ""
    reason: str = ""
    wrong: tuple[str, ...] = ()
    anyway: tuple[str, ...] | None = None
    invariants: dict[str, Kept] = {}
    seconds: float = 0.0

    @property
    def name(self) -> str:
        """``controlvae+flowprior``."""
        return "+".join(self.plugins)

    @property
    def status(self) -> Status:
        """sound; broken, where composition and training do not agree; refused."""
        if self.wrong:
            return "broken"
        return "refused" if self.kind else "sound"

    @property
    def lost(self) -> list[str]:
        """The invariants that are not kept."""
        return [name for name, found in self.invariants.items() if not found.kept]

    @property
    def word(self) -> str:
        """The verdict in a word or two."""
        if self.status == "refused":
            return f"refused: {self.kind}"
        if self.status == "broken":
            return "broken"
        if self.lost:
            return f"sound; lost: {', '.join(self.lost)}"
        return "sound; kept" if self.invariants else "sound"

    def says(self) -> list[str]:
        """The reason, a line each: what the cell of a heat map tells."""
        lines = [self.reason] if self.reason else []
        lines += list(self.wrong)
        if self.anyway is not None:
            happened = "; ".join(self.anyway) or "nothing breaks, so the reason is one of meaning"
            lines.append(f"trained all the same: {happened}")
        for name, found in self.invariants.items():
            lines.append(f"{name} {'kept' if found.kept else 'LOST'}: {found.found}")
        return lines or ["every hook is called, and each matters; saved and resumed as it was"]
