// SPDX-License-Identifier: GPL-2.0

//! A rail: one stream, kept open as long as there is a peer.

use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;

use super::cable::Service;
use super::client::RailClient;
use super::counters::Counters;
use super::rail_link::Link;
use super::rail_state::Shared;
pub use super::rail_state::State;
use super::stream_source::StreamSource;
use super::supervisor::Supervisor;
use crate::base::kthread::Kthread;
use crate::stream_adapter::quiescer::Quiescer;
use crate::transport::ids::RailId;
use crate::transport::rail::hello::Identity;

/// A configured rail. Dropping it says goodbye to the peer, stops its threads and closes the stream; that
/// takes about a second, even if the peer is silent.
pub struct Rail<C: RailClient> {
    // Declared first, so that the threads are stopped before the rest goes.
    _supervisor: Kthread,
    link: Arc<Link<C>>,
}

impl<C: RailClient> Rail<C> {
    /// Starts a rail over the stream of `source`.
    ///
    /// The stream is opened in the background, and again whenever it fails. `name` is for log lines,
    /// `identity` is what the peer is told about us, `service` tells which cable it is. The stream is only open
    /// while `quiescer` permits it.
    pub fn start(
        id: RailId,
        name: CString,
        source: impl StreamSource + 'static,
        service: Option<Service>,
        identity: Identity,
        quiescer: Arc<Quiescer>,
        client: Arc<C>,
    ) -> Result<Self> {
        let thread_name = CString::try_from_fmt(fmt!("usb4_roce/{}", id.index()))?;
        let shared = Shared::new(id, name, identity, client)?;
        let link = Arc::pin_init(Link::new(shared, service), GFP_KERNEL)?;
        let supervisor = Supervisor::new(link.clone(), Arc::new(source, GFP_KERNEL)?, quiescer)?;
        let supervisor = Kthread::spawn(&thread_name, move || supervisor.run())?;
        Ok(Self {
            _supervisor: supervisor,
            link,
        })
    }

    /// Where the rail stands.
    pub fn state(&self) -> State {
        self.link.inner.lock().state
    }

    /// Who is at the other end, once known in this session.
    pub fn peer(&self) -> Option<Identity> {
        self.link.inner.lock().endpoint.peer().copied()
    }

    /// Its counters.
    pub fn counters(&self) -> &Counters {
        &self.link.counters
    }
}
