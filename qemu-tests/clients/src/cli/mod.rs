// SPDX-License-Identifier: GPL-2.0

//! What the programs' command lines have in common: options, how the ends of a program meet, and how its result is told.

mod args;
mod ends;
mod verdict;

use std::time::Duration;

pub use args::DeviceArgs;
pub use args::EndsArgs;
pub use args::OutputArgs;
pub use args::PeerArgs;
pub use ends::run;
pub use ends::run_ends;
pub use verdict::finish;
pub use verdict::Verdict;

/// Parses a duration given in seconds, fractions allowed.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected seconds".to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Parses a size in bytes with an optional binary suffix K, M or G.
pub fn size(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
        Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    digits
        .parse::<usize>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| "expected bytes, such as 4096, 64K, 16M or 1G".to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_binary_suffixes() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("64K"), Ok(64 << 10));
        assert_eq!(size("16m"), Ok(16 << 20));
        assert_eq!(size("1G"), Ok(1 << 30));
    }

    #[test]
    fn sizes_that_are_none_are_refused() {
        for text in ["", "K", "-1", "1T", "99999999999999G"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_seconds() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(seconds("-1").is_err());
        assert!(seconds("soon").is_err());
    }
}
