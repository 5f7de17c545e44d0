"""Both systems on loopback, and time that passes without waiting, for every test here."""

from tests.operators.remote import connect, simulator
from tests.triggers.clock import clock, control

__all__ = ["clock", "connect", "control", "simulator"]
