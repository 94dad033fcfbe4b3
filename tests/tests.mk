# SPDX-License-Identifier: GPL-2.0-only
# Test programs.  Each tests/{unit,kapi,agent}/*.c is one TAP program linked against everything but main().

TEST_PROGS := $(patsubst %.c,$(O)/%,$(wildcard tests/unit/*.c tests/kapi/*.c tests/agent/*.c))
# Helpers and targets that run inside other roots: plain libc programs, built static.
TEST_TOOLS := $(patsubst %.c,$(O)/%,$(wildcard tests/tools/*.c tests/victim/*.c tests/deny/*.c))

# The races against UFFDIO_MOVE, for the machines of tests/vm.
TEST_RACE := $(O)/tests/vm/race

tests-build: $(TEST_PROGS) $(TEST_TOOLS) $(TEST_RACE)

$(TEST_PROGS:=.o): DEFS += -I. -Itests
$(TEST_PROGS:=.o): | $(PB_SRCS:.c=.h)

$(TEST_PROGS): $(O)/%: $(O)/%.o $(LIB)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS) -lpthread

$(TEST_TOOLS): $(O)/%: %.c $(FLAGS)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(WARN) $(DEFS) $(CPPFLAGS) -I. -Itests -O2 -g -static -MMD -MP -MF $@.d -o $@ $< -lpthread

$(TEST_RACE): $(wildcard tests/vm/race/*.[ch]) $(FLAGS)
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(WARN) $(DEFS) $(CPPFLAGS) -O2 -g -static -o $@ $(filter %.c,$^) -lpthread

-include $(TEST_PROGS:=.d) $(TEST_TOOLS:=.d)
.PHONY: tests-build
