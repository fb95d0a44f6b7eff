// SPDX-License-Identifier: GPL-2.0

//! Placeholders for what nobody else needs to know.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::LazyLock;

use regex::Captures;
use regex::Regex;

/// Replaces names and addresses, the same one by the same placeholder.
#[derive(Debug)]
pub struct Redaction {
    /// Names of hosts, longest first, with their placeholders.
    names: Vec<(String, String)>,
    placeholders: HashMap<(Kind, String), usize>,
}

/// What is replaced, beside names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Uuid,
    Guid,
    Mac,
    Ip,
    Serial,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Guid => "guid",
            Self::Mac => "mac",
            Self::Ip => "ip",
            Self::Serial => "serial",
        }
    }
}

/// What is on both sides of a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Surroundings {
    /// It stands alone.
    Space,
    /// It is a part of a word.
    Word,
}

impl Surroundings {
    fn of(text: &str, start: usize, end: usize) -> Self {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let before = text[..start].chars().next_back();
        let behind = text[end..].chars().next();
        match before.is_some_and(is_word) || behind.is_some_and(is_word) {
            true => Self::Word,
            false => Self::Space,
        }
    }
}

/// What may be a UUID, a serial number with what says so, an address with colons, one with dots, or a GUID without.
static CANDIDATE: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        r"(?x)
        (?<uuid> \b[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\b)
        | (?i:(?<label> \bserial(?:[\ _-]?(?:number|no))?[\ ]*[:=][\ ]*) (?<serial>[^\s,;]+))
        | (?<colons> [0-9A-Fa-f.:]*:[0-9A-Fa-f.:]*:[0-9A-Fa-f.:]*)
        | (?<dots> \b[0-9]{1,3}(?:\.[0-9]{1,3}){3}\b)
        | (?<digits> \b[0-9A-Fa-f]{16}\b)
        ",
    )
});

/// An Ethernet address.
static MAC: LazyLock<Regex> = LazyLock::new(|| expression("(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}"));

/// The expressions are the program's own, and the tests use each.
fn expression(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| unreachable!("{error}"))
}

impl Redaction {
    /// With these names of hosts, of which the first is host-1.
    pub fn new(names: &[String]) -> Self {
        let mut known: Vec<(String, String)> = Vec::new();
        for name in names.iter().filter(|name| !name.is_empty()) {
            if known.iter().all(|(other, _)| other != name) {
                known.push((name.clone(), format!("host-{}", known.len() + 1)));
            }
        }
        known.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
        Self {
            names: known,
            placeholders: HashMap::new(),
        }
    }

    /// `text` with placeholders.
    pub fn redact(&mut self, text: &str) -> String {
        let mut redacted = String::with_capacity(text.len());
        let mut end = 0;
        for captures in CANDIDATE.captures_iter(text) {
            let Some(found) = captures.get(0) else {
                continue;
            };
            redacted.push_str(&text[end..found.start()]);
            end = found.end();
            let surroundings = Surroundings::of(text, found.start(), end);
            redacted.push_str(&self.replace(&captures, surroundings));
        }
        redacted.push_str(&text[end..]);
        // Names last: no placeholder is replaced again, since none has the form of a name that stands alone.
        self.replace_names(&redacted)
    }

    fn replace<'t>(&mut self, captures: &Captures<'t>, surroundings: Surroundings) -> Cow<'t, str> {
        let named = |name| captures.name(name).map(|found| found.as_str());
        if let Some(uuid) = named("uuid") {
            return self.placeholder(Kind::Uuid, uuid).into();
        }
        if let (Some(label), Some(serial)) = (named("label"), named("serial")) {
            return format!("{label}{}", self.placeholder(Kind::Serial, serial)).into();
        }
        if let Some(digits) = named("digits") {
            return self.placeholder(Kind::Guid, digits).into();
        }
        if let Some(dots) = named("dots") {
            return self.ip(dots).map_or(dots.into(), Cow::from);
        }
        self.replace_colons(named("colons").unwrap_or_default(), surroundings)
    }

    fn replace_colons<'t>(&mut self, colons: &'t str, surroundings: Surroundings) -> Cow<'t, str> {
        // A sentence may go on behind it, but two colons are a part of it.
        let trimmed = colons.trim_end_matches(['.', ':']);
        let token = match colons.get(..trimmed.len() + 2) {
            Some(longer) if longer.ends_with("::") => longer,
            _ => trimmed,
        };
        let rest = &colons[token.len()..];
        if let Some(placeholder) = self.with_colons(token, surroundings) {
            return format!("{placeholder}{rest}").into();
        }
        // With something before it, such as the name of an interface.
        MAC.replace_all(colons, |mac: &Captures<'_>| {
            self.placeholder(Kind::Mac, &mac[0])
        })
    }

    fn with_colons(&mut self, token: &str, surroundings: Surroundings) -> Option<String> {
        let groups: Vec<&str> = token.split(':').collect();
        let all = |count: usize, digits: usize| {
            groups.len() == count
                && groups
                    .iter()
                    .all(|group| group.len() == digits && !group.contains('.'))
        };
        if all(6, 2) {
            return Some(self.placeholder(Kind::Mac, token));
        }
        if all(4, 4) || all(8, 2) {
            return Some(self.placeholder(Kind::Guid, &groups.concat()));
        }
        match surroundings {
            Surroundings::Space => self.ip(token),
            // Paths in Rust look like short addresses.
            Surroundings::Word => None,
        }
    }

    /// Addresses that are the same everywhere stay.
    fn ip(&mut self, text: &str) -> Option<String> {
        let ip: IpAddr = text.parse().ok()?;
        let ip = ip.to_canonical();
        if ip.is_unspecified() || ip.is_loopback() {
            return None;
        }
        Some(self.placeholder(Kind::Ip, &ip.to_string()))
    }

    fn placeholder(&mut self, kind: Kind, value: &str) -> String {
        let count = self
            .placeholders
            .keys()
            .filter(|(other, _)| *other == kind)
            .count();
        let key = (kind, value.to_ascii_lowercase());
        let number = self.placeholders.entry(key).or_insert(count + 1);
        format!("{}-{number}", kind.word())
    }

    fn replace_names(&self, text: &str) -> String {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let mut redacted = String::with_capacity(text.len());
        let mut rest = text;
        let mut before = None;
        while let Some(next) = rest.chars().next() {
            let begins = !before.is_some_and(is_word);
            let found = self.names.iter().find(|(name, _)| {
                let behind = rest.strip_prefix(name.as_str());
                begins && behind.is_some_and(|behind| !behind.chars().next().is_some_and(is_word))
            });
            let length = match found {
                Some((name, placeholder)) => {
                    redacted.push_str(placeholder);
                    name.len()
                }
                None => {
                    redacted.push(next);
                    next.len_utf8()
                }
            };
            before = rest[..length].chars().next_back();
            rest = &rest[length..];
        }
        redacted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redact(text: &str) -> String {
        let names = ["desk.example.org", "desk", "b", "desk"].map(str::to_owned);
        Redaction::new(&names).redact(text)
    }

    #[test]
    fn secrets_have_placeholders() {
        for (text, expected) in [
            ("thunderbolt 0-1: Linux b", "thunderbolt 0-1: Linux host-3"),
            ("\"host\": \"desk\",", "\"host\": \"host-2\","),
            ("desk.example.org, desk.local", "host-1, host-2.local"),
            ("00c4b080-d234-6275-ffff-ffffffffffff", "uuid-1"),
            (
                "peer b (ff3b4f7f2dcb9d8a), 80000 Mb/s",
                "peer host-3 (guid-1), 80000 Mb/s",
            ),
            ("ff3b:4f7f:2dcb:9d8a ff3b4f7f2dcb9d8a", "guid-1 guid-1"),
            ("02:53:41:c7:5d:f7 02:53:41:C7:5D:F7", "mac-1 mac-1"),
            ("00:15:5d:ff:fe:00:01:02", "guid-1"),
            (
                "fe80:0000:0000:0000:0092:afff:fee3:7e81 fe80::92:afff:fee3:7e81",
                "ip-1 ip-1",
            ),
            (
                "0000:0000:0000:0000:0000:ffff:0a37:0001, 10.55.0.1/24",
                "ip-1, ip-1/24",
            ),
            ("::ffff:10.55.0.1 10.55.0.2.", "ip-1 ip-2."),
            ("fe80::1: gone; fd00:: too", "ip-1: gone; ip-2 too"),
            (
                "SerialNumber: ABC123, serial=9",
                "SerialNumber: serial-1, serial=serial-2",
            ),
        ] {
            assert_eq!(redact(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "thunderbolt 0000:00:0d.2: device 0-1.0, b0, desk_top, desk-top, up-desk",
            "usb4_roce 0.1.0 on 7.3.4+deb13-amd64",
            "[    1.050000] kernel::bindings at 0xffff888012345678",
            "127.0.0.1 ::1 0.0.0.0 ::",
            "12:34:56, 0x0000000000000001",
            "tx_frames 1234567890",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn placeholders_are_the_same_in_all_parts() {
        let mut redaction = Redaction::new(&[]);
        assert_eq!(redaction.redact("10.0.0.2"), "ip-1");
        assert_eq!(redaction.redact("10.0.0.1 10.0.0.2"), "ip-2 ip-1");
    }
}
