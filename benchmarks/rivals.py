"""HAProxy, nginx and stunnel as two hops like SmartProxy's: what forwards octets unread, to compare with.

The outer one ends the partner's TLS and asks for its certificate; TLS with a certificate leads to the inner one, which
ends that and goes on to the station without. Their settings are Debian's, apart from what the task needs; nginx and
HAProxy may use both cores as they like.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


@attrs.frozen(kw_only=True)
class Hops:
    """What two hops are made of.

    :param folder: theirs.
    :param port: where partners connect.
    :param tunnel: where the outer one reaches the inner one.
    :param between: a port between two services of one program, for one that needs it.
    :param station: where the station listens.
    :param outer: PEM file with certificate and key of the outer one.
    :param inner: the same of the inner one.
    :param authority: PEM file of what issued all certificates.
    """

    folder: Path
    port: int
    tunnel: int
    between: int
    station: int
    outer: Path
    inner: Path
    authority: Path

    def file(self, name: str, text: str) -> str:
        """Write a configuration."""
        path = self.folder / name
        path.write_text(text)
        return str(path)


def haproxy(hops: Hops) -> list[list[str]]:
    """Command lines of the inner and the outer one."""
    common = (
        "global\n  maxconn 8000\n  ssl-default-bind-options ssl-min-ver TLSv1.2\n"
        "defaults\n  mode tcp\n  maxconn 8000\n"
        "  timeout connect 5s\n  timeout client 10m\n  timeout server 10m\n"
    )
    verify = f"ca-file {hops.authority} verify required"
    outer = (
        f"listen partners\n  bind 127.0.0.1:{hops.port} ssl crt {hops.outer} {verify}\n"
        f"  server inner 127.0.0.1:{hops.tunnel} ssl crt {hops.outer} {verify}\n"
    )
    inner = (
        f"listen tunnel\n  bind 127.0.0.1:{hops.tunnel} ssl crt {hops.inner} {verify}\n"
        f"  server station 127.0.0.1:{hops.station}\n"
    )
    files = hops.file("inner.cfg", common + inner), hops.file("outer.cfg", common + outer)
    return [["haproxy", "-db", "-f", file] for file in files]


def nginx(hops: Hops) -> list[list[str]]:
    """Command lines of the inner and the outer one."""
    module = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
    load = f"load_module {module};\n" if module.exists() else ""

    def configuration(name: str, server: str) -> str:
        return hops.file(
            f"{name}.conf",
            f"{load}worker_processes auto;\npid {hops.folder}/{name}.pid;\nerror_log {hops.folder}/{name}.log error;\n"
            f"events {{ worker_connections 20000; }}\nstream {{ server {{ {server} }} }}\n",
        )

    def listen(port: int, shown: Path) -> str:
        return (
            f"listen 127.0.0.1:{port} ssl; ssl_certificate {shown}; ssl_certificate_key {shown};"
            f" ssl_protocols TLSv1.2 TLSv1.3; ssl_client_certificate {hops.authority}; ssl_verify_client on;"
        )

    inner = configuration("inner", f"{listen(hops.tunnel, hops.inner)} proxy_pass 127.0.0.1:{hops.station};")
    outer = configuration(
        "outer",
        f"{listen(hops.port, hops.outer)} proxy_pass 127.0.0.1:{hops.tunnel}; proxy_ssl on;"
        f" proxy_ssl_protocols TLSv1.2 TLSv1.3; proxy_ssl_certificate {hops.outer};"
        f" proxy_ssl_certificate_key {hops.outer}; proxy_ssl_trusted_certificate {hops.authority};"
        " proxy_ssl_verify on; proxy_ssl_name inner.example;",
    )
    return [
        ["nginx", "-p", str(hops.folder), "-e", f"{hops.folder}/start.log", "-g", "daemon off;", "-c", file]
        for file in (inner, outer)
    ]


def stunnel(hops: Hops) -> list[list[str]]:
    """Command lines of the inner and the outer one; the outer one connects two services of its own."""
    common = (
        "foreground = yes\ndebug = err\nsyslog = no\npid =\n"
        "socket = l:TCP_NODELAY=1\nsocket = r:TCP_NODELAY=1\n"
        f"CAfile = {hops.authority}\nverifyChain = yes\n"
    )
    outer = (
        f"[partners]\naccept = 127.0.0.1:{hops.port}\nconnect = 127.0.0.1:{hops.between}\n"
        f"cert = {hops.outer}\nrequireCert = yes\n"
        f"[tunnel]\nclient = yes\naccept = 127.0.0.1:{hops.between}\nconnect = 127.0.0.1:{hops.tunnel}\n"
        f"cert = {hops.outer}\n"
    )
    inner = (
        f"[station]\naccept = 127.0.0.1:{hops.tunnel}\nconnect = 127.0.0.1:{hops.station}\n"
        f"cert = {hops.inner}\nrequireCert = yes\n"
    )
    files = hops.file("inner.conf", common + inner), hops.file("outer.conf", common + outer)
    return [["stunnel", file] for file in files]


RIVALS: Final = {"haproxy": haproxy, "nginx": nginx, "stunnel": stunnel}

PACKAGES: Final = {"haproxy": ("haproxy",), "nginx": ("nginx", "libnginx-mod-stream"), "stunnel": ("stunnel4",)}
"""Debian's packages of each."""

VERSION: Final = {"haproxy": ("haproxy", "-v"), "nginx": ("nginx", "-v"), "stunnel": ("stunnel", "-version")}


def found(name: str) -> bool:
    """Whether a program is installed."""
    return shutil.which(name, path=PATH) is not None


def resolved(argv: Sequence[str]) -> list[str]:
    """A command line with the path of its program."""
    path = shutil.which(argv[0], path=PATH)
    return [path or argv[0], *argv[1:]]
