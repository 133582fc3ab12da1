"""Conduct: how a simulated node behaves that does not play by the rules.

Conduct is what a node does, not what others know of it: nothing in a network reads it but the node itself and those in
league with it. A node's conduct is any of these together, so that attacks are made of few parts:

* a **silent** node is ``DROPS | ABSTAINS``: it takes and gives nothing on;
* one that reinforces falsely, whatever was said, `FLATTERS`;
* **colluding liars** `COLLUDE`: they support what one of them says, and oppose everybody else;
* an **eclipse** is made of neighbours that ``DROPS | COLLUDES``: what honest nodes say ends with them, and what one of
  them says does not.

Spam needs no conduct, only emissions; Sybils are colluding nodes of one owner (`smesh_core.attacks`).
"""

from __future__ import annotations

from enum import IntFlag

__all__ = ["Conduct"]


class Conduct(IntFlag):
    """What a node does instead of what an honest one would; parts can be joined by ``|``."""

    HONEST = 0
    DROPS = 1
    """Relays nothing but what it says itself, or, if it colludes, what those in league with it say."""
    ABSTAINS = 2
    """Takes no stance."""
    FLATTERS = 4
    """Supports whatever it senses, without evidence."""
    COLLUDES = 8
    """Supports what those in league with it say, and opposes everything else, without evidence."""
