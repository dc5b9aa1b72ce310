"""The signed distances of points of the Poincaré ball from gyroplanes: what is linear there.

Source: Ganea et al., NeurIPS 2018, https://arxiv.org/abs/1805.09112, section 3.1; Mathieu et al.,
    NeurIPS 2019, section 3.2.
Deviation: point and normal stand where the papers have them. The authors' `normdist2plane(x, a, p)`
    is called with the bias as a and the weight as p, and scales by the Euclidean norm or not at
    all, where the formula has the one at p.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from aecore.geometry.ball import Ball


class Gyroplanes(nn.Module):
    """f_k(z) = |a_k|_p d(z, H_k), signed, H_k = {z : <log_p z, a_k> = 0} the gyroplane, p = p_k.

    d(z, H) = 1/sqrt(c) arsinh(2 sqrt(c) |<-p + z, a>| / ((1 - c |-p + z|^2) |a|)), the sum being
    Möbius's. As c -> 0, f_k goes to 4 <z - p, a>, the inner product of metric 4. Parameters are
    tangent vectors at 0: p = exp_0(point) and a = PT_{0 -> p}(normal), so that |a|_p = 2 |normal|.
    """

    def __init__(self, ball: Ball, dimensions: int, width: int) -> None:
        super().__init__()
        self.ball = ball
        self.point = nn.Parameter(torch.empty(width, dimensions))
        self.normal = nn.Parameter(torch.empty(width, dimensions))
        nn.init.uniform_(self.point, -0.01, 0.01)
        nn.init.kaiming_uniform_(self.normal, a=math.sqrt(5))

    def forward(self, z: Tensor) -> Tensor:
        """(..., W), for z (..., D), computed in float64.

        <-p + z, a> / (1 - c |-p + z|^2) is ((1 - c |p|^2) <z, a> - (1 - 2c <p, z> + c |z|^2) <p,
        a>) over (1 - c |p|^2) (1 - c |z|^2): a factor cancels, and inner products are all that is
        needed.
        """
        c, root = self.ball.curvature, math.sqrt(self.ball.curvature)
        wide, normal = z.double(), self.normal.double()
        point = self.ball.exp(torch.zeros_like(normal), self.point.double())  # (W, D)
        length = torch.linalg.vector_norm(normal, dim=-1)  # (W,)
        unit = normal / length.clamp(min=1e-30).unsqueeze(-1)
        zz, pp = wide.square().sum(-1, keepdim=True), point.square().sum(-1)  # (..., 1), (W,)
        # (..., W), (..., W), (W,)
        za, pz, pa = wide @ unit.t(), wide @ point.t(), (point * unit).sum(-1)
        above = (1 - c * pp) * za - (1 - 2 * c * pz + c * zz) * pa
        sine = 2 * root * above / ((1 - c * pp) * (1 - c * zz))
        found: Tensor = (2 * length / root * torch.asinh(sine)).to(z.dtype)
        return found
