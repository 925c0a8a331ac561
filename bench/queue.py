#!/usr/bin/env python3
"""A long queue: pause, restart, resident memory and cancel with n deliveries waiting (issue "Must show" 3).

  bench/queue.py [--n 1000000] [--rate 200] [--database postgres://...] [--json FILE] [--binary target/release/postrider]

Imports n contacts, freezes a campaign to all of them and lets it send into smtp-sink at --rate a second, so that the queue
stays long. Then, each with its aim: how long after `campaign pause` the last message leaves (1 s); how long after a start
with the full queue the first message is taken by the API (5 s) and the first delivery is accepted by the sink (30 s); what a
waiting delivery costs in resident memory (200 bytes: the process with the full queue less the process with an empty one,
both some seconds after their start); how long `queue cancel --campaign` takes to answer and to settle the last row (10 s).
Everything is on 127.0.0.1 and ends by itself. Ends with code 1 when an aim is missed.
"""
import argparse
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time

import campaign as c


def resident(pid):
    """Resident bytes that are the process's own: what it has mapped of files is the kernel's cache."""
    status = open(f"/proc/{pid}/status").read()
    return int(re.search(r"RssAnon:\s+(\d+)", status).group(1)) * 1024, int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) * 1024


def ask(server, method, path, body=None, key=None, timeout=30):
    link = http.client.HTTPConnection(server.env["POSTRIDER_HTTP_LISTEN"], timeout=timeout)
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    link.request(method, path, json.dumps(body) if body is not None else None, headers)
    answer = link.getresponse()
    return answer.status, answer.read()


def accepted(server):
    """Deliveries accepted by the next host since this process began."""
    _, text = ask(server, "GET", "/metrics")
    return sum(float(n) for n in re.findall(rb'postrider_outcomes_total\{[^}]*outcome="accepted"[^}]*\} ([\d.]+)', text))


def until(what, seconds, test, every=0.02):
    began = time.monotonic()
    while True:
        found = test()
        if found:
            return time.monotonic() - began, found
        if time.monotonic() - began > seconds:
            sys.exit(f"waited {seconds} s in vain for {what}")
        time.sleep(every)


def stop(server):
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(90)


def start(server):
    """Starts the same server again; the moment before."""
    began = time.monotonic()
    server.process = subprocess.Popen([server.binary, "--data", server.folder, "serve"], env=server.env, stdout=server.log, stderr=server.log)
    return began


def attempt(test):
    try:
        return test()
    except OSError:
        return None


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(c.ROOT, "target")), "release/postrider"))
    p.add_argument("--n", type=int, default=1_000_000)
    p.add_argument("--rate", type=float, default=200, help="messages a second while the queue is looked at")
    p.add_argument("--settle", type=float, default=20, help="seconds after a start before memory is read")
    p.add_argument("--database", default="")
    p.add_argument("--json")
    a = p.parse_args()
    server = c.Server(a.binary, a.database)
    receiver, port = c.sink()
    figures, missed = {"n": a.n}, []

    def say(name, value, unit, aim=None):
        figures[name] = value
        words = "" if aim is None else f" (aim {aim} {unit}{'' if value <= aim else ', MISSED'})"
        if aim is not None and value > aim:
            missed.append(name)
        print(f"{name:45} {value:12.2f} {unit}{words}", flush=True)

    try:
        campaign_id, import_seconds = c.prepare(server, a.n, 4, port)
        print(f"imported {a.n} contacts in {import_seconds:.1f} s", flush=True)
        key = server.run("key", "create", "--name", "bench", "--scope", "campaigns:read", "send")["secret"]
        message = {"from": "orders@bench.test", "to": ["first@dest1.accept.test"], "subject": "Your order", "text": "On its way."}

        # The same process with nothing queued, and one message through it, so that what is loaded once is loaded.
        stop(server)
        start(server)
        until("an answer", 120, lambda: attempt(lambda: ask(server, "POST", "/api/v1/messages", message, key)[0] == 202))
        until("the first message", 120, lambda: accepted(server) >= 1)
        time.sleep(a.settle)
        empty_own, empty = resident(server.process.pid)
        print(f"resident, empty queue: {empty / 1e6:.1f} MB, of which its own {empty_own / 1e6:.1f} MB", flush=True)

        server.run("queue", "speed", "--campaign", campaign_id, "--per-second", str(a.rate), "--reason", "a long queue to look at")
        server.run("campaign", "start", campaign_id, "--no-undo")
        began = time.monotonic()
        state = lambda: server.run("campaign", "report", campaign_id, "--rows", "0")
        until("the audience", 1_800, lambda: state()["state"] == "sending", 0.5)
        print(f"frozen in {time.monotonic() - began:.1f} s", flush=True)
        before = accepted(server)
        until("some messages", 120, lambda: accepted(server) > before + a.rate)

        # Pause: the last acceptance after the command was given.
        began = time.monotonic()
        server.run("campaign", "pause", campaign_id)
        last, changed, answered = accepted(server), began, time.monotonic() - began
        while time.monotonic() - began < 4:
            now = accepted(server)
            if now != last:
                last, changed = now, time.monotonic()
            time.sleep(0.01)
        say("pause: last message after", changed - began, "s", 1)
        say("pause: answered after", answered, "s")
        server.run("campaign", "resume", campaign_id)

        # Restart with the full queue.
        stop(server)
        queued = None
        began = start(server)
        until("an accepted message", 120, lambda: attempt(lambda: ask(server, "POST", "/api/v1/messages", message, key, 5)[0] == 202), 0.01)
        say("restart: first message taken after", time.monotonic() - began, "s", 5)
        # One of them is the single message; the second is the campaign's.
        until("deliveries", 240, lambda: attempt(lambda: accepted(server) >= 2), 0.02)
        say("restart: campaign delivers after", time.monotonic() - began, "s", 30)
        time.sleep(a.settle)
        queued = state()["ledger"]["queued"]
        full_own, full = resident(server.process.pid)
        print(f"resident, {queued} queued: {full / 1e6:.1f} MB, of which its own {full_own / 1e6:.1f} MB", flush=True)
        say("memory per queued delivery", (full - empty) / max(queued, 1), "bytes", 200)
        say("of its own", (full_own - empty_own) / max(queued, 1), "bytes")

        # Cancel.
        began = time.monotonic()
        done = server.run("queue", "cancel", "--campaign", campaign_id, "--reason", "bench", "--yes")
        say("cancel: answered after", time.monotonic() - began, "s")
        rule = done["rule"]["id"]
        over = lambda: next((r for r in server.run("queue", "rules", "--past") if r["id"] == rule), None)
        _, last_rule = until("the cancel", 600, over, 0.1)
        say("cancel: settled after", time.monotonic() - began, "s", 10)
        ledger = state()["ledger"]
        whole = sum(ledger[k] for k in ("accepted", "rejected", "expired", "withheld", "cancelled", "assumed", "held", "queued"))
        print(f"cancelled {last_rule['done']}; ledger {ledger}")
        if ledger["frozen"] != whole or ledger["queued"] or ledger["cancelled"] != last_rule["done"]:
            missed.append("ledger")
            print("the ledger does not balance")
        figures["peak_mb"] = c.peak_mb(server.process.pid)
        print(f"peak {figures['peak_mb']:.0f} MB")
        if a.json:
            json.dump(figures, open(a.json, "w"), indent=1)
    finally:
        server.stop()
        receiver.terminate()
        receiver.wait()
    if missed:
        sys.exit("missed: " + ", ".join(missed))


if __name__ == "__main__":
    main()
