# SPDX-License-Identifier: GPL-2.0-only
# uffd-relocate.  `make help` lists the targets; all output goes below $(O).

O ?= build
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
PLUGINDIR ?= $(LIBDIR)/uffd-relocate
BINDIR ?= $(PREFIX)/sbin
MANDIR ?= $(PREFIX)/share/man
PKG_CONFIG ?= pkg-config
PROTOC_C ?= protoc-c
V ?= 0
Q = $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),@:,@printf '  %-8s %s\n' $(1) $(2))

VERSION := 0.1.0
PKGS := libprotobuf-c libcap libbsd json-c libseccomp
PKG_CFLAGS := $(shell $(PKG_CONFIG) --cflags $(PKGS) 2>/dev/null)
PKG_LIBS := $(shell $(PKG_CONFIG) --libs $(PKGS) 2>/dev/null)

CFLAGS ?= -O2 -g
WARN := -std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith
HARDEN := -fstack-protector-strong -fPIE
CPPFLAGS += -D_GNU_SOURCE -Isrc -I$(O) -Ikernel/uapi -DUFFD_RELOCATE_VERSION='"$(VERSION)"'
CPPFLAGS += -DUFFD_RELOCATE_PLUGINDIR='"$(PLUGINDIR)"' -DUFFD_RELOCATE_BINDIR='"$(BINDIR)"'
# Headers of packages are not ours to warn about.
ALL_CFLAGS = $(WARN) $(HARDEN) $(patsubst -I%,-isystem %,$(PKG_CFLAGS)) $(CPPFLAGS) $(CFLAGS) $(SANFLAGS)
ALL_LDFLAGS = $(LDFLAGS) -pie -Wl,-z,relro,-z,now $(SANFLAGS)

ifeq ($(SAN),1)
O := build-san
SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
endif
ifeq ($(SAN),thread)
O := build-tsan
SANFLAGS := -fsanitize=thread -fno-omit-frame-pointer
endif

ROOMS := util kapi core image source place pager cli
SRCS := $(foreach r,$(ROOMS),$(wildcard src/$(r)/*.c))
PROTOS := $(wildcard proto/*.proto)
PB_SRCS := $(PROTOS:proto/%.proto=$(O)/proto/%.pb-c.c)
OBJS := $(SRCS:%.c=$(O)/%.o) $(PB_SRCS:.c=.o)
# Everything but main(), for the test programs.
LIB := $(O)/libuffd-relocate.a
LIB_OBJS := $(filter-out $(O)/src/cli/main.o,$(OBJS))
BIN := $(O)/uffd-relocate
PLUGIN := $(O)/uffd-relocate-plugin.so

all: $(BIN) $(if $(wildcard criu-plugin/*.c),$(PLUGIN)) tests-build

include $(wildcard tests/tests.mk)

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

$(O)/proto/%.pb-c.c $(O)/proto/%.pb-c.h: proto/%.proto
	$(call say,PROTOC,$<)
	@mkdir -p $(O)/proto
	$(Q)$(PROTOC_C) --c_out=$(O)/proto --proto_path=proto $<

# image/ is the only room that sees them; generated code gets no extra warnings.
$(SRCS:%.c=$(O)/%.o): | $(PB_SRCS:.c=.h)
$(O)/proto/%.o: $(O)/proto/%.c
	$(call say,CC,$<)
	$(Q)$(CC) -std=gnu11 $(HARDEN) $(patsubst -I%,-isystem %,$(PKG_CFLAGS)) $(CPPFLAGS) $(CFLAGS) $(SANFLAGS) -MMD -MP -c -o $@ $<

$(O)/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(LIB): $(LIB_OBJS)
	$(call say,AR,$@)
	@rm -f $@
	$(Q)$(AR) rcs $@ $^

$(BIN): $(O)/src/cli/main.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -lpthread

$(PLUGIN): $(wildcard criu-plugin/*.c criu-plugin/*.h)
	$(call say,PLUGIN,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu11 $(WARN) -fPIC -shared $(CPPFLAGS) $(CFLAGS) -Wl,-z,relro,-z,now -o $@ $(filter %.c,$^)

clean:
	rm -rf build build-san build-tsan

-include $(OBJS:.o=.d)
.PHONY: all help clean
.DELETE_ON_ERROR:
