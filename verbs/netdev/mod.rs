// SPDX-License-Identifier: GPL-2.0

//! The Ethernet interface that carries IP over the rails, beside the verbs traffic.
//!
//! Frames of the network stack wait in a bounded queue of the host they are for until the rail of their flow takes
//! them; frames from a host go to the stack at once. Which host has which address is known from the rails, so
//! nothing is learnt from frames.

mod ethtool;
mod frame_size;
mod mac_address;
pub mod net_peer;
mod net_peers;
mod ops;
mod shared;
mod socket_buffer;
mod tx_queue;
mod wake_list;

use core::ptr::NonNull;

use kernel::bindings as kernel_bindings;
use kernel::error::to_result;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;

use crate::base::event::Event;
use crate::base::lending_buffer::Arrived;
use crate::base::lending_buffer::SHARE;
use crate::base::page_vec::MAX_PAYLOAD;
use crate::stream_adapter::client::Answers;
use crate::stream_adapter::client::Payload;
use crate::stream_adapter::client::Rate;
use crate::stream_adapter::client::TxBuffer;
use crate::transport::frame::PacketState;
use crate::transport::frame::SMALL_PAYLOAD;
use crate::transport::ids::RailId;
use crate::transport::packet::Packet;
use crate::transport::packet::Remainder;
use crate::transport::packet::ETHERNET_HEADER;
use crate::transport::rail::hello::Features;
use crate::verbs::bindings;
use frame_size::longest_frame;
use frame_size::MTU_DEFAULT;
use frame_size::MTU_MAX;
use frame_size::MTU_MIN;
use mac_address::ETH_ADDRESS;
use net_peer::Finishing;
use net_peer::NetPeer;
use net_peers::NetPeers;
use net_peers::QUEUES;
use shared::Shared;
use socket_buffer::segment_type;
use tx_queue::drop_frame;

pub use mac_address::MacAddress;
pub use socket_buffer::SocketBuffer;

/// Whether any peer can be reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Carrier {
    /// At least one rail is up.
    Up,
    /// No rail is up.
    Down,
}

/// The shortest frame that is kept where it has arrived, in bytes: a shorter one would keep too much memory from being used.
const LEAST_KEPT: usize = SHARE / 2;

/// A frame on its way to a host.
pub struct TxDatagram {
    /// What is left to do to it.
    pub state: PacketState,
    /// Where it is.
    pub payload: Payload,
    /// Its memory, to be kept until it has been written.
    pub buffer: SocketBuffer,
}

/// A registered network interface, `usb4r<n>`.
///
/// # Locking and lifetime
///
/// All methods may be called by any thread that may sleep, and do not wait for the rtnl lock, except
/// for [`Netdev::leave_parent`]. Dropping it unregisters the interface, which waits too.
///
/// # Invariants
///
/// `device` is registered, and its private area points to `shared`.
pub struct Netdev {
    device: NonNull<bindings::net_device>,
    mac: MacAddress,
    shared: KBox<Shared>,
}

// SAFETY: A `struct net_device` may be used and unregistered by any thread.
unsafe impl Send for Netdev {}

// SAFETY: The functions called through a shared reference synchronise in C; the table of hosts and their
// queues synchronise themselves.
unsafe impl Sync for Netdev {}

impl Netdev {
    /// Registers an interface with address `mac` and no carrier.
    ///
    /// `parent` is shown as its device in sysfs. Fails with `ENOMEM`, or as registration fails.
    pub fn register(
        mac: MacAddress,
        parent: Option<NonNull<kernel_bindings::device>>,
    ) -> Result<Self> {
        let shared = KBox::new(
            Shared {
                net_peers: NetPeers::new(),
                rate: Atomic::new(0),
            },
            GFP_KERNEL,
        )?;

        // SAFETY: The name is a C string with one `%d`, as `alloc_netdev()` wants it.
        let device = unsafe {
            bindings::verbs_shim_netdev_alloc(
                core::mem::size_of::<*const Shared>(),
                c"usb4r%d".as_char_ptr(),
                QUEUES,
                RailId::COUNT as u32,
                MAX_PAYLOAD as u32,
            )
        };
        let device = NonNull::new(device).ok_or(ENOMEM)?;

        let dev = device.as_ptr();
        // SAFETY: The device is new and known to nobody else. Its private area was allocated with the
        // size of a pointer, and the address has as many bytes as an Ethernet device's.
        unsafe {
            (*dev).netdev_ops = &raw const ops::NETDEV_OPS.0;
            (*dev).ethtool_ops = &raw const ethtool::ETHTOOL_OPS;
            (*dev).min_mtu = MTU_MIN;
            (*dev).max_mtu = MTU_MAX;
            (*dev).mtu = MTU_DEFAULT;
            (*dev).set_pcpu_stat_type(bindings::netdev_stat_type_NETDEV_PCPU_STAT_TSTATS);
            (*dev).dev.parent = parent.map_or(core::ptr::null_mut(), |p| p.as_ptr().cast());
            bindings::dev_addr_mod(dev, 0, mac.0.as_ptr().cast(), mac.0.len());
            bindings::verbs_shim_netdev_priv(dev)
                .cast::<*const Shared>()
                .write(&raw const *shared);
            bindings::netif_carrier_off(dev);
        }

        // SAFETY: The device is set up, and what its callbacks use lives until it is unregistered.
        if let Err(e) = to_result(unsafe { bindings::register_netdev(device.as_ptr()) }) {
            // SAFETY: It was not registered, so we are its only user.
            unsafe { bindings::free_netdev(device.as_ptr()) };
            return Err(e);
        }
        // INVARIANT: Both were done above.
        Ok(Self {
            device,
            mac,
            shared,
        })
    }

    /// Moves the interface in sysfs to where interfaces without hardware are. Takes the lock of rtnetlink.
    pub fn leave_parent(&self) {
        // SAFETY: The device is registered. Whoever looks at the parent of an interface has the lock.
        let moved = unsafe {
            bindings::rtnl_lock();
            let moved = kernel_bindings::device_move(
                (&raw mut (*self.device.as_ptr()).dev).cast(),
                core::ptr::null_mut(),
                kernel_bindings::dpm_order_DPM_ORDER_NONE,
            );
            bindings::rtnl_unlock();
            moved
        };
        if moved != 0 {
            pr_warn!("the network interface stays below a controller that goes away ({moved})\n");
        }
    }

    /// `rail` leads to `net_peer`, which has these `features` over it, and takes frames for it when `tx_event` is raised. Sleeps.
    ///
    /// Fails with `ENOSPC` when there are too many hosts, and with `EEXIST` when the rail is known already.
    pub fn rail_up(
        &self,
        net_peer: &Arc<NetPeer>,
        rail: RailId,
        features: Features,
        tx_event: &Arc<Event>,
    ) -> Result {
        let _change = net_peer.change.lock();
        let is_first = !net_peer.has_rails();
        net_peer.add_rail(rail, features, tx_event)?;
        if is_first {
            self.shared
                .net_peers
                .add(net_peer)
                .inspect_err(|_| _ = net_peer.remove_rail(rail))?;
        }
        Ok(())
    }

    /// `rail` does not lead to `net_peer` any more. With the last rail, the frames that wait are dropped. Sleeps.
    pub fn rail_down(&self, net_peer: &Arc<NetPeer>, rail: RailId) {
        let _change = net_peer.change.lock();
        if !net_peer.remove_rail(rail) || net_peer.has_rails() {
            return;
        }
        self.shared.net_peers.remove(net_peer);
        // For the next host that gets this queue.
        // SAFETY: The device is registered, and has had this queue all the time.
        unsafe { bindings::verbs_shim_netdev_wake_queue(self.device.as_ptr(), net_peer.queue().0) };
    }

    /// Whether `net_peer` answers over `rail` may have changed. Sleeps.
    pub fn note_answers(&self, net_peer: &NetPeer, rail: RailId, answers: Answers) {
        let _change = net_peer.change.lock();
        net_peer.note_answers(rail, answers);
    }

    /// Takes the next frame for `net_peer` that is to go over `rail`: into `tx`, or its memory is listed there. There must be room for
    /// the longest payload.
    ///
    /// What cannot be sent as it is, is dropped and counted.
    pub fn take_tx(
        &self,
        net_peer: &NetPeer,
        rail: RailId,
        tx: &mut TxBuffer<'_>,
    ) -> Option<TxDatagram> {
        loop {
            let skb = net_peer.take(rail, self.device)?;
            // SAFETY: The queue gave us this socket buffer, which nobody else uses.
            let mut buffer = unsafe { SocketBuffer::new(skb) };
            let Ok((state, payload)) = prepare(&mut buffer, net_peer.finishing_over(rail), tx)
            else {
                // SAFETY: The socket buffer is ours, and the device is registered.
                unsafe { drop_frame(buffer.into_raw(), self.device) };
                continue;
            };
            // SAFETY: The device is registered.
            unsafe {
                bindings::verbs_shim_netdev_count_tx(self.device.as_ptr(), buffer.len() as u32);
            }
            return Some(TxDatagram {
                state,
                payload,
                buffer,
            });
        }
    }

    /// Hands a frame from the host `from` to the network stack, which may do its work at once, in this thread. Sleeps.
    ///
    /// A frame that is no Ethernet frame of an acceptable length, cannot be in that `state`, says it is from us or another host
    /// that we know, or comes while the interface is down or memory is short, is dropped and counted.
    pub fn receive(&self, from: MacAddress, rail: RailId, state: PacketState, frame: Arrived<'_>) {
        let Some(skb) = self.socket_buffer(from, state, &frame) else {
            // SAFETY: The device is registered.
            unsafe { bindings::verbs_shim_netdev_count_rx_dropped(self.device.as_ptr()) };
            return;
        };
        // SAFETY: The socket buffer is ours, and given up; the device is registered, and has a queue for each rail. The caller is a
        // thread that may sleep.
        unsafe {
            bindings::verbs_shim_skb_receive(
                skb.as_ptr(),
                self.device.as_ptr(),
                rail.index() as u16,
            );
        }
    }

    /// A socket buffer with the frame, if it is to be received.
    fn socket_buffer(
        &self,
        from: MacAddress,
        state: PacketState,
        frame: &Arrived<'_>,
    ) -> Option<NonNull<bindings::sk_buff>> {
        let bytes = frame.bytes();
        if bytes.len() < ETHERNET_HEADER || self.is_forged(from, bytes) {
            return None;
        }
        let packet = Packet::new(bytes, bytes.len());
        let remainder = packet.remainder(state).ok()?;
        let longest = match &remainder {
            Some(remainder) => remainder.longest_packet(bytes.len()),
            None => bytes.len(),
        };
        let dev = self.device.as_ptr();
        // SAFETY: The device is registered.
        let (is_running, mtu) = unsafe { (bindings::verbs_shim_netdev_running(dev), (*dev).mtu) };
        if !is_running || longest > longest_frame(mtu) {
            return None;
        }
        let (at, len) = (bytes.as_ptr().cast(), bytes.len() as u32);
        let headers = packet.headers() as u32;
        let skb = if bytes.len() >= LEAST_KEPT && frame.may_be_kept() {
            // SAFETY: The device is registered, and the caller is a thread that may sleep. The frame's memory may be kept, and
            // `headers` are not longer than it.
            unsafe { bindings::verbs_shim_skb_keep(dev, at, len, headers, SHARE as u32) }
        } else {
            // SAFETY: As above; it is copied.
            unsafe { bindings::verbs_shim_skb_copy(dev, at, len, headers) }
        };
        let skb = NonNull::new(skb)?;
        if let Some(remainder) = remainder {
            // SAFETY: The socket buffer is ours, and has what was found in the frame.
            if unsafe { set_remainder(skb, &remainder) }.is_err() {
                // SAFETY: As above; it is given up.
                unsafe { bindings::verbs_shim_skb_drop(skb.as_ptr()) };
                return None;
            }
        }
        Some(skb)
    }

    /// Tells the network stack whether frames have anywhere to go.
    pub fn set_carrier(&self, carrier: Carrier) {
        match carrier {
            // SAFETY: The device is registered.
            Carrier::Up => unsafe { bindings::netif_carrier_on(self.device.as_ptr()) },
            // SAFETY: As above.
            Carrier::Down => unsafe { bindings::netif_carrier_off(self.device.as_ptr()) },
        }
    }

    /// Notes what the rails carry together, for `ethtool`.
    pub fn set_rate(&self, rate: Rate) {
        self.shared.rate.store(rate.0, Relaxed);
    }

    /// The C device, for the RDMA core, which takes a reference of its own.
    pub fn as_ptr(&self) -> NonNull<bindings::net_device> {
        self.device
    }

    /// Whether a frame of the host `from` has the address of another one, or ours. Addresses of no host may be anybody's: there
    /// are bridges and virtual machines behind hosts.
    fn is_forged(&self, from: MacAddress, frame: &[u8]) -> bool {
        const SOURCE: core::ops::Range<usize> = ETH_ADDRESS..2 * ETH_ADDRESS;
        let Some(source) = frame.get(SOURCE).and_then(|bytes| bytes.try_into().ok()) else {
            return false;
        };
        let source = MacAddress(source);
        source == self.mac || source != from && self.shared.net_peers.with(source, |_| ()).is_some()
    }
}

impl Drop for Netdev {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants the device is registered. When this returns, no callback runs
        // nor will run, so that `shared` may go.
        unsafe { bindings::unregister_netdev(self.device.as_ptr()) };
        // SAFETY: We are the last user of an unregistered device.
        unsafe { bindings::free_netdev(self.device.as_ptr()) };
    }
}

/// Has the frame be sent from where it is, or copies it to where `tx` sends from; finishes it if it has to be.
fn prepare(
    buffer: &mut SocketBuffer,
    finishing: Finishing,
    tx: &mut TxBuffer<'_>,
) -> Result<(PacketState, Payload)> {
    let state = match (buffer.state(), finishing) {
        (Ok(state), Finishing::Peer) => state,
        (Ok(PacketState::Finished), Finishing::Us) => PacketState::Finished,
        // The stack has been told so when it asked; the rail may have come up since then.
        _ => {
            buffer.finish()?;
            PacketState::Finished
        }
    };
    if buffer.len() > SMALL_PAYLOAD as usize {
        // SAFETY: Who gets the list keeps the buffer as long as it is used.
        if unsafe { buffer.list(tx.pages()) } {
            return Ok((state, Payload::Pages));
        }
        tx.pages().clear();
    }
    Ok((state, Payload::Staged(buffer.copy_to(tx.staging())?)))
}

/// Notes what is left to do to a frame. Fails with `EINVAL` if that cannot be.
///
/// # Safety
///
/// The socket buffer must belong to the caller, and have the frame that `remainder` was found in, with all headers in its linear
/// part.
unsafe fn set_remainder(skb: NonNull<bindings::sk_buff>, remainder: &Remainder) -> Result {
    // SAFETY: By the safety requirements.
    unsafe {
        if !bindings::skb_partial_csum_set(
            skb.as_ptr(),
            remainder.checksum_start,
            remainder.checksum_offset,
        ) {
            return Err(EINVAL);
        }
        if let Some(segmentation) = &remainder.segmentation {
            bindings::verbs_shim_skb_set_segments(
                skb.as_ptr(),
                segment_type(segmentation),
                segmentation.payload.get(),
                segmentation.count,
            );
        }
    }
    Ok(())
}
