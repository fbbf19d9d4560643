"""The data that is migrated: what a shop would keep, with every type of value in it."""

import itertools
import random
from collections.abc import Iterator

import redis

# Fixed, so that two runs of the demo migrate the same keys.
SEED = 20_000
BATCH = 500

Command = tuple


def users(dice: random.Random) -> Iterator[Command]:
    for n in range(40_000):
        fields = ("name", f"user {n}", "email", f"u{n}@example.org", "visits", dice.randrange(500))
        yield "HSET", f"user:{n}", *fields


def sessions(dice: random.Random) -> Iterator[Command]:
    for n in range(40_000):
        token = "%032x" % dice.getrandbits(128)
        yield "SET", f"session:{n}", token, "EX", dice.randrange(600, 86_400)


def carts(dice: random.Random) -> Iterator[Command]:
    for n in range(10_000):
        items = [(f"sku:{dice.randrange(5_000)}", dice.randrange(1, 5)) for _ in range(6)]
        yield "HSET", f"cart:{n}", *itertools.chain(*items)
        yield "EXPIRE", f"cart:{n}", 604_800


def pages(dice: random.Random) -> Iterator[Command]:
    for n in range(15_000):
        yield "SET", f"views:{n}", dice.randrange(1_000_000)
        yield "SADD", f"tags:{n}", *(f"tag:{dice.randrange(300)}" for _ in range(5))


def leaderboards(dice: random.Random) -> Iterator[Command]:
    for n in range(20):
        scores = ((dice.random() * 1e6, f"player:{p}") for p in range(1_500))
        yield "ZADD", f"leaderboard:{n}", *itertools.chain(*scores)


def queues(dice: random.Random) -> Iterator[Command]:
    for n in range(20):
        yield "RPUSH", f"queue:{n}", *(f"job:{dice.getrandbits(48)}" for _ in range(500))


def streams(dice: random.Random) -> Iterator[Command]:
    for n in range(30):
        yield "XGROUP", "CREATE", f"events:{n}", "workers", "0", "MKSTREAM"
        for _ in range(100):
            yield "XADD", f"events:{n}", "*", "kind", "click", "page", dice.randrange(15_000)
        yield "XREADGROUP", "GROUP", "workers", "w1", "COUNT", 20, "STREAMS", f"events:{n}", ">"


def analytics(dice: random.Random) -> Iterator[Command]:
    for n in range(300):
        yield "PFADD", f"visitors:{n}", *(dice.getrandbits(40) for _ in range(200))
        yield "SETBIT", f"active:{n}", dice.randrange(200_000), 1
    for n in range(10):
        stores = ((dice.uniform(-179, 179), dice.uniform(-80, 80), f"store:{s}") for s in range(300))
        yield "GEOADD", f"stores:{n}", *itertools.chain(*stores)
    # One value far above the usual size, as there is always one.
    yield "HSET", "catalogue", *itertools.chain(*((f"sku:{n}", "x" * 40) for n in range(20_000)))


FAMILIES = (users, sessions, carts, pages, leaderboards, queues, streams, analytics)


def load(port: int) -> int:
    """Fills the server and tells how many keys it holds then."""
    dice = random.Random(SEED)
    client = redis.Redis(port=port)
    commands = itertools.chain.from_iterable(family(dice) for family in FAMILIES)
    while batch := list(itertools.islice(commands, BATCH)):
        pipeline = client.pipeline(transaction=False)
        for command in batch:
            pipeline.execute_command(*command)
        pipeline.execute()
    flags = redis.Redis(port=port, db=3)
    flags.mset({f"flag:{n}": n % 2 for n in range(200)})
    return client.dbsize() + flags.dbsize()
