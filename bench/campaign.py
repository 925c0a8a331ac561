#!/usr/bin/env python3
"""Campaign throughput: Postrider into smtp-sink, beside what a self-hoster gets today, in one run.

  bench/campaign.py [--n 20000] [--sizes 4,40] [--peer ../shared/peers] [--json FILE]

Everything is on 127.0.0.1, bounded in count and time, and ended by process id. Prints a table of messages per
second, CPU seconds per 1,000 messages and peak memory, the cost of one RSA-2048 signature on this machine in the
same run, and the ratios. Needs smtp-sink (Debian: postfix) and the release binary.
"""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak_mb(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1)) / 1024


class Server:
    """`postrider serve` in a folder of its own, the command line that talks to it, and a name server for its imports."""

    def __init__(self, binary, url="", signed=True):
        self.binary = binary
        self.folder = tempfile.mkdtemp(prefix="postrider-bench-", dir=os.environ.get("BENCH_DIR"))
        # The simulated world answers for *.accept.test, so that the address check of the import does what it does every day.
        dns = f"127.0.0.1:{free_port()}"
        self.world = subprocess.Popen([binary, "sim", "--dns", dns, "--smtp-port", str(free_port()), "--control", f"127.0.0.1:{free_port()}"],
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.env = dict(os.environ, POSTRIDER_HTTP_LISTEN=f"127.0.0.1:{free_port()}", POSTRIDER_LOG="warn",
                        POSTRIDER_EHLO_NAME="bench.test", POSTRIDER_DNS_SERVER=dns, POSTRIDER_ALLOW_PRIVATE_MX="127.0.0.0/8")
        if not signed:
            self.env["POSTRIDER_UNSIGNED_FOR_MEASUREMENTS"] = "true"
        if url:
            self.env["POSTRIDER_DATABASE_URL"] = url
        self.log = open(os.path.join(self.folder, "serve.log"), "w")
        self.process = subprocess.Popen([binary, "--data", self.folder, "serve"], env=self.env, stdout=self.log, stderr=self.log)
        for _ in range(300):
            if os.path.exists(os.path.join(self.folder, "postrider.sock")):
                return
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        self.world.kill()
        sys.exit(open(self.log.name).read() + "\ncould not start the server")

    def run(self, *words):
        done = subprocess.run([self.binary, "--data", self.folder, "--json", *words], env=self.env, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"could not run {' '.join(words)}: {done.stderr}{done.stdout}")
        last = [line for line in done.stdout.splitlines() if line.strip()]
        return json.loads(last[-1]) if last else None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(70)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.world.terminate()
        self.world.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def body(kilobytes):
    sentence = "<p>A sentence or two about the thing on offer, as long as such sentences tend to be.</p>\n"
    text = "<html><body><h1>Hello {{ first_name|default('there') }},</h1>\n"
    while len(text) < kilobytes * 1024 - 600:
        text += sentence
    return text + "</body></html>\n"


def sink():
    port = free_port()
    process = subprocess.Popen(["smtp-sink", "-u", "postfix" if os.geteuid() == 0 else os.environ.get("USER", "nobody"),
                                f"127.0.0.1:{port}", "1000"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(0.5)
    return process, port


def prepare(server, n, kilobytes, port):
    """Workspace, domain, smarthost route, contacts and a draft; returns the campaign's id."""
    server.run("workspace", "create", "--name", "Bench", "--controller", "Bench Ltd", "--address", "1 Road, 20100 Milano",
               "--public-url", "http://127.0.0.1:1", "--privacy-url", "https://bench.test/privacy")
    server.run("domain", "add", "bench.test")
    server.run("route", "add", "sink", "--kind", "smarthost", "--host", "127.0.0.1", "--port", str(port), "--tls", "none",
               "--connections", "16", "--default")
    server.run("list", "create", "Everyone")
    server.run("purpose", "create", "News", "--wording", "I want the news")
    contacts = os.path.join(server.folder, "contacts.csv")
    with open(contacts, "w") as out:
        out.write("email,first_name,city\n")
        for i in range(n):
            out.write(f"user{i}@dest{i % 50}.accept.test,Name{i},Milano\n")
    took = time.monotonic()
    server.run("import", contacts, "--list", "Everyone", "--source", "bench", "--basis", "consent", "--given-at", "2026-01-01",
               "--purpose", "News")
    took = time.monotonic() - took
    text = os.path.join(server.folder, "body.html")
    open(text, "w").write(body(kilobytes))
    campaign = server.run("campaign", "create", "--name", "Bench", "--from", "news@bench.test", "--from-name", "Bench", "--subject",
                          "News of the week, {{ first_name|default('you') }}", "--body", text, "--list", "Everyone", "--purpose", "News")
    return campaign["id"], took


def campaign(binary, n, kilobytes, signed, url=""):
    server = Server(binary, url, signed)
    receiver, port = sink()
    try:
        campaign_id, import_seconds = prepare(server, n, kilobytes, port)
        cpu, began = cpu_seconds(server.process.pid), time.monotonic()
        server.run("campaign", "start", campaign_id, "--no-undo")
        freezing = None
        while True:
            report = server.run("campaign", "report", campaign_id, "--rows", "0")
            ledger = report["ledger"]
            if freezing is None and report["state"] in ("sending", "done"):
                freezing = time.monotonic() - began
            if report["state"] == "done":
                break
            if time.monotonic() - began > 900:
                sys.exit(f"not done after 900 s: {report}")
            time.sleep(0.25)
        seconds = time.monotonic() - began
        used = cpu_seconds(server.process.pid) - cpu
        if ledger["accepted"] != n:
            sys.exit(f"accepted {ledger['accepted']} of {n}: {report}")
        return {"n": n, "kb": kilobytes, "signed": signed, "rate": n / (seconds - (freezing or 0)), "rate_all": n / seconds,
                "cpu": used / n * 1000, "peak_mb": peak_mb(server.process.pid), "freeze_s": freezing, "import_s": import_seconds}
    finally:
        server.stop()
        receiver.terminate()
        receiver.wait()


def signature_cost():
    """CPU seconds of one RSA-2048 signature by OpenSSL on this machine, now."""
    out = subprocess.run(["openssl", "speed", "-seconds", "2", "rsa2048"], capture_output=True, text=True).stdout
    return float(re.search(r"rsa 2048 bits\s+([\d.]+)s", out).group(1))


def baseline(peers, n):
    """What a self-hoster gets today: Python into tuned Postfix with OpenDKIM, by the peers' own script."""
    python = os.path.join(os.environ.get("PEERS_HOME", "/tmp/peers"), "venv/bin/python")
    python = python if os.path.exists(python) else sys.executable
    out = subprocess.run([sys.executable, os.path.join(peers, "measure_campaign.py"), "--name", "python+postfix+opendkim", "--via",
                          os.path.join(peers, "run-postfix.sh"), "--env", "PROFILE=tuned", "--env", "DKIM=1", "--n", str(n),
                          "--repeat", "1", "--", python, os.path.join(peers, "campaign/send_smtplib.py")], capture_output=True, text=True, cwd=peers)
    found = re.search(r"\*\*(\d+)\*\*", out.stdout)
    if not found:
        return None, (out.stdout + out.stderr)[-400:]
    return float(found.group(1)), out.stdout.strip()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--binary", default=os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release/postrider"))
    p.add_argument("--n", type=int, default=20000)
    p.add_argument("--sizes", default="4,40")
    p.add_argument("--peer", default=os.path.join(ROOT, "../shared/peers"))
    p.add_argument("--json")
    a = p.parse_args()
    if not shutil.which("smtp-sink"):
        sys.exit("smtp-sink is missing: apt-get install postfix")
    rows = []
    sign = signature_cost()
    print(f"one RSA-2048 signature (openssl speed): {sign * 1000:.3f} ms CPU")
    for kilobytes in map(int, a.sizes.split(",")):
        for signed in (True, False):
            row = campaign(a.binary, a.n, kilobytes, signed)
            rows.append(row)
            print(f"{kilobytes:3} KB {'signed  ' if signed else 'unsigned'} {row['rate']:7.0f}/s  {row['cpu']:.3f} CPU s/1000"
                  f"  {row['peak_mb']:.0f} MB  freeze {row['freeze_s']:.1f} s  import {row['import_s']:.1f} s", flush=True)
    rate, words = baseline(a.peer, 1000) if os.path.isdir(a.peer) else (None, f"skipped: {a.peer} is not there")
    print(f"baseline: {words}")
    first = rows[0]
    print(f"CPU of a signed message / one signature: {first['cpu'] / 1000 / sign:.2f}")
    if rate:
        print(f"signed against the baseline: {first['rate'] / rate:.1f} x")
    if a.json:
        json.dump({"signature_s": sign, "rows": rows, "baseline": rate}, open(a.json, "w"), indent=1)


if __name__ == "__main__":
    main()
