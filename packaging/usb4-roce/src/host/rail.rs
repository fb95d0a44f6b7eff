// SPDX-License-Identifier: GPL-2.0

//! Rails, as the module's configfs shows them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use crate::root::Reading;
use crate::root::Root;

/// A rail.
#[derive(Clone, Debug)]
pub struct Rail {
    /// Its name.
    pub name: String,
    /// What its attributes say. Everybody sees that there is a rail, but only root sees these.
    pub details: Reading<Details>,
}

/// What the attributes of a rail say.
#[derive(Clone, Debug)]
pub struct Details {
    /// The stream service of its cable.
    pub service: Option<String>,
    /// The device of its stream.
    pub stream: Option<String>,
    /// Where it stands.
    pub state: State,
    /// Whom it leads to.
    pub peer: Option<Peer>,
    /// What it counts.
    pub counters: Counters,
}

/// Where a rail stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It has no stream.
    Stopped,
    /// No host is at the stream's other end.
    Detached,
    /// Its stream was taken away.
    Removed,
    /// Its stream cannot be opened, with this error.
    Failed(String),
    /// The handshake has not ended.
    Greeting,
    /// It carries data.
    Up,
    /// Its stream is being closed, to be opened anew.
    Closing,
    /// Something that this program does not know.
    Unknown(String),
}

/// The host at the other end of a rail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// What it calls itself.
    pub name: String,
    /// Its node GUID.
    pub guid: String,
    /// The Ethernet address of its interface.
    pub mac: String,
}

/// The counters of a rail, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Counters(BTreeMap<String, u64>);

impl Rail {
    /// Where rails are configured.
    pub const DIRECTORY: &'static str = "/sys/kernel/config/usb4_roce";

    /// All rails.
    pub fn all(root: &Root) -> Vec<Self> {
        let names = root.directories(Self::DIRECTORY).into_iter();
        names
            .map(|name| Self {
                details: Details::read(root, &name),
                name,
            })
            .collect()
    }

    /// The stream service of its cable: what it was told, or else what its name begins with, as the helper names rails.
    pub fn service_name(&self) -> &str {
        let told = self.details.found();
        let told = told.and_then(|details| details.service.as_deref());
        told.unwrap_or_else(|| match self.name.match_indices('-').nth(1) {
            Some((end, _)) => &self.name[..end],
            None => &self.name,
        })
    }

    /// Where it stands, if this user may see that.
    pub fn state(&self) -> Option<&State> {
        Some(&self.details.found()?.state)
    }

    /// Whether it carries data, as far as this user sees.
    pub fn is_up(&self) -> bool {
        self.state() == Some(&State::Up)
    }
}

impl Details {
    fn read(root: &Root, name: &str) -> Reading<Self> {
        let attribute = |attribute: &str| format!("{}/{name}/{attribute}", Rail::DIRECTORY);
        root.reading(&attribute("state")).and_then(|state| {
            let Ok(state) = state.parse();
            let counters = root.value(&attribute("counters")).unwrap_or_default();
            let peer = root.value(&attribute("peer"));
            Some(Self {
                service: root.value(&attribute("service")),
                stream: root.value(&attribute("stream")),
                state,
                peer: peer.and_then(|text| Peer::parse(&text)),
                counters: Counters::parse(&counters),
            })
        })
    }
}

impl FromStr for State {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "stopped" => Self::Stopped,
            "detached" => Self::Detached,
            "removed" => Self::Removed,
            "greeting" => Self::Greeting,
            "up" => Self::Up,
            "closing" => Self::Closing,
            _ => match text.strip_prefix("failed ") {
                Some(error) => Self::Failed(error.to_owned()),
                None => Self::Unknown(text.to_owned()),
            },
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("stopped"),
            Self::Detached => f.write_str("detached"),
            Self::Removed => f.write_str("removed"),
            Self::Greeting => f.write_str("greeting"),
            Self::Up => f.write_str("up"),
            Self::Closing => f.write_str("closing"),
            Self::Failed(error) => write!(f, "failed {error}"),
            Self::Unknown(text) => f.write_str(text),
        }
    }
}

impl Serialize for State {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Peer {
    fn parse(text: &str) -> Option<Self> {
        // The name may be of several words.
        let mut fields = text.rsplitn(3, ' ');
        let mac = fields.next()?.to_owned();
        let guid = guid(fields.next()?)?;
        let name = fields.next()?.to_owned();
        Some(Self { name, guid, mac })
    }
}

/// The usual way to write a GUID, in groups of four digits, of its 16 digits.
fn guid(digits: &str) -> Option<String> {
    const DIGITS: usize = 16;
    const GROUP: usize = 4;
    let is_one = digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_one.then(|| {
        let groups: Vec<&str> = (0..DIGITS)
            .step_by(GROUP)
            .map(|at| &digits[at..at + GROUP])
            .collect();
        groups.join(":")
    })
}

impl Counters {
    fn parse(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self(pairs.collect())
    }

    /// The counter `name`; one that is not there has counted nothing.
    pub fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_what_the_module_prints() {
        for text in [
            "stopped",
            "detached",
            "removed",
            "greeting",
            "up",
            "closing",
            "failed ENOMEM",
        ] {
            let Ok(state) = text.parse::<State>();
            assert!(!matches!(state, State::Unknown(_)), "{text}");
            assert_eq!(state.to_string(), text);
        }
        let Ok(state) = "dreaming".parse::<State>();
        assert_eq!(state, State::Unknown("dreaming".to_owned()));
    }

    #[test]
    fn peers_have_names_guids_and_addresses() {
        let peer = Peer::parse("my host ff3b4f7f2dcb9d8a 02:53:41:c7:5d:f7").unwrap();
        assert_eq!(peer.name, "my host");
        assert_eq!(peer.guid, "ff3b:4f7f:2dcb:9d8a");
        assert_eq!(peer.mac, "02:53:41:c7:5d:f7");
        for nonsense in ["", "b", "b x y", "b ff3b 02:53:41:c7:5d:f7"] {
            assert_eq!(Peer::parse(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn a_rail_is_named_after_its_service() {
        let service = |name: &str| {
            let rail = Rail {
                name: name.to_owned(),
                details: Reading::NeedsRoot,
            };
            rail.service_name().to_owned()
        };
        assert_eq!(service("0-1.0"), "0-1.0");
        assert_eq!(service("0-1.0-2"), "0-1.0");
    }
}
