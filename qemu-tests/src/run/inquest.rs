// SPDX-License-Identifier: GPL-2.0

//! What is found at the hosts and cables when a test has failed: where a rail or a thread is stuck is not in any log.

use std::time::Duration;

use crate::hosts::stage::Stage;

/// The hosts may be the ones that are stuck.
const LIMIT: Duration = Duration::from_secs(60);

/// What the stream driver and `usb4_roce` say of themselves, where packets wait, which programs run, and where the threads of the rails and
/// whoever waits in the kernel do.
const FINDINGS: &str = r#"
heading() { printf '== %s\n' "$1"; }
heading streams
cd /sys/kernel/config/thunderbolt/stream && grep -s . */*/*
ls /sys/bus/thunderbolt/devices
heading rails
cd /sys/kernel/config/usb4_roce && grep -s . */*
grep -s . /sys/class/infiniband/usb4_roce*/ports/1/state /sys/class/infiniband/usb4_roce*/ports/1/hw_counters/*
heading network
tc -s qdisc show
ip -s link
grep -E 'CPU|thunderbolt|nhi' /proc/interrupts
heading programs
ps -eo pid,stat,wchan:24,args --sort=pid | grep -v '\]$'
heading 'kernel threads'
for process in /proc/[0-9]*; do
    read -r name < "$process/comm" || continue
    read -r _ _ state _ < "$process/stat"
    case "$state:$name" in *:usb4_roce*|D:*) ;; *) continue ;; esac
    echo "$name, state $state"
    cat "$process/stack"
done
exit 0
"#;

/// Writes to the log of the failed test what there is to see.
pub fn hold(stage: &Stage<'_>) {
    match stage.instance().cables().map(|mut cables| cables.status()) {
        Ok(Ok(status)) => stage.note(&format!("{status:#?}")),
        Ok(Err(error)) => stage.note(&format!("the cables do not answer: {error}")),
        Err(error) => stage.note(&format!("the cables do not answer: {error:#}")),
    }
    for host in stage.instance().names() {
        if let Err(error) = stage.attempt(&host, FINDINGS, LIMIT) {
            stage.note(&format!("{host} does not answer: {error:#}"));
        }
    }
}
