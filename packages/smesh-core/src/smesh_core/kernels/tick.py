"""One tick of a network: decay, diffuse, sense, reinforce, consensus. This file is the path that every signal takes.

Compiled by numba, and the same on any number of threads: signals do not touch each other, so a call takes a range of
them, and for each runs all its ticks on end. `reference` does the same in NumPy, tick by tick, and is what runs where
numba is missing; property tests hold the two to each other, bit for bit.

**Decay.** A signal's intensity at each age is a table (`state.intensities`), made by `smesh_core.decay` at emission.

**Diffuse.** From the tick on in which a node holds a signal, and while the signal is live, it is asked each tick, for
each of its hyphae but the one to where the signal came from, whether it relays. It does with probability
``confidence · I(t) · trust(relayer, origin) · remaining / radius``. The copy arrives `latency` ticks later. If then
either end is down, or a partition lies between, the copy is lost, and the hypha is asked again from that tick on. So it
is where the relayer's conduct is to drop what others say, but such a copy was never sent, and does not count as lost.

Asking tick by tick is a chain of Bernoulli trials. The tick in which the first one succeeds is drawn at once, from one
uniform u: it is the first age k, from the age k0 at which asking began, with ``Π_{j=k0..k} (1 - p_j) <= u``. The
products are shared: with ``C[k]`` the product from the start of k's block of `BLOCK` ages, the condition inside k0's
block is ``C[k] <= u · C[k0 - 1]``, and what is left of u when a block ends goes on to the next. Trials after a loss
are independent of those before it, so they get a new u, named by the tick in which they begin.

A node keeps the first copy that arrives; of several in one tick the strongest, then the one with fewer hops, then the
one from the lowest node. Its **attenuation** is the sender's, times the hypha's strength, times the sender's dampening
(0.9 where it trusts the origin above 0.7, else 0.7).

**Sense.** A node senses a signal that arrives with ``I(t) · attenuation`` at or above its threshold.

**Reinforce.** A node that senses a signal may hold evidence, of a strength that is uniform in (0, 1): evidence for it
with probability `for_share`, against it with probability `against_share`. It supports the signal when
``evidence + trust(node, origin) · confidence >= 0.5``, and opposes it when it holds evidence against it and
``evidence + (1 - trust(node, origin)) · confidence >= 0.5``. Without evidence it does neither. So an honest node; one
that does not play by the rules takes a stance without evidence, or none, as its `smesh_core.conduct` has it.

**Consensus.** Read from the stances after each tick, as `smesh_core.consensus` has it; the first tick in which it is
reached, and the first in which it is rejected, are kept. Reading it does not latch it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from smesh_core.conduct import Conduct
from smesh_core.kernels._jit import entry, inner
from smesh_core.limits import (
    DAMPENING_DISTRUSTED,
    DAMPENING_TRUST_MIN,
    DAMPENING_TRUSTED,
    REINFORCE_MIN,
    TRUST_IN_SELF,
)
from smesh_core.rng import GAMMA, SIGNAL_STEP, STREAM_STEP, TICK_STEP, UNIT_HALF_STEP, UNIT_STEP, Stream
from smesh_core.state import ARRIVAL, NEVER, OPPOSES, PENDING, PROGRESS, SENSED, SIGNAL, SUPPORTS, WORLD

BLOCK = 64
"""Ages that one running product spans; short enough that it cannot underflow (0.01 to the 64th is 1e-128)."""
WINDOW = 128
"""Ticks whose pending copies are sorted into buckets at a time."""
BLOCK_CELLS, ONE = np.uint64(BLOCK), np.uint64(1)
NONE = -1
LATE = 2**31 - 1
"""An age that a copy never arrives at."""

DROPS, ABSTAINS = int(Conduct.DROPS), int(Conduct.ABSTAINS)
FLATTERS, COLLUDES = int(Conduct.FLATTERS), int(Conduct.COLLUDES)

RELAY, EVIDENCE = np.uint64(Stream.RELAY), np.uint64(Stream.EVIDENCE)
WHOLE, REAL, WORD, BYTE = np.dtype(np.int64), np.dtype(np.float64), np.dtype(np.int32), np.dtype(np.int8)


class Hyphae(NamedTuple):
    """Who is joined to whom, and how; arrays of the topology."""

    offsets: object
    targets: object
    strengths: object
    latencies: object


class Nodes(NamedTuple):
    """Columns of the nodes, and the trust that pairs of them have of their own."""

    sides: object
    conducts: object
    thresholds: object
    trusts: object
    pair_offsets: object
    pair_observers: object
    pair_trusts: object


class Desk(NamedTuple):
    """What one thread works on a signal with: its arrivals and pending copies, and the tables that they need."""

    here: object
    under_way: object
    slots: object
    buckets: object
    products: object
    is_filled: object


# ---- randomness, as `smesh_core.rng` has it, for single numbers


@inner
def mix(word):
    """A bijection of 64-bit words."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@inner
def stream_key(seed, stream, number):
    """What all draws for a signal in one stream have in common."""
    return mix(mix(mix(seed + GAMMA) + stream * STREAM_STEP) + np.uint64(number) * SIGNAL_STEP)


@inner
def tick_key(key, tick):
    """What all draws for a signal in one stream and tick have in common."""
    return mix(key + np.uint64(tick) * TICK_STEP)


@inner
def draw_unit(key, edge):
    """Uniform in (0, 1)."""
    word = mix(key + np.uint64(edge) * GAMMA)
    return np.float64(np.int64(word >> np.uint64(12))) * UNIT_STEP + UNIT_HALF_STEP


# ---- trust, and how long a hypha waits


@inner
def trust_in_origin(world, nodes, observer, origin):
    """What `observer` thinks of `origin`: its own trust where it has one, else what the others think."""
    if observer == origin:
        return TRUST_IN_SELF
    if world.is_trust_paired:
        low, end = nodes.pair_offsets[origin], nodes.pair_offsets[origin + 1]
        high = end
        while low < high:
            middle = (low + high) // 2
            if nodes.pair_observers[middle] < observer:
                low = middle + 1
            else:
                high = middle
        if low < end and nodes.pair_observers[low] == observer:
            return nodes.pair_trusts[low]
    return nodes.trusts[origin]


@inner
def fill_products(products, at, share, intensity):
    """Write a row: for each age the product of (1 - p) from the start of its block to it, and -1 after the last."""
    product = 1.0
    cell = np.uint64(at)
    for age in range(len(intensity)):
        product *= 1.0 - share * intensity[age]
        products[cell] = product
        cell += ONE
        if age % BLOCK == BLOCK - 1:
            product = 1.0
    while cell % BLOCK_CELLS:
        products[cell] = -1.0
        cell += ONE


@inner
def first_success(unit, begin, life, products, at):
    """The first age, from `begin` on, in which asking succeeds, by the row that begins at `at`; NONE if it never does.

    Products fall within a block, so counting those above what is left of `unit` finds the first that is not. All of a
    block are counted, without a branch: a loop that stopped in time would mispredict, which costs more.
    """
    left = unit * products[at + begin - 1] if begin % BLOCK else unit
    block = begin - begin % BLOCK
    while block < life:
        first = np.uint64(at + block)
        above = 0
        for cell in range(BLOCK):
            above += products[first + np.uint64(cell)] > left
        if above < BLOCK:
            age = max(block + above, begin)
            return age if age < life else NONE
        block += BLOCK
        left /= products[at + block - 1]
    return NONE


@inner
def shares_products(signal, other, trusts):
    """Whether relays of both wait alike at every hop, where they trust the origin as the others do."""
    return (
        signal.decay == other.decay
        and signal.life == other.life
        and signal.radius == other.radius
        and signal.confidence == other.confidence
        and trusts[signal.origin] == trusts[other.origin]
    )


@inner
def row_of(signal, hop, trust, usual_trust, intensity, desk):
    """Where the products begin for a relay that trusts the origin this much; they are written when first needed."""
    length = (signal.life + BLOCK - 1) // BLOCK * BLOCK
    cells = len(desk.products)
    is_shared = (trust == usual_trust or hop == 0) and (signal.radius + 1) * length <= cells
    at = hop * length if is_shared else cells - length
    if not is_shared or not desk.is_filled[hop]:
        share = signal.confidence * trust * ((signal.radius - hop) / signal.radius)
        fill_products(desk.products, at, share, intensity)
        if is_shared:
            desk.is_filled[hop] = 1
    return at


@inner
def arrival_age(signal, asked, world, hyphae, hypha):
    """How old the signal is when a copy arrives that was sent at the age `asked`; LATE if it has ended by then."""
    if asked == NONE:
        return LATE
    age = asked + hyphae.latencies[0 if world.is_latency_uniform else hypha]
    return age if age < signal.life else LATE


@inner
def put_in_bucket(desk, record, start, end):
    """Chain a copy to the others of its age, if that is within the window."""
    age = desk.under_way[record].age
    if age < end:
        desk.under_way[record].next = desk.buckets[age - start]
        desk.buckets[age - start] = record


# ---- the stages


@inner
def decay(signal, intensities):
    """Intensity at every age of its life: what remains of it when nobody touches it."""
    return intensities[signal.decay : signal.decay + signal.life]


@inner
def gives_on(nodes, sender, origin):
    """Whether it is a node's conduct to pass on what this origin says."""
    conduct = nodes.conducts[sender]
    if not conduct & DROPS or sender == origin:
        return True
    return conduct & COLLUDES != 0 and nodes.conducts[origin] & COLLUDES != 0


@inner
def carries(world, nodes, sender, target, origin):
    """Whether a copy gets across now: both ends up, on one side of every partition, and the sender lets it."""
    if world.is_whole:
        return True
    is_joined = nodes.sides[sender] >= 0 and nodes.sides[sender] == nodes.sides[target]
    return is_joined and gives_on(nodes, sender, origin)


@inner
def is_better(attenuation, hop, via, held):
    """Of two copies that arrive in one tick: the stronger, then the one of fewer hops, then from the lower node."""
    if attenuation != held.attenuation:
        return attenuation > held.attenuation
    if hop != held.hop:
        return hop < held.hop
    return via < held.via


@inner
def arrive(progress, desk, target, via, age, hop, attenuation):
    """Keep a copy that got across, unless the node holds the signal already or has a better copy of this tick."""
    slot = desk.slots[target]
    if 0 <= slot < progress.arrivals and desk.here[slot].node == target:
        held = desk.here[slot]
        if slot >= progress.settled and is_better(attenuation, hop, via, held):
            held.attenuation, held.hop, held.via = attenuation, hop, via
        return
    desk.slots[target] = progress.arrivals
    arrival = desk.here[progress.arrivals]
    arrival.node, arrival.via, arrival.age, arrival.hop = target, via, age, hop
    arrival.attenuation, arrival.relayed, arrival.acted, arrival.marks = attenuation, 0, 0, 0
    progress.arrivals += 1


@inner
def diffuse(signal, progress, age, key, intensity, world, nodes, hyphae, desk, start, end):
    """Let the copies of this tick arrive; those that are lost are asked for again."""
    record = desk.buckets[age - start]
    while record != NONE:
        copy = desk.under_way[record]
        following = copy.next
        holder = desk.here[copy.holder]
        hypha = hyphae.offsets[holder.node] + copy.rank
        target = hyphae.targets[hypha]
        trust = trust_in_origin(world, nodes, holder.node, signal.origin)
        if carries(world, nodes, holder.node, target, signal.origin):
            strength = hyphae.strengths[0 if world.is_strength_uniform else hypha]
            dampening = DAMPENING_TRUSTED if trust > DAMPENING_TRUST_MIN else DAMPENING_DISTRUSTED
            attenuation = holder.attenuation * (strength * dampening)
            holder.relayed += 1
            progress.copies += 1
            arrive(progress, desk, target, holder.node, age, holder.hop + 1, attenuation)
        else:
            progress.lost += nodes.sides[holder.node] >= 0 and gives_on(nodes, holder.node, signal.origin)
            row = row_of(signal, holder.hop, trust, nodes.trusts[signal.origin], intensity, desk)
            asked = first_success(draw_unit(key, hypha), age, signal.life, desk.products, row)
            copy.age = arrival_age(signal, asked, world, hyphae, hypha)
            put_in_bucket(desk, record, start, end)
        record = following


@inner
def sense(progress, age, intensity, nodes, arrival):
    """Whether a node feels what has reached it."""
    if intensity[age] * arrival.attenuation < nodes.thresholds[arrival.node]:
        return False
    arrival.marks |= SENSED
    arrival.acted = age
    progress.sensed += 1
    return True


@inner
def misbehave(progress, conduct, origin_conduct, arrival):
    """Let a node that does not play by the rules take a stance, or none; whether its conduct says which."""
    if conduct & ABSTAINS:
        return True
    if conduct & COLLUDES:
        if origin_conduct & COLLUDES:
            arrival.marks |= SUPPORTS
            progress.supporters += 1
        else:
            arrival.marks |= OPPOSES
            progress.opposers += 1
        return True
    if conduct & FLATTERS:
        arrival.marks |= SUPPORTS
        progress.supporters += 1
        return True
    return False


@inner
def reinforce(signal, progress, evidence_key, trust, arrival):
    """Let an honest node take a stance, if it holds evidence of its own."""
    kind = draw_unit(evidence_key, 2 * np.int64(arrival.node))
    if kind >= signal.for_share + signal.against_share:
        return
    evidence = draw_unit(evidence_key, 2 * np.int64(arrival.node) + 1)
    if kind < signal.for_share:
        if evidence + trust * signal.confidence >= REINFORCE_MIN:
            arrival.marks |= SUPPORTS
            progress.supporters += 1
    elif evidence + (1.0 - trust) * signal.confidence >= REINFORCE_MIN:
        arrival.marks |= OPPOSES
        progress.opposers += 1


@inner
def has_quorum(world, weight, against):
    """Whether a side of this weight has consensus, each node being a lineage of its own."""
    return weight > against and weight >= world.quorum and weight >= world.lineages


@inner
def read_consensus(progress, world, tick):
    """Note the first tick in which consensus is reached, and the first in which it is rejected."""
    support, oppose = 1 + progress.supporters, progress.opposers
    if progress.reached_tick == NEVER and has_quorum(world, support, oppose):
        progress.reached_tick = tick
    if progress.rejected_tick == NEVER and has_quorum(world, oppose, support):
        progress.rejected_tick = tick


@inner
def ask_hyphae(signal, progress, slot, age, key, intensity, world, nodes, hyphae, desk, start, end):
    """From this tick on, ask the hyphae of a node that the signal has just reached whether they relay."""
    arrival = desk.here[slot]
    trust = trust_in_origin(world, nodes, arrival.node, signal.origin)
    row = row_of(signal, arrival.hop, trust, nodes.trusts[signal.origin], intensity, desk)
    first = hyphae.offsets[arrival.node]
    for rank in range(hyphae.offsets[arrival.node + 1] - first):
        hypha = first + rank
        if hyphae.targets[hypha] == arrival.via:
            continue
        asked = first_success(draw_unit(key, hypha), age, signal.life, desk.products, row)
        arrives = arrival_age(signal, asked, world, hyphae, hypha)
        if arrives == LATE:
            continue
        copy = desk.under_way[progress.on_way]
        copy.age, copy.holder, copy.rank = arrives, slot, rank
        put_in_bucket(desk, progress.on_way, start, end)
        progress.on_way += 1


# ---- the path


@inner
def run_tick(signal, progress, age, key, evidence_key, intensity, world, nodes, hyphae, desk, start, end):
    """What happens to one signal in one tick."""
    taken = progress.supporters + progress.opposers
    diffuse(signal, progress, age, key, intensity, world, nodes, hyphae, desk, start, end)
    if not world.is_attention_bounded:
        for slot in range(max(1, progress.settled), progress.arrivals):
            arrival = desk.here[slot]
            if sense(progress, age, intensity, nodes, arrival):
                if not world.is_honest:
                    conduct, origin_conduct = nodes.conducts[arrival.node], nodes.conducts[signal.origin]
                    if misbehave(progress, conduct, origin_conduct, arrival):
                        continue
                trust = trust_in_origin(world, nodes, arrival.node, signal.origin)
                reinforce(signal, progress, evidence_key, trust, arrival)
    is_moved = progress.settled == 0 or progress.supporters + progress.opposers > taken
    if world.is_lineage_own and is_moved:
        read_consensus(progress, world, signal.born + age)
    for slot in range(progress.settled, progress.arrivals):
        if desk.here[slot].hop < signal.radius:
            ask_hyphae(signal, progress, slot, age, key, intensity, world, nodes, hyphae, desk, start, end)
    progress.settled = progress.arrivals


@inner
def run_signal(signal, progress, until, world, nodes, hyphae, intensities, desk):
    """All ticks of one signal before `until`."""
    intensity = decay(signal, intensities)
    relay_key = stream_key(world.seed, RELAY, signal.number)
    evidence_key = tick_key(stream_key(world.seed, EVIDENCE, signal.number), 0)
    start, stop = signal.next - signal.born, min(until - signal.born, signal.life)
    while start < stop:
        end = min(stop, start + WINDOW)
        sort_into_buckets(progress, desk, start, end)
        for age in range(start, end):
            if desk.buckets[age - start] != NONE or progress.settled < progress.arrivals:
                key = tick_key(relay_key, signal.born + age)
                run_tick(signal, progress, age, key, evidence_key, intensity, world, nodes, hyphae, desk, start, end)
        start = end
    sort_into_buckets(progress, desk, start, start)


# ---- taking a signal up, and putting it back


@inner
def take_up(signal, progress, arrivals, pending, desk):
    """Copy what is known of a signal to where it is worked on."""
    progress.arrivals, progress.settled, progress.on_way = signal.arrivals, signal.settled, signal.pending
    progress.copies, progress.lost, progress.sensed = signal.copies, signal.lost, signal.sensed
    progress.supporters, progress.opposers = signal.supporters, signal.opposers
    progress.reached_tick, progress.rejected_tick = signal.reached_tick, signal.rejected_tick
    for slot in range(signal.arrivals):
        desk.here[slot] = arrivals[signal.arrivals_at + slot]
        desk.slots[desk.here[slot].node] = slot
    for record in range(signal.pending):
        desk.under_way[record] = pending[signal.pending_at + record]


@inner
def sort_into_buckets(progress, desk, start, end):
    """Chain the copies that arrive from age `start` on and before `end` by age.

    Those that have arrived are forgotten, and those that never will.
    """
    desk.buckets[: end - start] = NONE
    kept = 0
    for record in range(progress.on_way):
        age = desk.under_way[record].age
        if age < start or age == LATE:
            continue
        desk.under_way[kept] = desk.under_way[record]
        put_in_bucket(desk, kept, start, end)
        kept += 1
    progress.on_way = kept


@inner
def next_tick(signal, progress, desk):
    """The tick of the next copy to arrive; NEVER if there is none."""
    if progress.on_way == 0:
        return NEVER
    age = desk.under_way[0].age
    for record in range(1, progress.on_way):
        age = min(age, desk.under_way[record].age)
    return signal.born + age


@inner
def has_room(signal, progress, room):
    """Whether what has become of a signal fits where it is, or in what is left of the thread's own room."""
    if progress.arrivals > signal.arrivals_room and progress.arrivals > room[1] - room[0]:
        room[4] = progress.arrivals
        return False
    if progress.on_way > signal.pending_room and progress.on_way > room[3] - room[2]:
        room[5] = progress.on_way
        return False
    return True


@inner
def put_back(signal, progress, arrivals, pending, desk, room):
    """Copy what has become of a signal back, to a longer stretch where it needs one."""
    if progress.arrivals > signal.arrivals_room:
        needed = 2 * progress.arrivals if progress.on_way else progress.arrivals
        signal.arrivals_at, signal.arrivals_room = room[0], min(room[1] - room[0], needed)
        room[0] += signal.arrivals_room
    if progress.on_way > signal.pending_room:
        signal.pending_at, signal.pending_room = room[2], min(room[3] - room[2], 2 * progress.on_way)
        room[2] += signal.pending_room
    for slot in range(progress.arrivals):
        arrivals[signal.arrivals_at + slot] = desk.here[slot]
    for record in range(progress.on_way):
        pending[signal.pending_at + record] = desk.under_way[record]
    signal.next = next_tick(signal, progress, desk)
    signal.arrivals, signal.settled, signal.pending = progress.arrivals, progress.settled, progress.on_way
    signal.copies, signal.lost, signal.sensed = progress.copies, progress.lost, progress.sensed
    signal.supporters, signal.opposers = progress.supporters, progress.opposers
    signal.reached_tick, signal.rejected_tick = progress.reached_tick, progress.rejected_tick


@entry(
    int, int, int, WORLD, SIGNAL, ARRIVAL, PENDING,  # which signals, until when; the state
    WORD, BYTE, REAL, REAL, WHOLE, WORD, REAL,  # the nodes
    WHOLE, WORD, REAL, WORD, REAL,  # the hyphae, and intensities by age
    PROGRESS, ARRIVAL, PENDING, WORD, WORD, REAL, BYTE, WHOLE,  # what the thread works with
)  # fmt: skip
def run_signals(
    first, last, until, worlds, signals, arrivals, pending,
    sides, conducts, thresholds, trusts, pair_offsets, pair_observers, pair_trusts,
    offsets, targets, strengths, latencies, intensities,
    progresses, here, under_way, slots, buckets, products, is_filled, room,
):  # fmt: skip
    """Run signals first..last - 1 up to the tick `until`.

    A signal is worked on apart and put back whole, so one that there is no room for is as it was.

    Returns:
        The first signal that there was no room for, or `last`.
    """
    world, progress = worlds[0], progresses[0]
    nodes = Nodes(sides, conducts, thresholds, trusts, pair_offsets, pair_observers, pair_trusts)
    hyphae = Hyphae(offsets, targets, strengths, latencies)
    desk = Desk(here, under_way, slots, buckets, products, is_filled)
    previous = NONE
    for s in range(first, last):
        signal = signals[s]
        if signal.next >= until:
            continue
        if previous == NONE or not shares_products(signal, signals[previous], trusts):
            is_filled[: signal.radius + 1] = 0
        previous = s
        take_up(signal, progress, arrivals, pending, desk)
        run_signal(signal, progress, until, world, nodes, hyphae, intensities, desk)
        if not has_room(signal, progress, room):
            return s
        put_back(signal, progress, arrivals, pending, desk, room)
    return last
