"""Many clients at once: latency against one client, errors, and whether memory grows.

    python benchmarks/serving.py LIBRARY [--clients 100] [--seconds 60]

Indexes a library into a temporary folder, starts `alm2vec serve` on loopback, and asks it words:
one client for a while, then all of them for the rest, each as soon as its answer is there. Every
answer that isn't 200 is told. A fifth of the requests are for audio, a tenth for pictures.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median, quantiles

import httpx

WORDS = (
    *("dog barking", "rain on a roof", "church bells", "a rooster", "applause", "footsteps"),
    *("a violin", "wind", "a car passing", "laughter", "a clock ticking", "waves"),
)
WARM_UP_S, ALONE_S = 3.0, 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", type=Path)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "ALM2VEC_HOME": home}
        alm2vec = [sys.executable, "-m", "alm2vec_search.cli"]
        index = [*alm2vec, "index", "-q", str(options.library)]
        subprocess.run(index, env=environment, check=True)
        with subprocess.Popen(
            [*alm2vec, "serve", "--port", "0"], env=environment, stderr=subprocess.PIPE, text=True
        ) as server:
            try:
                assert server.stderr is not None
                address = re.search(r"http://\S+/", server.stderr.readline())
                assert address is not None
                asyncio.run(measure(address[0], server.pid, options.clients, options.seconds))
            finally:
                server.terminate()


async def measure(address: str, pid: int, n_clients: int, seconds: float) -> None:
    limits = httpx.Limits(max_connections=n_clients)
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=60) as client:
        await ask(client, 1, WARM_UP_S)
        alone = await ask(client, 1, ALONE_S)
        before = memory_mb(pid)
        first = await ask(client, n_clients, seconds / 2)
        halfway = memory_mb(pid)
        second = await ask(client, n_clients, seconds / 2)
        after = memory_mb(pid)
    together = first.joined(second)
    print(f"{'':24}{'1 client':>12}{f'{n_clients} clients':>14}{'ratio':>8}")
    rate = together.per_second, alone.per_second
    print(f"{'answers per s':24}{rate[1]:12.1f}{rate[0]:14.1f}{rate[0] / rate[1]:8.2f}")
    for name, of in (("median ms", median), ("95th percentile ms", percentile_95)):
        one, many = 1000 * of(alone.seconds), 1000 * of(together.seconds)
        print(f"{name:24}{one:12.1f}{many:14.1f}{many / one:8.2f}")
    print(f"answers: {dict(together.statuses)}")
    print(f"memory, MB: {before:.0f} before, {halfway:.0f} halfway, {after:.0f} at the end")


class Seen:
    """What came back."""

    def __init__(self, duration_s: float) -> None:
        self.duration_s = duration_s
        self.seconds: list[float] = []
        self.statuses: Counter[int | str] = Counter()

    @property
    def per_second(self) -> float:
        return len(self.seconds) / self.duration_s

    def joined(self, other: Seen) -> Seen:
        both = Seen(self.duration_s + other.duration_s)
        both.seconds = self.seconds + other.seconds
        both.statuses = self.statuses + other.statuses
        return both


async def ask(client: httpx.AsyncClient, n_clients: int, duration_s: float) -> Seen:
    seen, end = Seen(duration_s), time.perf_counter() + duration_s

    async def one(number: int) -> None:
        chance = random.Random(number)
        hit = None
        while time.perf_counter() < end:
            kind = chance.random()
            if hit is not None and kind < 0.3:
                what = "audio" if kind < 0.2 else "spectrogram.png"
                span = {"start": hit["start_s"], "end": hit["end_s"]}
                request = client.build_request(
                    "GET", f"/v1/sounds/{hit['sound']}/{what}", params=span
                )
            else:
                body = {"text": chance.choice(WORDS), "limit": 5}
                request = client.build_request("POST", "/v1/search", json=body)
            started = time.perf_counter()
            try:
                answer = await client.send(request)
            except httpx.HTTPError as error:
                seen.statuses[type(error).__name__] += 1
                continue
            seen.seconds.append(time.perf_counter() - started)
            seen.statuses[answer.status_code] += 1
            if request.method == "POST" and answer.status_code == 200:
                hit = chance.choice(answer.json()["hits"])

    await asyncio.gather(*(one(number) for number in range(n_clients)))
    return seen


def percentile_95(seconds: list[float]) -> float:
    return quantiles(seconds, n=20)[-1]


def memory_mb(pid: int) -> float:
    """Resident, of the server's process."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1]) / 1024


if __name__ == "__main__":
    main()
