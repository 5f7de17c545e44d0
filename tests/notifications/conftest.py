"""Both systems on loopback, for every test here."""

from tests.operators.remote import clock, connect, context, control, simulator, ti

__all__ = ["clock", "connect", "context", "control", "simulator", "ti"]
