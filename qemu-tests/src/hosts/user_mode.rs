// SPDX-License-Identifier: GPL-2.0

//! A host whose kernel is a process: User-Mode Linux.

use std::fs;
use std::path::Path;

use anyhow::Context;
use anyhow::Result;
use lab_agent::protocol::Machine;
use lab_agent::protocol::HOST_PARAMETER;
use lab_agent::protocol::MACHINE_PARAMETER;
use lab_agent::protocol::PORTS;
use lab_agent::protocol::ROOT_OUTSIDE;
use lab_agent::protocol::SHARE_OUTSIDE;

use crate::building::init::Init;
use crate::building::within::Access;
use crate::building::within::Bind;
use crate::building::within::Lifetime;
use crate::building::within::Program;
use crate::building::within::LAB;
use crate::hosts::agent;
use crate::hosts::attendant::Attendant;
use crate::hosts::host::console_log;
use crate::hosts::host::share;
use crate::hosts::host::Plan;
use crate::hosts::host::INITRAMFS;
use crate::hosts::host::KERNEL;
use crate::hosts::qemu::systemd_parameters;

/// What processors there are.
const PROCESSORS: &str = "/proc/cpuinfo";

/// The directory of an instance, as the kernel sees it outside.
const RUN: &str = "/lab/run";

/// How long a register read may take, in looks of about a microsecond. The cable may have to wait for a processor.
const READ_LIMIT: u32 = 60_000_000;

/// The virtio device which the kernel takes for a PCI function (`CONFIG_UML_PCI_OVER_VIRTIO_DEVICE_ID`).
const PCI_OVER_VIRTIO: u32 = 1234;

/// The kernel of the host of `plan`, and who serves its lines.
pub fn attendant(plan: &Plan<'_>) -> Attendant {
    let inside = |path: &str| {
        path.trim_start_matches(LAB)
            .trim_start_matches('/')
            .to_owned()
    };
    Attendant {
        kernel: Program {
            view: Some(plan.root.view(
                vec![
                    Bind::new(&plan.root.path, &inside(ROOT_OUTSIDE), Access::ReadOnly),
                    Bind::new(plan.directory, &inside(RUN), Access::ReadWrite),
                    Bind::new(
                        &share(plan.directory),
                        &inside(SHARE_OUTSIDE),
                        Access::ReadWrite,
                    ),
                ],
                "/",
            )),
            lifetime: Lifetime::WithTheLab,
            seat: plan.seat.clone(),
            argv: command_line(plan),
        },
        console: console_log(plan.directory, plan.name),
        lines: (0..PORTS)
            .map(|index| agent::socket(plan.directory, plan.name, index))
            .collect(),
        lifetime: plan.shape.lifetime,
    }
}

fn command_line(plan: &Plan<'_>) -> Vec<String> {
    let run = Path::new(RUN);
    let mut words = vec![
        run.join(KERNEL).display().to_string(),
        format!("umid={}", plan.name),
        format!("mem={}M", plan.shape.memory_mib),
        // Processes are confined by seccomp instead of being traced, which takes fewer task switches.
        "seccomp=on".to_owned(),
        format!("initrd={}", run.join(INITRAMFS).display()),
        // What the attendant gives it.
        "con=null".to_owned(),
        "con0=fd:0,fd:1".to_owned(),
        "ssl=null".to_owned(),
        "console=tty0".to_owned(),
        "ignore_loglevel".to_owned(),
        // With the level of each line.
        "console_msg_format=syslog".to_owned(),
        // A crashed guest ends at once.
        "panic=-1".to_owned(),
        "noreboot".to_owned(),
        format!("virtio_pcidev.max_delay_us={READ_LIMIT}"),
        format!("{MACHINE_PARAMETER}={}", Machine::UserMode.name()),
        format!("{HOST_PARAMETER}={}", plan.name),
    ];
    if plan.shape.init() == Init::Systemd {
        words.extend(systemd_parameters());
    }
    for nhi in &plan.nhis {
        let socket = run.join(nhi);
        words.push(format!(
            "virtio_uml.device={}:{PCI_OVER_VIRTIO}",
            socket.display()
        ));
    }
    words
}

/// A script which has a guest know the processor it runs on. Its kernel says nothing of the clock's rate, which programs look
/// for that count the clock's ticks.
pub fn tell_processor() -> Result<String> {
    let text = fs::read_to_string(PROCESSORS).with_context(|| format!("read {PROCESSORS}"))?;
    let copy = "/run/cpuinfo";
    let first = first_processor(&text);
    Ok(format!(
        "cat > {copy} <<'end'\n{first}end\nmount --bind {copy} {PROCESSORS}"
    ))
}

/// What is said of the first processor.
fn first_processor(text: &str) -> String {
    let lines = text.lines().take_while(|line| !line.is_empty());
    lines.map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_has_one_processor() {
        let text = "processor\t: 0\ncpu MHz\t: 1\n\nprocessor\t: 1\n";
        assert_eq!(first_processor(text), "processor\t: 0\ncpu MHz\t: 1\n");
    }
}
