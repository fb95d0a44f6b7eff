// SPDX-License-Identifier: GPL-2.0

//! A process: threads which do random things to the same objects.

use std::path::Path;
use std::sync::Arc;
use std::thread;

use nix::errno::Errno;

use crate::dice::Dice;
use crate::pattern::fold;
use crate::uverbs::Destination;
use crate::uverbs::Handle;
use crate::uverbs::Mapping;
use crate::uverbs::QpPlan;
use crate::uverbs::QpState;
use crate::uverbs::Queue;
use crate::uverbs::Reregistration;
use crate::uverbs::Session;

use super::board::Board;
use super::board::Side;
use super::board::Target;
use super::board::MRS;
use super::board::QPS;
use super::objects::lock;
use super::objects::Cq;
use super::objects::Mr;
use super::objects::Objects;
use super::objects::Qp;
use super::objects::Slot;
use super::objects::Srq;
use super::objects::CQS;
use super::objects::PDS;
use super::objects::SRQS;
use super::operation::Operation;
use super::scribble;
use super::wqe;
use super::wqe::Element;

/// Bytes of a region's memory.
const MEMORY: usize = 256 << 10;
/// Depths of queues.
const DEPTHS: [u32; 5] = [1, 7, 16, 63, 256];
/// Elements of a WQE.
const ELEMENTS: u32 = 4;
/// Bytes of inline data.
const INLINE: u32 = 64;
/// Local write, remote write, remote read.
const FULL_ACCESS: u32 = 7;

/// Which hosts there are.
#[derive(Clone, Copy, Debug)]
pub struct Hosts {
    /// GID of this host.
    pub own: [u8; 16],
    /// Its place in the table.
    pub index: u8,
    /// GID of the other host.
    pub peer: [u8; 16],
}

/// Whether hosts that do not exist are addressed too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strangers {
    /// Only hosts that exist.
    None,
    /// Also made-up and multicast GIDs.
    Some,
}

/// Whether the queues are used as the ABI asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manners {
    /// Mostly.
    Good,
    /// All of the mapped memory is rewritten while it is in use.
    Scribbling,
}

/// What a process is told.
pub struct Task<'t> {
    /// The node of the device.
    pub node: &'t Path,
    /// The hosts.
    pub hosts: Hosts,
    /// Strangers.
    pub strangers: Strangers,
    /// Manners.
    pub manners: Manners,
    /// Seed of this process in this life.
    pub seed: u64,
    /// Which process it is.
    pub process: usize,
    /// How many threads it has.
    pub threads: usize,
}

/// Does random things until the board says that it is over, or its dice say so.
pub fn run(task: &Task<'_>, board: &Board) -> nix::Result<()> {
    let shared = Shared {
        session: Session::open(task.node)?,
        objects: Objects::default(),
        board,
        task,
    };
    thread::scope(|scope| {
        for thread in 0..task.threads {
            let shared = &shared;
            scope.spawn(move || {
                let dice = Dice::new(&[task.seed, thread as u64]);
                Worker { shared, dice }.run();
            });
        }
    });
    Ok(())
}

/// What threads share.
struct Shared<'s> {
    session: Session,
    objects: Objects,
    board: &'s Board,
    task: &'s Task<'s>,
}

/// A thread.
struct Worker<'w> {
    shared: &'w Shared<'w>,
    dice: Dice,
}

/// Nothing is in the slot.
const EMPTY: Errno = Errno::ENOENT;

impl Worker<'_> {
    fn run(&mut self) {
        while !self.shared.board.is_over() {
            let operation = self.dice.weighted(&Operation::SHARES);
            let outcome = self.perform(operation);
            self.shared.board.count(operation, outcome);
        }
    }

    fn perform(&mut self, operation: Operation) -> nix::Result<()> {
        match operation {
            Operation::PostSend => self.post_send(),
            Operation::PostReceive => self.post_receive(),
            Operation::PostSharedReceive => self.post_shared_receive(),
            Operation::Ring => self.shared.session.ring(self.qp()?.handle),
            Operation::Poll => self.poll(),
            Operation::RequestNotify => {
                let solicited = self.dice.below(2) as u32;
                self.shared
                    .session
                    .request_notify(self.cq()?.handle, solicited)
            }
            Operation::QueryQp => self.shared.session.query_qp(self.qp()?.handle),
            Operation::QuerySrq => self.shared.session.query_srq(self.srq()?.handle),
            Operation::Connect => self.connect(),
            Operation::Transition => {
                let state = self.dice.pick(&QpState::ALL);
                self.shared.session.to_state(self.qp()?.handle, state)
            }
            Operation::ReplaceQp => self.replace_qp(),
            Operation::ReplaceCq => self.replace_cq(),
            Operation::ReplaceSrq => self.replace_srq(),
            Operation::ReplaceMr => self.replace_mr(),
            Operation::ReplacePd => self.replace_pd(),
            Operation::Reregister => self.reregister(),
            Operation::ResizeCq => self.resize_cq(),
            Operation::ResizeSrq => self.resize_srq(),
            Operation::ArmSrq => {
                let limit = self.dice.below(20) as u32;
                self.shared.session.arm_srq(self.srq()?.handle, limit)
            }
            Operation::AddressHandle => self.address_handle(),
            Operation::Stranger => self.stranger(),
            Operation::Exit => self.exit(),
            Operation::Scribble => self.scribble(),
        }
    }

    fn cq(&mut self) -> nix::Result<Arc<Cq>> {
        let slot = &self.shared.objects.cqs[self.dice.below(CQS)];
        match slot.get() {
            Some(cq) => Ok(cq),
            None => {
                self.replace_cq()?;
                Err(EMPTY)
            }
        }
    }

    fn srq(&mut self) -> nix::Result<Arc<Srq>> {
        let slot = &self.shared.objects.srqs[self.dice.below(SRQS)];
        match slot.get() {
            Some(srq) => Ok(srq),
            None => {
                self.replace_srq()?;
                Err(EMPTY)
            }
        }
    }

    fn numbered_qp(&mut self) -> nix::Result<(usize, Arc<Qp>)> {
        let number = self.dice.below(QPS);
        match self.shared.objects.qps[number].get() {
            Some(qp) => Ok((number, qp)),
            None => {
                self.replace_qp()?;
                Err(EMPTY)
            }
        }
    }

    fn qp(&mut self) -> nix::Result<Arc<Qp>> {
        Ok(self.numbered_qp()?.1)
    }

    fn mr(&mut self) -> nix::Result<Arc<Mr>> {
        let slot = &self.shared.objects.mrs[self.dice.below(MRS)];
        match slot.get() {
            Some(mr) => Ok(mr),
            None => {
                self.replace_mr()?;
                Err(EMPTY)
            }
        }
    }

    fn pd(&mut self) -> nix::Result<Handle> {
        const SELDOM: usize = 32;
        // Mostly the same one: what belongs to different ones does not work together.
        let number = match self.dice.once_in(SELDOM) {
            true => self.dice.below(PDS),
            false => 0,
        };
        let slot = &self.shared.objects.pds[number];
        match slot.get() {
            Some(pd) => Ok(*pd),
            None => {
                self.replace_pd()?;
                Err(EMPTY)
            }
        }
    }

    /// A few local elements, of which some are wrong.
    fn elements(&mut self) -> nix::Result<Vec<Element>> {
        let mr = self.mr()?;
        let count = self.dice.below(ELEMENTS as usize + 1);
        Ok((0..count)
            .map(|_| {
                let most = self.dice.pick(&[64, 64, 1024, 4096, mr.len / 8]).max(1);
                let length = self.dice.below(most.min(mr.len) + 1);
                let offset = self.dice.below(mr.len - length + 1);
                let key = match self.dice.once_in(400) {
                    true => self.dice.word(),
                    false => mr.key,
                };
                Element {
                    address: mr.memory.address() + (mr.start + offset) as u64,
                    length: length as u32,
                    key,
                }
            })
            .collect())
    }

    /// Room for what comes: mostly all of a region.
    fn room(&mut self) -> nix::Result<Vec<Element>> {
        const SELDOM: usize = 16;
        if self.dice.once_in(SELDOM) {
            return self.elements();
        }
        let mr = self.mr()?;
        Ok(vec![Element {
            address: mr.memory.address() + mr.start as u64,
            length: mr.len as u32,
            key: mr.key,
        }])
    }

    /// Which path the two ends of queue pair `qp` prefer at this time.
    fn preferred(&self, qp: usize) -> Side {
        let epoch = self.shared.board.epoch();
        let process = self.shared.task.process;
        // Both partners of a loopback pair have to agree too.
        match fold(&[epoch.into(), process as u64, (qp / 2) as u64]) % 3 {
            0 => Side::Own,
            _ => Side::Peer,
        }
    }

    fn post_send(&mut self) -> nix::Result<()> {
        let (number, qp) = self.numbered_qp()?;
        let side = self.preferred(number);
        let in_turn = !self.dice.once_in(50);
        let turn = in_turn.then(|| lock(&qp.turn));
        for _ in 0..=self.dice.below(8) {
            let target =
                self.shared
                    .board
                    .target(side, self.shared.task.process, self.dice.below(MRS));
            let opcode = self.dice.pick(&[0, 0, 1, 2, 2, 3, 4, 4]);
            let elements = self.elements()?;
            // FENCE, SIGNALED and SOLICITED.
            let flags = self.dice.below(8) as u32;
            let what = wqe::Send {
                opcode: if self.dice.once_in(500) {
                    self.dice.word()
                } else {
                    opcode
                },
                flags,
                address: target.address + self.dice.below(256) as u64,
                key: if self.dice.once_in(200) {
                    self.dice.word()
                } else {
                    target.key
                },
            };
            if !qp.send.produce(&wqe::send(&what, &elements)) {
                break;
            }
        }
        drop(turn);
        self.shared.session.ring(qp.handle)
    }

    fn post_receive(&mut self) -> nix::Result<()> {
        let qp = self.qp()?;
        let queue = qp.receive.as_ref().ok_or(EMPTY)?;
        let elements = self.room()?;
        let in_turn = !self.dice.once_in(50);
        let _turn = in_turn.then(|| lock(&qp.turn));
        for _ in 0..self.dice.below(16) {
            queue.produce(&wqe::receive(&elements));
        }
        Ok(())
    }

    fn post_shared_receive(&mut self) -> nix::Result<()> {
        let srq = self.srq()?;
        let elements = self.room()?;
        let queue = srq.queue.get().ok_or(EMPTY)?;
        let in_turn = !self.dice.once_in(50);
        let _turn = in_turn.then(|| lock(&srq.turn));
        for _ in 0..self.dice.below(16) {
            queue.produce(&wqe::receive(&elements));
        }
        Ok(())
    }

    fn poll(&mut self) -> nix::Result<()> {
        let cq = self.cq()?;
        let queue = cq.queue.get().ok_or(EMPTY)?;
        let (all, failed) = queue.consume();
        self.shared.board.count_completions(all, failed);
        Ok(())
    }

    fn connect(&mut self) -> nix::Result<()> {
        let (number, qp) = self.numbered_qp()?;
        let hosts = self.shared.task.hosts;
        let process = self.shared.task.process;
        let side = match self.dice.once_in(4) {
            true => self.dice.pick(&[Side::Own, Side::Peer]),
            false => self.preferred(number),
        };
        let (gid, partner) = match side {
            Side::Own => (hosts.own, number ^ 1),
            Side::Peer => (hosts.peer, number),
        };
        let destination = Destination {
            gid,
            source_index: hosts.index,
            number: self.shared.board.number(side, process, partner),
        };
        self.connect_to(qp.handle, destination)
    }

    fn connect_to(&self, qp: Handle, destination: Destination) -> nix::Result<()> {
        let session = &self.shared.session;
        session.to_state(qp, QpState::Reset)?;
        session.to_init(qp)?;
        session.to_rtr(qp, destination)?;
        session.to_rts(qp)
    }

    fn replace_qp(&mut self) -> nix::Result<()> {
        let number = self.dice.below(QPS);
        let slot = &self.shared.objects.qps[number];
        let session = &self.shared.session;
        if let Some(old) = slot.put(None) {
            session.destroy_qp(old.handle)?;
        }
        let pd = self.pd()?;
        let (send_cq, recv_cq) = (self.cq()?.handle, self.cq()?.handle);
        let srq = match number % 4 {
            0 => Some(self.srq()?.handle),
            _ => None,
        };
        let made = session.create_qp(&QpPlan {
            pd,
            send_cq,
            recv_cq,
            srq,
            depth: self.dice.pick(&DEPTHS),
            elements: ELEMENTS,
            inline: INLINE,
        })?;
        let fd = session.uverbs().raw();
        let receive = match srq {
            Some(_) => None,
            None => Some(Queue::map(fd, made.receive)?),
        };
        let qp = Qp {
            handle: made.handle,
            number: made.number,
            send: Queue::map(fd, made.send)?,
            receive,
            turn: Default::default(),
        };
        self.shared
            .board
            .tell_number(self.shared.task.process, number, qp.number);
        if let Some(lost) = slot.put(Some(qp)) {
            session.destroy_qp(lost.handle)?;
        }
        Ok(())
    }

    fn replace_cq(&mut self) -> nix::Result<()> {
        let slot = &self.shared.objects.cqs[self.dice.below(CQS)];
        let session = &self.shared.session;
        if let Some(old) = slot.get() {
            // Refused as long as a queue pair uses it.
            session.destroy_cq(old.handle)?;
            slot.put(None);
        }
        let made = session.create_cq(self.dice.pick(&DEPTHS))?;
        let queue = Slot::default();
        queue.put(Some(Queue::map(session.uverbs().raw(), made.queue)?));
        let cq = Cq {
            handle: made.handle,
            queue,
        };
        if let Some(lost) = slot.put(Some(cq)) {
            session.destroy_cq(lost.handle)?;
        }
        Ok(())
    }

    fn replace_srq(&mut self) -> nix::Result<()> {
        let slot = &self.shared.objects.srqs[self.dice.below(SRQS)];
        let session = &self.shared.session;
        if let Some(old) = slot.get() {
            session.destroy_srq(old.handle)?;
            slot.put(None);
        }
        let pd = self.pd()?;
        let made = session.create_srq(pd, self.dice.pick(&DEPTHS), ELEMENTS)?;
        let queue = Slot::default();
        queue.put(Some(Queue::map(session.uverbs().raw(), made.queue)?));
        let srq = Srq {
            handle: made.handle,
            queue,
            turn: Default::default(),
        };
        if let Some(lost) = slot.put(Some(srq)) {
            session.destroy_srq(lost.handle)?;
        }
        Ok(())
    }

    fn replace_mr(&mut self) -> nix::Result<()> {
        let number = self.dice.below(MRS);
        let slot = &self.shared.objects.mrs[number];
        let session = &self.shared.session;
        let old = slot.put(None);
        if let Some(old) = &old {
            session.dereg_mr(old.handle)?;
        }
        let memory = match old {
            Some(old) if !self.dice.once_in(8) => old.memory.clone(),
            _ => Arc::new(Mapping::anonymous(MEMORY)?),
        };
        let pd = self.pd()?;
        let start = self.dice.below(MEMORY / 2);
        let len = 1 + self.dice.below(MEMORY - start);
        let address = memory.address() + start as u64;
        let made = session.reg_mr(pd, (address, len as u64), FULL_ACCESS)?;
        self.shared.board.tell_target(
            self.shared.task.process,
            number,
            Target {
                key: made.key,
                address,
            },
        );
        let mr = Mr {
            handle: made.handle,
            key: made.key,
            start,
            len,
            memory,
        };
        if let Some(lost) = slot.put(Some(mr)) {
            session.dereg_mr(lost.handle)?;
        }
        Ok(())
    }

    fn replace_pd(&mut self) -> nix::Result<()> {
        let slot = &self.shared.objects.pds[self.dice.below(PDS)];
        let session = &self.shared.session;
        if let Some(old) = slot.get() {
            session.dealloc_pd(*old)?;
            slot.put(None);
        }
        let pd = session.alloc_pd()?;
        if let Some(lost) = slot.put(Some(pd)) {
            session.dealloc_pd(*lost)?;
        }
        Ok(())
    }

    fn reregister(&mut self) -> nix::Result<()> {
        // Translation, domain, access: any of them.
        let flags = self.dice.pick(&[2, 2, 4, 4, 6, 1, 3, 5, 7, 0, 8]);
        let mr = self.mr()?;
        let change = Reregistration {
            flags,
            memory: (mr.memory.address() + mr.start as u64, mr.len as u64),
            pd: self.pd()?,
            access: self.dice.pick(&[
                FULL_ACCESS,
                FULL_ACCESS,
                FULL_ACCESS,
                FULL_ACCESS,
                1,
                3,
                5,
                0,
            ]),
        };
        self.shared.session.rereg_mr(mr.handle, &change)
    }

    fn resize_cq(&mut self) -> nix::Result<()> {
        let cq = self.cq()?;
        let session = &self.shared.session;
        let info = session.resize_cq(cq.handle, self.dice.pick(&DEPTHS))?;
        cq.queue
            .put(Some(Queue::map(session.uverbs().raw(), info)?));
        Ok(())
    }

    fn resize_srq(&mut self) -> nix::Result<()> {
        let srq = self.srq()?;
        let session = &self.shared.session;
        let info = session.resize_srq(srq.handle, self.dice.pick(&DEPTHS))?;
        srq.queue
            .put(Some(Queue::map(session.uverbs().raw(), info)?));
        Ok(())
    }

    fn address_handle(&mut self) -> nix::Result<()> {
        let hosts = self.shared.task.hosts;
        let to = Destination {
            gid: self.dice.pick(&[hosts.own, hosts.peer]),
            source_index: hosts.index,
            number: 0,
        };
        let pd = self.pd()?;
        let made = self.shared.session.create_ah(pd, to)?;
        if self.dice.once_in(16) {
            return Ok(());
        }
        self.shared.session.destroy_ah(made.handle)
    }

    /// Tries to talk to a host that does not exist.
    fn stranger(&mut self) -> nix::Result<()> {
        if self.shared.task.strangers == Strangers::None {
            return Ok(());
        }
        let qp = self.qp()?;
        let hosts = self.shared.task.hosts;
        let mut gid = match self.dice.below(3) {
            0 => hosts.own,
            // All hosts of the link, by multicast; a link-local address.
            1 => [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            _ => [0xfe, 0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0xff, 0xfe, 0, 0, 0],
        };
        gid[15] = self.dice.word() as u8;
        let destination = Destination {
            gid,
            source_index: self.dice.pick(&[0, 1, hosts.index]),
            number: self.dice.word() >> 8,
        };
        self.connect_to(qp.handle, destination)
    }

    /// Ends the process with everything it has, most of the times not.
    fn exit(&mut self) -> nix::Result<()> {
        const TIMES: usize = 20;
        if self.dice.once_in(TIMES) {
            std::process::exit(0);
        }
        Err(Errno::EAGAIN)
    }

    /// Rewrites a queue, and rings.
    fn scribble(&mut self) -> nix::Result<()> {
        if self.shared.task.manners == Manners::Good {
            return Ok(());
        }
        let dice = &mut self.dice;
        let objects = &self.shared.objects;
        let qp = objects.qps[dice.below(QPS)].get();
        let (cq, srq) = (
            objects.cqs[dice.below(CQS)].get(),
            objects.srqs[dice.below(SRQS)].get(),
        );
        let cq = cq.and_then(|cq| cq.queue.get());
        let srq = srq.and_then(|srq| srq.queue.get());
        for _ in 0..1 + dice.below(64) {
            let queue = match dice.below(4) {
                0 => cq.as_deref(),
                1 => srq.as_deref(),
                2 => qp.as_ref().and_then(|qp| qp.receive.as_ref()),
                _ => qp.as_ref().map(|qp| &qp.send),
            };
            if let Some(queue) = queue {
                scribble::over(queue.mapping(), dice);
            }
        }
        match qp {
            Some(qp) => self.shared.session.ring(qp.handle),
            None => Ok(()),
        }
    }
}
