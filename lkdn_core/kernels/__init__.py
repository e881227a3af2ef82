"""Fused Triton kernels of the network (``launches``), and what carries them: weights, buffers."""
