// SPDX-License-Identifier: GPL-2.0

//! Numbers as people read them.

use std::fmt;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// A number of bits per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BitRate(pub f64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
        const STEP: u64 = 1 << 10;
        let mut exponent = 0;
        while exponent + 1 < UNITS.len() && self.0 >= STEP.pow(exponent as u32 + 1) {
            exponent += 1;
        }
        let unit = UNITS[exponent];
        let one = STEP.pow(exponent as u32);
        if self.0 % one == 0 {
            write!(f, "{} {unit}", self.0 / one)
        } else {
            write!(f, "{:.1} {unit}", self.0 as f64 / one as f64)
        }
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const KILO: f64 = 1e3;
        const UNITS: [&str; 4] = ["b/s", "kb/s", "Mb/s", "Gb/s"];
        let mut value = self.0;
        let mut unit = 0;
        while value >= KILO && unit + 1 < UNITS.len() {
            value /= KILO;
            unit += 1;
        }
        match value {
            value if value < 1.0 => f.write_str("0"),
            value if value < 100.0 => write!(f, "{value:.1} {}", UNITS[unit]),
            value => write!(f, "{value:.0} {}", UNITS[unit]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_the_largest_unit_that_fits() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (8 << 20, "8 MiB"),
            (1536, "1.5 KiB"),
            (3 << 30, "3 GiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), text);
        }
    }

    #[test]
    fn rates_are_decimal() {
        for (rate, text) in [
            (0.0, "0"),
            (999.0, "999 b/s"),
            (12_345_678_900.0, "12.3 Gb/s"),
            (250e6, "250 Mb/s"),
        ] {
            assert_eq!(BitRate(rate).to_string(), text);
        }
    }
}
