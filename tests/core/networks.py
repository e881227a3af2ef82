"""Networks small enough for any test: both refinements, every scale."""

from lkdn_core.arch import LKDNConfig

TINY = [
    LKDNConfig(2, 8, 2),
    LKDNConfig(3, 6, 1, "rbsb", "rep"),
    LKDNConfig(4, 8, 2, "rbsb", "rep"),
]
