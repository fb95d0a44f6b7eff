// SPDX-License-Identifier: GPL-2.0

//! What a host's queue pairs have done, checked against the ledger.

use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::Rkey;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::requester::Solicitation;
use usb4_roce::transport::requester::Work;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::QpEvent;

use super::receive_ring::Taker;
use super::Host;
use crate::ledger::Fate;
use crate::ledger::Ledger;

impl Host {
    /// Polls and checks all completions and events of a queue pair, and carries out its local operations. True if there was
    /// any.
    pub fn poll(&mut self, index: usize, now: Instant, ledger: &mut Ledger) -> bool {
        let mut any = false;
        if self.qps[index].is_destroyed {
            return false;
        }
        loop {
            let mut again = self.execute(index, ledger);
            again |= self.carry_out_local(index, now, ledger);
            // A queue pair is in the error state before the user sees anything flushed.
            again |= self.poll_events(index, ledger);
            // A receive's completion comes before that of the send that caused it can be seen.
            again |= self.poll_receive_completions(index, ledger);
            again |= self.poll_send_completions(index, ledger);
            if !again {
                return any;
            }
            self.touched.insert(index);
            any = true;
        }
    }

    /// Carries out everything whose turn has come. True if there was anything.
    fn execute(&mut self, index: usize, ledger: &mut Ledger) -> bool {
        let qp = &mut self.qps[index];
        let mut any = false;
        while let Some(execution) = qp.protocol.poll_execution() {
            any = true;
            let result = ledger.execute(qp.connection, 1 - qp.side, &execution);
            ledger.log.say(format_args!(
                "host {} qp {} {execution:?}: {result:?}",
                self.number,
                qp.qpn.get()
            ));
            let mut taker = Taker {
                ring: &mut self.rings[qp.ring],
                taken: &mut qp.taken,
                ledger,
            };
            qp.protocol
                .handle_execution(execution.token, result, &mut taker);
        }
        any
    }

    /// Carries out the local operations whose turn has come. True if there was any.
    fn carry_out_local(&mut self, index: usize, now: Instant, ledger: &mut Ledger) -> bool {
        let mut any = false;
        let qp = &mut self.qps[index];
        while let Some(due) = qp.protocol.due_local() {
            any = true;
            let number = qp.slots[&due.slot];
            let stream = &mut ledger.connections[qp.connection].streams[qp.side];
            stream.carry_out(number);
            let message = &stream.messages[number];
            let is_valid = match message.invalidates {
                None => message.fate == Fate::Succeed,
                Some(key) => ledger.invalidate(key),
            };
            let result = is_valid
                .then_some(())
                .ok_or(CompletionStatus::MemoryManagementError);
            qp.protocol.handle_local_end(due.slot, result, now);
        }
        any
    }

    /// Takes note of all events. True if there was any.
    fn poll_events(&mut self, index: usize, ledger: &mut Ledger) -> bool {
        let mut any = false;
        let qp = &mut self.qps[index];
        while let Some(event) = qp.protocol.poll_event() {
            any = true;
            ledger.log.say(format_args!(
                "host {} qp {} {event:?}",
                self.number,
                qp.qpn.get()
            ));
            match event {
                QpEvent::CommunicationEstablished
                | QpEvent::LastWqeReached
                | QpEvent::SendQueueDrained => {}
                QpEvent::SendFailed
                | QpEvent::ReceiveFailed
                | QpEvent::InvalidRequest
                | QpEvent::AccessViolation
                | QpEvent::Catastrophic => {
                    qp.in_error = true;
                    // Whose failure is not its own doing.
                    let victim = match event {
                        QpEvent::SendFailed => 1 - qp.side,
                        _ => qp.side,
                    };
                    ledger.connections[qp.connection].disturbed[victim] = true;
                    qp.protocol.flush();
                }
            }
        }
        any
    }

    /// Checks all completions of receives. True if there was any.
    fn poll_receive_completions(&mut self, index: usize, ledger: &mut Ledger) -> bool {
        let mut any = false;
        let qp = &mut self.qps[index];
        while let Some(completion) = qp.protocol.poll_receive_completion() {
            any = true;
            ledger.log.say(format_args!(
                "host {} qp {} {completion:?}",
                self.number,
                qp.qpn.get()
            ));
            self.rings[qp.ring].outstanding -= 1;
            let taken = qp.taken[qp.ended];
            qp.ended += 1;
            assert_eq!(
                (taken.slot, taken.wr_id),
                (completion.slot, completion.wr_id)
            );
            let stream = &mut ledger.connections[qp.connection].streams[1 - qp.side];
            if completion.status == CompletionStatus::FlushError {
                assert!(qp.in_error, "flushed without an error");
                continue;
            }
            let message = &mut stream.messages[stream.consumers[stream.received]];
            stream.received += 1;
            if completion.status == CompletionStatus::RemoteInvalidRequestError {
                assert!(matches!(message.fate, Fate::Fail(_)));
                continue;
            }
            if completion.status == CompletionStatus::LocalLengthError {
                assert!(message.length > taken.length);
                continue;
            }
            assert_eq!(completion.status, CompletionStatus::Success);
            assert_eq!(completion.byte_len, message.length);
            assert_eq!(completion.opcode, message.opcode);
            if message.opcode.has_imm() {
                assert_eq!(completion.imm, message.imm);
            }
            if let Some(key) = message.invalidates {
                assert_eq!(completion.rkey, Rkey(key));
                assert!(ledger.regions[&key].revoked, "told too early");
            }
            let solicited = completion.solicited == Solicitation::Solicited;
            assert_eq!(solicited, message.solicited);
            message.assert_whole();
            message.received = true;
        }
        any
    }

    /// Checks all completions of what was sent. True if there was any.
    fn poll_send_completions(&mut self, index: usize, ledger: &mut Ledger) -> bool {
        let mut any = false;
        let qp = &mut self.qps[index];
        while let Some(completion) = qp.protocol.poll_send_completion() {
            any = true;
            ledger.log.say(format_args!(
                "host {} qp {} {completion:?}",
                self.number,
                qp.qpn.get()
            ));
            let connection = &mut ledger.connections[qp.connection];
            let disturbed = connection.disturbed[qp.side];
            let stream = &mut connection.streams[qp.side];
            let index = stream.completed;
            stream.completed += 1;
            assert_eq!(qp.slots.remove(&completion.slot), Some(index));
            assert_eq!(completion.wr_id, index as u64, "completions out of order");
            let message = &mut stream.messages[index];
            let work = match message.local {
                Some(local) => Work::Local(local.operation),
                None => Work::Remote(message.opcode),
            };
            assert_eq!(completion.work, work);
            assert_eq!(completion.byte_len, message.length);
            let signalled = completion.signalling == Signalling::Signalled;
            assert_eq!(signalled, message.signalled);
            message.completed = Some(completion.status);
            match (stream.failed, completion.status) {
                (None, CompletionStatus::Success) => {
                    let fails = matches!(message.fate, Fate::Fail(_));
                    assert!(!fails, "{:?} succeeded", message.opcode);
                    assert!(
                        !message.consumes_receive() || message.received,
                        "sender's completion before the receiver's"
                    );
                    let local = message.local;
                    assert!(local.is_none_or(|local| local.is_done), "not carried out");
                    message.assert_whole();
                }
                (None, status) => {
                    stream.failed = Some(status);
                    let expected =
                        [Fate::Fail(status), Fate::MayFail(status)].contains(&message.fate);
                    assert!(
                        expected || disturbed,
                        "message {index} failed: {status:?}, fate {:?}",
                        message.fate
                    );
                }
                (Some(_), status) => assert_eq!(status, CompletionStatus::FlushError),
            }
        }
        any
    }
}
