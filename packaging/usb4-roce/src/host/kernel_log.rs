// SPDX-License-Identifier: GPL-2.0

//! What the kernel has said since it was booted, as far as it still knows.

use std::io::ErrorKind;
use std::io::Read;
use std::time::Duration;

use crate::root::Reading;
use crate::root::Root;

/// The kernel's log.
#[derive(Clone, Debug)]
pub struct KernelLog {
    lines: Reading<Vec<Line>>,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was said, since the kernel was booted.
    pub at: Duration,
    /// What was said.
    pub text: String,
}

/// Where the log is read, a record at a time.
const DEVICE: &str = "/dev/kmsg";

/// Longer than any record: the device refuses to give a part of one.
const LONGEST_RECORD: usize = 1 << 14;

impl KernelLog {
    /// Reads the log.
    pub fn read(root: &Root) -> Self {
        Self { lines: read(root) }
    }

    /// The lines, oldest first, if this user may read them.
    pub fn lines(&self) -> Reading<&[Line]> {
        match &self.lines {
            Reading::Found(lines) => Reading::Found(lines),
            Reading::Missing => Reading::Missing,
            Reading::NeedsRoot => Reading::NeedsRoot,
        }
    }

    /// The last line for which `is_it` holds, if this user may read the log.
    pub fn last(&self, is_it: impl Fn(&str) -> bool) -> Option<&Line> {
        let lines = self.lines.found()?;
        lines.iter().rev().find(|line| is_it(&line.text))
    }

    /// Whether this user may not read the log.
    pub fn is_hidden(&self) -> bool {
        self.lines.is_hidden()
    }
}

fn read(root: &Root) -> Reading<Vec<Line>> {
    let mut device = match root.open_without_waiting(DEVICE) {
        Ok(device) => device,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Reading::NeedsRoot,
        Err(_) => return Reading::Missing,
    };
    let mut records = Vec::new();
    let mut buffer = vec![0; LONGEST_RECORD];
    loop {
        match device.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => records.extend_from_slice(&buffer[..length]),
            // Records that were overwritten meanwhile are skipped.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => return Reading::NeedsRoot,
            // The end, as long as the kernel says no more.
            Err(_) => break,
        }
    }
    let records = String::from_utf8_lossy(&records);
    Reading::Found(records.lines().filter_map(parse).collect())
}

/// Parses `priority,number,microseconds,flags;text`; further lines of a record begin with a space.
fn parse(record: &str) -> Option<Line> {
    let (head, text) = record.split_once(';')?;
    if head.starts_with(' ') {
        return None;
    }
    let micros = head.split(',').nth(2)?.parse().ok()?;
    Some(Line {
        at: Duration::from_micros(micros),
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_lines_without_their_properties() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("dev")).unwrap();
        let text = "6,70,90000,-;pci 0000:00:00.0: [8086:f0f0]\n SUBSYSTEM=pci\n \
                    DEVICE=+pci:0000:00:00.0\n4,71,2320000,-;usb4_roce: a; b\n";
        std::fs::write(place.path().join("dev/kmsg"), text).unwrap();
        let log = KernelLog::read(&Root::at(place.path()));
        let lines = log.lines();
        let lines = lines.found().unwrap();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1].at, Duration::from_millis(2320));
        assert_eq!(log.last(|text| text.contains("a; b")), Some(&lines[1]));
        assert_eq!(log.last(|text| text.contains("SUBSYSTEM")), None);
    }

    #[test]
    fn without_a_device_there_is_no_log() {
        let place = tempfile::tempdir().unwrap();
        let log = KernelLog::read(&Root::at(place.path()));
        assert_eq!(log.lines(), Reading::Missing);
        assert!(!log.is_hidden());
    }
}
