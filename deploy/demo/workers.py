"""The clients of the demo: each knows what the server must answer, and checks every reply.

A worker keeps its own model of the keys that it alone writes, so a lost write, one applied twice, a
reordered element or a stale read shows at once, whichever server the reply came from.
"""

import random

import redis

RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


class Worker:
    """One client. `step` is a unit of work, `finish` what is left once the producers have ended."""

    # Seconds between two steps. Unpaced, the clients would leave a small machine no time to migrate.
    pace = 0.002
    # A consumer outlives the producers, and may spend a step in a blocking command.
    consumer = False

    def __init__(self, client: redis.Redis, number: int):
        self.client = client
        self.number = number
        self.dice = random.Random(number)
        self.problems: list[str] = []
        self.count = 0

    def expect(self, what: str, got, wanted):
        if got != wanted:
            self.problems.append(f"{type(self).__name__} {self.number}: {what}: {got!r}, not {wanted!r}")

    def step(self):
        raise NotImplementedError

    def finish(self):
        """Nothing is left, for most."""


class Counters(Worker):
    """INCR alone, in pipelines and in transactions: every reply is known before it comes."""

    def __init__(self, client, number):
        super().__init__(client, number)
        self.values = [0] * 50

    def step(self):
        slot = self.dice.randrange(len(self.values))
        key, wanted = f"demo:counter:{self.number}:{slot}", self.values[slot]
        if self.dice.random() < 0.2:
            with self.client.pipeline(transaction=self.dice.random() < 0.5) as pipeline:
                replies = pipeline.incr(key).incrby(key, 5).decr(key).execute()
            self.expect(key, replies, [wanted + 1, wanted + 6, wanted + 5])
            self.values[slot] += 5
        else:
            self.expect(key, self.client.incr(key), wanted + 1)
            self.values[slot] += 1
        self.count += 1

    def finish(self):
        for slot, wanted in enumerate(self.values):
            got = int(self.client.get(f"demo:counter:{self.number}:{slot}") or 0)
            self.expect(f"counter {slot} at the end", got, wanted)


class Sessions(Worker):
    """Strings with a TTL, renewed, read back, and now and then logged out."""

    def step(self):
        key = f"session:live:{self.number}:{self.dice.randrange(2_000)}"
        token = str(self.dice.getrandbits(64)).encode()
        self.client.set(key, token, ex=self.dice.randrange(60, 3_600))
        self.expect(key, self.client.get(key), token)
        if self.dice.random() < 0.1:
            self.expect(f"DEL {key}", self.client.delete(key), 1)
            self.expect(f"GET {key}", self.client.get(key), None)
        else:
            self.expect(f"EXPIRE {key}", self.client.expire(key, 1_800), True)
        self.count += 1


class Carts(Worker):
    """Hashes whose whole content is known."""

    def __init__(self, client, number):
        super().__init__(client, number)
        self.carts: dict[str, dict[bytes, bytes]] = {}

    def step(self):
        key = f"cart:live:{self.number}:{self.dice.randrange(100)}"
        cart = self.carts.setdefault(key, {})
        item = b"sku:%d" % self.dice.randrange(20)
        if item in cart and self.dice.random() < 0.3:
            self.expect(f"HDEL {key}", self.client.hdel(key, item), 1)
            del cart[item]
        else:
            amount = int(cart.get(item, 0)) + 1
            self.expect(f"HINCRBY {key}", self.client.hincrby(key, item, 1), amount)
            cart[item] = b"%d" % amount
        self.expect(f"HGETALL {key}", self.client.hgetall(key), cart)
        self.count += 1


class Scores(Worker):
    """A leaderboard of its own, and a share in one of those that were loaded."""

    def __init__(self, client, number):
        super().__init__(client, number)
        self.scores: dict[str, float] = {}

    def step(self):
        player, won = f"player:{self.dice.randrange(500)}", self.dice.randrange(1, 100)
        wanted = self.scores.get(player, 0.0) + won
        got = self.client.zincrby(f"leaderboard:live:{self.number}", won, player)
        self.expect(f"score of {player}", got, wanted)
        self.scores[player] = wanted
        self.client.zincrby(f"leaderboard:{self.dice.randrange(20)}", 0.5, player)
        self.count += 1

    def finish(self):
        size = self.client.zcard(f"leaderboard:live:{self.number}")
        self.expect("size of the leaderboard", size, len(self.scores))


class Locks(Worker):
    """A read-modify-write under a lock, the lock let go by a script: two at once would lose one."""

    def step(self):
        owner = f"{self.number}:{self.count}"
        if not self.client.set("demo:lock", owner, nx=True, px=20_000):
            return
        value = int(self.client.get("demo:locked") or 0)
        self.client.set("demo:locked", value + 1)
        self.expect("release of the lock", self.client.eval(RELEASE, 1, "demo:lock", owner), 1)
        self.count += 1


class Producer(Worker):
    """Numbered jobs into a list, numbered events into a stream, numbered messages to a channel."""

    def step(self):
        number = self.count
        self.client.lpush("demo:jobs", number)
        self.client.xadd("demo:events", {"n": number})
        heard = self.client.publish("demo:news", number)
        self.expect("subscribers that heard", heard, 1)
        self.count += 1


class Consumer(Worker):
    """Whatever was numbered must come once, in order, and nothing may be left out."""

    pace = 0.0
    consumer = True

    def take(self, number: bytes):
        self.expect("next in order", int(number), self.count)
        self.count = int(number) + 1


class Jobs(Consumer):
    def step(self):
        if taken := self.client.brpop("demo:jobs", timeout=1):
            self.take(taken[1])

    def finish(self):
        while number := self.client.rpop("demo:jobs"):
            self.take(number)


class Events(Consumer):
    def __init__(self, client, number):
        super().__init__(client, number)
        client.xgroup_create("demo:events", "readers", id="0", mkstream=True)

    def step(self, block: int | None = 500):
        fresh = {"demo:events": ">"}
        found = self.client.xreadgroup("readers", "r1", fresh, count=10, block=block)
        entries = found[0][1] if found else []
        for entry, fields in entries:
            self.take(fields[b"n"])
            self.expect("XACK", self.client.xack("demo:events", "readers", entry), 1)
        return len(entries)

    def finish(self):
        while self.step(block=None):
            pass


class News(Consumer):
    def __init__(self, client, number):
        super().__init__(client, number)
        self.subscription = client.pubsub(ignore_subscribe_messages=True)
        self.subscription.subscribe("demo:news")
        # The confirmation: before it, a message could rightly pass us by.
        self.subscription.get_message(timeout=5)

    def step(self):
        message = self.subscription.get_message(timeout=0.5)
        if message:
            self.take(message["data"])
        return message

    def finish(self):
        while self.step():
            pass
