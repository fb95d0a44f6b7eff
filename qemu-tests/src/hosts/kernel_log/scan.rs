// SPDX-License-Identifier: GPL-2.0

//! Looking for trouble in a kernel log.

use super::allowed::is_allowed;
use super::expectation::Expectation;
use super::expectation::Presence;
use super::line::is_error;

/// What a kernel says when something is wrong with it, at whatever level.
const TROUBLE: [&str; 53] = [
    "WARNING: ",
    "BUG: ",
    "BUG ",
    "kernel BUG at",
    "Oops",
    "Kernel panic",
    "general protection fault",
    "Unable to handle",
    "unable to handle",
    "stack segment",
    "divide error",
    "invalid opcode",
    "double fault",
    "Call Trace:",
    "INFO: possible",
    "possible circular locking",
    "possible recursive locking",
    "inconsistent lock state",
    "bad unlock balance",
    "held lock freed",
    "suspicious RCU usage",
    "turning off the locking correctness validator",
    "INFO: lockdep is turned off",
    "INFO: task ",
    "hung_task",
    "hung task",
    " hung",
    "scheduling while atomic",
    "sleeping function called from invalid context",
    "corrupted stack end",
    "KASAN: ",
    "UBSAN: ",
    "KFENCE: ",
    "ODEBUG: ",
    "DMA-API: ",
    "new suspected memory leaks",
    "unreferenced object",
    "memory leak detector disabled",
    "refcount_t: ",
    "list_add corruption",
    "list_del corruption",
    "Bad page state",
    "detected stall",
    "detected expedited stall",
    "soft lockup",
    "hard LOCKUP",
    "workqueue lockup",
    "nobody cared",
    "Disabling IRQ",
    "unregister_netdevice: waiting for",
    "Out of memory: ",
    "page allocation failure",
    "printk messages dropped",
];

/// Words that mean trouble in a line of RCU's.
const RCU: [&str; 2] = ["rcu", "stall"];

/// What a program in the guest does not do either.
const CRASHES: [&str; 2] = ["segfault at ", "traps: "];

/// The last line of a warning.
const END_OF_WARNING: &str = "---[ end trace ";

/// Lines shown from each trouble on.
const EXCERPT: usize = 25;

/// Most troubles shown: what follows the first is often its consequence.
const MOST: usize = 5;

/// The troubles in `log`, a stretch of the log of `host`: lines that tell of trouble, each with the lines that follow it,
/// errors, and expected lines that did not come.
pub fn troubles(host: &str, log: &str, expectations: &[Expectation]) -> Vec<String> {
    let here = || expectations.iter().filter(|known| known.host == host);
    let is_expected = |line: &str| here().any(|known| line.contains(&known.part));
    let is_known = |line: &str| is_expected(line) || is_allowed(line);

    let lines: Vec<&str> = log.lines().collect();
    let mut found = Vec::new();
    let mut next = 0;
    while next < lines.len() && found.len() < MOST {
        let line = lines[next];
        let length = match () {
            () if is_tolerated(host, line, expectations) => warning_length(&lines[next..]),
            () if is_known(line) => 1,
            () if is_trouble(line) => EXCERPT.min(lines.len() - next),
            () if is_error(line) => 1,
            () => {
                next += 1;
                continue;
            }
        };
        if !is_known(line) {
            found.push(lines[next..next + length].join("\n"));
        }
        next += length;
    }
    let missing = here().filter(|known| {
        known.presence == Presence::Required && !lines.iter().any(|line| line.contains(&known.part))
    });
    found.extend(missing.map(|known| format!("expected, but not said: {:?}", known.part)));
    found
}

/// Whether `log`, a stretch of the log of `host`, has a warning that is expected and taints its kernel.
pub fn has_tolerated_warning(host: &str, log: &str, expectations: &[Expectation]) -> bool {
    log.lines()
        .any(|line| is_tolerated(host, line, expectations))
}

/// Whether `line` begins such a warning.
fn is_tolerated(host: &str, line: &str, expectations: &[Expectation]) -> bool {
    expectations.iter().any(|known| {
        known.presence == Presence::PossibleWarning
            && known.host == host
            && line.contains("WARNING: ")
            && line.contains(&known.part)
    })
}

/// How many of `lines` belong to the warning that the first one begins.
fn warning_length(lines: &[&str]) -> usize {
    let end = lines.iter().position(|line| line.contains(END_OF_WARNING));
    end.map_or(1, |end| end + 1)
}

fn is_trouble(line: &str) -> bool {
    let says = |part: &&str| line.contains(*part);
    TROUBLE.iter().chain(&CRASHES).any(says) || RCU.iter().all(says)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unexpected(log: &str) -> Vec<String> {
        troubles("a", log, &[])
    }

    fn expectation(host: &str, part: &str, presence: Presence) -> Expectation {
        Expectation {
            host: host.to_owned(),
            part: part.to_owned(),
            presence,
        }
    }

    #[test]
    fn trouble_is_found_with_what_follows() {
        let log = "<6>[    1.0] fine\n\
            <4>[    2.0] WARNING: CPU: 0 PID: 1 at drivers/x.c:1 f+0x1/0x2\n\
            <4>[    2.1] Modules linked in:\n";
        let found = unexpected(log);
        assert_eq!(found.len(), 1);
        assert!(found[0].contains("drivers/x.c:1") && found[0].contains("Modules linked in"));
    }

    #[test]
    fn a_tolerated_warning_hides_nothing_else() {
        let expectations = [expectation("a", "drivers/x.c:", Presence::PossibleWarning)];
        let warning = "<4>[    2.0] WARNING: drivers/x.c:1 at f+0x1/0x2\n\
            <4>[    2.1] Call Trace:\n\
            <4>[    2.2] ---[ end trace 0000000000000000 ]---\n";
        assert!(has_tolerated_warning("a", warning, &expectations));
        assert!(troubles("a", warning, &expectations).is_empty());
        assert!(!has_tolerated_warning("b", warning, &expectations));
        assert_eq!(troubles("b", warning, &expectations).len(), 1);
        let more = format!("{warning}<4>[    2.3] WARNING: drivers/y.c:1 at g+0x1/0x2\n");
        assert_eq!(troubles("a", &more, &expectations).len(), 1);
        let cut = "<4>[    2.0] WARNING: drivers/x.c:1 at f+0x1/0x2\n<4>[    2.1] BUG: x\n";
        assert_eq!(troubles("a", cut, &expectations).len(), 1);
    }

    #[test]
    fn each_kind_is_found() {
        for line in [
            "BUG: unable to handle page fault for address: 0",
            "BUG: KASAN: slab-use-after-free in f",
            "WARNING: possible circular locking dependency detected",
            "INFO: task x:1 blocked for more than 120 seconds.",
            "BUG: scheduling while atomic: x/1/0x2",
            "refcount_t: underflow; use-after-free.",
            "rcu: INFO: rcu_preempt self-detected stall on CPU",
            "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:",
            "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-... }",
            "rcu: rcu_preempt kthread timer wakeup didn't happen: possible stall",
            "kmemleak: 2 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
            "kmemleak: Kernel memory leak detector disabled",
            "WARNING: suspicious RCU usage",
            "turning off the locking correctness validator.",
            "irq 24: nobody cared (try booting with the \"irqpoll\" option)",
            "x: the controller hung",
            "** 12 printk messages dropped **",
            "ibv_devinfo[1]: segfault at 0 ip 0",
        ] {
            assert_eq!(unexpected(line).len(), 1, "{line}");
            let line = format!("<6>[    1.0] {line}");
            assert_eq!(unexpected(&line).len(), 1, "{line}");
        }
    }

    #[test]
    fn every_error_of_the_kernel_is_found() {
        let log = "<6>[    1.0] fine\n<3>[    2.0] usb4_roce: rail 0: no room\n<4>[    2.1] fine\n";
        assert_eq!(unexpected(log), ["<3>[    2.0] usb4_roce: rail 0: no room"]);
    }

    #[test]
    fn a_healthy_boot_has_none() {
        let log = "[Firmware Bug]: x\n<6>[    1.0] rcu: Preemptible hierarchical RCU implementation.\n\
            <4>[    1.0] thunderbolt 0000:00:05.0: device links to tunneled native ports are missing!\n\
            <6>[    1.0] DEBUG_LOCKS\nWARN_ON is fine\nworkqueue: x hogged CPU for >10000us 4 times\n\
            <12>[    1.0] lab: end of boot\n";
        assert_eq!(unexpected(log), Vec::<String>::new());
    }

    #[test]
    fn the_first_troubles_are_enough() {
        let log = "BUG: x\n".repeat(1000);
        assert_eq!(unexpected(&log).len(), MOST);
        let log = "<3>[    1.0] x\n".repeat(1000);
        assert_eq!(unexpected(&log).len(), MOST);
    }

    #[test]
    fn a_provoked_line_is_no_trouble() {
        let log = "<3>[    1.0] usb4_roce: no rail\n<3>[    1.1] usb4_roce: no stream\n";
        let expected = [
            expectation("a", "no rail", Presence::Required),
            expectation("a", "no rain", Presence::Possible),
        ];
        assert_eq!(
            troubles("a", log, &expected),
            ["<3>[    1.1] usb4_roce: no stream"]
        );
        // Elsewhere it is.
        assert_eq!(troubles("b", log, &expected).len(), 2);
    }

    #[test]
    fn trouble_right_behind_a_provoked_line_is_found() {
        let log = "<3>[    1.0] no rail\n<4>[    1.0] BUG: x\n";
        let expected = [expectation("a", "no rail", Presence::Required)];
        assert_eq!(troubles("a", log, &expected), ["<4>[    1.0] BUG: x"]);
    }

    #[test]
    fn a_provoked_line_has_to_come() {
        let expected = [expectation("a", "no rail", Presence::Required)];
        let found = troubles("a", "<6>[    1.0] fine\n", &expected);
        assert!(
            found.len() == 1 && found[0].contains("no rail"),
            "{found:?}"
        );
        assert_eq!(troubles("b", "", &expected), Vec::<String>::new());
    }
}
