// SPDX-License-Identifier: GPL-2.0

//! A host that QEMU runs.

use std::path::Path;

use lab_agent::protocol::port_name;
use lab_agent::protocol::Machine;
use lab_agent::protocol::HOST_PARAMETER;
use lab_agent::protocol::MACHINE_PARAMETER;
use lab_agent::protocol::PORTS;
use lab_agent::protocol::ROOT_TAG;
use lab_agent::protocol::SHARE_TAG;
use lab_agent::protocol::SYSTEMD_PARAMETER;

use crate::building::init::Init;
use crate::building::within::Access;
use crate::building::within::Bind;
use crate::building::within::Program;
use crate::hosts::accelerator::Accelerator;
use crate::hosts::accelerator::Threads;
use crate::hosts::agent;
use crate::hosts::host::console_log;
use crate::hosts::host::disk;
use crate::hosts::host::share;
use crate::hosts::host::Plan;
use crate::hosts::host::COUNTER;
use crate::hosts::host::INITRAMFS;
use crate::hosts::host::KERNEL;
use crate::hosts::instructions;
use crate::hosts::qmp;
use crate::hosts::shape::Counting;

/// What the kernel's command line says to systemd.
pub fn systemd_parameters() -> impl Iterator<Item = String> {
    let words = [
        SYSTEMD_PARAMETER,
        // The console is the kernel's.
        "systemd.show_status=no",
        "systemd.getty_auto=no",
        "systemd.mask=getty@tty1.service",
        // An emulated host on a busy machine takes longer than others.
        "systemd.default_timeout_start_sec=900",
    ];
    words.into_iter().map(str::to_owned)
}

/// The directory of an instance, as QEMU sees it.
const RUN: &str = "/lab/run";

/// The UUID of the machine that is host `name`, as its firmware tells it: as real machines', it is not blank, and no other's in
/// the lab.
fn machine_uuid(name: &str) -> String {
    let letter = name.bytes().next().unwrap_or_default();
    format!("6c616200-0000-4000-8000-0000000000{letter:02x}")
}

/// The QEMU of the host of `plan`, which executes its instructions by `accelerator` and counts them or not.
pub fn program(plan: &Plan<'_>, accelerator: Accelerator, counting: Counting) -> Program {
    let mut arguments = Arguments::default();
    arguments.add(&["qemu-system-x86_64", "-nodefaults", "-no-user-config"]);
    arguments.add(&["-display", "none", "-no-reboot"]);
    plan.add_machine(&mut arguments, accelerator, counting);
    plan.add_ports(&mut arguments);
    plan.add_devices(&mut arguments);
    Program {
        view: Some(plan.root.view(
            vec![
                Bind::new(&plan.root.path, "guest", Access::ReadOnly),
                Bind::new(plan.directory, "run", Access::ReadWrite),
                Bind::new(&share(plan.directory), "share", Access::ReadWrite),
            ],
            "/",
        )),
        lifetime: plan.shape.lifetime,
        seat: plan.seat.clone(),
        argv: arguments.words,
    }
}

impl Plan<'_> {
    /// Its processors and memory, the kernel, and random numbers.
    fn add_machine(&self, arguments: &mut Arguments, accelerator: Accelerator, counting: Counting) {
        arguments.add(&["-name", self.name]);
        arguments.add(&["-uuid", &machine_uuid(self.name)]);
        let threads = Threads::of(self.shape.kernel);
        let accelerator = accelerator.arguments(self.shape.processor, threads);
        arguments.add(&accelerator.each_ref().map(String::as_str));
        if counting == Counting::On {
            let socket = instructions::socket(Path::new(RUN), self.name);
            let plugin = format!("file={RUN}/{COUNTER},socket={}", socket.display());
            arguments.add(&["-plugin", &plugin]);
        }
        arguments.add(&["-M", "q35,memory-backend=memory"]);
        let memory = self.shape.memory_mib;
        arguments.add(&["-m", &format!("{memory}M")]);
        // Shared, so that the cable reaches it.
        let backend = format!("memory-backend-memfd,id=memory,size={memory}M,share=on");
        arguments.add(&["-object", &backend]);
        arguments.add(&["-smp", &self.shape.cpus.to_string()]);
        arguments.add(&["-kernel", &format!("{RUN}/{KERNEL}")]);
        arguments.add(&["-initrd", &format!("{RUN}/{INITRAMFS}")]);
        arguments.add(&["-append", &self.command_line()]);
        arguments.plug("virtio-rng-pci");
    }

    /// What the lab hears of it, and speaks to it by.
    fn add_ports(&self, arguments: &mut Arguments) {
        let console = console_log(Path::new(RUN), self.name);
        // A host that is started again goes on writing.
        let console = format!("file,id=console,path={},append=on", console.display());
        arguments.add(&["-chardev", &console, "-serial", "chardev:console"]);
        let qmp = qmp::socket(Path::new(RUN), self.name);
        let qmp = format!("socket,id=qmp,path={},server=on,wait=off", qmp.display());
        arguments.add(&["-chardev", &qmp, "-mon", "chardev=qmp,mode=control"]);
        arguments.plug("virtio-serial-pci");
        for index in 0..PORTS {
            let socket = agent::socket(Path::new(RUN), self.name, index);
            let socket = socket.display();
            let channel = format!("socket,id=agent{index},path={socket},server=on,wait=off");
            arguments.add(&["-chardev", &channel]);
            let name = port_name(index);
            let port = format!("virtserialport,chardev=agent{index},name={name}");
            arguments.add(&["-device", &port]);
        }
    }

    /// Its file systems and NHIs.
    fn add_devices(&self, arguments: &mut Arguments) {
        let root = "local,id=root,path=/lab/guest,security_model=passthrough,readonly=on";
        arguments.add(&["-fsdev", root]);
        arguments.plug(&format!("virtio-9p-pci,fsdev=root,mount_tag={ROOT_TAG}"));
        let share = "local,id=share,path=/lab/share,security_model=passthrough";
        arguments.add(&["-fsdev", share]);
        arguments.plug(&format!("virtio-9p-pci,fsdev=share,mount_tag={SHARE_TAG}"));
        if self.shape.keeps_writes() {
            let file = disk(Path::new(RUN), self.name);
            // What is on it matters as long as the lab is up.
            let drive = format!(
                "if=none,id=disk,format=raw,cache=unsafe,file={}",
                file.display()
            );
            arguments.add(&["-drive", &drive]);
            arguments.plug("virtio-blk-pci,drive=disk");
        }
        for nhi in &self.nhis {
            let device = serde_json::json!({
                "driver": "vfio-user-pci",
                "socket": { "type": "unix", "path": format!("{RUN}/{nhi}") },
            });
            arguments.add(&["-device", &device.to_string()]);
        }
    }

    fn command_line(&self) -> String {
        let mut words = vec![
            "console=ttyS0".to_owned(),
            "ignore_loglevel".to_owned(),
            // With the level of each line.
            "console_msg_format=syslog".to_owned(),
            // What happens on the way to sleep and back is said when it happens.
            "no_console_suspend".to_owned(),
            // A crashed guest ends at once: QEMU runs with -no-reboot.
            "panic=-1".to_owned(),
            // On a busy machine the timer may not tick in time for the check.
            "no_timer_check".to_owned(),
            // Else the emulated TSC is declared unstable in mid-run.
            "tsc=nowatchdog".to_owned(),
            "mitigations=off".to_owned(),
            // With lazy preemption and one CPU, a process that polls delays every wake-up to the next tick.
            "preempt=full".to_owned(),
            format!("{MACHINE_PARAMETER}={}", Machine::Qemu.name()),
            format!("{HOST_PARAMETER}={}", self.name),
        ];
        if self.shape.init() == Init::Systemd {
            words.extend(systemd_parameters());
        }
        words.join(" ")
    }
}

/// What QEMU is started with.
#[derive(Default)]
struct Arguments {
    words: Vec<String>,
    /// Slots that virtio devices are plugged into.
    slots: u32,
}

impl Arguments {
    fn add(&mut self, words: &[&str]) {
        let words = words.iter().map(|word| (*word).to_owned());
        self.words.extend(words);
    }

    /// Adds a virtio device, in a slot of its own.
    ///
    /// A device keeps its state while the host sleeps only if it is a PCI Express device, which needs a slot, and says
    /// that leaving D3 does not reset it. Without that the guest's driver resets it on waking, and 9p never recovers from
    /// that: the host's root would be gone.
    fn plug(&mut self, device: &str) {
        self.slots += 1;
        let number = self.slots;
        self.add(&[
            "-device",
            &format!("pcie-root-port,id=slot{number},chassis={number}"),
            "-device",
            &format!("{device},bus=slot{number},x-pcie-pm-no-soft-reset=on"),
        ]);
    }
}
