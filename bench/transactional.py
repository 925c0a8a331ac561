#!/usr/bin/env python3
"""How long a single message waits beside a campaign at full speed.

  bench/transactional.py [--n 60000] [--each-second 20] [--seconds 25] [--json FILE]

Starts a campaign into smtp-sink as fast as it goes, posts single messages meanwhile, and prints the time from the
answer 202 to the begin of the first attempt (p50, p95, p99, most), beside the same without a campaign. Both go by one
route to one host, so that they share its connections. Everything is on 127.0.0.1 and ends by itself.
"""
import argparse
import datetime
import http.client
import json
import os
import sys
import threading
import time

import campaign as c


class Client:
    def __init__(self, server, key):
        self.link = http.client.HTTPConnection(server.env["POSTRIDER_HTTP_LISTEN"], timeout=60)
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def ask(self, method, path, body=None, **headers):
        self.link.request(method, path, json.dumps(body) if body is not None else None, {**self.headers, **headers})
        answer = self.link.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]}")
        return json.loads(text)


def post(server, key, each_second, seconds, tag, taken):
    """Posts messages evenly; notes when each was taken."""
    client, begin, i = Client(server, key), time.monotonic(), 0
    while time.monotonic() - begin < seconds:
        time.sleep(max(0.0, begin + i / each_second - time.monotonic()))
        message = {"from": "orders@bench.test", "to": [f"{tag}{i}@dest1.accept.test"], "subject": "Your order", "text": "On its way."}
        began = time.time()
        answer = client.ask("POST", "/api/v1/messages", message, **{"Idempotency-Key": f"{tag}-{i}"})
        taken.append((answer["deliveries"][0]["id"], began, time.time()))
        i += 1


def waits(server, key, taken):
    """Milliseconds from the answer to the begin of the first attempt, and of the answers themselves."""
    client, waited = Client(server, key), []
    for delivery, _, answered in taken:
        for _ in range(200):
            attempts = client.ask("GET", f"/api/v1/deliveries/{delivery}/attempts")["items"]
            if attempts:
                break
            time.sleep(0.1)
        else:
            sys.exit(f"no attempt of {delivery} after 20 s")
        first = min(datetime.datetime.fromisoformat(attempt["at"].replace("Z", "+00:00")).timestamp() for attempt in attempts)
        waited.append(max(0.0, (first - answered) * 1000))
    return waited, [(answered - began) * 1000 for _, began, answered in taken]


def words(ms):
    ms = sorted(ms)
    at = lambda share: ms[min(len(ms) - 1, int(len(ms) * share))]
    return {"p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "most": ms[-1], "n": len(ms)}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(c.ROOT, "target")), "release/postrider"))
    p.add_argument("--n", type=int, default=60000)
    p.add_argument("--each-second", type=float, default=20)
    p.add_argument("--seconds", type=float, default=25)
    p.add_argument("--json")
    a = p.parse_args()
    server = c.Server(a.binary)
    receiver, port = c.sink()
    try:
        campaign_id, _ = c.prepare(server, a.n, 4, port)
        key = server.run("key", "create", "--name", "bench", "--scope", "campaigns:read", "send")["secret"]
        result = {}
        for tag in ("alone", "beside"):
            taken = []
            thread = threading.Thread(target=post, args=(server, key, a.each_second, a.seconds, tag, taken))
            if tag == "beside":
                server.run("campaign", "start", campaign_id, "--no-undo")
                while server.run("campaign", "report", campaign_id, "--rows", "0")["ledger"]["accepted"] == 0:
                    time.sleep(0.1)
            before = server.run("campaign", "report", campaign_id, "--rows", "0")["ledger"]["accepted"]
            began = time.monotonic()
            thread.start()
            thread.join()
            report = server.run("campaign", "report", campaign_id, "--rows", "0")
            rate = (report["ledger"]["accepted"] - before) / (time.monotonic() - began)
            if tag == "beside" and report["state"] == "done":
                sys.exit("the campaign ended before the single messages did: give it more with --n")
            waited, answered = waits(server, key, taken)
            result[tag] = {"wait": words(waited), "answer": words(answered), "campaign_rate": rate}
            print(f"{tag:7} campaign {rate:6.0f}/s   202 to first attempt, ms: "
                  + "  ".join(f"{k} {v:.0f}" for k, v in words(waited).items())
                  + "   answers, ms: " + "  ".join(f"{k} {v:.0f}" for k, v in words(answered).items()), flush=True)
        server.run("campaign", "stop", campaign_id)
        if a.json:
            json.dump(result, open(a.json, "w"), indent=1)
    finally:
        server.stop()
        receiver.terminate()
        receiver.wait()


if __name__ == "__main__":
    main()
