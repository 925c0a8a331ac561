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
                sys.exit(f"{path}: {answer.status} {body[:300]}")
            times[path].append((time.perf_counter() - began) * 1000)
    return {path: (statistics.median(t), sorted(t)[int(len(t) * 0.95)]) for path, t in times.items()}


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
        key = server.run("key", "create", "--name", "bench", "--scope", "contacts:read", "campaigns:read")["secret"]
        cpu, began = c.cpu_seconds(pid), time.monotonic()
        server.run("campaign", "start", campaign_id, "--no-undo")
        while server.run("campaign", "report", campaign_id, "--rows", "0")["state"] in ("scheduled", "freezing", "draft"):
            if time.monotonic() - began > 600:
                sys.exit("not frozen after 600 s")
            time.sleep(0.2)
        frozen = time.monotonic() - began
        print(f"freezing: {a.n} recipients in {frozen:.1f} s, {c.cpu_seconds(pid) - cpu:.1f} CPU s, peak {c.peak_mb(pid):.0f} MB", flush=True)
        time.sleep(3)
        paths = ["/api/v1/contacts?limit=50", "/api/v1/contacts?limit=50&q=user99999", "/api/v1/campaigns?limit=50", f"/api/v1/campaigns/{campaign_id}",
                 f"/api/v1/campaigns/{campaign_id}/report", f"/api/v1/campaigns/{campaign_id}/rows?limit=50"]
        result = {}
        asker = threading.Thread(target=lambda: result.update(pages(server, key, paths, 40)))
        asker.start()
        time.sleep(a.seconds)
        asker.join()
        ledger = server.run("campaign", "report", campaign_id, "--rows", "0")["ledger"]
        print(f"sent meanwhile: {ledger['accepted']}; peak {c.peak_mb(pid):.0f} MB")
        for path, (p50, p95) in result.items():
            print(f"{p95:8.1f} ms p95 {p50:8.1f} ms p50  {path.replace(campaign_id, 'ID')}")
        server.run("campaign", "stop", campaign_id)
        if a.json:
            json.dump({"n": a.n, "import_s": import_seconds, "freeze_s": frozen, "peak_mb": c.peak_mb(pid), "pages": result}, open(a.json, "w"), indent=1)
    finally:
        server.stop()
        receiver.terminate()
        receiver.wait()


if __name__ == "__main__":
    main()
