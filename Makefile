# SPDX-License-Identifier: GPL-2.0
#
# Thin: the module is built by the kernel (Kbuild), everything else by cargo and the lab.

KDIR ?= /lib/modules/$(shell uname -r)/build
PREFIX ?= /usr
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
LAB := cargo run --quiet --release --package usb4-lab --bin lab --

.PHONY: all module command lab-module preflight install install-files uninstall dkms dkms-sources deb demo shell bench check sim fuzz miri test test-all test-rest test-long clean

all: module

# The module, for the kernel in KDIR. That needs the kernel's Rust metadata; `make lab-module` does not.
module: preflight
	$(MAKE) -C $(KDIR) M=$(CURDIR) modules

# The command usb4-roce, its man pages and completions: the program, man/*.1, and a file for each shell in completions/. `make install`
# installs what is there.
COMMAND ?= target/command
command:
	cargo build --release --package usb4-roce
	install -D -t $(COMMAND) "$${CARGO_TARGET_DIR:-target}/release/usb4-roce"
	"$${CARGO_TARGET_DIR:-target}/release/usb4-roce-pages" $(COMMAND)

# Whether all is there that the module is built by; says what is missing, and how to get it.
preflight:
	@packaging/preflight $(KDIR)

install: module install-files
	$(MAKE) -C $(KDIR) M=$(CURDIR) INSTALL_MOD_PATH=$(DESTDIR) modules_install
ifeq ($(DESTDIR),)
	depmod
endif

# Where what is installed belongs. NetworkManager looks for profiles below /usr and /etc, wherever it is told to install things.
LIBEXEC = $(PREFIX)/libexec/usb4-roce-setup
UNIT = $(PREFIX)/lib/systemd/system/usb4-roce@.service
USER_LIMITS = $(PREFIX)/lib/systemd/system/user@.service.d/usb4-roce.conf
RULES = $(PREFIX)/lib/udev/rules.d/76-usb4-roce.rules
MODPROBE = $(PREFIX)/lib/modprobe.d/usb4-roce.conf
NETWORK = $(PREFIX)/lib/systemd/network/99-usb4-roce.network
PROFILE = $(if $(filter /usr,$(PREFIX)),/usr/lib,/etc)/NetworkManager/system-connections/usb4-roce.nmconnection
LIMITS = /etc/security/limits.d/usb4-roce.conf
DEFAULTS = /etc/default/usb4-roce
MANUAL = $(PREFIX)/share/doc/usb4-roce
PAGES = $(notdir $(wildcard packaging/doc/*.md))
# Links that lead out of the manual lead nowhere where it is installed: they become names of files of the sources.
OUT_OF_THE_MANUAL = s|\[[^]]*\](\.\./\.\./\([^)\#]*\)[^)]*)|\1 of the sources|g; s|\[[^]]*\](\.\./\([^)\#]*\)[^)]*)|packaging/\1 of the sources|g
MAN = $(PREFIX)/share/man/man1
MAN_PAGES = $(notdir $(wildcard $(COMMAND)/man/*.1))
BASH_COMPLETION = $(PREFIX)/share/bash-completion/completions/usb4-roce
# Debian and others have zsh and fish look elsewhere for what packages bring.
ZSH_COMPLETIONS ?= $(PREFIX)/share/zsh/site-functions
FISH_COMPLETIONS ?= $(PREFIX)/share/fish/vendor_completions.d
PROGRAM = $(PREFIX)/bin/usb4-roce
COMMAND_FILES = $(PROGRAM) $(addprefix $(MAN)/,usb4-roce.1 usb4-roce-*.1) $(BASH_COMPLETION) $(ZSH_COMPLETIONS)/_usb4-roce $(FISH_COMPLETIONS)/usb4-roce.fish
INSTALLED = $(LIBEXEC) $(UNIT) $(USER_LIMITS) $(RULES) $(MODPROBE) $(NETWORK) $(PROFILE) $(LIMITS) $(DEFAULTS) $(addprefix $(MANUAL)/,$(PAGES))

# What makes rails of the cables that are plugged in, and gives the interface its addresses.
install-files:
	install -D -m 755 packaging/usb4-roce-setup $(DESTDIR)$(LIBEXEC)
	install -d $(DESTDIR)$(dir $(UNIT))
	sed 's|@PREFIX@|$(PREFIX)|g' packaging/usb4-roce@.service > $(DESTDIR)$(UNIT)
	install -D -m 644 packaging/user-limits.conf $(DESTDIR)$(USER_LIMITS)
	install -D -m 644 packaging/76-usb4-roce.rules $(DESTDIR)$(RULES)
	install -D -m 644 packaging/modprobe.conf $(DESTDIR)$(MODPROBE)
	install -D -m 644 packaging/usb4-roce.network $(DESTDIR)$(NETWORK)
	install -D -m 600 packaging/usb4-roce.nmconnection $(DESTDIR)$(PROFILE)
	# What is in /etc may have been changed.
	test -e $(DESTDIR)$(LIMITS) || install -D -m 644 packaging/limits.conf $(DESTDIR)$(LIMITS)
	test -e $(DESTDIR)$(DEFAULTS) || install -D -m 644 packaging/usb4-roce.default $(DESTDIR)$(DEFAULTS)
	install -d $(DESTDIR)$(MANUAL)
	for page in $(PAGES); do \
		sed '$(OUT_OF_THE_MANUAL)' packaging/doc/$$page > $(DESTDIR)$(MANUAL)/$$page && chmod 644 $(DESTDIR)$(MANUAL)/$$page || exit; \
	done
ifneq ($(wildcard $(COMMAND)/usb4-roce),)
	install -D -m 755 $(COMMAND)/usb4-roce $(DESTDIR)$(PROGRAM)
	install -D -m 644 -t $(DESTDIR)$(MAN) $(addprefix $(COMMAND)/man/,$(MAN_PAGES))
	install -D -m 644 $(COMMAND)/completions/usb4-roce.bash $(DESTDIR)$(BASH_COMPLETION)
	install -D -m 644 -t $(DESTDIR)$(ZSH_COMPLETIONS) $(COMMAND)/completions/_usb4-roce
	install -D -m 644 -t $(DESTDIR)$(FISH_COMPLETIONS) $(COMMAND)/completions/usb4-roce.fish
endif

# All that `make install` has installed, with the same PREFIX and DESTDIR, and the module of the kernel in KDIR. Files in /etc go too.
uninstall:
	rm -f $(addprefix $(DESTDIR),$(INSTALLED) $(COMMAND_FILES))
	-rmdir --ignore-fail-on-non-empty $(DESTDIR)$(dir $(USER_LIMITS)) $(DESTDIR)$(MANUAL)
	rm -f $(DESTDIR)/lib/modules/$(KERNEL)/updates/usb4_roce.ko*
ifeq ($(DESTDIR),)
	depmod $(KERNEL)
endif
KERNEL = $(shell cat $(KDIR)/include/config/kernel.release 2>/dev/null || uname -r)

# The sources where dkms finds them: afterwards `dkms install usb4_roce/VERSION` builds the module for the running
# kernel, and for every kernel that is installed later.
DKMS_SOURCE = $(DESTDIR)/usr/src/usb4_roce-$(VERSION)
dkms: install-files dkms-sources
dkms-sources:
	install -d $(DKMS_SOURCE)/packaging
	cp -r Cargo.toml Kbuild src verbs stream-adapter $(DKMS_SOURCE)/
	install -m 755 packaging/preflight packaging/rust-metadata packaging/dkms-prepare packaging/dkms-build $(DKMS_SOURCE)/packaging/
	sed 's/@VERSION@/$(VERSION)/' packaging/dkms.conf > $(DKMS_SOURCE)/dkms.conf

# Debian packages of all that, and of the module for the lab's Debian kernel; in target/packages.
deb:
	@$(LAB) deb --output target/packages

# The module for the lab's Debian kernel, built in the lab's root.
lab-module:
	@$(LAB) module

# Two hosts, one cable, and an all-reduce between them through libibverbs.
demo:
	@$(LAB) demo

# A prompt on one of two cabled hosts, without the module.
shell:
	@$(LAB) shell

# usb4_roce beside the raw stream, and rxe and TCP over thunderbolt_net: messages, and disks and files of the other host.
bench:
	@$(LAB) bench

# Formatting and lints: of the host's programs here, of the module in the lab's root, for both of its kernels.
check:
	cargo fmt --check
	@if cargo clippy --version > /dev/null 2>&1; then \
		cargo clippy --workspace --all-targets -- -D warnings; \
	else \
		echo "skipped: clippy (it is not installed)"; \
		echo "0 passed, 0 failed, 1 skipped"; \
	fi
	@$(LAB) lint $(LINT_FLAGS)

# The simulation of hosts and faulty cables: SEEDS of them from FIRST on, or a replay of SEED with all that happens.
SEEDS ?= 2000
MANY_SEEDS ?= 50000
FIRST ?= 0

sim:
ifdef SEED
	SIM_SEED=$(SEED) cargo test --quiet --test simulation replay -- --ignored --nocapture
else
	SIM_SEEDS=$(SEEDS) SIM_FIRST=$(FIRST) cargo test --quiet --test simulation random_programs -- --nocapture
endif

# Fuzzing guided by coverage, SECONDS for each target; needs a nightly compiler of rustup's, and cargo-fuzz. Random input is part of `cargo test`.
SECONDS ?= 60
FUZZ_TARGETS := frame datagram deframer packet rail requester responder unreliable wqe

fuzz:
	@for target in $(FUZZ_TARGETS); do \
		cargo +nightly fuzz run --fuzz-dir tests/fuzz --sanitizer none $$target -- \
			-max_total_time=$(SECONDS) -max_len=4096 || exit 1; \
	done

# The core's tests under Miri, but for those that take hours there; needs a nightly compiler of rustup's, with its component miri.
miri:
	MIRIFLAGS=-Zmiri-disable-isolation \
		cargo +nightly miri test --lib --test rail_endpoint --test reliable_connection

# Formatting, lints, the host's tests, and the lab's but for what takes long.
test: check
	cargo test --workspace --no-fail-fast
	@$(LAB) test $(TEST_FLAGS)

# That, and all that it leaves out because it takes long.
test-all: test test-rest

test-rest: sim
	@$(LAB) test --rest

# Hours: on emulated hosts all there is, with much more time for what could go on for ever.
test-long: check
	SIM_SEEDS=$(MANY_SEEDS) cargo test --workspace --no-fail-fast
	@$(LAB) test --long

clean:
	cargo clean
	if [ -d $(KDIR) ]; then $(MAKE) -C $(KDIR) M=$(CURDIR) clean; fi
