#!/usr/bin/env python3
"""What open live pages cost a campaign that is being sent, and how smoothly such a page runs.

  bench/live.py [--n 20000] [--pages 50] [--rounds 3] [--json FILE]     the cost at the server
  bench/live.py --tab [--n 100000]                                      frames and memory of a real browser tab

The cost: the same campaign is sent without and with the given number of open pages, in turns. A page here is what the
report's page keeps asking for: the stream of events, the totals each second, the rows each five and the curve each ten
seconds (ui/src/screens/campaigns). Both sides and the pages share the machine, so the server's own CPU time per message
is the figure, and messages per second stand beside it.

Everything is on 127.0.0.1, bounded in count and time, and ended by process id. Needs smtp-sink (Debian: postfix), the
release binary, and for --tab Chromium and `npm ci` in ui/.
"""
import argparse
import http.client
import json
import os
import resource
import statistics
import subprocess
import sys
import threading
import time

import campaign as base

PACE = (("report", 1.0), ("rows?limit=15", 5.0), ("series", 10.0))


class Pages:
    """Open live pages, each with a stream of events and a connection of its own for what it asks."""

    def __init__(self, count, port, key, workspace, campaign_id):
        self.ended = threading.Event()
        self.asked, self.failed = 0, []
        self.lock = threading.Lock()
        self.where = (port, {"Authorization": f"Bearer {key}"}, workspace, campaign_id)
        self.threads = [threading.Thread(target=work, args=(i / count,), daemon=True) for i in range(count) for work in (self.stream, self.look)]
        for thread in self.threads:
            thread.start()

    def stream(self, _offset):
        port, headers, workspace, _ = self.where
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("GET", f"/api/v1/live?workspace={workspace}", headers=headers)
            answer = connection.getresponse()
            if answer.status != 200:
                return self.fail(f"live: {answer.status}")
            while not self.ended.is_set() and answer.fp.readline():
                pass
        except OSError as error:
            self.fail(f"live: {error}")
        finally:
            connection.close()

    def look(self, offset):
        port, headers, _, campaign_id = self.where
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        due = {what: time.monotonic() + offset * every for what, every in PACE}
        try:
            while not self.ended.is_set():
                what, every = min(PACE, key=lambda one: due[one[0]])
                if self.ended.wait(max(0, due[what] - time.monotonic())):
                    break
                connection.request("GET", f"/api/v1/campaigns/{campaign_id}/{what}", headers=headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    return self.fail(f"{what}: {answer.status}")
                with self.lock:
                    self.asked += 1
                due[what] = time.monotonic() + every
        except OSError as error:
            if not self.ended.is_set():
                self.fail(f"{what}: {error}")
        finally:
            connection.close()

    def fail(self, words):
        with self.lock:
            self.failed.append(words)

    def close(self):
        self.ended.set()
        for thread in self.threads:
            thread.join(0.05)
        if self.failed:
            sys.exit(f"pages failed: {self.failed[:3]}")
        return self.asked


def until_sent(server, campaign_id, n, limit=900):
    began = time.monotonic()
    while True:
        report = server.run("campaign", "report", campaign_id, "--rows", "0")
        if report["state"] == "done":
            if report["ledger"]["accepted"] != n:
                sys.exit(f"accepted {report['ledger']['accepted']} of {n}: {report}")
            return
        if time.monotonic() - began > limit:
            sys.exit(f"not done after {limit} s: {report}")
        time.sleep(0.25)


def opened(server, campaign_id):
    """An API key that may read, the workspace's id, and the port."""
    key = server.run("key", "create", "--name", "live", "--scope", "campaigns:read")
    workspace = server.run("workspace", "list")
    workspace = (workspace.get("items") or workspace.get("workspaces") if isinstance(workspace, dict) else workspace)
    workspace = workspace[0]["id"] if isinstance(workspace, list) else workspace
    port = int(server.env["POSTRIDER_HTTP_LISTEN"].rsplit(":", 1)[1])
    return key.get("key") or key.get("secret") or key["token"], workspace, port


def sent(binary, n, pages):
    server = base.Server(binary)
    receiver, port = base.sink()
    try:
        campaign_id, _ = base.prepare(server, n, 4, port)
        key, workspace, http_port = opened(server, campaign_id)
        cpu, began = base.cpu_seconds(server.process.pid), time.monotonic()
        own = sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
        server.run("campaign", "start", campaign_id, "--no-undo")
        watching = Pages(pages, http_port, key, workspace, campaign_id) if pages else None
        until_sent(server, campaign_id, n)
        seconds = time.monotonic() - began
        used = base.cpu_seconds(server.process.pid) - cpu
        own = sum(resource.getrusage(resource.RUSAGE_SELF)[:2]) - own
        row = {"pages": pages, "own": own / seconds, "rate": n / seconds, "cpu": used / n * 1000, "seconds": seconds, "asked": 0}
        # The same questions with nothing sent beside them: two runs of a campaign differ by more than the pages cost.
        before, asked, at = base.cpu_seconds(server.process.pid), watching.asked if watching else 0, time.monotonic()
        time.sleep(15)
        spent, passed = base.cpu_seconds(server.process.pid) - before, time.monotonic() - at
        row["still"] = spent / passed
        row["sending"] = used / seconds
        if watching:
            row["still_asked"] = (watching.asked - asked) / passed
            row["asked"] = watching.close()
        return row
    finally:
        server.stop()
        receiver.terminate()
        receiver.wait()


def cost(a):
    rows = []
    for _ in range(a.rounds):
        for pages in (0, a.pages):
            row = sent(a.binary, a.n, pages)
            rows.append(row)
            print(f"{pages:3} pages  {row['rate']:6.0f}/s  {row['cpu']:.3f} CPU s/1000  the pages' own {row['own'] * 1000:.0f} ms CPU a second  {row['asked']} questions in {row['seconds']:.0f} s", flush=True)
    middle = lambda pages, what: statistics.median(r[what] for r in rows if r["pages"] == pages)
    more = middle(a.pages, "cpu") / middle(0, "cpu") - 1
    slower = 1 - middle(a.pages, "rate") / middle(0, "rate")
    alone = middle(a.pages, "still") - middle(0, "still")
    share = alone / middle(0, "sending")
    print(f"{a.pages} open pages ask {middle(a.pages, 'still_asked'):.0f} questions a second, which cost {alone * 1000:.0f} ms CPU a second: "
          f"{share * 100:.1f} % of what sending uses (aim: under 3 %)")
    print(f"{a.pages} open pages beside sending: {more * 100:+.1f} % CPU of the server per message, {slower * 100:+.1f} % less throughput (medians of {a.rounds})")
    return {"rows": rows, "cpu_more": more, "share": share, "slower": slower}


def tab(a):
    server = base.Server(a.binary)
    receiver, port = base.sink()
    try:
        campaign_id, _ = base.prepare(server, a.n, 4, port)
        password = server.run("account", "create", "bench@bench.test")["password"]
        url = "http://" + server.env["POSTRIDER_HTTP_LISTEN"]
        # A reader's browser runs on a machine of its own; here it goes before the server, where we may say so.
        first = ["nice", "-n", "-10"] if os.geteuid() == 0 else []
        browser = subprocess.Popen([*first, "node", os.path.join(base.ROOT, "ui/browser/frames.mjs"), url, "bench@bench.test", password, campaign_id],
                                   cwd=os.path.join(base.ROOT, "ui"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        ready = browser.stdout.readline()
        if "ready" not in ready:
            sys.exit(f"the browser did not open the page: {ready}")
        server.run("campaign", "start", campaign_id, "--no-undo")
        began = time.monotonic()
        until_sent(server, campaign_id, a.n)
        seconds = time.monotonic() - began
        browser.stdin.close()
        found = json.loads(browser.stdout.read())
        browser.wait(30)
        found["seconds"], found["n"] = seconds, a.n
        print(f"{a.n} recipients in {seconds:.0f} s: {found['frames_per_second']:.1f} frames/s, 99 % of gaps within {found['gap_p99_ms']:.0f} ms, "
              f"longest {found['gap_max_ms']:.0f} ms; its thread works {found['busy'] * 100:.1f} % of the time; "
              f"heap of scripts at most {found['heap_mb']:.1f} MB, memory of the tab alone {found['tab_mb']:.0f} MB "
              f"(an empty tab: {found['empty_mb']:.0f} MB)")
        return found
    finally:
        server.stop()
        receiver.terminate()
        receiver.wait()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(base.ROOT, "target")), "release/postrider"))
    p.add_argument("--n", type=int)
    p.add_argument("--pages", type=int, default=50)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--tab", action="store_true")
    p.add_argument("--json")
    a = p.parse_args()
    a.n = a.n or (100_000 if a.tab else 20_000)
    found = tab(a) if a.tab else cost(a)
    if a.json:
        json.dump(found, open(a.json, "w"), indent=1)


if __name__ == "__main__":
    main()
