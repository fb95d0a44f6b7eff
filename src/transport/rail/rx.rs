// SPDX-License-Identifier: GPL-2.0

//! Receiving side of a rail: what has arrived, what is missing, and what must be reported of it.

use crate::transport::ids::RailSeq;

/// Most reports of loss outstanding at a time; more losses are merged into the latest.
const MAX_REPORTS: usize = 8;

/// What the number of an arriving frame means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SeqStatus {
    /// It is the one expected, or one after a gap, which has been noted.
    New,
    /// It has been seen before: drop the frame.
    Stale,
}

/// What has been received since the last acknowledgement went out.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Unacknowledged {
    /// Frames.
    pub frames: u32,
    /// Bytes of the stream.
    pub bytes: u32,
}

impl Unacknowledged {
    /// Whether it is as much as `limit`, in frames or in bytes.
    pub const fn reaches(self, limit: Self) -> bool {
        self.frames >= limit.frames || self.bytes >= limit.bytes
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ReportState {
    /// The report must be sent.
    Due,
    /// Sent; to be sent again until the peer confirms it.
    Sent,
}

#[derive(Clone, Copy, Debug)]
struct Report {
    from: RailSeq,
    to: RailSeq,
    state: ReportState,
}

/// Receiving state of a rail.
///
/// The acknowledgement never passes a loss before the report of it is known to have arrived:
/// otherwise a lost report would make the sender take lost frames for delivered. Reports and their
/// confirmations take no number, so that neither a full window nor a loss in the other direction
/// holds them up; a report is repeated until it is confirmed.
///
/// # Invariants
///
/// The first `reports_len` entries of `reports` are in order and do not overlap; all lie before
/// `expected`.
#[derive(Debug)]
pub struct RailRx {
    expected: RailSeq,
    reports: [Report; MAX_REPORTS],
    reports_len: usize,
    /// Reports of the peer's to be confirmed; the first `confirmation_count` count.
    confirmations: [(RailSeq, RailSeq); MAX_REPORTS],
    confirmation_count: usize,
    unacknowledged: Unacknowledged,
}

impl RailRx {
    /// Expects `first` as the number of the first frame.
    pub const fn new(first: RailSeq) -> Self {
        const NONE: Report = Report {
            from: RailSeq(0),
            to: RailSeq(0),
            state: ReportState::Due,
        };
        Self {
            expected: first,
            reports: [NONE; MAX_REPORTS],
            reports_len: 0,
            confirmations: [(RailSeq(0), RailSeq(0)); MAX_REPORTS],
            confirmation_count: 0,
            unacknowledged: Unacknowledged {
                frames: 0,
                bytes: 0,
            },
        }
    }

    /// The header of a frame with number `seq` and `frame_len` bytes in the stream has arrived. If it is [`SeqStatus::New`], call [`Self::finish`] or
    /// [`Self::finish_corrupt`] when its payload has been dealt with.
    pub fn begin(&mut self, seq: RailSeq, frame_len: u32) -> SeqStatus {
        if seq.is_before(self.expected) {
            return SeqStatus::Stale;
        }
        if seq != self.expected {
            self.note_loss(self.expected, seq);
            self.expected = seq;
        }
        self.unacknowledged.bytes = self.unacknowledged.bytes.saturating_add(frame_len);
        SeqStatus::New
    }

    /// A frame that takes no number says that the next one will be `seq`: all before it have been
    /// sent, so what has not arrived is lost.
    pub fn announced(&mut self, seq: RailSeq) {
        if !seq.is_before(self.expected) && seq != self.expected {
            self.note_loss(self.expected, seq);
            self.expected = seq;
        }
    }

    /// The frame accepted last by [`Self::begin`] has been dealt with.
    pub fn finish(&mut self) {
        self.expected = self.expected.next();
        self.unacknowledged.frames = self.unacknowledged.frames.saturating_add(1);
    }

    /// The payload of the frame accepted last by [`Self::begin`] was damaged: the frame counts as lost.
    pub fn finish_corrupt(&mut self) {
        let seq = self.expected;
        self.finish();
        self.note_loss(seq, seq.next());
    }

    /// The acknowledgement to send: all frames before it have arrived, or their loss has been
    /// reported and the report has arrived.
    pub const fn ack(&self) -> RailSeq {
        if self.reports_len == 0 {
            self.expected
        } else {
            self.reports[0].from
        }
    }

    /// A frame carrying [`Self::ack`] has been sent.
    pub fn note_ack_sent(&mut self) {
        self.unacknowledged = Unacknowledged::default();
    }

    /// What has been received since an acknowledgement was sent.
    pub const fn unacknowledged(&self) -> Unacknowledged {
        self.unacknowledged
    }

    /// The next loss to report, `from..to`. Having taken it, send it.
    pub fn take_report(&mut self) -> Option<(RailSeq, RailSeq)> {
        let report = self
            .reports
            .iter_mut()
            .take(self.reports_len)
            .find(|report| report.state == ReportState::Due)?;
        report.state = ReportState::Sent;
        Some((report.from, report.to))
    }

    /// Whether there is a loss to report.
    pub fn has_report(&self) -> bool {
        self.reports
            .iter()
            .take(self.reports_len)
            .any(|report| report.state == ReportState::Due)
    }

    /// Whether a report has not been confirmed yet.
    pub const fn is_reporting(&self) -> bool {
        self.reports_len > 0
    }

    /// No sign that the reports sent have arrived: all are due again.
    pub fn repeat_reports(&mut self) {
        for report in self.reports.iter_mut().take(self.reports_len) {
            report.state = ReportState::Due;
        }
    }

    /// The peer's report of `from..to` has arrived. If there are too many to confirm, the peer repeats
    /// this one.
    pub fn note_report(&mut self, from: RailSeq, to: RailSeq) {
        if self.confirmations[..self.confirmation_count].contains(&(from, to)) {
            return;
        }
        if let Some(place) = self.confirmations.get_mut(self.confirmation_count) {
            *place = (from, to);
            self.confirmation_count += 1;
        }
    }

    /// Whether a report of the peer's is to be confirmed.
    pub const fn has_confirmation(&self) -> bool {
        self.confirmation_count > 0
    }

    /// The next report of the peer's to confirm.
    pub fn take_confirmation(&mut self) -> Option<(RailSeq, RailSeq)> {
        let first = *self.confirmations.get(..self.confirmation_count)?.first()?;
        self.confirmations
            .copy_within(1..self.confirmation_count, 0);
        self.confirmation_count -= 1;
        Some(first)
    }

    /// The peer confirms the report of `from..to`.
    pub fn report_confirmed(&mut self, from: RailSeq, to: RailSeq) {
        let found = self
            .reports
            .iter()
            .take(self.reports_len)
            .position(|report| report.from == from && report.to == to);
        if let Some(index) = found {
            self.reports.copy_within(index + 1..self.reports_len, index);
            self.reports_len -= 1;
            // What this held back may be acknowledged now.
            self.unacknowledged.frames = self.unacknowledged.frames.saturating_add(1);
        }
    }

    fn note_loss(&mut self, from: RailSeq, to: RailSeq) {
        // INVARIANT: losses are noted in the order of their numbers, all below the new `expected`.
        if let Some(last) = self.reports[..self.reports_len].last_mut() {
            let adjacent = last.to == from && last.state == ReportState::Due;
            if adjacent || self.reports_len == MAX_REPORTS {
                // Frames between two merged losses are reported as lost though they arrived:
                // they come twice, and duplicates are dropped.
                last.to = to;
                last.state = ReportState::Due;
                return;
            }
        }
        self.reports[self.reports_len] = Report {
            from,
            to,
            state: ReportState::Due,
        };
        self.reports_len += 1;
    }
}
