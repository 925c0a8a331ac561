#!/usr/bin/env python3
"""Delivery beside the peers: Postrider, Postfix with OpenDKIM (stock and tuned) and Haraka, interleaved in one run.

  bench/delivery-vs-peers.py [--rounds 3] [--n 20000] [--peer-n 8000] [--drain 50000] [--peer ../shared/peers] [--json FILE]

Rows: signed and unsigned from acceptance to the sink, and a drain of what is queued, unsigned; Postrider's signed drain
stands beside it (OpenDKIM and the plugin sign at acceptance, so that the peers' drain is one row). Every program writes
durably before it accepts. A peer gets its messages by SMTP, Postrider a campaign that it renders itself (4 KB). For the drain the peers' destination is down while they are filled, and then flushed; Postrider's campaign is paused and then
resumed. Prints messages per second, CPU seconds per 1,000 messages and peak memory of all processes of each, medians
over the rounds, and the ratios. Everything is on 127.0.0.1, bounded, and ended by process id.

Needs smtp-sink and smtp-source (Debian: postfix), opendkim, and Haraka where the peers' install script puts it; what is
missing is named and left out.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import campaign as c


def forget_peak(pid):
    """Sets the peak of resident memory back to what is resident now (proc(5), clear_refs)."""
    with open(f"/proc/{pid}/clear_refs", "w") as refs:
        refs.write("5")


def state_of(server, campaign_id):
    return server.run("campaign", "report", campaign_id, "--rows", "0")


def wait_for(server, campaign_id, reached, limit=900):
    began = time.monotonic()
    while True:
        report = state_of(server, campaign_id)
        if reached(report):
            return report
        if time.monotonic() - began > limit:
            sys.exit(f"not there after {limit} s: {report}")
        time.sleep(0.1)


def ours(binary, n, signed, drain):
    """One row of Postrider: a campaign from its start to its last acceptance, or from `resume` when it is all queued."""
    server = c.Server(binary, signed=signed)
    receiver, port = c.sink()
    pid = server.process.pid
    try:
        campaign_id, _ = c.prepare(server, n, 4, port)
        forget_peak(pid)
        cpu, began, before = c.cpu_seconds(pid), time.monotonic(), 0
        server.run("campaign", "start", campaign_id, "--no-undo")
        if drain:
            wait_for(server, campaign_id, lambda r: r["state"] in ("sending", "done"))
            server.run("campaign", "pause", campaign_id)
            time.sleep(3)
            before = state_of(server, campaign_id)["ledger"]["accepted"]
            forget_peak(pid)
            cpu, began = c.cpu_seconds(pid), time.monotonic()
            server.run("campaign", "resume", campaign_id)
        ledger = wait_for(server, campaign_id, lambda r: r["state"] == "done")["ledger"]
        seconds, used = time.monotonic() - began, c.cpu_seconds(pid) - cpu
        if ledger["accepted"] != n:
            sys.exit(f"accepted {ledger['accepted']} of {n}: {ledger}")
        moved = n - before
        return {"rate": moved / seconds, "cpu": used / moved * 1000, "mb": c.peak_mb(pid), "n": moved}
    finally:
        server.stop()
        receiver.terminate()
        receiver.wait()


def peer(peers, script, scenario, env, n):
    """One row of a peer, by the peers' own script."""
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        words = [sys.executable, os.path.join(peers, "measure.py"), scenario, "--peer", os.path.join(peers, script), "--n", str(n), "--sessions", "20",
                 "--repeat", "1", "--limit", "600", "--json", out.name]
        for name, value in env.items():
            words += ["--env", f"{name}={value}"]
        done = subprocess.run(words, capture_output=True, text=True, cwd=peers)
        text = open(out.name).read().strip()
        if not text:
            return None, (done.stdout + done.stderr)[-300:]
        row = json.loads(text.splitlines()[-1])
        return {"rate": row["rate"], "cpu": row["cpu_per_1000"], "mb": row["pss_mb"], "n": n, "others": row["foreign"]}, ""


PEERS = [("postfix stock", "run-postfix.sh", "stock"), ("postfix tuned", "run-postfix.sh", "tuned"), ("haraka tuned", "run-haraka.sh", "tuned")]


def missing(peers):
    """Peers that are not on this machine, with the reason."""
    found = {}
    home = os.environ.get("PEERS_HOME", os.path.join(os.environ.get("TMPDIR", "/tmp"), "peers"))
    for tool, package in (("postfix", "postfix"), ("opendkim", "opendkim")):
        if not shutil.which(tool) and not os.path.exists(f"/usr/sbin/{tool}"):
            found["postfix stock"] = found["postfix tuned"] = f"apt-get install {package}"
    if not os.path.isdir(os.path.join(home, "haraka/node_modules/Haraka")):
        found["haraka tuned"] = f"{peers}/install-peers.sh"
    return found


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(c.ROOT, "target")), "release/postrider"))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--n", type=int, default=20000, help="messages of Postrider's campaigns")
    p.add_argument("--peer-n", type=int, default=8000, help="messages of a peer's relay rows")
    p.add_argument("--drain", type=int, default=50000, help="messages queued before a drain, for all")
    p.add_argument("--peer", default=os.path.join(c.ROOT, "../shared/peers"))
    p.add_argument("--only", default="", help="cases, comma separated: signed,unsigned,drain,drain-signed")
    p.add_argument("--json")
    a = p.parse_args()
    if not shutil.which("smtp-sink"):
        sys.exit("smtp-sink is missing: apt-get install postfix")
    absent = missing(a.peer) if os.path.isdir(a.peer) else {name: f"{a.peer} is not there" for name, _, _ in PEERS}
    for name, why in absent.items():
        print(f"skipped: {name}: {why}")
    cases = {"signed": ("relay", True), "unsigned": ("relay", False), "drain": ("drain", False), "drain-signed": ("drain", True)}
    wanted = [word for word in a.only.split(",") if word] or list(cases)
    rows, signatures = {}, []
    for _ in range(a.rounds):
        signatures.append(c.signature_cost())
        for case in wanted:
            scenario, signed = cases[case]
            row = ours(a.binary, a.drain if scenario == "drain" else a.n, signed, scenario == "drain")
            rows.setdefault(case, {}).setdefault("postrider", []).append(row)
            print(f"{case:13} {'postrider':14} {row['rate']:7.0f}/s  {row['cpu']:.3f} CPU s/1000  {row['mb']:.0f} MB", flush=True)
            for name, script, profile in PEERS if case != "drain-signed" else []:
                if name in absent:
                    continue
                env = {"PROFILE": profile, "DKIM": "1" if signed else "0"}
                row, why = peer(a.peer, script, scenario, env, a.drain if scenario == "drain" else a.peer_n)
                if row is None:
                    print(f"{case:13} {name:14} failed: {why}", flush=True)
                    continue
                rows[case].setdefault(name, []).append(row)
                print(f"{case:13} {name:14} {row['rate']:7.0f}/s  {row['cpu']:.3f} CPU s/1000  {row['mb']:.0f} MB  others {row['others']:.2f}", flush=True)
    sign = statistics.median(signatures)
    print(f"\none RSA-2048 signature (openssl speed): {sign * 1000:.3f} ms CPU\n")
    print("| row | program | messages/s | CPU s/1000 | peak MB | ours / it |\n|---|---|---|---|---|---|")
    for case, by_name in rows.items():
        median = lambda name, key: statistics.median(row[key] for row in by_name[name])
        own = median("postrider", "rate")
        for name in by_name:
            ratio = "" if name == "postrider" else f"{own / median(name, 'rate'):.1f}"
            print(f"| {case} | {name} | {median(name, 'rate'):.0f} | {median(name, 'cpu'):.3f} | {median(name, 'mb'):.0f} | {ratio} |")
    if "signed" in rows:
        print(f"\nCPU of a signed message / one signature: {statistics.median(r['cpu'] for r in rows['signed']['postrider']) / 1000 / sign:.2f}")
    if a.json:
        json.dump({"signature_s": sign, "rows": rows}, open(a.json, "w"), indent=1)


if __name__ == "__main__":
    main()
