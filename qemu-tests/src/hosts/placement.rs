// SPDX-License-Identifier: GPL-2.0

//! Which processors the hosts of a lab run on, and which its cables.

use anyhow::Context;
use anyhow::Result;
use lab_agent::protocol::Machine;
use rustix::thread::sched_getaffinity;
use rustix::thread::CpuSet;

/// Numbers of processors. None: any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// Where the hosts run.
    pub hosts: Vec<usize>,
    /// Where the cables are moved.
    pub cable: Vec<usize>,
}

impl Placement {
    /// What is best for hosts on `machine`.
    pub fn of(machine: Machine) -> Result<Self> {
        match machine {
            // Which has more threads than there are processors.
            Machine::Qemu => Ok(Self::default()),
            Machine::UserMode => {
                let mine = sched_getaffinity(None).context("ask for the lab's processors")?;
                let mine = (0..CpuSet::MAX_CPU).filter(|number| mine.is_set(*number));
                Ok(Self::apart(mine.collect()))
            }
        }
    }

    /// A processor of `processors` for the cables, and the others for the hosts: a host waits for the cable whenever it reads a
    /// register, and the cable looks for what has come as long as something comes.
    fn apart(mut processors: Vec<usize>) -> Self {
        if processors.len() < 2 {
            return Self::default();
        }
        let cable = processors.pop();
        Self {
            hosts: processors,
            cable: Vec::from_iter(cable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cable_has_a_processor_for_itself_if_there_are_two() {
        assert_eq!(Placement::apart(vec![3]), Placement::default());
        let two = Placement::apart(vec![0, 2]);
        assert_eq!((two.hosts, two.cable), (vec![0], vec![2]));
        let four = Placement::apart(vec![0, 1, 2, 3]);
        assert_eq!((four.hosts, four.cable), (vec![0, 1, 2], vec![3]));
    }
}
