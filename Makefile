# SPDX-License-Identifier: GPL-2.0-only
# uffd-relocate.  Nothing is written outside of $(O) but what is installed, and the root file
# systems that demo and check make once, below ${UFFD_RELOCATE_CACHE:-/var/cache/uffd-relocate}.
## Targets:
##   make                build everything into $(O)
##   make demo           restore a redis lazily, with criu's pager and with ours, and report
##   make check          all tests; SAN=1 a part under ASan and UBSan, SAN=thread under TSan;
##                       TESTS="unit lint" only these groups or files
##   make deps           install with apt-get what building and testing need (demo and check do)
##   make fuzz           fuzz the readers of images and traces, each for SECONDS_MAX seconds (600)
##   make bench          figures beside stock criu lazy-pages; BENCH="--quick drain-1g" arguments
##   make install        program, plugin, man pages, sample settings, completion for bash
##   make uninstall      remove these
##   make kernel         build the test kernel with the series of kernel/patches; VARIANT=base,
##                       kasan, lockdep, kcsan: see kernel/build.sh; the last line is its path
##   make vm             a shell in that kernel under QEMU
##   make kernel-deb     Debian packages of Debian's cloud kernel with the series, into $(O)/deb
##   make stress         the long tests of the kernel; STRESS="matrix races" only these parts
##   make clean          remove what was built
##   make help           this text
## Settings:
##   O=DIR               where to build (build; build-san, build-tsan, build-mutant-NAME)
##   V=1                 show commands
##   CC= CFLAGS= CPPFLAGS= LDFLAGS=     as usual, added to what is needed
##   PREFIX= DESTDIR= LIBDIR= PLUGINDIR= BINDIR= MANDIR= COMPLETIONDIR=    as usual; the plugin
##                       looks for the pager in BINDIR
##   MUTANT=NAME         build one of the faults that tests must find: no_fork no_remap no_remove
##                       no_unmap eagain_fatal no_gate hostile

ifeq ($(SAN),1)
O ?= build-san
else ifeq ($(SAN),thread)
O ?= build-tsan
else ifdef MUTANT
O ?= build-mutant-$(MUTANT)
endif
O ?= build
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
PLUGINDIR ?= $(LIBDIR)/uffd-relocate
BINDIR ?= $(PREFIX)/sbin
MANDIR ?= $(PREFIX)/share/man
DOCDIR ?= $(PREFIX)/share/doc/uffd-relocate
COMPLETIONDIR ?= $(PREFIX)/share/bash-completion/completions
INSTALL ?= install
PKG_CONFIG ?= pkg-config
PROTOC_C ?= protoc-c
OBJCOPY ?= objcopy
V ?= 0
Q = $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),@:,@printf '  %-8s %s\n' $(1) $(2))

VERSION := 0.1.0
PKGS := libprotobuf-c libcap libbsd json-c libseccomp
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null)

# The runtimes of the sanitizers are linked statically: the e2e tests run the binaries in roots
# that do not have them.
ifeq ($(SAN),1)
SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
SANLIBS := $(if $(findstring clang,$(CC)),-static-libsan,-static-libasan -static-libubsan)
endif
ifeq ($(SAN),thread)
SANFLAGS := -fsanitize=thread -fno-omit-frame-pointer -include tests/san/tsan.h
SANLIBS := $(if $(findstring clang,$(CC)),-static-libsan,-static-libtsan)
endif

CFLAGS ?= -O2 -g
WARN := -std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
HARDEN := -fstack-protector-strong -fPIE
DEFS := -D_GNU_SOURCE -Isrc -I$(O) -Ikernel/uapi -DUFFD_RELOCATE_VERSION='"$(VERSION)"'
DEFS += $(if $(MUTANT),-DMUTANT_$(MUTANT))
# Headers of packages are not ours to warn about.
ALL_CPPFLAGS = $(patsubst -I%,-isystem %,$(PKG_CFLAGS)) $(DEFS) $(CPPFLAGS)
ALL_CFLAGS = $(WARN) $(HARDEN) $(ALL_CPPFLAGS) $(CFLAGS) $(SANFLAGS)
ALL_LDFLAGS = $(CFLAGS) $(LDFLAGS) -pie -Wl,-z,relro,-z,now -Wl,--as-needed $(SANFLAGS) $(SANLIBS)

# The agent: code that runs in other processes.  Without what a compiler adds by its own wit, and
# linked into one piece; agent.lds and the tests say what must not be in it.
AGENT_ARCH_CFLAGS := $(if $(findstring x86_64,$(shell $(CC) -dumpmachine)),-fcf-protection=none)
AGENT_CFLAGS := $(WARN) $(filter -DMUTANT_%,$(CFLAGS) $(DEFS)) -Isrc -Ikernel/uapi -Os -ffreestanding \
	-fPIE -fvisibility=hidden -fno-stack-protector -fno-asynchronous-unwind-tables \
	-fno-unwind-tables -fno-strict-aliasing -mgeneral-regs-only $(AGENT_ARCH_CFLAGS)

ROOMS := util kapi core image source place inject move pager cli
SRCS := $(foreach r,$(ROOMS),$(wildcard src/$(r)/*.c))
PROTOS := $(wildcard proto/*.proto)
PB_SRCS := $(PROTOS:proto/%.proto=$(O)/proto/%.pb-c.c)
OBJS := $(SRCS:%.c=$(O)/%.o) $(PB_SRCS:.c=.o)
# Everything but main(), for the test programs.
LIB := $(O)/libuffd-relocate.a
LIB_OBJS := $(filter-out $(O)/src/cli/main.o,$(OBJS))
BIN := $(O)/uffd-relocate
PLUGIN := $(O)/uffd-relocate-plugin.so
COMPLETION := $(O)/completion.bash
PLUGIN_SRCS := $(wildcard criu-plugin/*.c)
MAN8 := $(wildcard man/*.8)
MAN7 := $(wildcard man/*.7)
MAN5 := $(wildcard man/*.5)

.DEFAULT_GOAL := all
all: $(BIN) $(PLUGIN) $(COMPLETION) tests-build

include $(wildcard tests/tests.mk)

help:
	@sed -n 's/^## \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

# ---- what everything is built from ----

# Changes when the flags or the list of sources do; everything is made anew then.
FLAGS := $(O)/.flags
FLAGS_NOW := $(subst ','\'',$(CC) $(ALL_CFLAGS) : $(ALL_LDFLAGS) : $(PKG_LIBS) : $(SRCS) : $(AGENT_CFLAGS))
$(FLAGS): FORCE
	@$(PKG_CONFIG) --exists $(PKGS) && command -v $(PROTOC_C) >/dev/null || { \
		echo "a package that the build needs is missing; run: make deps" >&2; \
		$(PKG_CONFIG) --print-errors --exists $(PKGS); exit 1; }
	@mkdir -p $(O)
	@printf '%s\n' '$(FLAGS_NOW)' | cmp -s - $@ || printf '%s\n' '$(FLAGS_NOW)' >$@

$(O)/proto/%.pb-c.c: proto/%.proto | $(FLAGS)
	$(call say,PROTOC,$<)
	@mkdir -p $(@D)
	$(Q)$(PROTOC_C) --c_out=$(@D) --proto_path=proto $<
# The same run makes both.
$(O)/proto/%.pb-c.h: $(O)/proto/%.pb-c.c ;

# Only image/ sees the generated headers; generated code gets no extra warnings.
$(SRCS:%.c=$(O)/%.o): | $(PB_SRCS:.c=.h)
$(O)/proto/%.o: $(O)/proto/%.c $(FLAGS)
	$(call say,CC,$<)
	$(Q)$(CC) -std=gnu11 $(HARDEN) $(ALL_CPPFLAGS) $(CFLAGS) $(SANFLAGS) -MMD -MP -c -o $@ $<

$(O)/%.o: %.c $(FLAGS)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# ---- the agent ----

AGENT_OBJS := $(patsubst %.c,$(O)/%.o,$(wildcard src/agent/*.c))
AGENT_BLOB := $(O)/agent.bin
$(AGENT_OBJS): $(O)/%.o: %.c $(FLAGS)
	$(call say,AGENT,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(AGENT_CFLAGS) -MMD -MP -c -o $@ $<

$(AGENT_BLOB): $(AGENT_OBJS) src/agent/agent.lds
	$(call say,BLOB,$@)
	$(Q)$(LD) -static -pie --no-dynamic-linker -z noexecstack --no-undefined --fatal-warnings \
		-T src/agent/agent.lds -o $(O)/agent.elf $(AGENT_OBJS)
	$(Q)$(OBJCOPY) -O binary -j .blob $(O)/agent.elf $@

BLOB_USERS := $(O)/src/inject/blob.o $(O)/pic/src/inject/blob.o
$(BLOB_USERS): $(AGENT_BLOB)
$(BLOB_USERS): DEFS += -DAGENT_BLOB='"$(AGENT_BLOB)"'

$(LIB): $(LIB_OBJS)
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BIN): $(O)/src/cli/main.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -lpthread

# The program knows its verbs and options best.
$(COMPLETION): $(BIN)
	$(call say,GEN,$@)
	$(Q)$(BIN) --completion >$@

# The plugin lives in criu: no sanitizer.  It alone knows where the pager gets installed.
PLUGIN_CFLAGS = -std=gnu11 $(WARN) -fPIC $(DEFS) $(CPPFLAGS) $(CFLAGS) \
	-DUFFD_RELOCATE_BINDIR='"$(BINDIR)"'
PLUGIN_FLAGS := $(O)/criu-plugin/.flags
PLUGIN_NOW := $(subst ','\'',$(PLUGIN_CFLAGS) : $(PLUGIN_SRCS))
$(PLUGIN_FLAGS): FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(PLUGIN_NOW)' | cmp -s - $@ || printf '%s\n' '$(PLUGIN_NOW)' >$@

PLUGIN_OBJS := $(PLUGIN_SRCS:%.c=$(O)/%.o)
$(PLUGIN_OBJS): $(O)/%.o: %.c $(FLAGS) $(PLUGIN_FLAGS)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(PLUGIN_CFLAGS) -MMD -MP -c -o $@ $<

# What the plugin needs of the rest, compiled to be hidden in it.
PLUGIN_LIB := $(O)/libplugin.a
PLUGIN_LIB_OBJS := $(patsubst %.c,$(O)/pic/%.o,$(wildcard src/inject/*.c) src/util/fd.c src/util/fdpass.c \
	$(wildcard $(addprefix src/kapi/,proc.c procmem.c ptrace.c regs_*.c remote.c task.c)))
$(PLUGIN_LIB_OBJS): $(O)/pic/%.o: %.c $(FLAGS) $(PLUGIN_FLAGS)
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(PLUGIN_CFLAGS) -fvisibility=hidden -MMD -MP -c -o $@ $<

$(PLUGIN_LIB): $(PLUGIN_LIB_OBJS)
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(PLUGIN): $(PLUGIN_OBJS) $(PLUGIN_LIB)
	$(call say,PLUGIN,$@)
	$(Q)$(CC) -shared $(CFLAGS) $(LDFLAGS) -Wl,-z,relro,-z,now,-z,defs -Wl,--exclude-libs,ALL -o $@ $^

# ---- what a user runs ----

JOBS = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc 2>/dev/null || echo 1))
SUBMAKE = +@$(MAKE) --no-print-directory
# Tests run makes of their own, which must not hear of this one's settings.
CLEAN_ENV = env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS O='$(abspath $(O))'

# Reports go to $(O)/report.PID, which the roots of the e2e tests see as /mnt/build.
REPORT := log_path=/mnt/build/report
ifeq ($(SAN),1)
# A raw clone() confuses the search for leaks.
TEST_ENV := ASAN_OPTIONS=detect_leaks=0:$(REPORT) UBSAN_OPTIONS=print_stacktrace=1:$(REPORT)
TESTS ?= unit kapi cli fuzz $(wildcard tests/e2e/basic.t tests/e2e/events.t tests/e2e/gate.t \
	tests/e2e/apps.t)
endif
ifeq ($(SAN),thread)
# The runtime needs the addresses that it expects, and does not expect as many random bits.
TEST_ENV := TSAN_OPTIONS=exitcode=0:$(REPORT) setarch -R
TESTS ?= $(wildcard tests/e2e/basic.t tests/e2e/events.t tests/e2e/gate.t tests/kill/sweep.t)
endif
LAST_TEST := $(if $(SAN),tests/san/reports.t)

deps:
	@tests/deps

check:
	$(SUBMAKE) deps
	$(SUBMAKE) $(JOBS) all
	@rm -f $(O)/report.*
	$(CLEAN_ENV) $(TEST_ENV) tests/run $(TESTS) $(LAST_TEST)

demo:
	$(SUBMAKE) deps
	$(SUBMAKE) $(JOBS) $(BIN) $(PLUGIN) $(O)/tests/tools/enter
	@$(CLEAN_ENV) demo/demo

fuzz:
	$(CLEAN_ENV) SECONDS_MAX=$(or $(SECONDS_MAX),600) tests/fuzz/image.t
	$(CLEAN_ENV) SECONDS_MAX=$(or $(SECONDS_MAX),600) tests/fuzz/trace.t

bench:
	$(SUBMAKE) $(JOBS) all
	$(CLEAN_ENV) tests/bench/run $(BENCH)

# ---- kernel ----

VARIANT ?= patched

kernel:
	$(SUBMAKE) deps
	@$(CLEAN_ENV) kernel/build.sh $(VARIANT)

vm:
	$(SUBMAKE) deps
	@image=$$($(CLEAN_ENV) kernel/build.sh $(VARIANT) | tail -n 1) && \
		$(CLEAN_ENV) kernel/boot.sh "$$image"

kernel-deb:
	$(SUBMAKE) deps
	@$(CLEAN_ENV) kernel/deb.sh

stress:
	$(SUBMAKE) deps
	$(SUBMAKE) $(JOBS) all
	$(CLEAN_ENV) kernel/stress.sh $(STRESS)

# ---- installing ----

to = $(DESTDIR)$(1)
INSTALLED = $(BINDIR)/uffd-relocate $(PLUGINDIR)/uffd-relocate-plugin.so $(DOCDIR)/plugin.conf \
	$(COMPLETIONDIR)/uffd-relocate \
	$(MAN8:man/%=$(MANDIR)/man8/%) $(MAN7:man/%=$(MANDIR)/man7/%) $(MAN5:man/%=$(MANDIR)/man5/%)

install: $(BIN) $(PLUGIN) $(COMPLETION)
	$(Q)$(INSTALL) -d $(foreach d,$(sort $(dir $(INSTALLED))),'$(call to,$(d))')
	$(Q)$(INSTALL) -m 755 $(BIN) '$(call to,$(BINDIR)/uffd-relocate)'
	$(Q)$(INSTALL) -m 755 $(PLUGIN) '$(call to,$(PLUGINDIR)/uffd-relocate-plugin.so)'
	$(Q)$(INSTALL) -m 644 criu-plugin/plugin.conf '$(call to,$(DOCDIR)/plugin.conf)'
	$(Q)$(INSTALL) -m 644 $(COMPLETION) '$(call to,$(COMPLETIONDIR)/uffd-relocate)'
	$(if $(MAN8),$(Q)$(INSTALL) -m 644 $(MAN8) '$(call to,$(MANDIR)/man8)')
	$(if $(MAN7),$(Q)$(INSTALL) -m 644 $(MAN7) '$(call to,$(MANDIR)/man7)')
	$(if $(MAN5),$(Q)$(INSTALL) -m 644 $(MAN5) '$(call to,$(MANDIR)/man5)')
	@printf '  %-8s %s\n' $(foreach f,$(INSTALLED),INSTALL '$(call to,$(f))')

# Directories that hold nothing else are ours.
uninstall:
	$(Q)rm -f $(foreach f,$(INSTALLED),'$(call to,$(f))')
	$(Q)for d in '$(call to,$(PLUGINDIR))' '$(call to,$(DOCDIR))'; do \
		[ ! -d "$$d" ] || rmdir --ignore-fail-on-non-empty "$$d"; done

# With O= that directory, if it has the look of one of ours; without, all that are made by default.
clean:
ifneq ($(filter command environment,$(origin O)),)
	@[ ! -f '$(O)/.flags' ] || { echo "rm -rf $(O)" && rm -rf '$(O)'; }
else
	rm -rf build build-san build-tsan build-mutant-*
endif

-include $(OBJS:.o=.d) $(AGENT_OBJS:.o=.d) $(PLUGIN_OBJS:.o=.d) $(PLUGIN_LIB_OBJS:.o=.d)
FORCE:
# The folder of the same name is no reason not to.
.PHONY: kernel vm kernel-deb stress
.PHONY: all help deps check demo fuzz bench install uninstall clean FORCE
.DELETE_ON_ERROR:
.SECONDARY: $(PB_SRCS)
