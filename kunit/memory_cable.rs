// SPDX-License-Identifier: GPL-2.0

//! A cable in memory, whose ends can be opened as streams: files of our own, which behave as a stream driver's do, or may do.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::error::from_err_ptr;
use kernel::ffi::c_char;
use kernel::ffi::c_int;
use kernel::ffi::c_void;
use kernel::iov::IovIterDest;
use kernel::iov::IovIterSource;
use kernel::new_condvar;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::static_lock_class;
use kernel::sync::Arc;
use kernel::sync::CondVar;
use kernel::sync::CondVarTimeoutResult;
use kernel::sync::Mutex;
use kernel::time::Jiffies;
use kernel::types::Opaque;

use crate::stream_adapter::bindings as adapter_bindings;
use crate::stream_adapter::open_file::OpenFile;

/// Wait queues that an end has. How many of them its `poll` shows is up to its [`Manner`].
pub(crate) const QUEUES: usize = 5;

/// What is written is cut into frames of so many bytes.
pub(crate) const FRAME_LEN: usize = 4096;

/// Frames of so many bytes are long: frames of a rail's own are not.
const LONG_LEN: usize = 1024;

/// The queue that is woken for what arrives, if there are several.
const ARRIVALS: usize = 0;

/// The one that is woken for room to write.
const ROOM: usize = 1;

/// The mode bit of files that can be read and written without waiting (`include/linux/fs.h`).
const FMODE_NOWAIT: u32 = 1 << 27;

/// Wakes sleepers of one kind, one of them if they are exclusive.
const ONE_EXCLUSIVE: c_int = 1;

#[allow(
    improper_ctypes,
    reason = "the kernel's structs have empty members in some configurations"
)]
unsafe extern "C" {
    /// `include/linux/anon_inodes.h`
    fn anon_inode_getfile(
        name: *const c_char,
        operations: *const bindings::file_operations,
        private: *mut c_void,
        flags: c_int,
    ) -> *mut bindings::file;
}

/// What `poll` and wakers tell.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Events(u32);

impl Events {
    /// A wake-up that says nothing.
    pub(crate) const NONE: Self = Self(0);
    /// Something has arrived.
    pub(crate) const IN: Self = Self(bindings::POLLIN | bindings::POLLRDNORM);
    /// There is room to write.
    pub(crate) const OUT: Self = Self(bindings::POLLOUT | bindings::POLLWRNORM);
    /// The stream has come to an end.
    pub(crate) const HANG_UP: Self = Self(bindings::POLLHUP);
    /// Something is wrong with it.
    pub(crate) const ERROR: Self = Self(bindings::POLLERR);

    /// These and `others`.
    pub(crate) const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

/// How an end tells of what happens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// By so many wait queues, at most [`QUEUES`].
    Queues(usize),
    /// Not at all: `poll` gives an error and no queue (`busy_poll`).
    Nothing,
}

/// Whether calls that must not wait are understood.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nowait {
    /// They are.
    Known,
    /// They fail, as before Linux 7.3.
    Unknown,
}

/// How the files of a cable behave.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// How they tell of what happens.
    pub telling: Telling,
    /// Whether calls that must not wait are understood.
    pub nowait: Nowait,
    /// What `poll` tells once the stream is at its end.
    pub at_the_end: Events,
    /// How many frames are taken that have not left, as [`Cable::depart`] has them do. `None`: all leave at once.
    pub ring: Option<usize>,
}

impl Manner {
    /// A wait queue for each direction.
    pub(crate) const SPLIT: Self = Self::with_queues(2);

    /// So many wait queues.
    pub(crate) const fn with_queues(count: usize) -> Self {
        Self {
            telling: Telling::Queues(count),
            nowait: Nowait::Known,
            at_the_end: Events::HANG_UP,
            ring: None,
        }
    }

    /// As with `busy_poll`.
    pub(crate) const fn busy(nowait: Nowait) -> Self {
        Self {
            telling: Telling::Nothing,
            nowait,
            at_the_end: Events::NONE,
            ring: None,
        }
    }
}

/// What a read gives.
pub(crate) enum Outcome {
    /// These bytes, by as many reads as it takes.
    Bytes(KVec<u8>),
    /// This error.
    Error(Error),
    /// No bytes, this time and from then on.
    End,
}

/// Which long frames an end loses: a read gives an error in place of each.
#[derive(Clone, Copy)]
pub(crate) struct Damage {
    /// After so many.
    pub skip: u32,
    /// So many.
    pub count: u32,
    /// What the error is.
    pub error: Error,
}

/// How often an end was read.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Asked {
    /// By reads that may wait.
    pub waiting: u32,
    /// By those that may not.
    pub at_once: u32,
}

/// Whether a read or write may wait.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    Allowed,
    Forbidden,
}

impl Waiting {
    /// # Safety
    ///
    /// `kiocb` must be valid.
    unsafe fn of(kiocb: *const bindings::kiocb) -> Self {
        // SAFETY: The caller says so. The flag of the call is the one of the file's as well.
        let flags = unsafe { (*kiocb).ki_flags };
        if flags & adapter_bindings::stream_shim_rwf_nowait != 0 {
            Self::Forbidden
        } else {
            Self::Allowed
        }
    }
}

/// One of a cable's two ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// This one.
    Left,
    /// That one.
    Right,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// Whether an end has a peer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// It has.
    Attached,
    /// It has none, as behind a cable that was pulled.
    Gone,
}

/// What happened to an end while it had no peer.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct WithoutPeer {
    /// How often it was opened.
    pub opened: u32,
    /// How often it was asked what it is ready for.
    pub polled: u32,
    /// How often it was closed.
    pub closed: u32,
}

struct EndState {
    is_open: bool,
    peer: Peer,
    without_peer: WithoutPeer,
    outcomes: KVec<Outcome>,
    /// Bytes of the first outcome that have been read.
    taken: usize,
    damage: Option<Damage>,
    /// What all reads fail with.
    broken: Option<Error>,
    asked: Asked,
    /// How often it was asked what it is ready for.
    polled: u32,
    /// How often something was written.
    writes: u32,
    /// By others than who has opened it, as far as their rights go.
    writes_by_others: u32,
    /// Frames that were written and have not left, if they do not leave at once.
    in_ring: usize,
}

impl EndState {
    /// What the next read gives, if there is anything to be read.
    fn take(&mut self, into: &mut IovIterDest<'_>) -> Option<Result<usize>> {
        if self.peer == Peer::Gone {
            return Some(Err(ENXIO));
        }
        if let Some(error) = self.broken {
            return Some(Err(error));
        }
        let (result, is_over) = match self.outcomes.first()? {
            Outcome::Bytes(bytes) => {
                let read = into.copy_to_iter(&bytes[self.taken..]);
                self.taken += read;
                (Ok(read), self.taken == bytes.len())
            }
            Outcome::Error(error) => (Err(*error), true),
            Outcome::End => (Ok(0), false),
        };
        if is_over {
            self.taken = 0;
            let _ = self.outcomes.remove(0);
        }
        Some(result)
    }

    /// Whether a frame of this length is lost.
    fn is_lost(&mut self, len: usize) -> Option<Error> {
        let damage = self.damage.as_mut().filter(|_| len >= LONG_LEN)?;
        if damage.skip > 0 {
            damage.skip -= 1;
            return None;
        }
        damage.count = damage.count.checked_sub(1)?;
        Some(damage.error)
    }
}

/// One end of a cable.
///
/// # Invariants
///
/// `queues` are initialised.
#[pin_data]
struct End {
    #[pin]
    state: Mutex<EndState>,
    /// Wakes reads that wait.
    #[pin]
    arrival: CondVar,
    #[pin]
    queues: Opaque<[bindings::wait_queue_head; QUEUES]>,
}

// SAFETY: Wait queues may be used by any thread.
unsafe impl Send for End {}

// SAFETY: Wait queues have locks of their own.
unsafe impl Sync for End {}

impl End {
    fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            state <- new_mutex!(EndState {
                is_open: false,
                peer: Peer::Attached,
                without_peer: WithoutPeer::default(),
                outcomes: KVec::new(),
                taken: 0,
                damage: None,
                broken: None,
                asked: Asked::default(),
                polled: 0,
                writes: 0,
                writes_by_others: 0,
                in_ring: 0,
            }),
            arrival <- new_condvar!(),
            queues <- Opaque::ffi_init(|queues: *mut [bindings::wait_queue_head; QUEUES]| {
                let key = static_lock_class!();
                for index in 0..QUEUES {
                    let queue = queues.cast::<bindings::wait_queue_head>().wrapping_add(index);
                    // SAFETY: The queue may be written; name and key are static.
                    unsafe {
                        bindings::__init_waitqueue_head(
                            queue,
                            c"memory_cable".as_char_ptr(),
                            key.as_ptr(),
                        )
                    };
                }
            }),
        })
    }

    fn queue(&self, index: usize) -> *mut bindings::wait_queue_head {
        self.queues
            .get()
            .cast::<bindings::wait_queue_head>()
            .wrapping_add(index)
    }

    fn wake(&self, queue: usize, events: Events) {
        // SAFETY: The queue is initialised, by the type's invariants.
        unsafe {
            bindings::__wake_up(
                self.queue(queue),
                bindings::TASK_INTERRUPTIBLE,
                ONE_EXCLUSIVE,
                events.0 as usize as *mut c_void,
            )
        };
    }

    fn give(&self, outcome: Outcome) -> Result {
        let mut state = self.state.lock();
        state.outcomes.push(outcome, GFP_KERNEL)?;
        drop(state);
        self.arrival.notify_all();
        Ok(())
    }

    /// A frame has been sent to this end, which nobody hears of if it is not open.
    fn arrive(&self, frame: KVec<u8>) -> Result {
        let mut state = self.state.lock();
        if !state.is_open || state.peer == Peer::Gone {
            return Ok(());
        }
        let lost = state.is_lost(frame.len());
        drop(state);
        self.give(lost.map_or(Outcome::Bytes(frame), Outcome::Error))?;
        self.wake(ARRIVALS, Events::IN);
        Ok(())
    }

    fn read(&self, into: &mut IovIterDest<'_>, waiting: Waiting) -> Result<usize> {
        let mut state = self.state.lock();
        match waiting {
            Waiting::Allowed => state.asked.waiting += 1,
            Waiting::Forbidden => state.asked.at_once += 1,
        }
        loop {
            if let Some(result) = state.take(into) {
                return result;
            }
            if waiting == Waiting::Forbidden {
                return Err(EAGAIN);
            }
            if self.arrival.wait_interruptible(&mut state) {
                return Err(ERESTARTSYS);
            }
        }
    }

    fn ready(&self, at_the_end: Events) -> Events {
        let mut state = self.state.lock();
        state.polled += 1;
        self.arrival.notify_all();
        if state.peer == Peer::Gone {
            state.without_peer.polled += 1;
            return Events::ERROR.with(Events::HANG_UP);
        }
        if state.broken.is_some() {
            return Events::IN.with(Events::OUT);
        }
        match state.outcomes.first() {
            None => Events::OUT,
            Some(Outcome::Bytes(_) | Outcome::Error(_)) => Events::IN.with(Events::OUT),
            Some(Outcome::End) => at_the_end,
        }
    }
}

/// A cable with two ends.
#[pin_data]
pub(crate) struct Cable {
    manner: Manner,
    #[pin]
    left: End,
    #[pin]
    right: End,
}

impl Cable {
    /// A cable that nobody has opened.
    pub(crate) fn new(manner: Manner) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                manner,
                left <- End::new(),
                right <- End::new(),
            }),
            GFP_KERNEL,
        )
    }

    fn end(&self, side: Side) -> &End {
        match side {
            Side::Left => &self.left,
            Side::Right => &self.right,
        }
    }

    /// Opens an end. What was there to be read is gone.
    pub(crate) fn open(this: &Arc<Self>, side: Side) -> Result<OpenFile> {
        let opened = Opened {
            cable: this.clone(),
            side,
        };
        let private: *mut c_void = KBox::into_raw(KBox::new(opened, GFP_KERNEL)?).cast();
        // SAFETY: The operations are static, and take `private` for an `Opened`, which `release` frees.
        let file = from_err_ptr(unsafe {
            anon_inode_getfile(
                c"[memory_cable]".as_char_ptr(),
                &OPERATIONS,
                private,
                adapter_bindings::O_RDWR as c_int,
            )
        });
        let file = match file.map(NonNull::new) {
            Ok(Some(file)) => file,
            result => {
                // SAFETY: There is no file, so that it is still ours.
                drop(unsafe { KBox::<Opened>::from_raw(private.cast()) });
                return Err(result.err().unwrap_or(ENODEV));
            }
        };
        if this.manner.nowait == Nowait::Known {
            // SAFETY: Nobody else knows the file yet.
            unsafe { (*file.as_ptr()).f_mode |= FMODE_NOWAIT };
        }
        let mut state = this.end(side).state.lock();
        state.is_open = true;
        state.outcomes.clear();
        state.taken = 0;
        if state.peer == Peer::Gone {
            state.without_peer.opened += 1;
        }
        drop(state);
        // SAFETY: The file is open for reading and writing, and its one reference is ours.
        Ok(unsafe { OpenFile::from_raw(file) })
    }

    /// Puts `outcome` behind what there is to be read at an end, and tells nobody but reads that wait.
    pub(crate) fn give(&self, side: Side, outcome: Outcome) -> Result {
        self.end(side).give(outcome)
    }

    /// Sends a frame to an end, as if the other one had written it.
    pub(crate) fn send(&self, side: Side, frame: &[u8]) -> Result {
        let mut copy = KVec::new();
        copy.extend_from_slice(frame, GFP_KERNEL)?;
        self.end(side).arrive(copy)
    }

    /// Takes what has arrived first at an end, which nobody has begun to read. Waits for it, and fails with `ETIMEDOUT` if that takes
    /// longer than `limit`.
    pub(crate) fn take(&self, side: Side, limit: Jiffies) -> Result<Outcome> {
        self.await_state(side, |state| !state.outcomes.is_empty(), limit)?;
        let taken = self.end(side).state.lock().outcomes.remove(0);
        taken.map_err(|_| ETIMEDOUT)
    }

    /// Whether there is anything to be taken.
    pub(crate) fn has_more(&self, side: Side) -> bool {
        !self.end(side).state.lock().outcomes.is_empty()
    }

    /// Wakes one of the wait queues of an end.
    pub(crate) fn wake(&self, side: Side, queue: usize, events: Events) {
        self.end(side).wake(queue, events);
    }

    /// Whether anyone listens to that queue.
    pub(crate) fn is_heard(&self, side: Side, queue: usize) -> bool {
        let queue = self.end(side).queue(queue);
        // SAFETY: The queue is initialised; nobody enters or leaves meanwhile.
        unsafe { (*queue).head.next != &raw mut (*queue).head }
    }

    /// How often an end has been read.
    pub(crate) fn asked(&self, side: Side) -> Asked {
        self.end(side).state.lock().asked
    }

    /// Loses long frames on their way to an end.
    pub(crate) fn damage(&self, side: Side, damage: Damage) {
        self.end(side).state.lock().damage = Some(damage);
    }

    /// From now on all reads of an end fail.
    pub(crate) fn break_down(&self, side: Side, error: Error) {
        let end = self.end(side);
        end.state.lock().broken = Some(error);
        end.arrival.notify_all();
        end.wake(ARRIVALS, Events::IN);
    }

    /// From now on they do not.
    pub(crate) fn repair(&self, side: Side) {
        self.end(side).state.lock().broken = None;
    }

    /// Takes the peer from an end: it can be opened as in the moment in which a cable is pulled.
    pub(crate) fn lose_peer(&self, side: Side) {
        self.end(side).state.lock().peer = Peer::Gone;
    }

    /// Gives it back.
    pub(crate) fn return_peer(&self, side: Side) {
        self.end(side).state.lock().peer = Peer::Attached;
    }

    /// Waits until an end has been polled so many times. Fails with `ETIMEDOUT` if that takes longer than `limit`.
    pub(crate) fn await_polls(&self, side: Side, polls: u32, limit: Jiffies) -> Result {
        self.await_state(side, |state| state.polled >= polls, limit)
    }

    /// Waits until an end without a peer has been polled so many times. Fails as [`Self::await_polls`] does.
    pub(crate) fn await_polls_without_peer(
        &self,
        side: Side,
        polls: u32,
        limit: Jiffies,
    ) -> Result {
        self.await_state(side, |state| state.without_peer.polled >= polls, limit)
    }

    /// Waits until an end has been written to so many times. Fails as [`Self::await_polls`] does.
    pub(crate) fn await_writes(&self, side: Side, writes: u32, limit: Jiffies) -> Result {
        self.await_state(side, |state| state.writes >= writes, limit)
    }

    fn await_state(
        &self,
        side: Side,
        is_reached: impl Fn(&EndState) -> bool,
        limit: Jiffies,
    ) -> Result {
        let end = self.end(side);
        let mut state = end.state.lock();
        let mut left = limit;
        while !is_reached(&state) {
            match end.arrival.wait_interruptible_timeout(&mut state, left) {
                CondVarTimeoutResult::Woken { jiffies } => left = jiffies,
                CondVarTimeoutResult::Timeout | CondVarTimeoutResult::Signal { .. } => {
                    return Err(ETIMEDOUT);
                }
            }
        }
        Ok(())
    }

    /// How often an end was asked what it is ready for.
    pub(crate) fn polled(&self, side: Side) -> u32 {
        self.end(side).state.lock().polled
    }

    /// How often an end has been written to.
    pub(crate) fn writes(&self, side: Side) -> u32 {
        self.end(side).state.lock().writes
    }

    /// How often an end has been written to by other rights than those of who has opened it.
    pub(crate) fn writes_by_others(&self, side: Side) -> u32 {
        self.end(side).state.lock().writes_by_others
    }

    /// So many of the frames that were written leave the ring of an end, one by one.
    pub(crate) fn depart(&self, side: Side, frames: usize) {
        let end = self.end(side);
        for _ in 0..frames {
            end.state.lock().in_ring -= 1;
            end.arrival.notify_all();
            end.wake(ROOM, Events::OUT);
        }
    }

    /// What has happened to an end without a peer.
    pub(crate) fn without_peer(&self, side: Side) -> WithoutPeer {
        self.end(side).state.lock().without_peer
    }

    fn close(&self, side: Side) {
        let mut state = self.end(side).state.lock();
        if state.peer == Peer::Gone {
            state.without_peer.closed += 1;
        }
        state.is_open = false;
        state.outcomes.clear();
        drop(state);
        let other = self.end(side.other());
        // Who is not told of the end finds the peer silent.
        let is_told = other.state.lock().is_open && other.give(Outcome::End).is_ok();
        if is_told {
            other.wake(ARRIVALS, Events::IN.with(Events::HANG_UP));
            other.wake(ROOM, Events::OUT.with(Events::HANG_UP));
        }
    }

    fn write(&self, side: Side, from: &mut IovIterSource<'_>, waiting: Waiting) -> Result<usize> {
        let ring = self.manner.ring.unwrap_or(usize::MAX);
        let own = self.end(side);
        let mut state = own.state.lock();
        while state.in_ring >= ring {
            if waiting == Waiting::Forbidden {
                return Err(EAGAIN);
            }
            if own.arrival.wait_interruptible(&mut state) {
                return Err(ERESTARTSYS);
            }
        }
        let room = ring - state.in_ring;
        drop(state);
        let (mut written, mut frames) = (0, 0);
        while !from.is_empty() && frames < room {
            let mut frame = KVec::from_elem(0, from.len().min(FRAME_LEN), GFP_KERNEL)?;
            if from.copy_from_iter(&mut frame) != frame.len() {
                return Err(EFAULT);
            }
            written += frame.len();
            frames += 1;
            self.end(side.other()).arrive(frame)?;
        }
        let mut state = own.state.lock();
        state.writes += 1;
        if self.manner.ring.is_some() {
            state.in_ring += frames;
        }
        drop(state);
        own.arrival.notify_all();
        if self.manner.ring.is_none() {
            own.wake(ROOM, Events::OUT);
        }
        Ok(written)
    }
}

/// What a file of ours is.
struct Opened {
    cable: Arc<Cable>,
    side: Side,
}

impl Opened {
    /// # Safety
    ///
    /// `file` must have been opened by [`Cable::open`], and stay open for as long as the result is used.
    unsafe fn of<'a>(file: *mut bindings::file) -> &'a Self {
        // SAFETY: Such a file's private data is an `Opened` until it is released.
        unsafe { &*(*file).private_data.cast() }
    }
}

/// What the kernel does with our files.
const OPERATIONS: bindings::file_operations = bindings::file_operations {
    read_iter: Some(read_iter),
    write_iter: Some(write_iter),
    poll: Some(poll),
    release: Some(release),
    ..pin_init::zeroed()
};

/// # Safety
///
/// To be called by the kernel as `read_iter` of a file of ours.
unsafe extern "C" fn read_iter(
    kiocb: *mut bindings::kiocb,
    iter: *mut bindings::iov_iter,
) -> isize {
    // SAFETY: The kernel passes what the call is about, and keeps the file open.
    let (opened, waiting) = unsafe { (Opened::of((*kiocb).ki_filp), Waiting::of(kiocb)) };
    // SAFETY: The kernel passes an iterator over what is to be written to.
    let into = unsafe { IovIterDest::from_raw(iter) };
    as_c(opened.cable.end(opened.side).read(into, waiting))
}

/// # Safety
///
/// To be called by the kernel as `write_iter` of a file of ours.
unsafe extern "C" fn write_iter(
    kiocb: *mut bindings::kiocb,
    iter: *mut bindings::iov_iter,
) -> isize {
    // SAFETY: The kernel passes what the call is about, and keeps the file open.
    let (opened, waiting) = unsafe { (Opened::of((*kiocb).ki_filp), Waiting::of(kiocb)) };
    // SAFETY: The file is open, and the current thread has credentials.
    let is_by_another = unsafe {
        (*bindings::get_current()).cred.cast::<c_void>() != (*(*kiocb).ki_filp).f_cred.cast()
    };
    if is_by_another {
        opened.cable.end(opened.side).state.lock().writes_by_others += 1;
    }
    // SAFETY: The kernel passes an iterator over what is to be read from.
    let from = unsafe { IovIterSource::from_raw(iter) };
    as_c(opened.cable.write(opened.side, from, waiting))
}

/// # Safety
///
/// To be called as `poll` of a file of ours, with a table that is NULL or valid.
unsafe extern "C" fn poll(
    file: *mut bindings::file,
    table: *mut bindings::poll_table_struct,
) -> bindings::__poll_t {
    // SAFETY: The caller keeps the file open.
    let opened = unsafe { Opened::of(file) };
    let end = opened.cable.end(opened.side);
    let manner = opened.cable.manner;
    match manner.telling {
        Telling::Queues(count) => {
            for index in 0..count {
                // SAFETY: File, queue and table are valid. The queue lives as long as the file is open, and longer than
                // any waiter may be in it.
                unsafe { bindings::poll_wait(file, end.queue(index), table) };
            }
            end.ready(manner.at_the_end).0
        }
        Telling::Nothing => Events::ERROR.0,
    }
}

/// # Safety
///
/// To be called by the kernel as `release` of a file of ours.
unsafe extern "C" fn release(_inode: *mut bindings::inode, file: *mut bindings::file) -> c_int {
    // SAFETY: The private data is an `Opened`, which came from `into_raw`, and this is its last use.
    let opened = unsafe { KBox::<Opened>::from_raw((*file).private_data.cast()) };
    opened.cable.close(opened.side);
    0
}

/// Turns a result into the C convention.
fn as_c(result: Result<usize>) -> isize {
    match result {
        Ok(n) => n as isize,
        Err(error) => error.to_errno() as isize,
    }
}
