"""Push notifications for load tests and small services: a server and a swarm of devices."""

__version__ = "0.1.0"
__all__ = ["__version__"]
