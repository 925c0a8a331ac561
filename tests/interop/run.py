"""Postrider against programs that we did not write. Run by run.sh; see there.

Story 1: a real Postfix is the MX of the recipients; 1,000 messages in ten scripts and emoji arrive in its Maildir;
dkimpy and opendkim accept every signature, and Python's e-mail parser reads the same text back.
Story 2: a real Postfix is the smarthost, with STARTTLS (certificate checked) and AUTH.
"""

import email
import email.policy
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import dkim

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.environ.get("POSTRIDER") or os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "debug/postrider")
COUNT = int(os.environ.get("COUNT", "1000"))
NAMES = ["Giulia Bianchi", "Łukasz Żółć", "Ελένη Παπαδοπούλου", "Дмитрий Ёлкин", "محمد علي", "שרה כהן", "अनन्या शर्मा", "สมชาย ใจดี",
         "田中 美咲", "김지훈", "Zoë 🎉🚀", "João d'Ávila & Söhne <x>", "O\"Neil, \"Quote\"", "👩‍👩‍👧‍👦 Familie", "ა ბ გ", "a" * 300, "=?utf-8?Q?fake?="]
PASSED, FAILED = [], []


def check(good, what, detail=""):
    (PASSED if good else FAILED).append(what)
    print(("ok   " if good else "FAIL ") + what + (f": {detail}" if detail and not good else ""), flush=True)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, seconds=20):
    until = time.time() + seconds
    while time.time() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), 1):
                return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"nothing listens on 127.0.0.1:{port}")


class Postfix:
    """A private Postfix that takes mail for everybody under .test into one Maildir."""

    def __init__(self, folder, smarthost):
        self.folder, self.port = folder, free_port()
        etc, spool, data = (os.path.join(folder, n) for n in ("etc", "spool", "data"))
        for d in (etc, spool, data):
            os.makedirs(d)
        shutil.chown(data, "postfix")
        self.maildir = os.path.join(folder, "mail")
        os.makedirs(self.maildir)
        nobody = pwd.getpwnam("nobody")
        os.chown(self.maildir, nobody.pw_uid, nobody.pw_gid)
        os.chmod(folder, 0o755)
        master = open("/usr/share/postfix/master.cf.dist").read()
        lines = []
        for line in master.splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            if re.match(r"smtp\s+inet", line):
                line = f"127.0.0.1:{self.port} inet n - n - - smtpd"
            elif not line[0].isspace():
                words = line.split()
                if words[4] in ("y", "-"):
                    words[4] = "n"
                line = " ".join(words)
            lines.append(line)
        open(os.path.join(etc, "master.cf"), "w").write("\n".join(lines) + "\npostlog unix-dgram n - n - 1 postlogd\n")
        main = f"""compatibility_level = 3.6
config_directory = {etc}
queue_directory = {spool}
data_directory = {data}
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
maillog_file = {folder}/maillog
maillog_file_prefixes = /
myhostname = mx.interop.test
mydestination =
mynetworks = 192.0.2.1/32
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
alias_database =
virtual_mailbox_domains = regexp:{etc}/domains
virtual_mailbox_base = {self.maildir}
virtual_mailbox_maps = regexp:{etc}/boxes
virtual_uid_maps = static:{nobody.pw_uid}
virtual_gid_maps = static:{nobody.pw_gid}
virtual_minimum_uid = 1
smtp_dns_support_level = disabled
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
smtpd_helo_required = yes
strict_rfc821_envelopes = yes
smtpd_forbid_bare_newline = yes
"""
        open(os.path.join(etc, "domains"), "w").write("/\\.test$/ ok\n")
        open(os.path.join(etc, "boxes"), "w").write("/@/ all/\n")
        if smarthost:
            ca, cert, key = self.certificates()
            sasl = os.path.join(etc, "sasl")
            os.makedirs(sasl)
            database = os.path.join(folder, "sasldb2")
            subprocess.run(["saslpasswd2", "-p", "-c", "-f", database, "-u", "mx.interop.test", "sender"], input=b"right-password", check=True)
            shutil.chown(database, "postfix")
            open(os.path.join(sasl, "smtpd.conf"), "w").write(
                f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN\nsasldb_path: {database}\n")
            main += f"""smtpd_tls_security_level = may
smtpd_tls_cert_file = {cert}
smtpd_tls_key_file = {key}
smtpd_tls_auth_only = yes
smtpd_sasl_auth_enable = yes
smtpd_sasl_local_domain = mx.interop.test
cyrus_sasl_config_path = {sasl}
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_recipient_restrictions = permit_sasl_authenticated, reject
"""
            self.ca = ca
        else:
            main += "smtpd_relay_restrictions = reject_unauth_destination\n"
        open(os.path.join(etc, "main.cf"), "w").write(main)
        self.etc = etc
        done = subprocess.run(["postfix", "-c", etc, "start"], capture_output=True, text=True)
        if done.returncode:
            sys.exit("postfix did not start: " + done.stderr + done.stdout)
        wait_port(self.port)

    def certificates(self):
        f = self.folder
        run = lambda *w: subprocess.run(w, check=True, capture_output=True)
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{f}/ca.key", "-out", f"{f}/ca.pem", "-days", "2",
            "-subj", "/CN=Interop CA", "-addext", "basicConstraints=critical,CA:TRUE")
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{f}/tls.key", "-out", f"{f}/tls.csr", "-subj", "/CN=mx.interop.test")
        open(f"{f}/ext", "w").write("subjectAltName=IP:127.0.0.1,DNS:mx.interop.test\n")
        run("openssl", "x509", "-req", "-in", f"{f}/tls.csr", "-CA", f"{f}/ca.pem", "-CAkey", f"{f}/ca.key", "-CAcreateserial", "-days", "2",
            "-out", f"{f}/tls.pem", "-extfile", f"{f}/ext")
        return f"{f}/ca.pem", f"{f}/tls.pem", f"{f}/tls.key"

    def messages(self, want, seconds=120):
        until = time.time() + seconds
        while True:
            found = []
            for sub in ("new", "cur"):
                d = os.path.join(self.maildir, "all", sub)
                if os.path.isdir(d):
                    found += [os.path.join(d, n) for n in os.listdir(d)]
            if len(found) >= want or time.time() > until:
                return found
            time.sleep(0.3)

    def log(self):
        return open(os.path.join(self.folder, "maillog")).read() if os.path.exists(os.path.join(self.folder, "maillog")) else ""

    def stop(self):
        subprocess.run(["postfix", "-c", self.etc, "stop"], capture_output=True)


class Site:
    """`postrider serve` in a folder of its own."""

    def __init__(self, folder, dns, mx_port, ca=None):
        self.folder = folder
        self.env = dict(os.environ, POSTRIDER_HTTP_LISTEN=f"127.0.0.1:{free_port()}", POSTRIDER_DNS_SERVER=dns, POSTRIDER_MX_PORT=str(mx_port),
                        POSTRIDER_ALLOW_PRIVATE_MX="127.0.0.0/8", POSTRIDER_EHLO_NAME="sender.interop.test", POSTRIDER_LOG="info")
        if ca:
            self.env["POSTRIDER_EXTRA_CA_FILE"] = ca
        self.log = open(os.path.join(folder, "serve.log"), "w")
        self.process = subprocess.Popen([BINARY, "--data", folder, "serve"], env=self.env, stdout=self.log, stderr=self.log)
        for _ in range(300):
            if os.path.exists(os.path.join(folder, "postrider.sock")):
                break
            if self.process.poll() is not None:
                sys.exit(open(self.log.name).read())
            time.sleep(0.1)

    def run(self, *words, fail=False):
        done = subprocess.run([BINARY, "--data", self.folder, "--json", *words], env=self.env, capture_output=True, text=True)
        if fail:
            return done
        if done.returncode:
            sys.exit(f"could not {' '.join(words)}: {done.stderr}{done.stdout}\n{open(self.log.name).read()[-2000:]}")
        lines = [line for line in done.stdout.splitlines() if line.strip()]
        return json.loads(lines[-1]) if lines else None

    def furnish(self):
        self.run("workspace", "create", "--name", "Interop", "--controller", "Interop Σ Ltd", "--address", "1 Straße, 20100 Milano", "--public-url",
                 "https://interop.test", "--privacy-url", "https://interop.test/privacy")
        self.domain = self.run("domain", "add", "interop.test")
        self.run("list", "create", "Everyone")
        self.run("purpose", "create", "News", "--wording", "I want the news")

    def send(self, count):
        import csv
        path = os.path.join(self.folder, "people.csv")
        with open(path, "w", newline="", encoding="utf-8") as out:
            w = csv.writer(out)
            w.writerow(["email", "first_name", "number"])
            for n in range(count):
                w.writerow([f"person{n}@mail1.test", NAMES[n % len(NAMES)], n])
        self.run("import", path, "--list", "Everyone", "--source", "interop", "--basis", "consent", "--given-at", "2026-01-01", "--purpose", "News")
        body = os.path.join(self.folder, "body.html")
        open(body, "w", encoding="utf-8").write(
            "<html><body><h1>Ciao {{ first_name }} — nr. {{ number }}</h1><p>Žluťoučký kůň, ευχαριστώ, спасибо, شكرا, תודה, धन्यवाद, ขอบคุณ, ありがとう, 감사합니다, "
            "🎁 and a very long line that goes on " + "and on " * 60 + "</p><p>.a line that begins with a dot</p></body></html>")
        made = self.run("campaign", "create", "--name", "Interop", "--from", "news@interop.test", "--from-name", "Intérop 🚀 Σ", "--subject",
                        "Nouvelles für {{ first_name }} ✓ {{ number }}", "--body", body, "--list", "Everyone", "--purpose", "News", "--policy", "rehearsal")
        self.run("campaign", "start", made["id"], "--no-undo")
        until = time.time() + 180
        while True:
            report = self.run("campaign", "report", made["id"], "--rows", "5")
            if report["state"] == "done" or time.time() > until:
                return report
            time.sleep(0.3)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(70)


def public_key(domain):
    """Selector and TXT value of the domain's key, from what `domain add` prints for DNS."""
    for record in domain["records"]:
        if "._domainkey." in record["name"]:
            return record["name"].rstrip("."), record["value"]
    sys.exit(f"no DKIM record in {domain}")


def read_back(paths, domain, folder):
    name, value = public_key(domain)
    answer = lambda asked, timeout=5: value.encode() if asked.rstrip(b".").decode() == name else None
    keys = os.path.join(folder, "keys")
    open(keys, "w").write(f"{name} {value}\n")
    conf = os.path.join(folder, "opendkim.conf")
    open(conf, "w").write(f"Mode v\nTestPublicKeys {keys}\nSyslog no\nOn-NoSignature reject\nOn-BadSignature reject\nSocket inet:1@127.0.0.1\n")
    good = {"dkimpy": 0, "opendkim": 0, "subject": 0, "body": 0, "from": 0, "seven bits": 0, "one each": 0}
    first_bad = {}
    for path in paths:
        raw = open(path, "rb").read()
        sent = raw[raw.index(b"DKIM-Signature:"):].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")

        def note(what, ok, detail=""):
            good[what] += bool(ok)
            if not ok:
                first_bad.setdefault(what, f"{path}: {detail}")

        try:
            note("dkimpy", dkim.verify(sent, dnsfunc=answer), "refused")
        except Exception as error:  # dkimpy raises many kinds
            note("dkimpy", False, repr(error))
        message_file = os.path.join(folder, "one.eml")
        open(message_file, "wb").write(sent)
        done = subprocess.run(["opendkim", "-x", conf, "-t", message_file], capture_output=True, text=True)
        said = done.stdout + done.stderr
        note("opendkim", done.returncode == 0 and "verification" in said and "succeeded" in said, said.strip()[-300:])
        m = email.message_from_bytes(sent, policy=email.policy.default)
        number = int(re.match(r"person(\d+)@", str(m["To"].addresses[0].username + "@")).group(1))
        person = NAMES[number % len(NAMES)]
        note("subject", m["Subject"] == f"Nouvelles für {person} ✓ {number}", repr(m["Subject"]))
        note("from", m["From"].addresses[0].display_name == "Intérop 🚀 Σ" and m["From"].addresses[0].addr_spec == "news@interop.test", str(m["From"]))
        html, text = m.get_body(("html",)).get_content(), m.get_body(("plain",)).get_content()
        import html as entities
        seen = entities.unescape(html)
        note("body", f"Ciao {person} — nr. {number}" in seen and "ありがとう" in seen and ".a line that begins with a dot" in text and person.strip() in
             text.replace("\n", " ") if len(person) < 60 else f"Ciao {person} — nr. {number}" in seen, f"{person}: {html[:300]}")
        note("seven bits", max(sent) < 128 and max(map(len, sent.split(b"\r\n"))) <= 998)
        names = [n.lower() for n in m.keys()]
        once = ("from", "to", "subject", "date", "message-id", "mime-version", "list-unsubscribe", "list-unsubscribe-post", "list-id", "feedback-id")
        note("one each", all(names.count(n) == 1 for n in once), str(names))
    for what, count in good.items():
        check(count == len(paths), f"{what}: {count} of {len(paths)}", first_bad.get(what, ""))


def main():
    if not os.path.exists(BINARY):
        sys.exit(f"{BINARY} is not built: cargo build first, or set POSTRIDER")
    folder = tempfile.mkdtemp(prefix="postrider-interop-")
    os.chmod(folder, 0o755)
    ended = []
    try:
        sim = subprocess.Popen([BINARY, "sim", "--json", "--dns", "127.0.0.1:0", "--smtp-port", "0", "--control", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        ended.append(sim.terminate)
        dns = json.loads(sim.stdout.readline())["dns"]

        os.makedirs(f"{folder}/mx"), os.makedirs(f"{folder}/a")
        mx = Postfix(f"{folder}/mx", smarthost=False)
        ended.append(mx.stop)
        site = Site(f"{folder}/a", dns, mx.port)
        site.furnish()
        site.run("route", "add", "direct", "--kind", "mx", "--default")
        report = site.send(COUNT)
        check(report["ledger"]["accepted"] == COUNT, f"Postfix as MX accepts {COUNT} messages", f"{report}\n{mx.log()[-1500:]}")
        paths = mx.messages(COUNT)
        check(len(paths) == COUNT, f"{COUNT} messages lie in its Maildir", str(len(paths)))
        read_back(paths, site.domain, folder)
        site.stop()
        ended.remove(mx.stop)
        mx.stop()

        os.makedirs(f"{folder}/smart"), os.makedirs(f"{folder}/b")
        smart = Postfix(f"{folder}/smart", smarthost=True)
        ended.append(smart.stop)
        site = Site(f"{folder}/b", dns, 25, smart.ca)
        site.furnish()
        words = ["--kind", "smarthost", "--host", "127.0.0.1", "--port", str(smart.port), "--tls", "required", "--username", "sender@mx.interop.test", "--password-file"]
        open(f"{folder}/wrong", "w").write("wrong-password\n")
        open(f"{folder}/right", "w").write("right-password\n")
        wrong = site.run("route", "add", "wrong", *words, f"{folder}/wrong")
        said = site.run("route", "test", wrong["id"], fail=True)
        text = said.stdout + said.stderr
        check("535" in text and said.returncode != 0, "a wrong password shows the server's own words", text)
        right = site.run("route", "add", "right", *words, f"{folder}/right", "--default")
        said = site.run("route", "test", right["id"])
        check("TLS" in json.dumps(said), "the right password is accepted over verified TLS", json.dumps(said))
        report = site.send(min(COUNT, 200))
        check(report["ledger"]["accepted"] == min(COUNT, 200), "Postfix as smarthost with STARTTLS and AUTH accepts the campaign", f"{report}\n{smart.log()[-1500:]}")
        log = smart.log()
        check("sasl_method=" in log and "sasl_username=sender" in log, "Postfix logged the AUTH")
        site.stop()
    finally:
        for end in ended:
            end()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{len(PASSED)} passed, {len(FAILED)} failed")
    sys.exit(1 if FAILED else 0)


main()
