#!/usr/bin/env python3
"""A million contacts: import, freezing, memory, marks while freezing, and the pages of the API.

  bench/million.py [--n 1000000] [--seconds 60] [--database postgres://...] [--json FILE]

Imports n contacts, freezes a campaign to all of them, lets it send into smtp-sink for some seconds, asks the pages of
the API meanwhile and prints their p95, then stops the campaign. Everything is on 127.0.0.1 and ends by itself.
"""
import argparse
import http.client
import json
import os
import re
import statistics
import sys
import threading
import time

import campaign as c


def pages(server, key, paths, rounds):
    """p50 and p95 in milliseconds of each path, asked in turn over one connection."""
    host = server.env["POSTRIDER_HTTP_LISTEN"]
    link = http.client.HTTPConnection(host, timeout=60)
    times = {path: [] for path in paths}
    for _ in range(rounds):
        for path in paths:
            began = time.perf_counter()
            link.request("GET", path, headers={"Authorization": f"Bearer {key}"})
            answer = link.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise RuntimeError(f"{path}: {answer.status} {body[:300]}")
            times[path].append((time.perf_counter() - began) * 1000)
    return {path: (statistics.median(t), sorted(t)[int(len(t) * 0.95)]) for path, t in times.items()}


def marks(server):
    """The histogram of waiting for a mark, so far: (count, sum in seconds, [(upper bound in seconds, count up to it)])."""
    link = http.client.HTTPConnection(server.env["POSTRIDER_HTTP_LISTEN"], timeout=60)
    link.request("GET", "/metrics")
    text = link.getresponse().read().decode()
    bounds = [(float(le), int(n)) for le, n in re.findall(r'postrider_mark_seconds_bucket\{le="([\d.]+)"\} (\d+)', text)]
    total = re.search(r"postrider_mark_seconds_sum ([\d.e-]+)", text)
    count = re.search(r"postrider_mark_seconds_count (\d+)", text)
    return int(count.group(1)) if count else 0, float(total.group(1)) if total else 0.0, bounds


def between(before, after):
    """Mean, and bounds below which 99 % and all of the marks between two readings stay, in milliseconds."""
    count = after[0] - before[0]
    if not count:
        return "no marks"
    earlier = dict(before[2])
    upto = [(le, n - earlier.get(le, 0)) for le, n in after[2]]
    bound = lambda share: next((f"{le * 1000:g}" for le, n in upto if n >= share * count), "more")
    return f"{count} marks, mean {(after[1] - before[1]) / count * 1000:.1f} ms, 99 % within {bound(0.99)} ms, all within {bound(1)} ms"


class Stream:
    """Single messages, one after another with a pause, until told to end: marks to be delayed by something else."""

    def __init__(self, server, key, pause):
        self.server, self.key, self.pause, self.ended, self.sent = server, key, pause, threading.Event(), 0
        self.thread = threading.Thread(target=self.go)
        self.thread.start()

    def go(self):
        link = http.client.HTTPConnection(self.server.env["POSTRIDER_HTTP_LISTEN"], timeout=60)
        while not self.ended.wait(self.pause):
            message = {"from": "orders@bench.test", "to": [f"single{self.sent}@dest1.accept.test"], "subject": "Your order", "text": "On its way."}
            link.request("POST", "/api/v1/messages", json.dumps(message), {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json",
                                                                            "Idempotency-Key": f"single-{self.sent}"})
            answer = link.getresponse()
            body = answer.read()
            if answer.status != 202:
                raise RuntimeError(f"message: {answer.status} {body[:300]}")
            self.sent += 1

    def end(self):
        self.ended.set()
        self.thread.join()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(c.ROOT, "target")), "release/postrider"))
    p.add_argument("--n", type=int, default=1_000_000)
    p.add_argument("--seconds", type=float, default=60)
    p.add_argument("--database", default="")
    p.add_argument("--json")
    a = p.parse_args()
    server = c.Server(a.binary, a.database)
    receiver, port = c.sink()
    try:
        campaign_id, import_seconds = c.prepare(server, a.n, 4, port)
        pid = server.process.pid
        print(f"import: {a.n} rows in {import_seconds:.1f} s ({a.n / import_seconds:.0f} rows/s), peak {c.peak_mb(pid):.0f} MB", flush=True)
        key = server.run("key", "create", "--name", "bench", "--scope", "contacts:read", "campaigns:read", "send")["secret"]
        stream, quiet = Stream(server, key, 0.05), marks(server)
        time.sleep(10)
        busy = marks(server)
        print(f"marks before freezing: {between(quiet, busy)}", flush=True)
        cpu, began = c.cpu_seconds(pid), time.monotonic()
        server.run("campaign", "start", campaign_id, "--no-undo")
        while server.run("campaign", "report", campaign_id, "--rows", "0")["state"] in ("scheduled", "freezing", "draft"):
            if time.monotonic() - began > 600:
                sys.exit("not frozen after 600 s")
            time.sleep(0.2)
        frozen = time.monotonic() - began
        during = between(busy, marks(server))
        stream.end()
        print(f"freezing: {a.n} recipients in {frozen:.1f} s, {c.cpu_seconds(pid) - cpu:.1f} CPU s, peak {c.peak_mb(pid):.0f} MB", flush=True)
        print(f"marks while freezing: {during}", flush=True)
        time.sleep(3)
        paths = ["/api/v1/contacts?limit=50", "/api/v1/contacts?limit=50&search=user99999", "/api/v1/campaigns?limit=50", f"/api/v1/campaigns/{campaign_id}",
                 f"/api/v1/campaigns/{campaign_id}/report", f"/api/v1/campaigns/{campaign_id}/rows?limit=50"]
        result = {}
        asker = threading.Thread(target=lambda: result.update(pages(server, key, paths, 40)))
        asker.start()
        time.sleep(a.seconds)
        asker.join()
        if not result:
            sys.exit("the pages were not measured")
        ledger = server.run("campaign", "report", campaign_id, "--rows", "0")["ledger"]
        print(f"sent meanwhile: {ledger['accepted']}; peak {c.peak_mb(pid):.0f} MB")
        for path, (p50, p95) in result.items():
            print(f"{p95:8.1f} ms p95 {p50:8.1f} ms p50  {path.replace(campaign_id, 'ID')}")
        server.run("campaign", "stop", campaign_id)
        if a.json:
            json.dump({"n": a.n, "import_s": import_seconds, "freeze_s": frozen, "marks": during, "peak_mb": c.peak_mb(pid), "pages": result}, open(a.json, "w"), indent=1)
    finally:
        server.stop()
        receiver.terminate()
        receiver.wait()


if __name__ == "__main__":
    main()
