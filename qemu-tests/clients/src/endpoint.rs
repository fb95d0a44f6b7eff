// SPDX-License-Identifier: GPL-2.0

//! Opening a device and connecting queue pairs: what every program here does first.

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;

use crate::bootstrap::Peer;
use crate::cli::DeviceArgs;
use crate::verbs::choose_common;
use crate::verbs::device_names;
use crate::verbs::Access;
use crate::verbs::AddressVector;
use crate::verbs::Context;
use crate::verbs::DeviceLimits;
use crate::verbs::Gid;
use crate::verbs::GidEntry;
use crate::verbs::Mtu;
use crate::verbs::PortInfo;
use crate::verbs::PortNum;
use crate::verbs::Psn;
use crate::verbs::Qp;
use crate::verbs::QpAttr;
use crate::verbs::QpState;
use crate::verbs::Qpn;
use crate::verbs::RoceVersion;

/// An open device with an active port.
pub struct Device {
    /// The device.
    pub context: Context,
    /// What it can do.
    pub limits: DeviceLimits,
    /// The port's number.
    pub port: PortNum,
    /// The port's state when opened.
    pub port_info: PortInfo,
    /// RoCE v2 entries of the port's GID table, or the one asked for.
    candidates: Vec<GidEntry>,
}

/// The addresses of a connection, the same for all its queue pairs.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// Where the peer is.
    pub address: AddressVector,
    /// Our GID.
    pub local: Gid,
    /// The smaller of the two ports' active MTUs.
    pub mtu: Mtu,
}

/// The addresses that an end has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PathOffer {
    gids: Vec<Gid>,
    mtu: Mtu,
}

impl PathOffer {
    /// Of an end that has this address only.
    pub fn of(gid: Gid, mtu: Mtu) -> Self {
        Self {
            gids: vec![gid],
            mtu,
        }
    }
}

/// What a queue pair's peer has to know of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct QpAddress {
    /// Its number.
    pub qpn: Qpn,
    /// The first PSN it sends.
    pub psn: Psn,
}

/// The attributes of a connection that programs differ in.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// What the peer may do.
    pub access: Access,
    /// As [`QpAttr::timeout`].
    pub timeout: u8,
    /// As [`QpAttr::retry_cnt`].
    pub retry_cnt: u8,
    /// As [`QpAttr::rnr_retry`].
    pub rnr_retry: u8,
    /// As [`QpAttr::min_rnr_timer`].
    pub min_rnr_timer: u8,
    /// READs and atomics at a time, in both directions.
    pub rd_atomic: u8,
}

/// An RNR retry count that never runs out.
pub const RNR_RETRY_FOREVER: u8 = 7;

impl Device {
    /// Opens the device that `args` name, or the only one there is.
    pub fn open(args: &DeviceArgs) -> Result<Self> {
        let names = device_names()?;
        let name = match (&args.device, names.as_slice()) {
            (Some(name), _) => name,
            (None, [only]) => only,
            (None, []) => bail!("there is no verbs device: is the module loaded?"),
            (None, several) => bail!("several verbs devices, choose by --device: {several:?}"),
        };
        let context = Context::open(name)
            .with_context(|| format!("cannot open {name}; devices are {names:?}"))?;
        let limits = context.limits()?;
        let port = PortNum(args.port);
        let port_info = context.port(port)?;
        ensure!(port_info.active, "port {port} of {name} is not active");
        let candidates: Vec<GidEntry> = context
            .gids(port)?
            .into_iter()
            .filter(|entry| match args.gid_index {
                Some(index) => entry.index.0 == index,
                None => entry.version == RoceVersion::V2,
            })
            .collect();
        ensure!(
            !candidates.is_empty(),
            "port {port} of {name} has no RoCE v2 GID{}: is its network interface up?",
            args.gid_index
                .map_or(String::new(), |index| format!(" at index {index}")),
        );
        Ok(Self {
            context,
            limits,
            port,
            port_info,
            candidates,
        })
    }

    /// Agrees with the peer on GIDs and MTU.
    pub fn agree_path(&self, peer: &mut Peer) -> Result<Path> {
        peer.send(&self.path_offer())?;
        let theirs = peer.recv()?;
        self.choose_path(&theirs)
    }

    /// What the peer needs for choosing a path.
    pub fn path_offer(&self) -> PathOffer {
        PathOffer {
            gids: self.candidates.iter().map(|entry| entry.gid).collect(),
            mtu: self.port_info.active_mtu,
        }
    }

    /// Chooses a path to the end that made the offer, which chooses the same.
    pub fn choose_path(&self, theirs: &PathOffer) -> Result<Path> {
        let ours = self.path_offer().gids;
        let (local, dgid) = choose_common(&ours, &theirs.gids).with_context(|| {
            format!(
                "no kind of GID in common: ours {ours:?}, the peer's {:?}",
                theirs.gids
            )
        })?;
        let entry = self
            .candidates
            .iter()
            .find(|entry| entry.gid == local)
            .context("the chosen GID is one of ours")?;
        Ok(Path {
            address: AddressVector {
                dgid,
                sgid_index: entry.index,
                port: self.port,
            },
            local,
            mtu: self.port_info.active_mtu.min(theirs.mtu),
        })
    }
}

/// From RESET to INIT.
pub fn init(qp: &Qp<'_>, port: PortNum, access: Access) -> Result<()> {
    qp.modify(QpAttr {
        state: Some(QpState::Init),
        port: Some(port),
        pkey_index: Some(0),
        access: Some(access),
        ..QpAttr::default()
    })
    .context("RESET to INIT")
}

/// What it takes to go from INIT to RTR.
pub fn rtr_attr(path: &Path, tuning: &Tuning, peer: QpAddress) -> QpAttr {
    QpAttr {
        state: Some(QpState::Rtr),
        path_mtu: Some(path.mtu),
        dest_qpn: Some(peer.qpn),
        rq_psn: Some(peer.psn),
        max_dest_rd_atomic: Some(tuning.rd_atomic),
        min_rnr_timer: Some(tuning.min_rnr_timer),
        address: Some(path.address),
        ..QpAttr::default()
    }
}

/// What it takes to go from RTR to RTS.
pub fn rts_attr(tuning: &Tuning, psn: Psn) -> QpAttr {
    QpAttr {
        state: Some(QpState::Rts),
        sq_psn: Some(psn),
        max_rd_atomic: Some(tuning.rd_atomic),
        timeout: Some(tuning.timeout),
        retry_cnt: Some(tuning.retry_cnt),
        rnr_retry: Some(tuning.rnr_retry),
        ..QpAttr::default()
    }
}

/// From RESET to RTS.
pub fn connect(qp: &Qp<'_>, path: &Path, tuning: &Tuning, psn: Psn, peer: QpAddress) -> Result<()> {
    init(qp, path.address.port, tuning.access)?;
    qp.modify(rtr_attr(path, tuning, peer))
        .with_context(|| format!("INIT to RTR, to {} {}", path.address.dgid, peer.qpn))?;
    qp.modify(rts_attr(tuning, psn)).context("RTR to RTS")
}
