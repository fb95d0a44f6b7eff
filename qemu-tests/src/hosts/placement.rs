// SPDX-License-Identifier: GPL-2.0

//! Which processors the hosts of a lab run on, and which its cables, and who of them comes first.

use std::process::Command;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use lab_agent::protocol::Machine;
use rustix::thread::sched_getaffinity;
use rustix::thread::CpuSet;

use crate::building::within::Seat;
use crate::building::within::Urgency;

/// The kernel of a native host runs before its processes: they are processes of this machine as well, and one that polls would
/// keep the processor until the tick, whatever interrupt its kernel has got.
const KERNEL: Urgency = Urgency::RealTimeAlone(1);

/// The cables run before all kernels, which wait for them with a processor in use whenever they read a register.
const CABLE: Urgency = Urgency::RealTime(2);

/// How long the cables look for more, after something has moved, before they wait to be told: with a processor of their own ...
const PATIENT: Duration = Duration::from_millis(2);

/// ... and with those of the hosts, which do nothing meanwhile.
const BRIEF: Duration = Duration::from_micros(5);

/// Who runs where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Where the hosts run: the first in the first of these, the next in the next, and from the beginning again.
    hosts: Vec<Seat>,
    /// Where the cables are moved.
    pub cable: Seat,
    /// How long the cables look for more before they wait to be told.
    pub spin: Duration,
}

/// Whether the lab may say who runs before ordinary programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Privilege {
    RealTime,
    None,
}

impl Privilege {
    /// What the lab may.
    fn ask() -> Self {
        let trial = Seat {
            processors: Vec::new(),
            urgency: CABLE,
        };
        let mut words = trial.prefix();
        words.push("true".to_owned());
        let status = Command::new(&words[0])
            .args(&words[1..])
            .stderr(Stdio::null())
            .status();
        match status {
            Ok(status) if status.success() => Self::RealTime,
            Ok(_) | Err(_) => Self::None,
        }
    }
}

impl Placement {
    /// What is best for hosts on `machine`.
    pub fn of(machine: Machine) -> Result<Self> {
        match machine {
            // Which has more threads than there are processors.
            Machine::Qemu => Ok(Self::anywhere()),
            Machine::UserMode => {
                let mine = sched_getaffinity(None).context("ask for the lab's processors")?;
                let mine = (0..CpuSet::MAX_CPU).filter(|number| mine.is_set(*number));
                Ok(Self::native(mine.collect(), Privilege::ask()))
            }
        }
    }

    /// Where the host runs that is started after `before` others.
    pub fn host(&self, before: usize) -> Seat {
        let seat = before % self.hosts.len().max(1);
        self.hosts.get(seat).cloned().unwrap_or_default()
    }

    fn anywhere() -> Self {
        Self {
            hosts: Vec::new(),
            cable: Seat::default(),
            spin: PATIENT,
        }
    }

    /// Native hosts on `processors`.
    fn native(processors: Vec<usize>, privilege: Privilege) -> Self {
        match (privilege, processors.as_slice()) {
            (_, [] | [_]) => Self::anywhere(),
            (Privilege::None, [hosts @ .., cable]) => Self {
                hosts: vec![Seat::on(hosts, Urgency::Ordinary)],
                cable: Seat::on(&[*cable], Urgency::Ordinary),
                spin: PATIENT,
            },
            // Two hosts whose programs poll need one each.
            (Privilege::RealTime, [_, _]) => Self {
                hosts: each(&processors),
                cable: Seat::on(&processors, CABLE),
                spin: BRIEF,
            },
            (Privilege::RealTime, [hosts @ .., cable]) => Self {
                hosts: each(hosts),
                cable: Seat::on(&[*cable], CABLE),
                spin: PATIENT,
            },
        }
    }
}

/// A seat for a host on each of these processors.
fn each(processors: &[usize]) -> Vec<Seat> {
    let seats = processors.iter();
    seats.map(|number| Seat::on(&[*number], KERNEL)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(processors: &[usize], privilege: Privilege) -> Placement {
        Placement::native(processors.to_vec(), privilege)
    }

    #[test]
    fn a_single_processor_is_for_all() {
        for privilege in [Privilege::RealTime, Privilege::None] {
            assert_eq!(native(&[3], privilege), Placement::anywhere());
        }
    }

    #[test]
    fn of_two_each_host_has_one_if_the_cable_can_come_first() {
        let placement = native(&[0, 2], Privilege::RealTime);
        assert_eq!(placement.host(0), Seat::on(&[0], KERNEL));
        assert_eq!(placement.host(1), Seat::on(&[2], KERNEL));
        assert_eq!(placement.host(2), placement.host(0));
        assert_eq!(placement.cable, Seat::on(&[0, 2], CABLE));
        assert_eq!(placement.spin, BRIEF);
    }

    #[test]
    fn else_the_cable_has_one_for_itself() {
        let placement = native(&[0, 2], Privilege::None);
        assert_eq!(placement.host(1), Seat::on(&[0], Urgency::Ordinary));
        assert_eq!(placement.cable, Seat::on(&[2], Urgency::Ordinary));
        let placement = native(&[0, 1, 2], Privilege::RealTime);
        assert_eq!(placement.host(1), Seat::on(&[1], KERNEL));
        assert_eq!(placement.cable, Seat::on(&[2], CABLE));
        assert_eq!(placement.spin, PATIENT);
    }
}
