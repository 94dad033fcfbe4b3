#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only
# deb.sh [-n]: Debian packages of Debian's cloud kernel with the series, into $O/deb; -n: only until
# the configuration stands.
#
# The configuration is Debian's own (package linux-config-6.1) but for what cannot be had outside of
# Debian's build: its signing keys, debugging information and BTF.  The package's kernel is then
# booted once, with a program that moves a page as its init.  To use it:
#
#	apt install ./linux-image-6.1.*-uffd-relocate-cloud-amd64_*.deb && reboot
#
# This takes an hour on two CPUs and 10 GB.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"

O=${O:-$(dirname "$KERNEL_DIR")/build}
RELEASE_SUFFIX=-uffd-relocate-cloud-amd64
only_config=''
[ "${1:-}" != -n ] || only_config=1

# debian_config FILE
debian_config() {
	local tmp found
	tmp=$(mktemp -d)
	# shellcheck disable=SC2064
	trap "rm -rf '$tmp'" RETURN
	found=$(ls /usr/src/linux-config-6.1/config.amd64_none_cloud-amd64.xz 2>/dev/null || :)
	if [ -z "$found" ]; then
		(cd "$tmp" && apt-get download -qq linux-config-6.1 >&2) ||
			die "linux-config-6.1 cannot be downloaded: apt-get install linux-config-6.1"
		dpkg-deb -x "$tmp"/*.deb "$tmp/x"
		found=$(find "$tmp/x" -name 'config.amd64_none_cloud-amd64.xz')
	fi
	[ -n "$found" ] || die "no configuration of the cloud kernel in linux-config-6.1"
	xz -dc "$found" >"$1"
}

# check_boot DEB: does its kernel run, and move a page?
check_boot() {
	local deb=$1 tmp image status=0
	tmp=$(mktemp -d)
	# shellcheck disable=SC2064
	trap "rm -rf '$tmp'" RETURN
	dpkg-deb -x "$deb" "$tmp/x"
	image=$(find "$tmp/x/boot" -name 'vmlinuz-*')
	mkdir -p "$tmp/root/dev"
	cc -O2 -Wall -static -isystem "$KERNEL_DIR/uapi" -o "$tmp/root/init" "$KERNEL_DIR/deb-init.c"
	mknod -m 600 "$tmp/root/dev/console" c 5 1
	(cd "$tmp/root" && find . | cpio -o -H newc --quiet) >"$tmp/initrd"
	timeout 600 qemu-system-x86_64 -nodefaults -no-user-config -display none -no-reboot -m 1024 \
		-cpu max -accel tcg,thread=multi -smp 2 -kernel "$image" -initrd "$tmp/initrd" \
		-append "console=ttyS0 panic=-1" -serial "file:$tmp/log" </dev/null || status=$?
	grep -a '^deb-init: ' "$tmp/log" | tr -d '\r'
	grep -qa '^deb-init: moved' "$tmp/log" || {
		tail -n 30 "$tmp/log" >&2
		die "the kernel of $deb does not do what it should (QEMU: $status)"
	}
}

for tool in rsync cpio bc dpkg-buildpackage qemu-system-x86_64; do
	command -v $tool >/dev/null || die "$tool is missing: run make deps"
done
base_find
mapfile -t patches < <(series_files)
mkdir -p "$O/deb" "$KERNEL_CACHE"
tmp=$(mktemp -d "$KERNEL_CACHE/.deb.XXXXXX")
# shellcheck disable=SC2064
trap "rm -rf '$tmp'" EXIT
tree_make "$tmp/linux" "${patches[@]}" || exit 1
mkdir "$tmp/obj"
debian_config "$tmp/obj/.config"
"$tmp/linux/scripts/config" --file "$tmp/obj/.config" \
	--set-str LOCALVERSION "$RELEASE_SUFFIX" --disable LOCALVERSION_AUTO \
	--set-str SYSTEM_TRUSTED_KEYS "" --set-str MODULE_SIG_KEY "certs/signing_key.pem" \
	--disable MODULE_SIG --disable SECURITY_LOCKDOWN_LSM --set-str BUILD_SALT "" \
	--disable DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT --disable DEBUG_INFO_DWARF5 \
	--disable DEBUG_INFO_DWARF4 --enable DEBUG_INFO_NONE --disable DEBUG_INFO_BTF
make -s -C "$tmp/linux" O="$tmp/obj" olddefconfig
grep -q '^CONFIG_USERFAULTFD=y' "$tmp/obj/.config" || die "the configuration has no userfaultfd"
if [ -n "$only_config" ]; then
	cp "$tmp/obj/.config" "$O/deb/config"
	echo "$O/deb/config"
	exit
fi
say "building packages of $BASE_VERSION with ${#patches[@]} patches: an hour or so"
make -C "$tmp/linux" O="$tmp/obj" -j"$(nproc)" KDEB_PKGVERSION="$BASE_VERSION+uffdmove1" \
	KBUILD_PKG_ROOTCMD= KBUILD_BUILD_USER=uffd-relocate KBUILD_BUILD_HOST=localhost \
	bindeb-pkg >"$O/deb/build.log" 2>&1 ||
	die "the build failed; its output is in $O/deb/build.log"
cp "$tmp"/*.deb "$O/deb/"
for deb in "$O"/deb/linux-image-*"$RELEASE_SUFFIX"_*.deb; do
	check_boot "$deb"
	echo "$deb"
done
