// SPDX-License-Identifier: GPL-2.0

//! The configuration in configfs: `/sys/kernel/config/usb4_roce/<rail>/`.
//!
//! | attribute  | read                                   | write                                        |
//! |------------|----------------------------------------|----------------------------------------------|
//! | `stream`   | the stream device, or an empty line    | its path or number starts the rail, an empty line stops it |
//! | `service`  | the stream service, or an empty line   | its name, such as `0-1.0`, before `stream`; tells the cable's speed and who is at its other end |
//! | `state`    | where the rail stands                  |                                              |
//! | `peer`     | name, node GUID and MAC, or an empty line |                                           |
//! | `counters` | one `name value` pair a line           |                                              |
//!
//! `rmdir` stops a rail as well. The module cannot be unloaded while there are directories. The top directory has one
//! attribute of its own, `version`: a number that grows when something of this changes its meaning.

use core::fmt::Write;

use kernel::configfs;
use kernel::configfs::configfs_attrs;
use kernel::new_mutex;
use kernel::new_spinlock;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::str::Formatter;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SpinLock;

// `configfs_attrs!` of Linux 7.2 refers to the root's `THIS_MODULE`, which later versions do not have.
#[allow(unused_imports)]
use crate::*;

use crate::fabric::Fabric;
use crate::stream_adapter::cable::Service;
use crate::stream_adapter::quiescer::Quiescer;
use crate::stream_adapter::rail::Rail;
use crate::stream_adapter::rail::State;
use crate::stream_adapter::stream_path::StreamPath;
use crate::transport::ids::RailId;
use crate::transport::rail::hello::Identity;

/// Longest name of a rail, so that log lines stay readable.
const MAX_NAME: usize = 32;

/// The registered configfs subsystem.
pub(crate) type Registration = configfs::Subsystem<RailsConfig>;

/// Registers `/sys/kernel/config/usb4_roce`.
///
/// Rails that are made there carry the traffic of `fabric` and present us as `identity`. Their streams are only
/// open while `quiescer` permits it.
pub(crate) fn register(
    fabric: Arc<Fabric>,
    identity: Identity,
    quiescer: Arc<Quiescer>,
) -> impl PinInit<Registration, Error> {
    let item_type = configfs_attrs! {
        container: configfs::Subsystem<RailsConfig>,
        data: RailsConfig,
        child: RailConfig,
        attributes: [
            version: 0,
        ],
    };
    configfs::Subsystem::new(
        c"usb4_roce",
        item_type,
        RailsConfig::new(fabric, identity, quiescer),
    )
}

/// Which rail numbers are taken.
#[pin_data]
struct RailIds {
    #[pin]
    taken: SpinLock<[bool; RailId::COUNT]>,
}

impl RailIds {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            taken <- new_spinlock!([false; RailId::COUNT]),
        })
    }

    /// Takes the lowest free number.
    fn take(&self) -> Option<RailId> {
        let mut taken = self.taken.lock();
        let index = taken.iter().position(|&taken| !taken)?;
        taken[index] = true;
        RailId::new(u8::try_from(index).ok()?)
    }

    fn give_back(&self, id: RailId) {
        self.taken.lock()[id.index()] = false;
    }
}

/// A taken rail number; dropping it frees the number.
struct TakenId {
    id: RailId,
    ids: Arc<RailIds>,
}

impl Drop for TakenId {
    fn drop(&mut self) {
        self.ids.give_back(self.id);
    }
}

/// The top directory.
pub(crate) struct RailsConfig {
    fabric: Arc<Fabric>,
    identity: Identity,
    quiescer: Arc<Quiescer>,
    ids: Arc<RailIds>,
}

impl RailsConfig {
    fn new(fabric: Arc<Fabric>, identity: Identity, quiescer: Arc<Quiescer>) -> Result<Self> {
        Ok(Self {
            fabric,
            identity,
            quiescer,
            ids: Arc::pin_init(RailIds::new(), GFP_KERNEL)?,
        })
    }
}

#[vtable]
impl configfs::GroupOperations for RailsConfig {
    type Child = RailConfig;

    fn make_group(&self, name: &CStr) -> Result<impl PinInit<configfs::Group<RailConfig>, Error>> {
        if name.to_bytes().len() > MAX_NAME {
            pr_err!("a rail's name has at most {MAX_NAME} bytes\n");
            return Err(EINVAL);
        }
        let Some(id) = self.ids.take() else {
            pr_err!("no more than {} rails\n", RailId::COUNT);
            return Err(ENOSPC);
        };
        let id = TakenId {
            id,
            ids: self.ids.clone(),
        };
        let item_type = configfs_attrs! {
            container: configfs::Group<RailConfig>,
            data: RailConfig,
            attributes: [
                stream: 0,
                state: 1,
                peer: 2,
                counters: 3,
                service: 4,
            ],
        };
        let rail_name = name.try_into()?;
        Ok(configfs::Group::new(
            name.try_into()?,
            item_type,
            RailConfig::new(
                rail_name,
                id,
                self.fabric.clone(),
                self.identity,
                self.quiescer.clone(),
            ),
        ))
    }
}

#[vtable]
impl configfs::AttributeOperations<0> for RailsConfig {
    type Data = RailsConfig;

    fn show(_data: &RailsConfig, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
        /// Version of this configuration interface.
        const CONFIG_VERSION: u32 = 1;
        print(page, |out| writeln!(out, "{CONFIG_VERSION}"))
    }
}

/// A rail that runs, and over which stream.
struct Running {
    // Declared first: the rail must be stopped before its number is given back.
    rail: Rail<Fabric>,
    stream: CString,
}

/// The directory of one rail.
#[pin_data]
pub(crate) struct RailConfig {
    // Declared first, and so dropped before `id`.
    #[pin]
    running: Mutex<Option<Running>>,
    /// Name of the stream service. Taken with `running` held, or alone.
    #[pin]
    service: Mutex<CString>,
    name: CString,
    id: TakenId,
    fabric: Arc<Fabric>,
    identity: Identity,
    quiescer: Arc<Quiescer>,
}

impl RailConfig {
    fn new(
        name: CString,
        id: TakenId,
        fabric: Arc<Fabric>,
        identity: Identity,
        quiescer: Arc<Quiescer>,
    ) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            running <- new_mutex!(None),
            service <- new_mutex!(CString::try_from_fmt(fmt!(""))?),
            name,
            id,
            fabric,
            identity,
            quiescer,
        })
    }

    /// Starts the rail over `stream`, or stops it if `stream` is empty.
    fn set_stream(&self, stream: &[u8]) -> Result {
        let mut running = self.running.lock();
        if stream.is_empty() {
            *running = None;
            return Ok(());
        }
        let stream = stream_path(stream)?;
        if let Some(running) = running.as_ref() {
            let is_same = running.stream.to_bytes() == stream.to_bytes();
            match running.rail.state() {
                State::Removed => {}
                _ if is_same => return Ok(()),
                _ => {
                    pr_err!(
                        "rail {}: runs over another stream; write an empty line to `stream` first\n",
                        self.name()
                    );
                    return Err(EBUSY);
                }
            }
        }
        // A rail whose stream was removed ends here.
        *running = None;
        let path = StreamPath::resolve(&stream).inspect_err(|error| {
            pr_err!(
                "rail {}: {} is no USB4 stream device ({error:?})\n",
                self.name(),
                stream.to_str().unwrap_or("?")
            );
        })?;
        let name = (&*self.name).try_into()?;
        let service = match self.service.lock().to_str() {
            Ok(service) if !service.is_empty() => Some(Service::parse(service)?),
            _ => None,
        };
        let (fabric, quiescer) = (self.fabric.clone(), self.quiescer.clone());
        let rail = Rail::start(
            self.id.id,
            name,
            path,
            service,
            self.identity,
            quiescer,
            fabric,
        )?;
        *running = Some(Running { rail, stream });
        Ok(())
    }

    /// Notes the stream service; it counts from when the rail is next started.
    fn set_service(&self, service: &[u8]) -> Result {
        let service = core::str::from_utf8(service).map_err(|_| EINVAL)?;
        if !service.is_empty() {
            Service::parse(service).inspect_err(|_| {
                pr_err!(
                    "rail {}: a stream service has a name such as 0-1.0\n",
                    self.name()
                );
            })?;
        }
        let service = CString::try_from_fmt(fmt!("{service}"))?;
        let old = core::mem::replace(&mut *self.service.lock(), service);
        drop(old);
        Ok(())
    }

    fn name(&self) -> &str {
        self.name.to_str().unwrap_or("?")
    }
}

/// The path of the stream device that `text` means: a path, or the number of a `/dev/tbstream`.
fn stream_path(text: &[u8]) -> Result<CString> {
    let text = core::str::from_utf8(text).map_err(|_| EINVAL)?;
    if text.starts_with('/') {
        CString::try_from_fmt(fmt!("{text}"))
    } else {
        let index: u32 = text.parse().map_err(|_| {
            pr_err!("a stream is given by its path or its number\n");
            EINVAL
        })?;
        CString::try_from_fmt(fmt!("/dev/tbstream{index}"))
    }
}

#[vtable]
impl configfs::AttributeOperations<0> for RailConfig {
    type Data = RailConfig;

    fn show(data: &RailConfig, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
        let running = data.running.lock();
        let stream = running
            .as_ref()
            .and_then(|running| running.stream.to_str().ok());
        print(page, |out| writeln!(out, "{}", stream.unwrap_or("")))
    }

    fn store(data: &RailConfig, page: &[u8]) -> Result {
        data.set_stream(page.trim_ascii())
    }
}

#[vtable]
impl configfs::AttributeOperations<1> for RailConfig {
    type Data = RailConfig;

    fn show(data: &RailConfig, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
        let running = data.running.lock();
        print(page, |out| match running.as_ref() {
            Some(running) => out.write_fmt(fmt!("{}\n", running.rail.state())),
            None => writeln!(out, "stopped"),
        })
    }
}

#[vtable]
impl configfs::AttributeOperations<2> for RailConfig {
    type Data = RailConfig;

    fn show(data: &RailConfig, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
        let running = data.running.lock();
        let peer = running.as_ref().and_then(|running| running.rail.peer());
        print(page, |out| match peer {
            Some(peer) => {
                let [a, b, c, d, e, f] = peer.mac;
                writeln!(
                    out,
                    "{} {:016x} {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}",
                    peer.name(),
                    peer.node_guid.0
                )
            }
            None => writeln!(out),
        })
    }
}

#[vtable]
impl configfs::AttributeOperations<3> for RailConfig {
    type Data = RailConfig;

    fn show(data: &RailConfig, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
        let running = data.running.lock();
        print(page, |out| match running.as_ref() {
            Some(running) => running.rail.counters().show(out),
            None => Ok(()),
        })
    }
}

#[vtable]
impl configfs::AttributeOperations<4> for RailConfig {
    type Data = RailConfig;

    fn show(data: &RailConfig, page: &mut [u8; PAGE_SIZE]) -> Result<usize> {
        let service = data.service.lock();
        print(page, |out| {
            writeln!(out, "{}", service.to_str().unwrap_or(""))
        })
    }

    fn store(data: &RailConfig, page: &[u8]) -> Result {
        data.set_service(page.trim_ascii())
    }
}

/// Lets `f` print into `page`; returns how many bytes it printed.
fn print(
    page: &mut [u8; PAGE_SIZE],
    f: impl FnOnce(&mut Formatter<'_>) -> core::fmt::Result,
) -> Result<usize> {
    let mut out = Formatter::new(page);
    f(&mut out).map_err(|_| ENOSPC)?;
    Ok(out.bytes_written())
}
