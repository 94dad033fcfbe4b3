# SPDX-License-Identifier: GPL-2.0-only
"""replay: real programs restored from images with a trace.

An image is dumped and then restored once with `--record --no-drain`, while the program does what it
will do in every round.  A round is timed from the start of criu restore to the end of that work; the
pager listens before, and with ours the plugin holds the tasks back while hot pages are placed.  What it answers is checked, and redis's digest once all memory is in.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import time

from session import (Child, RoundFailed, now, readable, reap_orphans, spawn, tail)

KEYS = 400000
REQUESTS = 1000
OBJECTS = 200000
PART = 10


class Redis:
    """400,000 keys with 500 bytes each; the work is 1000 requests, one after the other."""

    name = "redis"

    def __init__(self, desk):
        self.sock = os.path.join(desk, "redis.sock")
        self.desk = desk
        self.digest = None

    def cli(self, *words):
        return subprocess.run(["redis-cli", "-s", self.sock, *words], capture_output=True,
                              text=True, check=False, timeout=60).stdout.strip()

    def start(self, log):
        pid = spawn(["redis-server", "--save", "", "--appendonly", "no", "--enable-debug-command",
                     "yes", "--daemonize", "no", "--logfile", "", "--dir", self.desk, "--port", "0",
                     "--unixsocket", self.sock, "--activerehashing", "no", "--hz", "1"],
                    log=log)
        for _ in range(600):
            if self.cli("ping") == "PONG":
                break
            time.sleep(0.05)
        self.cli("debug", "populate", str(KEYS), "key", "500")
        self.digest = self.cli("debug", "digest")
        if len(self.digest) != 40:
            raise RoundFailed(f"redis gives no digest: {self.digest}")
        return pid

    def before_restore(self):
        if os.path.exists(self.sock):
            os.unlink(self.sock)

    def work(self, _):
        """The requests.  Return: when the last one was answered."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(60)
        client.connect(self.sock)
        with client, client.makefile("rb") as answers:
            for number in range(REQUESTS):
                key = f"key:{number * 397 % KEYS}"
                client.sendall(f"GET {key}\r\n".encode())
                head = answers.readline()
                value = answers.read(int(head[1:]) + 2)
                want = f"value:{key[4:]}".encode()
                if len(value) != 502 or not value.startswith(want):
                    raise RoundFailed(f"redis gives a wrong value for {key}: {value[:20]}")
        return now()

    def verify(self, victim):
        digest = self.cli("debug", "digest")
        victim.kill()
        if digest != self.digest:
            raise RoundFailed(f"redis's digest is {digest}, was {self.digest}")


class Python:
    """200,000 objects; the work is to check a tenth of them, and to end."""

    name = "cpython"

    def __init__(self, desk):
        self.desk = desk
        self.go_fd = None

    def start(self, log):
        os.mkfifo(os.path.join(self.desk, "go"))
        source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "program.py")
        pid = spawn(["python3", source, self.desk, str(OBJECTS), str(PART)], log=log)
        ready = os.path.join(self.desk, "ready")
        for _ in range(1200):
            if os.path.exists(ready):
                return pid
            time.sleep(0.05)
        raise RoundFailed("the program does not get ready")

    def before_restore(self):
        """The word to go on waits for it."""
        if self.go_fd is None:
            self.go_fd = os.open(os.path.join(self.desk, "go"), os.O_RDWR | os.O_NONBLOCK)
        try:
            while os.read(self.go_fd, 64):
                pass
        except BlockingIOError:
            pass
        os.write(self.go_fd, b"g")

    def work(self, victim):
        status = victim.wait(60)
        if status:
            raise RoundFailed(f"the program ended with status {status}")
        return victim.ended_ns

    def verify(self, victim):
        pass


PROGRAMS = {program.name: program for program in (Redis, Python)}


class Image:
    """A dumped program, and a trace of it."""

    npages = 0

    def __init__(self, base, name, side):
        self.dir = os.path.join(base, name)
        self.images = os.path.join(self.dir, "images")
        self.desk = os.path.join(self.dir, "desk")
        os.makedirs(self.images)
        os.makedirs(self.desk)
        self.program = PROGRAMS[name](self.desk)
        self.side = side
        self.pid = None

    def dump(self, timeout_s=300):
        log = os.path.join(self.dir, "program.log")
        victim = Child(self.program.start(log), self.program.name)
        try:
            log = os.path.join(self.dir, "dump.log")
            criu = Child(spawn(["criu", "dump", "-t", str(victim.pid), "-D", self.images, "-v1",
                                "-o", log], log=log), "criu dump")
            try:
                if criu.wait(timeout_s):
                    raise RoundFailed(f"criu dump failed: {tail(log)}")
            finally:
                criu.close()
            victim.wait(10)
            self.pid = victim.pid
        finally:
            victim.close()
        os.sync()
        last = Round(self, self.side, ["--no-drain", "--record"]).run().progress
        shown = subprocess.run([self.side.argv[0], "trace", "-D", self.images, "show", "--json"],
                               capture_output=True, text=True, check=True).stdout
        hot = sum(task["touched_bytes"] for task in json.loads(shown)["tasks"])
        if hot == 0 or hot > 0.3 * last["total_bytes"]:
            raise RoundFailed(f"{hot} of {last['total_bytes']} bytes are hot: not a case of this "
                              "kind")

    def warm(self):
        block = bytearray(1 << 22)
        for name in os.listdir(self.images):
            if name.startswith("pages-"):
                with open(os.path.join(self.images, name), "rb", buffering=0) as pages:
                    while pages.readinto(block):
                        pass

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


class Round:
    """One restore.  Results: time (ns, start of criu restore to the end of the work), faults and
    progress (ours only: the pager's last word)."""

    def __init__(self, image, side, options, timeout_s=300):
        self.image, self.side, self.options, self.timeout_s = image, side, options, timeout_s
        self.work = os.path.join(image.dir, "work")
        self.time = self.faults = self.start = self.restore = self.drain = self.cpu = 0
        self.progress = {}
        self.report = {"begin": 0, "end": 0, "slow": 0, "touches": 0, "p50": 0, "p99": 0, "max": 0}

    def path(self, name):
        return os.path.join(self.work, name)

    def run(self):
        shutil.rmtree(self.work, ignore_errors=True)
        os.mkdir(self.work)
        self.image.warm()
        self.image.program.before_restore()
        pager = victim = None
        try:
            pager = self.start_pager()
            begin = now()
            self.run_restore()
            self.restore = now() - begin
            victim = Child(self.image.pid, self.image.program.name)
            self.time = self.image.program.work(victim) - begin
            if self.side.name != "peer":
                os.kill(pager.pid, signal.SIGTERM)
            if victim.status is None and pager.wait(self.timeout_s):
                raise RoundFailed("the pager failed")
            pager.ended(self.timeout_s)
            self.image.program.verify(victim)
            self.read_progress()
        except RoundFailed as err:
            raise RoundFailed(f"{self.side.name}: {err}; pager: {tail(self.path('pager.log'))}; "
                              f"criu: {tail(self.path('restore.log'))}") from None
        finally:
            for child in (victim, pager):
                if child:
                    child.close()
            self.side.kill_all()
            reap_orphans()
        return self

    def start_pager(self):
        reader, writer = os.pipe()
        argv = self.side.argv + ["-D", self.image.images, "-W", self.work, "-v1", "-o", "pager.log",
                                 "--status-fd", str(writer)]
        fds = [writer]
        if self.side.name != "peer":
            fds.append(os.open(self.path("progress"), os.O_WRONLY | os.O_CREAT, 0o600))
            argv += ["--progress-fd", str(fds[1])] + self.options
        pager = Child(spawn(argv, fds=fds, log=self.path("stdio.log")), "the pager")
        for fd in fds:
            os.close(fd)
        try:
            if not readable([reader], 30) or os.read(reader, 1) != b"\0":
                raise RoundFailed("the pager did not say on its status descriptor that it listens")
        finally:
            os.close(reader)
        return pager

    def run_restore(self):
        argv = ["criu", "restore", "-D", self.image.images, "-W", self.work, "--lazy-pages", "-d",
                "-v1", "-o", "restore.log", "--pidfile", "restore.pid"]
        env = {}
        # It holds the tasks back until the hot pages are in.
        if self.side.plugin_dir:
            argv += ["-L", self.side.plugin_dir]
            env = self.side.plugin_env
        criu = Child(spawn(argv, env=env, log=self.path("restore-stdio.log")), "criu restore")
        try:
            status = criu.wait(self.timeout_s)
        finally:
            criu.close()
        if status:
            raise RoundFailed(f"criu restore failed with status {status}")

    def read_progress(self):
        if self.side.name == "peer":
            return
        with open(self.path("progress"), encoding="ascii") as lines:
            self.progress = json.loads(lines.readlines()[-1])
        self.faults = self.progress["faults"]
