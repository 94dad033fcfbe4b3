# SPDX-License-Identifier: GPL-2.0-only
# swrk.py IMAGES WORK CONFIG: restore with lazy_pages over RPC, the way runc drives criu.  The few
# protobuf fields are written by hand, so that python3-minimal will do.  Exit status 0: restored.
import os
import socket
import subprocess
import sys

RESTORE = 2
TYPE, OPTS = 1, 2
IMAGES_DIR_FD, LOG_LEVEL, LOG_FILE, WORK_DIR_FD, LAZY_PAGES, CONFIG_FILE = 1, 9, 10, 17, 48, 51


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def number(field, n):
    return varint(field << 3) + varint(n)


def blob(field, data):
    return varint(field << 3 | 2) + varint(len(data)) + data


images, work = (os.open(path, os.O_RDONLY) for path in sys.argv[1:3])
opts = (number(IMAGES_DIR_FD, images) + number(LOG_LEVEL, 4) + blob(LOG_FILE, b"rpc.log") +
        number(WORK_DIR_FD, work) + number(LAZY_PAGES, 1) +
        blob(CONFIG_FILE, sys.argv[3].encode()))
ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
criu = subprocess.Popen(["criu", "swrk", str(theirs.fileno())], pass_fds=[theirs.fileno()])
theirs.close()
ours.send(number(TYPE, RESTORE) + blob(OPTS, opts))
answer = ours.recv(4096)
ours.close()
criu.wait()
sys.exit(0 if answer.startswith(number(1, RESTORE) + number(2, 1)) else 1)
