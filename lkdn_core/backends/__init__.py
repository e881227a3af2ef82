"""Ways of running the same network: a table of backends, and one interface for what they load."""

from lkdn_core.backends.choice import (
    AUTO,
    backend_names,
    check_backend_name,
    load_network,
)
from lkdn_core.backends.interface import Backend, Network

__all__ = [
    "AUTO",
    "Backend",
    "Network",
    "backend_names",
    "check_backend_name",
    "load_network",
]
