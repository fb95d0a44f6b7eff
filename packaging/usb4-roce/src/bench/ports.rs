// SPDX-License-Identifier: GPL-2.0

//! TCP ports by which perftest's programs find each other.

use crate::root::Root;

/// Ports for perftest's servers: a port that has just been used may not be free yet.
pub struct Ports {
    first: u16,
    next: u16,
}

impl Ports {
    const COUNT: u16 = 64;

    /// Those behind `port`.
    pub fn above(port: u16) -> Self {
        let first = port.saturating_add(1).min(u16::MAX - Self::COUNT);
        Self { first, next: 0 }
    }

    /// The next one.
    pub fn take(&mut self) -> u16 {
        let port = self.first + self.next;
        self.next = (self.next + 1) % Self::COUNT;
        port
    }
}

/// Whether somebody listens on the port, by the kernel's tables of connections.
pub fn is_listening(root: &Root, port: u16) -> bool {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"];
    is_in(
        &tables.map(|table| root.value(table).unwrap_or_default()),
        port,
    )
}

fn is_in(tables: &[String], port: u16) -> bool {
    const LISTEN: &str = "0A";
    let port = format!(":{port:04X}");
    tables.iter().flat_map(|table| table.lines()).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_port = fields.next().is_some_and(|local| local.ends_with(&port));
        is_port && fields.nth(1) == Some(LISTEN)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_take_turns() {
        let mut ports = Ports::above(18514);
        let first: Vec<u16> = (0..3).map(|_| ports.take()).collect();
        assert_eq!(first, [18515, 18516, 18517]);
        let mut last = Ports::above(u16::MAX - 1);
        for _ in 0..Ports::COUNT * 2 {
            assert!(last.take() >= u16::MAX - Ports::COUNT);
        }
    }

    #[test]
    fn who_listens_is_in_a_table() {
        let table = "  sl  local_address rem_address   st tx_queue\n   0: 00000000:4853 00000000:0000 0A 00000000:00000000\n   \
                     1: 0100000A:4854 0200000A:4853 01 00000000:00000000\n";
        let tables = [String::new(), table.to_owned()];
        assert!(is_in(&tables, 0x4853));
        assert!(!is_in(&tables, 0x4854));
        assert!(!is_in(&tables, 0x4855));
    }
}
