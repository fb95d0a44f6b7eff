// SPDX-License-Identifier: GPL-2.0

//! How fast a cable is.

use std::fmt;

use serde::Serialize;

use crate::root::Root;

/// What a cable carries one way: so many lanes of so many Gb/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LinkRate {
    /// Lanes.
    pub lanes: u32,
    /// Gb/s of each.
    pub lane_gbps: u32,
}

impl LinkRate {
    /// Reads the rate of one direction, `rx` or `tx`, of the device in `directory`.
    pub fn read(root: &Root, directory: &str, direction: &str) -> Option<Self> {
        let speed = root.value(&format!("{directory}/{direction}_speed"))?;
        Some(Self {
            lanes: root.parsed(&format!("{directory}/{direction}_lanes"))?,
            // Such as "20.0 Gb/s".
            lane_gbps: speed.split('.').next()?.parse().ok()?,
        })
    }

    /// Gb/s.
    pub fn gbps(self) -> u32 {
        self.lanes * self.lane_gbps
    }

    /// What a port can, by the registers of its lane adapter as debugfs shows them.
    pub fn of_registers(registers: &str) -> Option<Self> {
        /// The lane adapter's capability.
        const LANE_ADAPTER: &str = "0x01";
        const SPEED_SHIFT: u32 = 16;
        const WIDTH_SHIFT: u32 = 20;
        const GEN_2: u32 = 1 << 3;
        const GEN_3: u32 = 1 << 2;
        const GEN_4: u32 = 1 << 1;
        const SPEEDS: [(u32, u32); 3] = [(GEN_4, 40), (GEN_3, 20), (GEN_2, 10)];
        const DUAL: u32 = 1 << 1;
        // "offset relative_offset cap_id vs_cap_id value"
        let value = registers.lines().find_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            match fields[..] {
                [_, "0", LANE_ADAPTER, _, value] => {
                    u32::from_str_radix(value.trim_start_matches("0x"), 16).ok()
                }
                _ => None,
            }
        })?;
        let speeds = value >> SPEED_SHIFT;
        let (_, lane_gbps) = SPEEDS.into_iter().find(|(bit, _)| speeds & bit != 0)?;
        let lanes = match value >> WIDTH_SHIFT & DUAL {
            0 => 1,
            _ => 2,
        };
        Some(Self { lanes, lane_gbps })
    }
}

impl fmt::Display for LinkRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {} Gb/s", self.lanes, self.lane_gbps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registers(value: &str) -> String {
        format!(
            "# offset relative_offset cap_id vs_cap_id value\n\
             0x0000    0 0x00 0x00 0x00041d6b\n\
             0x0008    8 0x00 0x00 0x00000000\n\
             0x0008    0 0x01 0x00 {value}\n\
             0x0009    1 0x01 0x00 0x0822003e\n"
        )
    }

    #[test]
    fn a_port_says_what_it_can() {
        for (value, lanes, lane_gbps) in [
            ("0x003e0110", 2, 40),
            ("0x003c0110", 2, 20),
            ("0x00380110", 2, 10),
            ("0x001c0110", 1, 20),
        ] {
            let found = LinkRate::of_registers(&registers(value));
            assert_eq!(found, Some(LinkRate { lanes, lane_gbps }), "{value}");
        }
        assert_eq!(LinkRate::of_registers(&registers("0x00300000")), None);
        assert_eq!(LinkRate::of_registers(""), None);
    }
}
