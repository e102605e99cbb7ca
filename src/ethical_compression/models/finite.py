"""Whether all numbers of a weight, or of what is fed to it, are finite."""

import torch

_TOLD_BY_ENDS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def all_finite(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds neither NaN nor an infinite number.

    Its least and its largest number tell, which are NaN where one number is: one pass, and no
    tensor as large as this one beside it, which `isfinite` makes three of.
    """
    if not tensor.numel() or tensor.dtype not in _TOLD_BY_ENDS:
        return bool(tensor.isfinite().all())
    return bool(torch.stack(torch.aminmax(tensor.detach())).isfinite().all())
