"""Fused Triton kernels: of the network (``launches``), with its weights and buffers; of colour."""
