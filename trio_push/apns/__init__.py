"""A provider's client for APNs and for whatever speaks as it does: see `open_client`."""

from trio_push.apns.authorization import Authorization, Bearer, ProviderToken
from trio_push.apns.client import Client, open_client
from trio_push.apns.dial import client_context
from trio_push.apns.options import Options
from trio_push.apns.request import Outcome, Request, Result
from trio_push.apns.retries import Retries, is_safe
from trio_push.apns.scaling import Constant, Exponential, Incremental, Scaling
from trio_push.apns.statistics import Statistics

__all__ = [
    "Authorization",
    "Bearer",
    "Client",
    "Constant",
    "Exponential",
    "Incremental",
    "Options",
    "Outcome",
    "ProviderToken",
    "Request",
    "Result",
    "Retries",
    "Scaling",
    "Statistics",
    "client_context",
    "is_safe",
    "open_client",
]
