// SPDX-License-Identifier: GPL-2.0

//! The send side's ring and the buffers of what has been taken out of it.

use kernel::pr_warn_once;
use kernel::prelude::*;
use kernel::sync::Arc;

use super::local_work::LocalWork;
use super::service::Service;
use crate::transport::frame::Flush;
use crate::transport::frame::Operands;
use crate::transport::ids::Instant;
use crate::transport::ids::MessageSlot;
use crate::transport::ids::Rkey;
use crate::transport::opcode::Opcode;
use crate::transport::opcode::MAX_MESSAGE;
use crate::transport::opcode::WORD;
use crate::transport::requester::Fencing;
use crate::transport::requester::LocalOperation;
use crate::transport::requester::LocalRequest;
use crate::transport::requester::SendRequest;
use crate::transport::requester::Signalling;
use crate::transport::requester::Solicitation;
use crate::transport::requester::Work;
use crate::transport::status::CompletionStatus;
use crate::verbs::abi::scatter;
use crate::verbs::abi::scatter::SGE_SIZE;
use crate::verbs::abi::send_wqe;
use crate::verbs::abi::send_wqe::Immediate;
use crate::verbs::abi::send_wqe::MemoryRegistration;
use crate::verbs::abi::send_wqe::Payload;
use crate::verbs::abi::send_wqe::PostedBy;
use crate::verbs::abi::send_wqe::RemoteAddress;
use crate::verbs::abi::send_wqe::SendFlags;
use crate::verbs::abi::send_wqe::SendLimits;
use crate::verbs::abi::send_wqe::SendOperation;
use crate::verbs::abi::send_wqe::SendWqe;
use crate::verbs::abi::send_wqe::SendWqeError;
use crate::verbs::abi::send_wqe::WindowBinding;
use crate::verbs::abi::send_wqe::UNTOUCHED;
use crate::verbs::address_range::AddressRange;
use crate::verbs::elements::Elements;
use crate::verbs::fast_region::Registration;
use crate::verbs::mr::Key;
use crate::verbs::queue::Taken;
use crate::verbs::queue::WorkProducer;
use crate::verbs::queue::WorkQueue;
use crate::verbs::rdma::AccessFlags;
use crate::verbs::rdma::MmapBuffer;
use crate::verbs::rdma::QpCap;
use crate::verbs::rdma::SignalType;
use crate::verbs::window::BindRequest;

/// Work requests the protocol works on at a time; more wait in the ring.
const MAX_ACTIVE: u32 = 512;

/// A request as the protocol takes it, but for what it is named and whether its success is reported.
enum Posting {
    Remote(SendRequest),
    Local(LocalRequest),
}

impl Posting {
    fn signalling(&self) -> Signalling {
        match self {
            Self::Remote(request) => request.signalling,
            Self::Local(request) => request.signalling,
        }
    }

    fn work(&self) -> Work {
        match self {
            Self::Remote(request) => Work::Remote(request.opcode),
            Self::Local(request) => Work::Local(request.operation),
        }
    }

    /// Bytes of its message.
    fn length(&self) -> u32 {
        match self {
            Self::Remote(request) => request.length,
            Self::Local(_) => 0,
        }
    }
}

/// A request that was taken from the queue, whether or not it can be carried out.
pub(super) struct Taking {
    /// The request's name.
    pub(super) wr_id: u64,
    /// What it asks for.
    pub(super) work: Work,
    /// Bytes of its message.
    pub(super) length: u32,
}

/// Where the payload of an active request is.
#[derive(Clone, Copy)]
enum Source {
    /// There is none, but work for this host.
    Local(LocalWork),
    /// That many bytes in the request's place in the store.
    Inline(usize),
    /// Elements, of that many bytes, in its place in the store.
    Elements(usize),
}

/// The local buffers of a piece of a request.
pub(super) enum Buffers<'a> {
    /// The bytes themselves.
    Inline(&'a [u8]),
    /// Where they are.
    Elements(Elements<'a>),
}

/// The ring, and the buffers of active requests.
pub(super) struct SendQueue {
    ring: WorkQueue,
    limits: SendLimits,
    /// One place for each active request, and one for the request being read.
    store: KVVec<u8>,
    stride: usize,
    sources: KVVec<Source>,
}

impl SendQueue {
    /// A queue of at least the sizes in `cap`, which is filled by such users.
    pub(super) fn new(cap: &QpCap, posted_by: PostedBy) -> Result<Self> {
        let stride = (cap.max_send_sge as usize * SGE_SIZE)
            .max((cap.max_inline_data as usize).next_multiple_of(SGE_SIZE))
            // The operand of an ATOMIC WRITE is in the ring whatever the process has asked for.
            .max(SGE_SIZE);
        let ring = WorkQueue::new(cap.max_send_wr, send_wqe::HEADER_SIZE + stride)?;
        ring.write_all(send_wqe::HEADER_SIZE, &UNTOUCHED);
        let active = Self::active(&ring);
        Ok(Self {
            limits: SendLimits {
                max_sge: (stride / SGE_SIZE) as u32,
                max_inline: stride as u32,
                posted_by,
            },
            store: KVVec::from_elem(0, (active + 1) * stride, GFP_KERNEL_ACCOUNT)?,
            stride,
            sources: KVVec::from_elem(Source::Inline(0), active, GFP_KERNEL_ACCOUNT)?,
            ring,
        })
    }

    /// Length of the requester's table of messages: a power of two.
    fn active(ring: &WorkQueue) -> usize {
        ring.capacity()
            .clamp(1, MAX_ACTIVE)
            .next_power_of_two()
            .min(MAX_ACTIVE) as usize
    }

    /// Requests that can be active.
    pub(super) fn max_active(&self) -> usize {
        self.sources.len()
    }

    /// Work requests that fit the ring.
    pub(super) fn capacity(&self) -> u32 {
        self.ring.capacity()
    }

    /// Elements and inline bytes of a work request.
    pub(super) fn limits(&self) -> SendLimits {
        self.limits
    }

    /// The ring's memory.
    pub(super) fn memory(&self) -> Arc<MmapBuffer> {
        self.ring.memory()
    }

    /// What adds requests, for a queue that no process is offered.
    pub(super) fn producer_side(&self) -> WorkProducer {
        self.ring.producer_side()
    }

    /// Posts up to `limit` requests that the process has put into the ring, as far as there is room, and tells `note` of each.
    /// Returns how many.
    pub(super) fn post_waiting(
        &mut self,
        service: &mut Service,
        rule: SignalType,
        now: Instant,
        limit: u32,
        mut note: impl FnMut(Taking),
    ) -> u32 {
        let mut posted = 0;
        while posted < limit && service.room() > 0 {
            let Some(taken) = self.ring.take() else {
                break;
            };
            note(self.post(taken, service, rule, now));
            posted += 1;
        }
        posted
    }

    /// Drops what the process has put into the ring.
    pub(super) fn discard(&mut self) {
        while let Some(taken) = self.ring.take() {
            self.leave_untouched(taken);
        }
        self.ring.discard();
    }

    /// The oldest request taken has completed.
    pub(super) fn release(&mut self) {
        self.ring.release();
    }

    /// The local buffers of an active request.
    pub(super) fn buffers(&self, slot: MessageSlot) -> Buffers<'_> {
        let place = usize::from(slot.0);
        let start = place * self.stride;
        match self.sources[place] {
            Source::Local(_) => Buffers::Inline(&[]),
            Source::Inline(len) => Buffers::Inline(&self.store[start..start + len]),
            Source::Elements(size) => {
                Buffers::Elements(Elements::new(&self.store[start..start + size]))
            }
        }
    }

    /// What this host is to do for an active request, if it is a local operation.
    pub(super) fn local_work(&self, slot: MessageSlot) -> Option<LocalWork> {
        match self.sources[usize::from(slot.0)] {
            Source::Local(work) => Some(work),
            Source::Inline(_) | Source::Elements(_) => None,
        }
    }

    fn post(
        &mut self,
        taken: Taken,
        service: &mut Service,
        rule: SignalType,
        now: Instant,
    ) -> Taking {
        let mut header = [0; send_wqe::HEADER_SIZE];
        self.ring.read(taken, 0, &mut header);
        let (request, source, verdict) = match self.read(&header, taken) {
            Ok((request, source)) => (request, source, None),
            Err(status) => {
                let nothing = Posting::Remote(SendRequest::default());
                (nothing, Source::Inline(0), Some(status))
            }
        };
        self.leave_untouched(taken);
        let signalling = match rule {
            SignalType::All => Signalling::Signalled,
            SignalType::Requested => request.signalling(),
        };
        let wr_id = send_wqe::wr_id(&header);
        let taking = Taking {
            wr_id,
            work: request.work(),
            length: request.length(),
        };
        let posted = match request {
            Posting::Remote(request) => {
                let request = SendRequest {
                    wr_id,
                    signalling,
                    ..request
                };
                service.post(request, &header, now)
            }
            Posting::Local(request) => {
                let request = LocalRequest {
                    wr_id,
                    signalling,
                    ..request
                };
                service.post_local(request, &header, now)
            }
        };
        // There is room and the length has been checked; a queue pair that is not connected has an
        // empty ring.
        let Ok(slot) = posted else {
            return taking;
        };
        let place = usize::from(slot.0);
        let size = match source {
            Source::Local(_) => 0,
            Source::Inline(size) | Source::Elements(size) => size,
        };
        let scratch = self.scratch();
        self.store
            .copy_within(scratch..scratch + size, place * self.stride);
        self.sources[place] = source;
        if let Some(status) = verdict {
            service.handle_send_failure(slot, status);
        }
        taking
    }

    /// Has the slot of a request that has been read look as if no payload had ever been written there.
    fn leave_untouched(&self, taken: Taken) {
        self.ring.write(taken, send_wqe::HEADER_SIZE, &UNTOUCHED);
    }

    /// Start of the place for the request being read.
    fn scratch(&self) -> usize {
        self.sources.len() * self.stride
    }

    /// Reads and checks a request. Its payload goes to the scratch place.
    fn read(
        &mut self,
        header: &[u8; send_wqe::HEADER_SIZE],
        taken: Taken,
    ) -> Result<(Posting, Source), CompletionStatus> {
        let wqe = SendWqe::decode(header, &self.limits).map_err(status_of)?;
        // No use is made of these bytes but if there is no payload, which is read below.
        let mut first = [0; UNTOUCHED.len()];
        self.ring.read(taken, send_wqe::HEADER_SIZE, &mut first);
        wqe.check_empty(&first).map_err(status_of)?;
        let signalling = if wqe.flags.contains(SendFlags::SIGNALED) {
            Signalling::Signalled
        } else {
            Signalling::Unsignalled
        };
        let fencing = if wqe.flags.contains(SendFlags::FENCE) {
            Fencing::Fenced
        } else {
            Fencing::Unfenced
        };
        let local = |operation, work| {
            let request = LocalRequest {
                wr_id: 0,
                operation,
                signalling,
                fencing,
            };
            Ok((Posting::Local(request), Source::Local(work)))
        };
        let scratch = self.scratch();
        let payload = &mut self.store[scratch..scratch + wqe.payload.size()];
        self.ring.read(taken, send_wqe::HEADER_SIZE, payload);
        let (length, source) = match wqe.payload {
            Payload::Inline(length) => (length, Source::Inline(payload.len())),
            Payload::Elements(_) => (
                scatter::total_length(payload).ok_or(CompletionStatus::LocalLengthError)?,
                Source::Elements(payload.len()),
            ),
        };
        const NOWHERE: RemoteAddress = RemoteAddress {
            address: 0,
            rkey: 0,
        };
        const NO_IMMEDIATE: Immediate = Immediate(0);
        let mut operands = Operands::default();
        let mut flush = Flush::default();
        let mut length = length;
        let (opcode, remote, Immediate(imm)) = match wqe.operation {
            SendOperation::Write(remote) => (Opcode::Write, remote, NO_IMMEDIATE),
            SendOperation::WriteImmediate(remote, imm) => (Opcode::WriteWithImm, remote, imm),
            SendOperation::Send => (Opcode::Send, NOWHERE, NO_IMMEDIATE),
            SendOperation::SendImmediate(imm) => (Opcode::SendWithImm, NOWHERE, imm),
            SendOperation::Read(remote) => (Opcode::Read, remote, NO_IMMEDIATE),
            SendOperation::SendInvalidate(rkey) => (
                Opcode::SendWithInvalidate,
                RemoteAddress { rkey, ..NOWHERE },
                NO_IMMEDIATE,
            ),
            SendOperation::CompareSwap(remote, both) => {
                operands = both;
                (Opcode::CompareSwap, remote, NO_IMMEDIATE)
            }
            SendOperation::FetchAdd(remote, addend) => {
                operands = addend;
                (Opcode::FetchAdd, remote, NO_IMMEDIATE)
            }
            SendOperation::AtomicWrite(remote) => {
                operands =
                    Operands::from_bytes(payload).ok_or(CompletionStatus::LocalQpOperationError)?;
                (Opcode::AtomicWrite, remote, NO_IMMEDIATE)
            }
            SendOperation::Flush(remote, wanted, range) => {
                flush = wanted;
                length = range;
                (Opcode::Flush, remote, NO_IMMEDIATE)
            }
            SendOperation::LocalInvalidate(key) => {
                return local(LocalOperation::Invalidate, LocalWork::Invalidate(Key(key)));
            }
            SendOperation::Register(wanted) => {
                let registration = registration(&wanted)?;
                return local(LocalOperation::Register, LocalWork::Register(registration));
            }
            SendOperation::BindWindow(binding) => {
                let request = bind_request(&binding)?;
                return local(LocalOperation::BindWindow, LocalWork::Bind(request));
            }
        };
        let is_word = opcode.operands_len() == 0 || length == WORD;
        if !is_word || length > MAX_MESSAGE {
            return Err(CompletionStatus::LocalLengthError);
        }
        let request = SendRequest {
            wr_id: 0,
            opcode,
            signalling,
            solicitation: if wqe.flags.contains(SendFlags::SOLICITED) {
                Solicitation::Solicited
            } else {
                Solicitation::Unsolicited
            },
            fencing,
            length,
            remote_va: remote.address,
            rkey: Rkey(remote.rkey),
            imm,
            operands,
            flush,
        };
        Ok((Posting::Remote(request), source))
    }
}

/// How a window is to be bound. Fails for rights that nothing can have; optional ones count for nothing.
fn bind_request(binding: &WindowBinding) -> Result<BindRequest, CompletionStatus> {
    Ok(BindRequest {
        window: Key(binding.window_key),
        variant: binding.new_key,
        region: Key(binding.region_key),
        address: binding.address,
        length: binding.length,
        access: access_flags(binding.access)?,
    })
}

/// How memory is to be registered. Fails for rights that nothing can have; optional ones count for nothing.
fn registration(wanted: &MemoryRegistration) -> Result<Registration, CompletionStatus> {
    Ok(Registration {
        key: Key(wanted.key),
        addresses: AddressRange {
            start: wanted.address,
            length: wanted.length,
        },
        access: access_flags(wanted.access)?,
    })
}

fn access_flags(raw: u32) -> Result<AccessFlags, CompletionStatus> {
    AccessFlags::from_raw(i32::from_ne_bytes(raw.to_ne_bytes()))
        .map_err(|_| CompletionStatus::MemoryManagementError)
}

/// What the completion of a request says that cannot be carried out.
fn status_of(error: SendWqeError) -> CompletionStatus {
    match error {
        SendWqeError::InlineTooLong(_) => CompletionStatus::LocalLengthError,
        SendWqeError::LengthMissing => {
            pr_warn_once!(
                "a request has inline data without a length and fails: ibv_wr_set_inline_data_list() of rdma-core \
                 before 64 leaves it out\n"
            );
            CompletionStatus::LocalQpOperationError
        }
        SendWqeError::Opcode(_)
        | SendWqeError::TooManyElements(_)
        | SendWqeError::InlineRead
        | SendWqeError::Flush(..) => CompletionStatus::LocalQpOperationError,
    }
}
