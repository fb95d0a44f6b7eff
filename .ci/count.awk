# SPDX-License-Identifier: GPL-2.0
#
# Counts what the tests say: cargo's "test result: ok. 3 passed; 0 failed; 1 ignored; ..." and the lab's and the lints'
# "3 passed, 0 failed, 1 skipped". What cargo ignores and what `make check` skips must be among the allowed skips; the lab
# sees to its own.
#
#   awk -v status=STATUS -f .ci/count.awk qemu-tests/allowed-skips LOG

FNR == NR {
	if ($1 == "cargo" || $1 == "check") allowed[$1 " " $2] = 1
	next
}

function skip(name) {
	if (name in allowed) {
		happened[name] = 1
	} else {
		print "skipped, which is not allowed: " name
		failed++
	}
}

/^test .* \.\.\. ignored/ { skip("cargo " $2) }
/^skipped: / { skip("check " $2) }
/^test result: / {
	for (i = 2; i <= NF; i++) {
		if ($i == "passed;") passed += $(i - 1)
		if ($i == "failed;") failed += $(i - 1)
		if ($i == "ignored;") skipped += $(i - 1)
	}
}
/^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ { passed += $1; failed += $3; skipped += $5 }

END {
	for (name in allowed)
		if (!(name in happened)) print "note  " name " may be skipped, and was not"
	# A build, a lint or a whole program that fails has no test to count.
	if (status != 0 && failed == 0) failed = 1
	printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
	exit failed != 0
}
