"""Who reaches the app, and what they may do with the machine it runs on."""

from __future__ import annotations

from ipaddress import ip_address

import streamlit as st

from engine import EngineError
from engine.access import Access
from pages.parts.wording import short_bytes

_MEGABYTE = 2**20  # as streamlit counts server.maxUploadSize
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip")


def access() -> Access:
    """What this session may open: see `engine.access`."""
    return Access.of_environment(hosted=is_hosted())


def is_hosted() -> bool:
    """Whether others reach the app: by its address, by a proxy, or by another name than ours.

    A page of elsewhere whose name was made to lead to this machine comes by that name, too. A proxy
    that tells nothing of itself still passes on where the browser found the page.
    """
    address = st.get_option("server.address")
    if address is None or not _is_loopback(address):  # None is streamlit's word for every interface
        return True
    told = st.get_option("browser.serverAddress")
    if told and not _is_loopback(told):
        return True
    headers = st.context.headers
    if any(name in headers for name in _FORWARDED):
        return True
    origin = headers.get("Origin")
    names = [headers.get("Host"), origin and origin.rpartition("/")[2]]
    return any(name is not None and not _is_loopback(name) for name in names)


def check_upload(name: str, size: int) -> None:
    """Refuse a file that is larger than the server takes, whatever the browser let through.

    Args:
        name: What the message calls it.
        size: Bytes.

    Raises:
        EngineError: Naming the limit.
    """
    limit = int(st.get_option("server.maxUploadSize")) * _MEGABYTE
    if size > limit:
        raise EngineError(
            f"{name} has {short_bytes(size)}, and this server takes uploads of at most "
            f"{short_bytes(limit)}; store fewer rows, or fewer bytes a number (float16)"
        )


def _is_loopback(host: str) -> bool:
    """Whether a name or address, with a port or without, is this machine's own for itself."""
    name = host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host
    name = name.rpartition(":")[0] if name.count(":") == 1 else name
    if name.lower() == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
