# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# runc.sh: a runc container with victim_pattern as its only process, for tests that have sourced
# lib.sh.

# runc_dump [ARG...]: start one, whose victim gets these arguments, and checkpoint it into $V/img.
runc_dump() {
	local c=$D/c log=$D/runc.log
	id=uffd-relocate-$$
	command -v runc >/dev/null || skip "runc is not installed"
	# Whatever happens, its cgroups go.
	trap 'runc delete -f "$id" >/dev/null 2>&1' EXIT
	mkdir -p "$c/rootfs/proc" "$c/rootfs/dev" "$c/rootfs/sys" "$c/rootfs/io" "$D/io" "$V/img"
	cp "$B/tests/victim/victim_pattern" "$c/rootfs/victim"
	mkfifo "$D/io/cmd" "$D/io/ans"
	exec 8<>"$D/io/cmd" 9<>"$D/io/ans"
	(cd "$c" && runc spec) || die "runc spec"
	# It shares our network: a network of its own would have to be locked, which takes iptables.
	python3 - "$c/config.json" "$D/io" "$@" <<-'END' || die "config.json"
		import json, sys
		path, io, *args = sys.argv[1:]
		conf = json.load(open(path))
		conf["process"].update(terminal=False, args=["/victim", "/io", *args])
		conf["root"]["readonly"] = False
		conf["mounts"].append({"destination": "/io", "type": "bind", "source": io, "options": ["bind", "rw"]})
		spaces = conf["linux"]["namespaces"]
		conf["linux"]["namespaces"] = [s for s in spaces if s["type"] != "network"]
		json.dump(conf, open(path, "w"))
	END
	runc --log "$log" run -d -b "$c" --pid-file "$D/runc.pid" "$id" </dev/null >/dev/null 2>&1 ||
		skip "runc cannot start a container here: $(tail -n 1 "$log" | cut -c1-200)"
	answer
	[[ $ANS == ready* ]] || die "$ANS"
	runc --log "$log" checkpoint --image-path "$V/img" --work-path "$D/cwork" "$id" >"$D/runc.out" 2>&1 ||
		die "runc checkpoint: $(tail -n 3 "$D/runc.out") $(grep -a Error "$D/cwork/dump.log" | tail -n 3)"
}

# runc_restore: lazily; sets RPID.
runc_restore() {
	mkdir -p "$D/work"
	runc --log "$D/runc.log" restore -d --lazy-pages -b "$D/c" --image-path "$V/img" \
		--work-path "$D/work" --pid-file "$D/runc.pid" "$id" </dev/null >/dev/null 2>&1 ||
		die "runc restore: $(tail -n 3 "$D/runc.log") $(grep -a Error "$D/work/restore.log" | tail -n 3)"
	# shellcheck disable=SC2034 # it is for those who source this
	RPID=$(cat "$D/runc.pid")
}

# runc_end: the container runs; end it, and see that nothing of it is left.
runc_end() {
	[ "$(runc state "$id" | grep -c '"status": "running"')" = 1 ] || die "$(runc state "$id")"
	target_end
	runc --log "$D/runc.log" delete -f "$id" || die "runc delete"
	[ -z "$(find /sys/fs/cgroup -maxdepth 4 -name "$id")" ] || die "cgroups are left behind"
}
