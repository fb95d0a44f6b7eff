// SPDX-License-Identifier: GPL-2.0

//! A rail as its client and its own threads use it: what they share, and what writes into the open stream.

use core::ops::Deref;

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use kernel::sync::Mutex;

use super::cable::Service;
use super::client::LeftOut;
use super::client::RailClient;
use super::client::RailLink;
use super::client::Rate;
use super::frame_writer::FrameWriter;
use super::frame_writer::Sent;
use super::rail_state::Announced;
use super::rail_state::Fault;
use super::rail_state::Shared;
use crate::base::clock;
use crate::base::event::Event;
use crate::base::kernel_tables::KernelTables;
use crate::transport::ids::Qpn;
use crate::transport::ids::RailSeq;
use crate::transport::rail::endpoint::HelloEffect;
use crate::transport::rail::endpoint::RailEndpoint;
use crate::transport::rail::endpoint::RailFault;
use crate::transport::rail::tx::FrameStatus;

/// A rail.
///
/// # Locking
///
/// `writer` is held while writing, and while calling the client for something to write; by the transmitting thread also
/// while it waits for room in the stream. No spinlock is held when it is taken. Who wants to send directly only tries it, and
/// may hold the writer of another rail then. [`RailLink::carries`] waits for it, like that thread and the supervisor, and so
/// with no writer held.
#[pin_data]
pub(super) struct Link<C: RailClient> {
    #[pin]
    shared: Shared<C>,
    service: Option<Service>,
    /// In Mb/s, as of when the rail last came up.
    rate: Atomic<u32>,
    /// There is one while the stream is open.
    #[pin]
    pub(super) writer: Mutex<Option<FrameWriter<C>>>,
}

impl<C: RailClient> Deref for Link<C> {
    type Target = Shared<C>;

    fn deref(&self) -> &Shared<C> {
        &self.shared
    }
}

impl<C: RailClient> Link<C> {
    /// A rail over the cable of `service`, if that is known, whose stream was not opened yet.
    pub(super) fn new(
        shared: impl PinInit<Shared<C>>,
        service: Option<Service>,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            shared <- shared,
            service,
            rate: Atomic::new(Rate::LEAST.0),
            writer <- new_mutex!(None),
        })
    }

    /// Has the endpoint take a step of the handshake, and tells the client what that brings.
    ///
    /// # Errors
    ///
    /// Those of `step`.
    pub(super) fn shake_hands(
        this: &Arc<Self>,
        step: impl FnOnce(&mut RailEndpoint<KernelTables>) -> Result<HelloEffect, RailFault>,
    ) -> Result<(), RailFault> {
        let mut announced = this.announced.lock();
        let effect = step(&mut this.inner.lock().endpoint)?;
        match effect {
            HelloEffect::Nothing => {}
            HelloEffect::Ignored => this.counters.rx_discarded.increment(),
            HelloEffect::Up => {
                this.announce_down(&mut announced);
                Self::announce_up(this, &mut announced);
            }
            HelloEffect::Down => this.announce_down(&mut announced),
        }
        Ok(())
    }

    fn announce_up(this: &Arc<Self>, announced: &mut Announced) {
        let Some((peer, seed)) = this.come_up() else {
            return;
        };
        *announced = Announced::Up;
        let known = this.service.as_ref().and_then(Service::rate);
        let rate = known.unwrap_or(Rate::LEAST);
        this.rate.store(rate.0, Relaxed);
        if let Some(left_out) = this.shared.take_log_line() {
            pr_info!(
                "rail {}: up, peer {} ({:016x}), {}{} Mb/s, checksums are {}{left_out}\n",
                this.shared.name(),
                peer.name(),
                peer.node_guid.0,
                if known.is_some() { "" } else { "at least " },
                rate.0,
                seed.algorithm().name()
            );
        }
        let link: Arc<dyn RailLink> = this.clone();
        let router = this.service.as_ref().and_then(Service::router);
        this.client.rail_up(this.id, &peer, router, &link);
    }

    /// Sees whether the peer has restarted without Goodbye.
    pub(super) fn check_peer(this: &Arc<Self>) {
        if !this.inner.lock().endpoint.is_judgement_due(clock::now()) {
            return;
        }
        // A verdict is no fault.
        let _ = Self::shake_hands(this, |endpoint| Ok(endpoint.judge(clock::now())));
        this.return_lost();
    }
}

impl<C: RailClient> RailLink for Link<C> {
    fn tx_event(&self) -> &Arc<Event> {
        &self.shared.tx_event
    }

    fn send_now(&self) {
        let left = match self.writer.try_lock() {
            Some(mut writer) => match &mut *writer {
                Some(writer) => writer.try_send_direct(self),
                None => return,
            },
            // Whoever writes may just have found nothing more to write.
            None => Ok(Sent::Something),
        };
        match left {
            // What was sent wants an acknowledgement, and the transmitting thread has to see that it comes.
            Ok(Sent::Nothing) => self.wake_tx_if_due(),
            Ok(Sent::Something) => self.tx_event.raise(),
            Err(error) => self.fail(Fault::Write(error)),
        }
    }

    fn frame_status(&self, seq: RailSeq) -> FrameStatus {
        self.inner.lock().endpoint.frame_status(seq)
    }

    fn carries(&self, qpn: Qpn) -> bool {
        // A frame that its QP has given away has no number before the writer is free.
        drop(self.writer.lock());
        self.inner.lock().endpoint.carries(qpn)
    }

    fn rate(&self) -> Rate {
        Rate(self.rate.load(Relaxed))
    }

    fn cable(&self) -> Option<&CStr> {
        self.service.as_ref().map(Service::cable)
    }

    fn name(&self) -> &str {
        self.shared.name()
    }

    fn take_log_line(&self) -> Option<LeftOut> {
        self.shared.take_log_line()
    }
}
