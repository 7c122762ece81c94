# encdns - make        builds ./encdns and ./encdns-hub
#          make run    a whole system on 127.0.0.1, port 5300; ^C ends it
#          make test   all tests
# Also: deps test-deps install install-node asan tsan fuzz lint bench clean.
#
# Cross builds and other compilers: make CC=aarch64-linux-musl-gcc
# (BEARSSL=path/to/libbearssl.a when the compiler can't find it.)

ifeq ($(origin CC),default)
CC = musl-gcc
endif
PREFIX = /usr/local
PORT = 5300
SECONDS = 60
B = build
BIN = .

# make V=1 shows the commands.
Q = $(if $(V),,@)
say = $(if $(V),,@echo '  $@')

# ---- sources ----------------------------------------------------------------
# All modules go to one archive, from which an executable takes what it needs.
# Nothing of hub/ is in it: the node must not contain what sends zones.

MODULES = $(sort $(wildcard dns.c store.c journal.c crypto.c bgp.c cluster.c \
	base/*.c dns/*.c store/*.c journal/*.c crypto/*.c bgp/*.c cluster/*.c))
HUB = $(sort $(wildcard hub/*.c))
UNITS = $(sort $(wildcard tests/test_*.c))
FUZZERS = $(sort $(wildcard tests/fuzz/fuzz_*.c))
FAULTED := $(shell grep -l faultdisk.h tests/test_*.c 2>/dev/null)
MOCKED := $(shell grep -l mockstore.h tests/test_*.c tests/fuzz/fuzz_*.c 2>/dev/null)

obj = $(patsubst %.c,$B/%.o,$(1))
NODE_OBJ = $(call obj,main.c $(sort $(wildcard main/*.c)))
HUB_OBJ = $(call obj,$(HUB))
LIB = $B/libencdns.a
HUB_LIB = $B/libhub.a
UNIT_BIN = $(UNITS:%.c=$B/%)
REPLAY_BIN = $(FUZZERS:tests/fuzz/fuzz_%.c=$B/tests/replay_%)

# ---- flags ------------------------------------------------------------------

can = $(shell $(CC) -Werror $(1) -x c -c /dev/null -o /dev/null 2>/dev/null && echo $(1))

WARN = -Wall -Wextra -Wshadow -Wvla -Wformat=2 -Wundef -Wcast-qual -Wstrict-prototypes \
	-Wmissing-prototypes $(if $(WERROR),-Werror)
HARDEN := -fstack-protector-strong $(call can,-fstack-clash-protection) \
	$(call can,-ftrivial-auto-var-init=zero)

# A loop that copies a few octets stays one: a call of musl's memcpy() costs more.
LOOPS := $(call can,-fno-tree-loop-distribute-patterns)

# The C library's own headers first; BearSSL's and the kernel's after them.
TRIPLET := $(shell t=$$($(CC) -print-multiarch 2>/dev/null); [ "$$t" ] || \
	t=$$($(CC) -dumpmachine 2>/dev/null | sed 's/-musl/-gnu/; s/-pc-/-/'); echo "$$t")
CPPFLAGS = -D_GNU_SOURCE -I.
SYSTEM = -idirafter /usr/include -idirafter /usr/include/$(TRIPLET)
CFLAGS = -O2 -g
ALL_CFLAGS = -std=c11 $(CFLAGS) $(CPPFLAGS) $(WARN) $(HARDEN) $(LOOPS) $(MODE_CFLAGS) $(SYSTEM)

BEARSSL := $(shell $(CC) -print-file-name=libbearssl.a 2>/dev/null)
ifeq ($(findstring /,$(BEARSSL)),)
BEARSSL := /usr/lib/$(TRIPLET)/libbearssl.a
endif

ifdef SANITIZE
# For finding faults: dynamic, the system's own C library.
MODE_CFLAGS = -fno-omit-frame-pointer -fsanitize=$(SANITIZE) -fno-sanitize-recover=all
link = $(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $(1) $(LIBS)
else
# A static PIE with full RELRO and no interpreter. "-static-pie" is not trusted
# with it: musl-gcc's makes a dynamic one. Start files are those of the C library
# that the compiler links with.
# Nothing is thrown in C: debuggers have tables of their own.
MODE_CFLAGS = -fPIE -ffunction-sections -fdata-sections -fno-asynchronous-unwind-tables -fno-unwind-tables
H := \#
CRT := $(dir $(shell $(CC) '-$H$H$H' -x c /dev/null -o /dev/null 2>&1 | tr ' "' '\n\n' | grep 'crt1\.o$$'))
part = $(shell $(CC) -print-file-name=$(1))
LINK = -static -nostartfiles -Wl,-pie,--no-dynamic-linker,-z,text,-z,relro,-z,now,-z,noexecstack \
	-Wl,-z,separate-code,--gc-sections,-Map=$B/$(notdir $@).map
link = $(CC) $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $(CRT)rcrt1.o $(CRT)crti.o $(call part,crtbeginS.o) \
	$(1) $(LIBS) $(call part,crtendS.o) $(CRT)crtn.o
endif
LIBS = -Wl,--start-group $(LIB) $(BEARSSL) -Wl,--end-group -lpthread

AR := $(shell $(CC) -print-prog-name=ar 2>/dev/null)
STRIP := $(shell $(CC) -print-prog-name=strip 2>/dev/null)

# ---- the two executables ----------------------------------------------------

all: $(BIN)/encdns $(BIN)/encdns-hub

$(BIN)/encdns: $(NODE_OBJ) $(LIB) $(BEARSSL)
	$(say)
	$(Q)$(call link,$(NODE_OBJ))

$(BIN)/encdns-hub: $(HUB_OBJ) $(LIB) $(BEARSSL)
	$(say)
	$(Q)$(call link,$(HUB_OBJ))

$(LIB): $(call obj,$(MODULES))
$(HUB_LIB): $(filter-out $B/hub/main.o,$(HUB_OBJ))
$(LIB) $(HUB_LIB):
	$(say)
	$(Q)rm -f $@
	$(Q)$(AR) rcs $@ $^

$B/%.o: %.c $B/flags
	@mkdir -p $(@D)
	$(say)
	$(Q)$(CC) $(ALL_CFLAGS) $(SIZE) -MMD -MP -c -o $@ $<

# What neither a query nor a bulk transfer passes is made small.
SMALL = main.c bgp.c $(wildcard main/*.c bgp/*.c) \
	$(patsubst %,crypto/%.c,bundle cert cred denial denied gate identity issue pass pbes pem) \
	$(patsubst %,base/%.c,addr conf ctl inventory options sandbox)
$(call obj,$(SMALL)): SIZE = $(patsubst -O2,-Os,$(filter -O2,$(CFLAGS)))

# Changes when compiler or flags do, so that all is compiled again.
$B/flags: FORCE
	@mkdir -p $B
	@echo '$(CC) $(ALL_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS)' >$@

$(BEARSSL):
	@echo 'BearSSL is missing: make deps' >&2; exit 1

# ---- tests ------------------------------------------------------------------
# Each starts a second make, as the first may have begun without a compiler.

test:
	@tests/deps build test
	@$(MAKE) -j$$(nproc) --no-print-directory all check-programs
	@exec tests/run

run:
	@tests/deps build
	@$(MAKE) -j$$(nproc) --no-print-directory all
	@ENCDNS_BUILD='$(BIN)' PORT='$(PORT)' ZONE='$(ZONE)' exec tests/run-demo

asan:
	@$(MAKE) --no-print-directory CC=gcc SANITIZE=address,undefined B=build/asan BIN=build/asan \
		all check-programs

asan-test: asan
	@ENCDNS_BUILD=build/asan exec tests/run

# Readers in threads beside the writer, under a race detector.
tsan:
	@$(MAKE) --no-print-directory CC=gcc SANITIZE=thread B=build/tsan BIN=build/tsan \
		build/tsan/tests/test_readers
	SECONDS=$(SECONDS) TSAN_OPTIONS=halt_on_error=1 build/tsan/tests/test_readers

bench:
	@tests/deps build bench
	@$(MAKE) --no-print-directory all
	@exec tests/bench/run

check-programs: $(UNIT_BIN) $(REPLAY_BIN)

# A test that includes mockstore.h gets its look-ups, not the store's.
mock = $(if $(filter $(1),$(MOCKED)),$B/tests/mockstore.o)

# One that includes faultdisk.h gets a store whose effects go to that disk, with
# small extents, so that there are many.
FAULT_OBJ = $(patsubst %.c,$B/fault/%.o,store.c $(sort $(wildcard store/*.c))) $B/tests/faultdisk.o
fault = $(if $(filter $(1),$(FAULTED)),$(FAULT_OBJ))
FAULT_DEFS = -DSTORE_FAULT -DEXTENT_BLOCKS=2u -DLOG_FLUSH=65536u -Daead_seal=fault_seal -Dcrypto_random=fault_random
$B/fault/%.o: %.c $B/flags
	@mkdir -p $(@D)
	$(say)
	$(Q)$(CC) $(ALL_CFLAGS) $(FAULT_DEFS) -MMD -MP -c -o $@ $<
$B/tests/faultdisk.o: CPPFLAGS += -DSTORE_FAULT
$(patsubst %.c,$B/%.o,$(FAULTED)): CPPFLAGS += -DSTORE_FAULT -DEXTENT_BLOCKS=2u -DLOG_FLUSH=65536u

.SECONDEXPANSION:
$B/tests/test_%: $B/tests/test_%.o $(HUB_LIB) $(LIB) $$(call mock,tests/test_$$*.c) \
		$$(call fault,tests/test_$$*.c)
	@mkdir -p $(@D)
	$(say)
	$(Q)$(call link,$(filter-out %.a,$^) $(HUB_LIB))

# Parts of tests/bench that are programs; nothing else needs them.
$B/tests/bench/store $B/tests/bench/stream $B/tests/bench/large: $B/tests/bench/%: $B/tests/bench/%.o $(LIB)
	$(say)
	$(Q)$(call link,$(filter-out %.a,$^))

$B/tests/bench/bulk: $B/tests/bench/bulk.o $(HUB_LIB) $(LIB)
	$(say)
	$(Q)$(call link,$(filter-out %.a,$^) $(HUB_LIB))

# The corpus of each fuzzer, without a fuzzer.
$B/tests/replay_%: $B/tests/fuzz/fuzz_%.o $B/tests/fuzz/replay.o $(HUB_LIB) $(LIB) \
		$$(call mock,tests/fuzz/fuzz_$$*.c)
	@mkdir -p $(@D)
	$(say)
	$(Q)$(call link,$(filter-out %.a,$^) $(HUB_LIB))

# A fuzzer may have a main() of its own for use without libFuzzer.
$B/tests/fuzz/%.o: CPPFLAGS += -DFUZZER

fuzz:
	@tests/deps build fuzz
	@$(MAKE) --no-print-directory CC=clang SANITIZE=address,undefined,fuzzer-no-link B=build/fuzz fuzzers
	@for f in $(FUZZERS:tests/fuzz/fuzz_%.c=%); do echo "== $$f"; \
		mkdir -p build/fuzz/found/$$f tests/fuzz/corpus/$$f; \
		build/fuzz/fuzz_$$f -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
			-artifact_prefix=build/fuzz/$$f- build/fuzz/found/$$f tests/fuzz/corpus/$$f \
			2>build/fuzz/$$f.log || { tail -n 40 build/fuzz/$$f.log; exit 1; }; \
		tail -n 8 build/fuzz/$$f.log; done

fuzzers: $(FUZZERS:tests/fuzz/%.c=$B/%)

$B/fuzz_%: $B/tests/fuzz/fuzz_%.o $(HUB_LIB) $(LIB) $$(call mock,tests/fuzz/fuzz_$$*.c)
	$(say)
	$(Q)$(call link,-fsanitize=fuzzer $(filter-out %.a,$^) $(HUB_LIB))

ALL_C = $(wildcard main.c) $(MODULES) $(HUB)
# Three opinions, none of which is always right: nothing fails.
lint:
	@tests/deps build lint
	-cppcheck -q --std=c11 --enable=warning,portability --inline-suppr \
		--suppress=missingIncludeSystem -D_GNU_SOURCE -D__x86_64__ -I. $(ALL_C)
	-clang-tidy --quiet --checks='-*,bugprone-*,clang-analyzer-*,-bugprone-easily-swappable-parameters,-bugprone-narrowing-conversions,-bugprone-assignment-in-if-condition,-bugprone-reserved-identifier,-bugprone-branch-clone,-clang-analyzer-security.insecureAPI.*' \
		$(ALL_C) -- -std=c11 $(CPPFLAGS) 2>/dev/null
	-for f in $(ALL_C); do gcc -std=c11 -O1 $(CPPFLAGS) -fanalyzer -c -o /dev/null $$f; done

# ---- the rest ---------------------------------------------------------------

deps:
	@tests/deps build

test-deps:
	@tests/deps build test

install-node: $(BIN)/encdns
	install -d $(DESTDIR)$(PREFIX)/sbin
	install -m 755 $(BIN)/encdns $(DESTDIR)$(PREFIX)/sbin/encdns
	$(STRIP) $(DESTDIR)$(PREFIX)/sbin/encdns

install: install-node $(BIN)/encdns-hub
	install -m 755 $(BIN)/encdns-hub $(DESTDIR)$(PREFIX)/sbin/encdns-hub
	$(STRIP) $(DESTDIR)$(PREFIX)/sbin/encdns-hub

clean:
	rm -rf build encdns encdns-hub

FORCE:
.PHONY: all test run asan asan-test tsan bench check-programs fuzz fuzzers lint deps test-deps \
	install install-node clean FORCE
.DELETE_ON_ERROR:
.SECONDARY:
-include $(shell find $B -name '*.d' 2>/dev/null)
