// SPDX-License-Identifier: GPL-2.0

//! Reading from streams that behave as the drivers do, or as later ones may.
//!
//! No reader asks by itself before it is told, unless the test says so: what it does not hear, it never finds.

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::task::MAX_SCHEDULE_TIMEOUT;
use kernel::time::msecs_to_jiffies;
use kernel::time::Jiffies;

use crate::base::bounce_buffer::BounceBuffer;
use crate::base::event::Event;
use crate::base::event::Wake;
use crate::base::kthread::Kthread;
use crate::base::page_vec::PageVec;
use crate::memory_cable::Cable;
use crate::memory_cable::Events;
use crate::memory_cable::Manner;
use crate::memory_cable::Outcome;
use crate::memory_cable::Side;
use crate::memory_cable::FRAME_LEN;
use crate::stream_adapter::stream_file::Nap;
use crate::stream_adapter::stream_file::Read;
use crate::stream_adapter::stream_file::StreamFile;
use crate::stream_adapter::stream_file::Wanted;
use crate::stream_adapter::stream_waiter::Patience;

/// A reader that never asks by itself.
const FOR_EVER: Jiffies = MAX_SCHEDULE_TIMEOUT as Jiffies;

/// The end that is read.
const END: Side = Side::Left;

/// Longer than anything here takes on a slow machine.
const LONG_MS: u32 = 20_000;

/// Room for a read.
const ROOM: usize = 64;

/// A stream and its cable.
struct Fixture {
    file: Arc<StreamFile>,
    cable: Arc<Cable>,
}

impl Fixture {
    fn new(manner: Manner) -> Result<Self> {
        let patience = Patience {
            idle: FOR_EVER,
            under_way: FOR_EVER,
        };
        Self::with_patience(manner, patience)
    }

    fn with_patience(manner: Manner, patience: Patience) -> Result<Self> {
        let cable = Cable::new(manner)?;
        let file = StreamFile::new(Cable::open(&cable, END)?, patience)?;
        Ok(Self {
            file: Arc::new(file, GFP_KERNEL)?,
            cable,
        })
    }

    fn give(&self, outcome: Outcome) -> Result {
        self.cable.give(END, outcome)
    }

    fn give_bytes(&self, bytes: &[u8]) -> Result {
        let mut copy = KVec::new();
        copy.extend_from_slice(bytes, GFP_KERNEL)?;
        self.give(Outcome::Bytes(copy))
    }

    /// Reads in this thread, where something must be there.
    fn read(&self) -> Result<Read> {
        self.file
            .read(&mut [0; ROOM], Wanted::Anything, || Nap::Long)
    }

    /// Reads once: the first read takes for granted that there may be something, and sleeps in the stream's read if there is not.
    fn begin(&self) -> Result {
        self.give_bytes(&[0])?;
        self.read().map(|_| ())
    }

    /// A reader that does not sleep in the stream's read, and is about to sleep.
    fn listener(&self) -> Result<Listener> {
        self.begin()?;
        let listener = Listener::start(&self.file, Wanted::Anything)?;
        listener.await_sleep()?;
        Ok(listener)
    }
}

/// What a [`Listener`] shares with its thread.
#[pin_data]
struct Heard {
    /// Raised whenever the reader is about to sleep.
    #[pin]
    sleep: Event,
    /// Raised when it has read.
    #[pin]
    end: Event,
    #[pin]
    result: Mutex<Option<Result<Read>>>,
}

/// A thread that reads once.
struct Listener {
    heard: Arc<Heard>,
    thread: Kthread,
}

impl Listener {
    fn start(file: &Arc<StreamFile>, wanted: Wanted) -> Result<Self> {
        let heard = Arc::pin_init(
            pin_init!(Heard {
                sleep <- Event::new(),
                end <- Event::new(),
                result <- new_mutex!(None),
            }),
            GFP_KERNEL,
        )?;
        let (for_thread, file) = (heard.clone(), file.clone());
        let thread = Kthread::spawn(c"kunit_listener", move || {
            let result = file.read(&mut [0; ROOM], wanted, || {
                for_thread.sleep.raise();
                Nap::Long
            });
            *for_thread.result.lock() = Some(result);
            for_thread.end.raise();
        })?;
        Ok(Self { heard, thread })
    }

    fn await_sleep(&self) -> Result {
        await_raised(&self.heard.sleep)
    }

    /// What it has read; an error of ours if it does not come to an end.
    fn end(self) -> Result<Result<Read>> {
        await_raised(&self.heard.end)?;
        self.stop()
    }

    /// What it has read by the time that its thread has been stopped.
    fn stop(self) -> Result<Result<Read>> {
        drop(self.thread);
        let result = self.heard.result.lock().take();
        result.ok_or(ETIMEDOUT)
    }
}

/// Threads of a test that fails are stopped only by what unwinds it: an error, no assertion.
fn await_raised(event: &Event) -> Result {
    match event.wait(msecs_to_jiffies(LONG_MS)) {
        Wake::Raised => Ok(()),
        Wake::Timeout | Wake::Interrupted => Err(ETIMEDOUT),
    }
}

/// Writes so many frames in one go, at most as many as a long segment takes.
fn write_frames(file: &StreamFile, count: usize) -> Result {
    let buffer = BounceBuffer::new(count * FRAME_LEN)?;
    let mut list = PageVec::new();
    // SAFETY: The buffer outlives the list, and nothing changes it.
    unsafe { buffer.push_to(0..count * FRAME_LEN, &mut list)? };
    file.write(&list)
}

fn error(code: u32) -> Error {
    Error::from_errno(-(code as i32))
}

#[kunit_tests(usb4_roce_stream)]
mod tests {
    use super::*;
    use crate::memory_cable::Asked;
    use crate::memory_cable::Nowait;
    use crate::memory_cable::QUEUES;
    use crate::stream_adapter::damaged_reads::DamagedReads;
    use crate::transport::ids::Duration;
    use crate::transport::ids::Instant;
    use kernel::bindings;

    const SHORT_MS: u32 = 100;

    /// As many queues as are listened to.
    const HEARD_QUEUES: usize = QUEUES - 1;

    /// The errors of damaged frames.
    const DAMAGE: [u32; 4] = [
        bindings::EIO,
        bindings::EBADMSG,
        bindings::EILSEQ,
        bindings::EPROTO,
    ];

    #[test]
    fn damage_is_no_end() -> Result {
        for manner in [Manner::SPLIT, Manner::busy(Nowait::Known)] {
            for code in DAMAGE {
                let stream = Fixture::new(manner)?;
                stream.give_bytes(b"before")?;
                stream.give(Outcome::Error(error(code)))?;
                stream.give(Outcome::Error(error(code)))?;
                stream.give_bytes(b"behind it")?;
                assert!(stream.read() == Ok(Read::Bytes(6)));
                assert!(stream.read() == Ok(Read::Damaged(error(code))));
                assert!(stream.read() == Ok(Read::Damaged(error(code))));
                assert!(stream.read() == Ok(Read::Bytes(9)));
            }
        }
        Ok(())
    }

    #[test]
    fn other_errors_are_an_end() -> Result {
        for manner in [Manner::SPLIT, Manner::busy(Nowait::Known)] {
            for (given, told) in [
                (Outcome::Error(ENXIO), ENXIO),
                (Outcome::Error(ENODEV), ENODEV),
                (Outcome::Error(ERESTARTSYS), EINTR),
                (Outcome::End, EPIPE),
            ] {
                let stream = Fixture::new(manner)?;
                stream.give(given)?;
                assert!(stream.read() == Err(told));
            }
        }
        Ok(())
    }

    #[test]
    fn arrivals_are_heard_on_each_queue() -> Result {
        for queue in 0..HEARD_QUEUES {
            let stream = Fixture::new(Manner::with_queues(HEARD_QUEUES))?;
            let listener = stream.listener()?;
            stream.give_bytes(b"news")?;
            stream.cable.wake(END, queue, Events::IN);
            assert!(listener.end()? == Ok(Read::Bytes(4)));
        }
        Ok(())
    }

    #[test]
    fn damage_is_heard_as_arrivals_are() -> Result {
        let stream = Fixture::new(Manner::SPLIT)?;
        let listener = stream.listener()?;
        stream.give(Outcome::Error(EIO))?;
        stream.cable.wake(END, 0, Events::IN);
        assert!(listener.end()? == Ok(Read::Damaged(EIO)));
        Ok(())
    }

    #[test]
    fn a_waker_that_says_nothing_has_the_stream_read() -> Result {
        for at_the_end in [Events::NONE, Events::OUT, Events::HANG_UP] {
            let stream = Fixture::new(Manner {
                at_the_end,
                ..Manner::SPLIT
            })?;
            let listener = stream.listener()?;
            stream.give(Outcome::End)?;
            stream.cable.wake(END, 1, Events::NONE);
            assert!(listener.end()? == Err(EPIPE));
        }
        Ok(())
    }

    /// That a reader hears of the end of a stream that is told with `events`.
    fn check_end_is_heard(events: Events) -> Result {
        let stream = Fixture::new(Manner::SPLIT)?;
        let listener = stream.listener()?;
        stream.give(Outcome::End)?;
        stream.cable.wake(END, 1, events);
        assert!(listener.end()? == Err(EPIPE));
        Ok(())
    }

    #[test]
    fn an_end_is_heard() -> Result {
        check_end_is_heard(Events::HANG_UP)?;
        check_end_is_heard(Events::ERROR)?;
        check_end_is_heard(Events::HANG_UP.with(Events::ERROR))
    }

    #[test]
    fn an_end_told_as_an_arrival_is_heard() -> Result {
        check_end_is_heard(Events::HANG_UP.with(Events::IN))
    }

    #[test]
    fn an_end_told_as_room_to_write_is_heard() -> Result {
        check_end_is_heard(Events::HANG_UP.with(Events::OUT))?;
        check_end_is_heard(Events::ERROR.with(Events::OUT))
    }

    #[test]
    fn room_to_write_is_no_arrival() -> Result {
        let stream = Fixture::new(Manner::SPLIT)?;
        let listener = stream.listener()?;
        stream.cable.wake(END, 0, Events::OUT);
        stream.cable.wake(END, 1, Events::OUT);
        // One that wakes goes to sleep again, for nothing has come.
        let slept_again = listener.heard.sleep.wait(msecs_to_jiffies(SHORT_MS));
        let result = listener.stop()?;
        assert_eq!(slept_again, Wake::Timeout);
        assert!(result == Err(EINTR));
        Ok(())
    }

    #[test]
    fn what_nobody_announces_is_found_when_patience_is_over() -> Result {
        let patience = Patience {
            idle: msecs_to_jiffies(SHORT_MS),
            under_way: FOR_EVER,
        };
        let stream = Fixture::with_patience(Manner::SPLIT, patience)?;
        let listener = stream.listener()?;
        stream.give_bytes(b"news")?;
        assert!(listener.end()? == Ok(Read::Bytes(4)));
        Ok(())
    }

    #[test]
    fn a_driver_that_can_only_wait_is_asked_what_has_come() -> Result {
        let stream = Fixture::new(Manner {
            nowait: Nowait::Unknown,
            ..Manner::SPLIT
        })?;
        let listener = stream.listener()?;
        stream.give_bytes(b"news")?;
        stream.cable.wake(END, 0, Events::IN);
        assert!(listener.end()? == Ok(Read::Bytes(4)));
        let asked = Asked {
            waiting: 2,
            at_once: 0,
        };
        assert_eq!(stream.cable.asked(END), asked);
        Ok(())
    }

    #[test]
    fn what_has_come_is_read_without_being_asked_for_first() -> Result {
        let stream = Fixture::new(Manner::SPLIT)?;
        stream.begin()?;
        stream.give_bytes(b"news")?;
        let polled = stream.cable.polled(END);
        assert!(stream.read() == Ok(Read::Bytes(4)));
        assert_eq!(stream.cable.polled(END), polled);
        Ok(())
    }

    /// What a reader that waits for the rest of something in `count` frames gives after it was told of all but one of them, and
    /// then of that one.
    fn check_rest(count: usize) -> Result {
        let stream = Fixture::new(Manner::SPLIT)?;
        stream.begin()?;
        let polled = stream.cable.polled(END);
        let listener = Listener::start(&stream.file, Wanted::Rest(count * FRAME_LEN))?;
        // It has looked once before it sleeps.
        stream
            .cable
            .await_polls(END, polled + 1, msecs_to_jiffies(LONG_MS))?;
        for _ in 1..count {
            stream.cable.wake(END, 0, Events::IN);
        }
        let woken_early = listener.heard.end.wait(msecs_to_jiffies(SHORT_MS));
        let polled_early = stream.cable.polled(END);
        stream.give_bytes(b"all")?;
        stream.cable.wake(END, 0, Events::IN);
        assert!(listener.end()? == Ok(Read::Bytes(3)));
        assert_eq!(woken_early, Wake::Timeout);
        assert_eq!(polled_early, polled + 1);
        Ok(())
    }

    #[test]
    fn a_reader_of_the_rest_is_woken_by_its_last_frame() -> Result {
        check_rest(1)?;
        check_rest(3)?;
        check_rest(8)
    }

    #[test]
    fn an_end_is_heard_by_a_reader_of_the_rest() -> Result {
        let stream = Fixture::new(Manner::SPLIT)?;
        stream.begin()?;
        let listener = Listener::start(&stream.file, Wanted::Rest(8 * FRAME_LEN))?;
        stream.give(Outcome::End)?;
        stream.cable.wake(END, 1, Events::HANG_UP);
        assert!(listener.end()? == Err(EPIPE));
        Ok(())
    }

    #[test]
    fn a_rest_that_was_lost_is_not_waited_for() -> Result {
        let patience = Patience {
            idle: FOR_EVER,
            under_way: msecs_to_jiffies(SHORT_MS),
        };
        let stream = Fixture::with_patience(Manner::SPLIT, patience)?;
        stream.begin()?;
        let listener = Listener::start(&stream.file, Wanted::Rest(8 * FRAME_LEN))?;
        // What it has got is answered when there is no more to come.
        listener.await_sleep()?;
        stream.give_bytes(b"next")?;
        stream.cable.wake(END, 0, Events::IN);
        assert!(listener.end()? == Ok(Read::Bytes(4)));
        Ok(())
    }

    /// Room for this many frames, as in a ring of the driver.
    const RING: usize = 20;

    /// Frames that a writer waits for when the ring is full.
    const DEPARTURES: usize = 16;

    #[test]
    fn who_finds_a_stream_full_waits_for_room_for_several_frames() -> Result {
        let stream = Fixture::new(Manner {
            ring: Some(RING),
            ..Manner::SPLIT
        })?;
        let file = stream.file.clone();
        let ended = Arc::pin_init(Event::new(), GFP_KERNEL)?;
        let raiser = ended.clone();
        let thread = Kthread::spawn(c"kunit_writer", move || {
            if write_frames(&file, DEPARTURES)
                .and_then(|()| write_frames(&file, DEPARTURES))
                .is_ok()
            {
                raiser.raise();
            }
        })?;
        stream
            .cable
            .await_writes(END, 2, msecs_to_jiffies(LONG_MS))?;
        stream.cable.depart(END, DEPARTURES - 1);
        let ended_early = ended.wait(msecs_to_jiffies(SHORT_MS));
        let writes_early = stream.cable.writes(END);
        stream.cable.depart(END, 1);
        await_raised(&ended)?;
        drop(thread);
        assert_eq!(ended_early, Wake::Timeout);
        assert_eq!(writes_early, 2);
        assert_eq!(stream.cable.writes(END), 3);
        Ok(())
    }

    #[test]
    fn what_anybody_sends_is_written_by_the_rights_of_who_opened_the_stream() -> Result {
        let stream = Fixture::new(Manner::SPLIT)?;
        // SAFETY: Credentials may be copied by any thread, and become its own for good.
        unsafe {
            let copy = bindings::prepare_creds();
            if copy.is_null() {
                return Err(ENOMEM);
            }
            bindings::commit_creds(copy);
        }
        let buffer = BounceBuffer::new(FRAME_LEN)?;
        let mut list = PageVec::new();
        // SAFETY: The buffer outlives the list, and nothing changes it.
        unsafe { buffer.push_to(0..FRAME_LEN, &mut list)? };
        stream.file.try_write(&list)?;
        assert_eq!(stream.cable.writes(END), 1);
        assert_eq!(stream.cable.writes_by_others(END), 0);
        Ok(())
    }

    #[test]
    fn more_queues_than_are_listened_to_do_no_harm() -> Result {
        let stream = Fixture::new(Manner::with_queues(QUEUES))?;
        for queue in 0..QUEUES {
            assert_eq!(stream.cable.is_heard(END, queue), queue < HEARD_QUEUES);
        }
        let listener = stream.listener()?;
        stream.give_bytes(b"news")?;
        stream.cable.wake(END, HEARD_QUEUES, Events::IN);
        stream.cable.wake(END, 0, Events::IN);
        assert!(listener.end()? == Ok(Read::Bytes(4)));
        Ok(())
    }

    #[test]
    fn nobody_listens_to_a_stream_that_is_closed() -> Result {
        let Fixture { file, cable } = Fixture::new(Manner::with_queues(QUEUES))?;
        assert!(cable.is_heard(END, 0));
        drop(file);
        for queue in 0..QUEUES {
            assert!(!cable.is_heard(END, queue));
            // Whoever were still there would be used after it is gone.
            cable.wake(END, queue, Events::IN);
        }
        Ok(())
    }

    #[test]
    fn a_stream_that_tells_nothing_is_asked_without_waiting() -> Result {
        let stream = Fixture::new(Manner::busy(Nowait::Known))?;
        for _ in 0..3 {
            stream.give(Outcome::Error(EAGAIN))?;
        }
        stream.give_bytes(b"news")?;
        let mut pauses = 0;
        let read = stream.file.read(&mut [0; ROOM], Wanted::Anything, || {
            pauses += 1;
            Nap::Long
        });
        assert!(read == Ok(Read::Bytes(4)));
        assert_eq!(pauses, 3);
        let asked = Asked {
            waiting: 0,
            at_once: 4,
        };
        assert_eq!(stream.cable.asked(END), asked);
        Ok(())
    }

    #[test]
    fn asking_ends_with_the_thread() -> Result {
        let stream = Fixture::new(Manner::busy(Nowait::Known))?;
        let listener = Listener::start(&stream.file, Wanted::Anything)?;
        for _ in 0..3 {
            listener.await_sleep()?;
        }
        let result = listener.stop()?;
        assert!(result == Err(EINTR));
        assert_eq!(stream.cable.asked(END).waiting, 0);
        Ok(())
    }

    #[test]
    fn a_stream_that_can_only_wait_is_waited_for() -> Result {
        let stream = Fixture::new(Manner::busy(Nowait::Unknown))?;
        let listener = Listener::start(&stream.file, Wanted::Anything)?;
        listener.await_sleep()?;
        stream.give_bytes(b"news")?;
        assert!(listener.end()? == Ok(Read::Bytes(4)));
        let asked = Asked {
            waiting: 1,
            at_once: 0,
        };
        assert_eq!(stream.cable.asked(END), asked);
        Ok(())
    }

    const START: Instant = Instant(1_000_000);
    const JUST_BEFORE: Duration = Duration::from_millis(999);
    const LIMIT: Duration = Duration::from_millis(1_000);

    #[test]
    fn a_second_of_errors_alone_is_a_failure() -> Result {
        let mut damage = DamagedReads::default();
        for _ in 0..100 {
            assert!(damage.note(EIO, START) == Ok(()));
        }
        assert!(damage.note(EIO, START.after(JUST_BEFORE)) == Ok(()));
        assert!(damage.note(EIO, START.after(LIMIT)) == Err(EIO));
        Ok(())
    }

    #[test]
    fn a_good_byte_among_them_makes_up_for_it() -> Result {
        let mut damage = DamagedReads::default();
        for _ in 0..100 {
            damage.note(EIO, START)?;
        }
        damage.forget();
        for _ in 0..100 {
            assert!(damage.note(EIO, START.after(LIMIT)) == Ok(()));
        }
        Ok(())
    }

    #[test]
    fn a_few_errors_in_a_long_time_are_none() -> Result {
        let mut damage = DamagedReads::default();
        let mut now = START;
        for _ in 0..60 {
            assert!(damage.note(EIO, now) == Ok(()));
            now = now.after(LIMIT);
        }
        Ok(())
    }
}
