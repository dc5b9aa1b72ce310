"""The mappings Phi: R^D -> R^D that Emb2Emb trains."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

Name = Literal["offsetnet", "mlp", "resnet", "mean_offset"]


class OffsetNet(nn.Module):
    """z <- z + W2 selu(W1 z + b1) + b2, layer after layer: the code, moved (section 3.1)."""

    def __init__(self, latent: int, width: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_bent(latent, width) for _ in range(layers))

    def forward(self, z: Tensor) -> Tensor:
        """(..., D) for codes (..., D)."""
        for layer in self.layers:
            z = z + layer(z)
        return z


class MeanOffset(nn.Module):
    """z + v with one learned v for every code: the arithmetic of Shen et al. (2020)."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.offset = nn.Linear(1, latent, bias=False)
        nn.init.zeros_(self.offset.weight)

    def forward(self, z: Tensor) -> Tensor:
        """(..., D) for codes (..., D)."""
        return z + self.offset.weight[:, 0]


def mapping(name: Name, latent: int, width: int, layers: int) -> nn.Module:
    """Phi by its name; torch's initialisation, as the authors'.

    Args:
        width: hidden units.
        layers: hidden layers of an MLP, steps of the others.
    """
    if name == "offsetnet":
        return OffsetNet(latent, width, layers)
    if name == "mlp":
        deeper = [part for _ in range(layers - 1) for part in (nn.Linear(width, width), nn.SELU())]
        return nn.Sequential(nn.Linear(latent, width), nn.SELU(), *deeper, nn.Linear(width, latent))
    if name == "resnet":
        return nn.Sequential(OffsetNet(latent, width, layers), nn.SELU(), nn.Linear(latent, latent))
    return MeanOffset(latent)


def _bent(latent: int, width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(latent, width), nn.SELU(), nn.Linear(width, latent))
