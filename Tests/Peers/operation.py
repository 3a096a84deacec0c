"""One step of a script of operations."""
from dataclasses import dataclass


@dataclass
class Operation:
    name: str
    script: str
    #: the exit code that it must have on both runtimes
    code: int = 0
    #: what it must print on both, or None where only the two are compared
    out: str | None = None
    #: a regular expression that its output or messages must match on both
    says: str | None = None
    #: how the output is made comparable: see FILTERS in compare.py
    filter: str | None = None
    #: why the two may differ, by client; a listed difference that isn't one fails as well
    differs: dict | None = None
    #: the clients it is for
    clients: tuple = ("podman", "docker")
    #: seconds until it is killed
    limit: int = 60
