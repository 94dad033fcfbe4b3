# SPDX-License-Identifier: GPL-2.0-only
"""inside: the part of the demo that runs beside criu; see demo.

Three restores of one dump: by criu lazy-pages, by uffd-relocate, and by uffd-relocate with its
pager killed.  A client asks for random keys all the time and checks every value; the digest that
redis computes over all its data is compared at the end of each.
"""
import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import threading
import time

PAGER = "/mnt/build/uffd-relocate"
PLUGIN_DIR = "/mnt/w/plugin"
WORK = "/mnt/w"
IMAGES = WORK + "/images"
REDIS_SOCKET = "/tmp/redis.sock"
VALUE_BYTES = 1024
KEY_OVERHEAD_BYTES = 90
PATIENCE_S = 60
REQUEST_EVERY_S = 250e-6
KILL_RATE = "150M"
PAGE_KIB = os.sysconf("SC_PAGESIZE") // 1024


class Wrong(Exception):
    """Something is not as it should be."""


def say(text):
    print("demo: " + text, flush=True)


def shown(path, lines=15):
    try:
        with open(path, errors="replace") as f:
            return "".join("    " + line for line in f.readlines()[-lines:])
    except OSError:
        return ""


def until(what, condition, step_s=0.005):
    """Poll condition() until it gives something; that is returned."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        got = condition()
        if got:
            return got
        time.sleep(step_s)
    raise Wrong(f"waited {PATIENCE_S} s in vain for {what}")


class Redis:
    """A connection; enough of the protocol for what is asked here."""

    def __init__(self, timeout_s=PATIENCE_S):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(timeout_s)
            self.sock.connect(REDIS_SOCKET)
        except OSError:
            self.sock.close()
            raise
        self.file = self.sock.makefile("rb")

    def ask(self, *words):
        out = b"*%d\r\n" % len(words)
        for word in words:
            word = str(word).encode()
            out += b"$%d\r\n%s\r\n" % (len(word), word)
        self.sock.sendall(out)
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise Wrong("redis closed the connection")
        if line[:1] == b"-":
            raise Wrong("redis: " + line.decode().strip())
        if line[:1] != b"$":
            return line[1:-2].decode()
        size = int(line[1:])
        return self.file.read(size + 2)[:-2] if size >= 0 else None

    def close(self):
        self.file.close()
        self.sock.close()


class Client(threading.Thread):
    """Asks for random keys, at most one each REQUEST_EVERY_S, from before the restore to its end.

    Paced, so that the better answered one is not given more work."""

    def __init__(self, nkeys):
        super().__init__(daemon=True)
        self.nkeys = nkeys
        self.over = threading.Event()
        self.first_at = None
        self.asked = []  # (when, how long), seconds
        self.error = None

    def run(self):
        try:
            self.serve()
        except (OSError, Wrong) as e:
            self.error = e

    def serve(self):
        redis = None
        while redis is None and not self.over.is_set():
            try:
                redis = Redis()
            except OSError:
                time.sleep(0.001)
        rng = random.Random(1)
        due = time.monotonic()
        while not self.over.is_set():
            n = rng.randrange(self.nkeys)
            due = max(due + REQUEST_EVERY_S, time.monotonic())
            time.sleep(max(0, due - time.monotonic()))
            t0 = time.monotonic()
            value = redis.ask("GET", f"demo:{n}")
            t1 = time.monotonic()
            want = b"value:%d" % n
            if value != want + bytes(VALUE_BYTES - len(want)):
                raise Wrong(f"key demo:{n} has a wrong value: {value!r:.60}")
            if self.first_at is None:
                self.first_at = t1
            self.asked.append((t0, t1 - t0))

    def finish(self):
        self.over.set()
        self.join(PATIENCE_S)
        if self.error:
            raise Wrong(f"the client: {self.error}")
        if self.first_at is None:
            raise Wrong("redis never answered the client")


class Watch(threading.Thread):
    """What uffd-relocate says of itself, until it ends."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.path = work + "/uffd-relocate.socket"
        self.last = None
        self.ended_at = None
        self.stop = threading.Event()

    def request(self, word):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(PATIENCE_S)
            s.connect(self.path)
            s.sendall(word + b"\n")
            answer = b"".join(iter(lambda: s.recv(65536), b""))
        got = json.loads(answer) if answer.endswith(b"\n") else {}
        return got if "sessions" in got else None

    def status(self):
        try:
            self.last = self.request(b"status") or self.last
        except (OSError, ValueError):
            return None
        return self.last

    def run(self):
        while not self.status():
            if self.stop.wait(0.002):
                return
        try:
            keeper = os.pidfd_open(self.last["keeper_pid"])
        except ProcessLookupError:
            keeper = -1
        waiter = threading.Thread(target=self.wait, daemon=True)
        waiter.start()
        while keeper >= 0 and not select.select([keeper], [], [], 0.01)[0]:
            self.status()
        self.ended_at = time.monotonic()
        waiter.join(5)

    def wait(self):
        """The server's last word, if it is one that gives one."""
        try:
            self.last = self.request(b"wait") or self.last
        except (OSError, ValueError):
            pass

    def sum(self, key):
        return sum(s[key] for s in self.last["sessions"])


def run(what, argv, log, **more):
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, timeout=PATIENCE_S, **more)
    if done.returncode:
        raise Wrong(f"{what} failed with {done.returncode}; the end of its log:\n{shown(log)}")


def start_redis(mib):
    server = subprocess.Popen(
        ["redis-server", "--unixsocket", REDIS_SOCKET, "--port", "6379", "--save", "",
         "--appendonly", "no", "--enable-debug-command", "yes", "--dir", "/tmp"],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True)

    def connect():
        if server.poll() is not None:
            raise Wrong(f"redis-server ended with {server.returncode}")
        try:
            return Redis()
        except OSError:
            return None

    redis = until("redis to listen", connect)
    nkeys = (mib << 20) // (VALUE_BYTES + KEY_OVERHEAD_BYTES)
    redis.ask("DEBUG", "POPULATE", nkeys, "demo", VALUE_BYTES)
    digest = redis.ask("DEBUG", "DIGEST")
    redis.close()
    return server, nkeys, digest


def rss_mib(pid):
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * PAGE_KIB >> 10


class Round:
    """One restore."""

    def __init__(self, name, nkeys, digest, kill=False):
        self.name, self.digest, self.kill = name, digest, kill
        self.work = f"{WORK}/{name}"
        self.killed = None
        os.mkdir(self.work)
        self.client = Client(nkeys)
        self.watch = None

    def restore(self, *more, env=None):
        log = self.work + "/restore.log"
        run("criu restore", ["criu", "restore", "-D", IMAGES, "-W", self.work, "--lazy-pages", "-d",
                             "--pidfile", "pid", "-o", "restore.log", "-v2", *more], log,
            env={**os.environ, **(env or {})})
        self.restored_s = time.monotonic() - self.t0
        with open(self.work + "/pid") as f:
            self.pid = int(f.read())

    def stock(self):
        log = self.work + "/lazy.log"
        ready, their = os.pipe()
        self.t0 = time.monotonic()
        pager = subprocess.Popen(
            ["criu", "lazy-pages", "-D", IMAGES, "-W", self.work, "-o", "lazy.log", "-v2",
             "--status-fd", str(their)], pass_fds=[their], stdin=subprocess.DEVNULL)
        os.close(their)
        if not os.read(ready, 1):
            raise Wrong(f"criu lazy-pages does not start:\n{shown(log)}")
        os.close(ready)
        self.restore()
        if pager.wait(PATIENCE_S):
            raise Wrong(f"criu lazy-pages failed with {pager.returncode}:\n{shown(log)}")
        self.drained_at = time.monotonic()

    def ours(self):
        self.watch = Watch(self.work)
        self.watch.start()
        self.t0 = time.monotonic()
        self.restore("-L", PLUGIN_DIR, env={"UFFD_RELOCATE_RATE": KILL_RATE} if self.kill else None)
        if self.kill:
            self.kill_pager()
        else:
            self.wait_by_command()
        self.watch.join(PATIENCE_S)
        self.watch.stop.set()
        log = self.work + "/uffd-relocate.log"
        if not self.watch.ended_at:
            raise Wrong(f"uffd-relocate does not end:\n{shown(log)}")
        self.drained_at = self.watch.ended_at
        if self.watch.last["state"] == "failed":
            raise Wrong(f"uffd-relocate failed:\n{shown(log)}")

    def wait_by_command(self):
        """As a user would; it may come too late for so small a restore."""
        done = subprocess.run([PAGER, "wait", "-W", self.work, "--timeout", str(PATIENCE_S)],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=PATIENCE_S + 10)
        if done.returncode and self.watch.is_alive():
            raise Wrong("uffd-relocate wait: " + done.stderr.strip())

    def kill_pager(self):
        def half():
            s = self.watch.status()
            if not s or not s["restored"]:
                return None
            owed, total = self.watch.sum("pending_bytes"), self.watch.sum("total_bytes")
            return (s, owed, total) if owed * 3 < total * 2 else None

        before, owed, total = until("a third of the pages", half)
        if owed * 4 < total:
            raise Wrong("less than a quarter of the pages was left to kill the pager for")
        os.kill(before["pager_pid"], signal.SIGKILL)

        def again():
            s = self.watch.status()
            return s and s["pager_pid"] != before["pager_pid"] and s

        after = until("another pager", again)
        self.killed = {"was": before["pager_pid"], "is": after["pager_pid"],
                       "owed_percent": owed * 100 // total, "at": time.monotonic()}

    def run(self):
        self.client.start()
        try:
            (self.stock if self.name == "stock" else self.ours)()
            # The restored task must go on after its pager has gone.
            n = len(self.client.asked)
            until("answers after the drain", lambda: len(self.client.asked) > n + 100)
        finally:
            self.client.over.set()
        self.client.finish()
        redis = Redis()
        digest = redis.ask("DEBUG", "DIGEST")
        redis.close()
        self.rss = rss_mib(self.pid)
        if digest != self.digest:
            raise Wrong(f"{self.name}: the data changed: digest {digest}, was {self.digest}")
        self.first_ms = (self.client.first_at - self.t0) * 1e3
        self.drained_ms = (self.drained_at - self.t0) * 1e3
        during = sorted(took for at, took in self.client.asked if at < self.drained_at)
        self.asked = len(during)
        self.p50_us = during[len(during) // 2] * 1e6
        self.p99_us = during[len(during) * 99 // 100] * 1e6
        self.max_ms = during[-1] * 1e3
        os.kill(self.pid, signal.SIGKILL)
        until("the end of redis", lambda: not os.path.exists(f"/proc/{self.pid}"))
        return self


def pages(nbytes):
    return f"{nbytes // 1024 // PAGE_KIB:>9} pages  {nbytes / (1 << 20):8.1f} MiB"


def report(size_mib, nkeys, dump_s, stock, ours, killed):
    def row(what, a, b, form="{:.0f} ms"):
        ratio = f"{b / a:.2f}" if a else ""
        print(f"  {what:<34}{form.format(a):>18}{form.format(b):>18}{ratio:>9}")

    w = ours.watch
    print(f"""
A redis-server with {nkeys} keys, {size_mib} MiB in memory, was dumped by criu (in {dump_s:.1f} s) and restored
with --lazy-pages while a client asked for up to {1 / REQUEST_EVERY_S:.0f} random keys a second and checked every value.

  {'time from the first command':<34}{'criu lazy-pages':>18}{'uffd-relocate':>18}{'ratio':>9}""")
    row("to the end of criu restore", stock.restored_s * 1e3, ours.restored_s * 1e3)
    row("to the first answer of redis", stock.first_ms, ours.first_ms)
    row("to all memory in place", stock.drained_ms, ours.drained_ms)
    print("  requests while memory was missing")
    row("  answered", stock.asked, ours.asked, "{:.0f}")
    row("  half of them within", stock.p50_us, ours.p50_us, "{:.0f} us")
    row("  99 of 100 within", stock.p99_us, ours.p99_us, "{:.0f} us")
    print(f"""  {'digest of all data':<34}{'equal':>18}{'equal':>18}

How the pages of the uffd-relocate restore came, {w.sum('faults')} faults in all:
  for a fault           {pages(w.sum('copied_fault_bytes'))}
  around a fault        {pages(w.sum('copied_around_bytes'))}
  in the background     {pages(w.sum('copied_drain_bytes'))}
  as zeros              {pages(w.sum('zero_bytes'))}
  discarded by redis    {pages(w.sum('discarded_bytes'))}""")
    if w.sum("pending_bytes"):
        print(f"  after the last look   {pages(w.sum('pending_bytes'))}")
    k = killed.killed
    print(f"""
A third restore (at {KILL_RATE} a second) lost its pager, process {k['was']}, to SIGKILL while {k['owed_percent']} % of the
pages were owed.  Process {k['is']} took over; the longest any request waited was {killed.max_ms:.0f} ms; redis
answered {killed.asked} requests until all was in place, every one right; digest equal.

One run each, on a machine that may be busy: `make bench` measures.""")


def main():
    mib = int(sys.argv[1])
    say(f"starting redis with {mib} MiB of data")
    server, nkeys, digest = start_redis(mib)
    size_mib = rss_mib(server.pid)
    os.mkdir(IMAGES)
    say("criu dump")
    t0 = time.monotonic()
    run("criu dump", ["criu", "dump", "-t", str(server.pid), "-D", IMAGES, "-o", "dump.log", "-v2"],
        IMAGES + "/dump.log")
    dump_s = time.monotonic() - t0
    server.wait(PATIENCE_S)
    say("criu restore --lazy-pages, with criu lazy-pages")
    stock = Round("stock", nkeys, digest).run()
    say("criu restore --lazy-pages, with the plugin: uffd-relocate")
    ours = Round("ours", nkeys, digest).run()
    say("the same once more, with the pager killed in the middle")
    killed = Round("killed", nkeys, digest, kill=True).run()
    report(size_mib, nkeys, dump_s, stock, ours, killed)


try:
    main()
except (Wrong, OSError, subprocess.SubprocessError) as e:
    say(f"failed: {e}")
    sys.exit(1)
