# SPDX-License-Identifier: GPL-2.0-only
"""session: one dump, one restore round, and the processes in them.

Runs inside the root that has criu, in a pid namespace that ends with it, as a subreaper: a
process that loses its parent comes here (a daemonized pager, a restored task).
"""

import json
import os
import re
import select
import shutil
import signal
import threading
import time

WALL = 0x40000000  # __WALL: also children whose exit signal is not SIGCHLD


class RoundFailed(Exception):
    """This round gives no figure; the text says why."""


def now():
    return time.monotonic_ns()


def real_now():
    """The clock that a restored task shares with us: criu gives it a time namespace."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME)


def spawn(argv, env=None, fds=(), log=os.devnull):
    """Start argv in a session of its own, stdout and stderr to log.  Return: pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(null, 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        for fd in fds:
            os.set_inheritable(fd, True)
        os.execvpe(argv[0], argv, {**os.environ, **(env or {})})
    except OSError as err:
        os.write(2, f"{argv[0]}: {err}\n".encode())
    os._exit(127)


class Child:
    """A process of ours, or one that was handed to us; waited for by pidfd."""

    def __init__(self, pid, name):
        self.pid = pid
        self.name = name
        self.fd = os.pidfd_open(pid)
        self.status = None
        self.ended_ns = None

    def ended(self, timeout_s):
        """Wait at most timeout_s; remember when the end was seen.  Return: ended."""
        if self.status is not None:
            return True
        if not readable([self.fd], timeout_s):
            return False
        self.ended_ns = now()
        self.status = os.waitpid(self.pid, WALL)[1]
        return True

    def wait(self, timeout_s):
        """Wait for the end.  Return: exit status; a process that does not end is killed."""
        if not self.ended(timeout_s):
            self.kill()
            raise RoundFailed(f"{self.name} did not end within {timeout_s:g} s")
        return os.waitstatus_to_exitcode(self.status)

    def kill(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.ended(10)

    def close(self):
        self.kill()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def readable(fds, timeout_s):
    """Return: those of fds that are readable, after at most timeout_s."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(max(0, int(timeout_s * 1000)))]


def read_pairs(path):
    """Return: the "key=value" lines of a file; numbers as int."""
    pairs = {}
    with open(path, encoding="ascii") as lines:
        for line in lines:
            key, value = line.strip().split("=", 1)
            pairs[key] = int(value) if value.isdigit() else value
    return pairs


def all_pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def processes_of(exe):
    """Pids of all processes that run this file."""
    found = []
    for pid in all_pids():
        try:
            if os.readlink(f"/proc/{pid}/exe") == exe:
                found.append(pid)
        except OSError:
            pass
    return found


def descendants(top):
    """Pids of all processes below this one."""
    children = {}
    for pid in all_pids():
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
                parent = int(stat.read().rsplit(")", 1)[1].split()[1])
            children.setdefault(parent, []).append(pid)
        except OSError:
            pass
    found, todo = [], [top]
    while todo:
        more = children.get(todo.pop(), [])
        found += more
        todo += more
    return found


def rss_kb(pids):
    """Return: summed (RssAnon + RssShmem, RssFile), KiB."""
    own = file = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as status:
                for line in status:
                    if line.startswith(("RssAnon:", "RssShmem:")):
                        own += int(line.split()[1])
                    elif line.startswith("RssFile:"):
                        file += int(line.split()[1])
        except OSError:
            pass
    return own, file


class RssSampler(threading.Thread):
    """The peak over all processes below one, sampled every 5 ms."""

    def __init__(self, top):
        super().__init__(daemon=True)
        self.top = top
        self.quit = threading.Event()
        self.own = self.file = self.samples = 0

    def run(self):
        pids = []
        while not self.quit.wait(0.005):
            if self.samples % 10 == 0:
                pids = descendants(self.top)
            own, file = rss_kb(pids)
            self.own = max(self.own, own)
            self.file = max(self.file, file)
            self.samples += 1

    def stop(self):
        self.quit.set()
        self.join()


class Image:
    """A dumped victim."""

    def __init__(self, base, name, npages, run, gap, huge, tools):
        self.dir = os.path.join(base, name)
        self.images = os.path.join(self.dir, "images")
        self.desk = os.path.join(self.dir, "desk")  # job, report
        self.npages, self.run, self.gap, self.huge = npages, run, gap, huge
        self.victim, self.meter = os.path.join(tools, "victim"), os.path.join(tools, "meter")
        self.bytes = npages * os.sysconf("SC_PAGESIZE")
        self.pid = None

    def dump(self, timeout_s=300):
        os.makedirs(self.images)
        os.makedirs(self.desk)
        # A pid that nobody else gets: pids are given out upwards, and restore takes this one again.
        log = os.path.join(self.dir, "victim.log")
        victim = Child(spawn([self.victim, "fill", self.desk, str(self.npages), str(self.run),
                              str(self.gap)] + ["huge"] * self.huge, log=log), "victim")
        try:
            deadline = now() + timeout_s * 10**9
            while not os.path.exists(os.path.join(self.desk, "ready")):
                if victim.ended(0.01) or now() > deadline:
                    raise RoundFailed(f"the victim did not get ready: {tail(log)}")
            self.pid = victim.pid
            os.unlink(os.path.join(self.desk, "ready"))
            log = os.path.join(self.dir, "dump.log")
            criu = Child(spawn(["criu", "dump", "-t", str(victim.pid), "-D", self.images, "-v1",
                                "-o", log], log=log), "criu dump")
            try:
                if criu.wait(timeout_s):
                    raise RoundFailed(f"criu dump failed: {tail(log)}")
            finally:
                criu.close()
            victim.wait(10)
        finally:
            victim.close()
        os.sync()

    def warm(self):
        """Bring the pages file into the page cache."""
        block = bytearray(1 << 22)
        for name in os.listdir(self.images):
            if name.startswith("pages-"):
                with open(os.path.join(self.images, name), "rb", buffering=0) as pages:
                    while pages.readinto(block):
                        pass

    def chill(self):
        """Drop the pages file out of the page cache."""
        for name in os.listdir(self.images):
            if name.startswith("pages-"):
                fd = os.open(os.path.join(self.images, name), os.O_RDONLY)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(fd)

    def remove(self):
        shutil.rmtree(self.dir, ignore_errors=True)


def tail(path, size=600):
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            return " | ".join(log.read()[-size:].split("\n")).strip(" |")
    except OSError:
        return "(no log)"


class Side:
    """How one side's pager is started: argv before the common options, and its executable."""

    def __init__(self, name, argv, plugin_dir=None, plugin_env=None):
        self.name = name
        self.argv = argv
        self.exe = os.path.realpath(shutil.which(argv[0]) or argv[0])
        self.plugin_dir = plugin_dir
        self.plugin_env = plugin_env or {}

    def kill_all(self):
        """End what is left.  Our processes replace each other, so all are stopped first."""
        for _ in range(100):
            pids = processes_of(self.exe)
            if not pids:
                return
            for sig in (signal.SIGSTOP, signal.SIGKILL):
                for pid in pids:
                    try:
                        os.kill(pid, sig)
                    except ProcessLookupError:
                        pass
            time.sleep(0.01)
            reap_orphans()


def reap_orphans():
    try:
        while os.waitpid(-1, os.WNOHANG | WALL)[0]:
            pass
    except ChildProcessError:
        pass


class Round:
    """One restore by one side.

    job      what the victim does upon resume
    how      "listen": the pager is started and listens, then criu restore, without any plugin
             "listen+plugin": the same, and the plugin is loaded too
             "plugin": criu restore alone; the plugin starts the pager
             "agent": the same, and places an agent; what the two log is read
             "read": no restore: one thread reads the pages file into huge memory

    cold     the pages file is not in the page cache
    args     more arguments for the pager, ours only

    Results, in ns unless said: start (pager's start to its status byte), restore (start to exit of
    criu restore), drain (resume of the task to the end of the pager that the caller waits for),
    cpu (all processes of the pager, and the agent; not with "plugin"), rss_kb and rss_file_kb
    (peaks, when sampled), report (the victim's own figures), progress (our pager's last word); with "agent"
    hook_us (the plugin's) and cure_us (the pager's).
    """

    def __init__(self, image, side, job, how="listen", prewarm=True, rss=False, timeout_s=300,
                 cold=False, args=()):
        self.image, self.side, self.job, self.how = image, side, job, how
        self.cold = cold
        self.args = list(args) if side.name == "ours" else []
        self.progress = {}
        self.prewarm, self.rss, self.timeout_s = prewarm, rss, timeout_s
        self.work = os.path.join(image.dir, "work")
        self.pager = self.victim = self.sampler = None
        self.start = self.restore = self.drain = self.cpu = self.ended = 0
        self.rss_kb = self.rss_file_kb = 0
        self.hook_us = self.cure_us = 0
        self.report = {}

    def path(self, name):
        return os.path.join(self.work, name)

    def run(self):
        shutil.rmtree(self.work, ignore_errors=True)
        os.mkdir(self.work)
        report = os.path.join(self.image.desk, "report")
        if os.path.exists(report):
            os.unlink(report)
        with open(os.path.join(self.image.desk, "job"), "w", encoding="ascii") as job:
            job.write(self.job)
        if self.cold:
            self.image.chill()
        else:
            self.image.warm()
        if self.prewarm:
            Child(spawn([self.image.victim, "prewarm", str((self.image.bytes >> 20) + 64)]),
                  "prewarm").wait(60)
        try:
            if self.how == "read":
                self.run_read(report)
                return self
            own_pager = self.how in ("plugin", "agent")
            if not own_pager:
                self.start_pager()
            self.run_restore()
            if not own_pager:
                self.wait_metered()
            else:
                self.wait_plugins()
            if self.how == "agent":
                self.hook_us = self.logged("restore.log", r"agent: placed; (\d+) us")
                self.cure_us = self.logged("uffd-relocate.log", r"cured of its agent within (\d+) us")
            self.compare(report)
        except RoundFailed as err:
            logs = [f"{name}: {tail(self.path(name))}" for name in sorted(os.listdir(self.work))
                    if name.endswith(".log") and os.path.getsize(self.path(name))]
            raise RoundFailed("; ".join([f"{self.side.name}: {err}"] + logs)) from None
        finally:
            self.clean()
        return self

    def logged(self, name, pattern):
        with open(self.path(name), encoding="utf-8", errors="replace") as log:
            found = re.search(pattern, log.read())
        if not found:
            raise RoundFailed(f"{name} has no line with \"{pattern}\"")
        return int(found[1])

    def run_read(self, path):
        pages = max((os.path.join(self.image.images, name)
                     for name in os.listdir(self.image.images) if name.startswith("pages-")),
                    key=os.path.getsize)
        if Child(spawn([self.image.victim, "read", pages, path], log=self.path("stdio.log")),
                 "the reader").wait(self.timeout_s):
            raise RoundFailed("the pages file cannot be read")
        self.drain = read_pairs(path)["read"]
        self.report = dict.fromkeys(("begin", "end", "slow", "touches", "p50", "p99", "max"), 0)

    def start_pager(self):
        reader, writer = os.pipe()
        args, fds = self.args, [writer]
        if self.side.name == "ours":
            word = os.open(self.path("progress"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            args = args + ["--progress-fd", str(word)]
            fds.append(word)
        begin = now()
        self.pager = Child(
            spawn([self.image.meter, self.path("meter")] + self.side.argv +
                  ["-D", self.image.images, "-W", self.work, "-v1", "-o", "pager.log",
                   "--status-fd", str(writer)] + args, fds=fds, log=self.path("stdio.log")),
            "the pager")
        for fd in fds:
            os.close(fd)
        try:
            if not readable([reader], 30) or os.read(reader, 1) != b"\0":
                raise RoundFailed("the pager did not say on its status descriptor that it listens")
            self.start = now() - begin
        finally:
            os.close(reader)
        if self.rss:
            self.sampler = RssSampler(self.pager.pid)
            self.sampler.start()

    def run_restore(self):
        argv = ["criu", "restore", "-D", self.image.images, "-W", self.work, "--lazy-pages", "-d",
                "-v3" if self.how == "agent" else "-v1", "-o", "restore.log", "--pidfile",
                "restore.pid"]
        env = {}
        if self.how != "listen":
            argv += ["-L", self.side.plugin_dir]
            env = self.side.plugin_env
        if self.how == "agent":
            env = {**env, "UFFD_RELOCATE_AGENT": "yes", "UFFD_RELOCATE_VERBOSITY": "4"}
        begin = now()
        criu = Child(spawn(argv, env=env, log=self.path("restore-stdio.log")), "criu restore")
        try:
            status = criu.wait(self.timeout_s)
        finally:
            criu.close()
        self.restore = criu.ended_ns - begin
        if status:
            raise RoundFailed(f"criu restore failed with status {status}")
        self.victim = Child(self.image.pid, "the victim")

    def wait_metered(self):
        """Wait for the end of the pager and of all its descendants."""
        ready = readable([self.pager.fd, self.victim.fd], self.timeout_s)
        if not ready:
            raise RoundFailed(f"the pager did not end within {self.timeout_s} s")
        if self.pager.fd not in ready:
            raise RoundFailed("the victim ended before its pager did")
        self.pager.wait(1)
        if self.sampler:
            self.sampler.stop()
            self.rss_kb, self.rss_file_kb = self.sampler.own, self.sampler.file
        meter = read_pairs(self.path("meter"))
        if meter["status"]:
            raise RoundFailed(f"the pager ended with status {meter['status']}")
        if meter["last"] - meter["ended"] > 1e9:
            raise RoundFailed("processes of the pager outlived the one that its caller waits for")
        self.cpu, self.ended = meter["cpu"], meter["ended"]
        if self.side.name == "ours":
            with open(self.path("progress"), encoding="ascii") as lines:
                self.progress = json.loads(lines.read().splitlines()[-1])

    def wait_plugins(self):
        """Wait until no process of the pager that the plugin started is left."""
        deadline = now() + self.timeout_s * 10**9
        while True:
            pids = processes_of(self.side.exe)
            if not pids:
                break
            try:
                fd = os.pidfd_open(pids[0])
            except ProcessLookupError:
                continue
            ready = readable([fd], (deadline - now()) / 1e9)
            os.close(fd)
            if not ready:
                raise RoundFailed(f"the plugin's pager did not end within {self.timeout_s} s")
            reap_orphans()
        self.ended = real_now()

    def compare(self, path):
        os.kill(self.victim.pid, signal.SIGUSR1)
        status = self.victim.wait(self.timeout_s)
        if status not in (0, 1):
            raise RoundFailed(f"the victim ended with status {status}")
        self.report = read_pairs(path)
        self.drain = self.ended - self.report["resumed_real"]
        # An agent is the victim's child, and what it used is told there.
        self.cpu += self.report["children"]
        if self.report["bad"]:
            raise RoundFailed(f"{self.report['bad']} words of the restored memory are wrong")

    def clean(self):
        if self.sampler and self.sampler.is_alive():
            self.sampler.stop()
        for child in (self.victim, self.pager):
            if child:
                child.close()
        self.side.kill_all()
        reap_orphans()
