"""Networks of their own on this machine. They have no name: they end with this process, however it ends."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import threading
from typing import TYPE_CHECKING, TypeVar

from bench.heal.switch import address

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

CLONE_NEWNET = 0x4000_0000
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x4004_54CA, 0x0002, 0x1000
TUN = "/dev/net/tun"
DEVICE = "tap0"
NETWORK = "203.0.113"
"""Addresses for documentation (RFC 5737), which coturn does not deny as it does private ones."""

RIGHTS = "run it as root, or in a container with --cap-add SYS_ADMIN --cap-add NET_ADMIN --device /dev/net/tun"


class NamespaceError(Exception):
    """A network cannot be made; `str(error)` says what is missing."""


class Namespace:
    """A network with the loopback and one device, whose frames are read and written as `device`.

    `host`: its address, the last one if it has none. Raises NamespaceError.
    """

    def __init__(self, port: int, host: str) -> None:
        self._network, self.device = _in_thread(_make)
        for line in (f"link set {DEVICE} address {address(port)}", "link set lo up", f"link set {DEVICE} up"):
            self._ip(line)
        self.host = host
        self.attach(host)

    def attach(self, host: str) -> None:
        """Give it an address."""
        self.host = host
        self._ip(f"address add {host}/24 dev {DEVICE}")
        self._ip(f"route replace default dev {DEVICE} src {host}")

    def detach(self) -> None:
        """Take its address away."""
        self._ip(f"address del {self.host}/24 dev {DEVICE}")

    def command(self, *command: str) -> list[str]:
        """Return a command that runs another in this network."""
        return ["nsenter", f"--net=/proc/{os.getpid()}/fd/{self._network}", "--", *command]

    def call(self, function: Callable[[], T]) -> T:
        """Call a function in this network: sockets that it opens belong to it."""

        def enter() -> T:
            _check(_libc().setns(self._network, CLONE_NEWNET))
            return function()

        return _in_thread(enter)

    def close(self) -> None:
        """End the network, when nothing runs in it any more."""
        os.close(self.device)
        os.close(self._network)

    def _ip(self, line: str) -> None:
        done = subprocess.run(self.command("ip", *line.split()), capture_output=True, text=True, check=False)  # noqa: S603
        if done.returncode:
            raise NamespaceError(f"`ip {line}` failed: {done.stderr.strip()}")


def missing() -> str | None:
    """Return what this machine lacks to make networks, and what to do; None if nothing."""
    for tool, package in (("nsenter", "util-linux"), ("ip", "iproute2")):
        if shutil.which(tool) is None:
            return f"`{tool}` is missing: apt-get install {package}"
    try:
        Namespace(0, f"{NETWORK}.1").close()
    except NamespaceError as error:
        return str(error)
    return None


def _make() -> tuple[int, int]:
    """Leave the network of this thread for a new one; return its descriptor, and that of its device."""
    try:
        _check(_libc().unshare(CLONE_NEWNET))
    except OSError as error:
        raise NamespaceError(f"This process may not make network namespaces ({error.strerror}): {RIGHTS}.") from None
    network = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        return network, _open_device()
    except OSError as error:
        os.close(network)
        raise NamespaceError(f"{TUN} cannot be used ({error.strerror}): {RIGHTS}.") from None


def _open_device() -> int:
    device = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
    try:
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", DEVICE.encode(), IFF_TAP | IFF_NO_PI))
    except OSError:
        os.close(device)
        raise
    return device


def _in_thread(function: Callable[[], T]) -> T:
    """Call a function in a thread of its own, as a network is that of a thread."""
    results: list[T] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            results.append(function())
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
