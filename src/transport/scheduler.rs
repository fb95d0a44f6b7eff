// SPDX-License-Identifier: GPL-2.0

//! Which rail to a peer is notified of work.
//!
//! Rails pull: a rail with room asks for a frame, and asks again until there is none. Then it is idle, and has to
//! be notified when there is work. One rail is notified at a time; if it leaves work behind, the next one is.
//!
//! A rail that owes its peer's answers for too long is suspect: it may have stalled, and be given up only much
//! later. It gets no work while others are there that can do it.

use super::ids::RailId;
use super::rail_set::RailSet;

/// What a rail does that finds nothing to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    /// It rests until it is notified of work.
    Rests,
    /// It writes what it has got before, and asks again.
    AsksAgain,
}

/// Whether a rail that asks for a frame may have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The rail may have a frame: look for one.
    Look,
    /// Others are to do the work.
    Rest,
}

/// What a rail is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Activity {
    /// The rail is not up.
    #[default]
    Down,
    /// The rail will ask for a frame.
    Busy,
    /// It has asked, and is being answered.
    Asking,
    /// As before, and meanwhile there has been new work that the answer may have missed.
    AskingRecheck,
    /// It has asked, and there was nothing for it.
    Idle,
}

/// What all rails to a peer are doing.
///
/// # Invariants
///
/// `up` are the rails whose activity is not [`Activity::Down`]; `suspect` are some of these.
#[derive(Clone, Debug)]
pub struct Scheduler {
    activity: [Activity; RailId::COUNT],
    up: RailSet,
    suspect: RailSet,
    /// The one that was notified last.
    last: RailId,
}

impl Scheduler {
    /// No rail is up.
    pub const fn new() -> Self {
        Self {
            activity: [Activity::Down; RailId::COUNT],
            up: RailSet::NONE,
            suspect: RailSet::NONE,
            // So that the first one is rail 0.
            last: RailId::LAST,
        }
    }

    /// The rails that are up.
    pub const fn up(&self) -> RailSet {
        self.up
    }

    /// Those of them that are not suspect; all if there are none.
    pub const fn sound(&self) -> RailSet {
        let sound = self.up.without(self.suspect);
        if sound.is_empty() {
            self.up
        } else {
            sound
        }
    }

    /// A rail has come up. It will ask by itself.
    pub fn rail_up(&mut self, rail: RailId) {
        self.up.insert(rail);
        self.suspect.remove(rail);
        self.set(rail, Activity::Busy);
    }

    /// A rail has gone down. Somebody else must do what it may have been notified of: gives who is to be notified, if there
    /// is work.
    pub fn rail_down(&mut self, rail: RailId, waiting: usize) -> Option<RailId> {
        self.up.remove(rail);
        self.suspect.remove(rail);
        self.set(rail, Activity::Down);
        self.notify_if(waiting, RailSet::ALL)
    }

    /// The peer owes an answer over the rail. Gives who is to be notified instead of it, if there is work.
    pub fn suspect(&mut self, rail: RailId, waiting: usize) -> Option<RailId> {
        if !self.up.contains(rail) {
            return None;
        }
        self.suspect.insert(rail);
        self.notify_if(waiting, RailSet::ALL)
    }

    /// The peer has answered over the rail. Gives that rail, if it is to be notified of work that it did not get.
    pub fn trust(&mut self, rail: RailId, waiting: usize) -> Option<RailId> {
        self.suspect.remove(rail);
        self.notify_if(waiting, RailSet::only(rail))
    }

    /// A rail asks for a frame. If it may have one, [`Self::found`] or [`Self::found_nothing`] must follow.
    pub fn ask(&mut self, rail: RailId) -> Turn {
        if !self.up.contains(rail) {
            return Turn::Rest;
        }
        let others = self.up.without(self.suspect);
        if self.suspect.contains(rail) && !others.is_empty() {
            self.set(rail, Activity::Idle);
            return Turn::Rest;
        }
        self.set(rail, Activity::Asking);
        Turn::Look
    }

    /// A frame was found for the rail, which will ask again.
    pub fn found(&mut self, rail: RailId) {
        if self.up.contains(rail) {
            self.set(rail, Activity::Busy);
        }
    }

    /// No frame was found for the rail. Gives that rail if it has to look again: new work may have been missed.
    pub fn found_nothing(&mut self, rail: RailId, afterwards: Afterwards) -> Option<RailId> {
        let (next, again) = match (self.get(rail), afterwards) {
            (Activity::Down, _) => return None,
            (_, Afterwards::AsksAgain) => (Activity::Busy, None),
            (Activity::AskingRecheck, Afterwards::Rests) => (Activity::Busy, Some(rail)),
            (Activity::Busy | Activity::Asking | Activity::Idle, Afterwards::Rests) => {
                (Activity::Idle, None)
            }
        };
        self.set(rail, next);
        again
    }

    /// The rail, which may count as idle, has to write before it can take anything. It will ask afterwards.
    pub fn busy(&mut self, rail: RailId) {
        if self.up.contains(rail) {
            self.set(rail, Activity::Busy);
        }
    }

    /// There is work for some of `rails`. Gives who is to be notified; nobody if one of them will ask by itself, or none
    /// is up.
    pub fn notify(&mut self, rails: RailSet) -> Option<RailId> {
        let rails = rails.and(self.up);
        let sound = rails.without(self.suspect);
        let rails = if sound.is_empty() { rails } else { sound };
        let mut idle = RailSet::NONE;
        for rail in rails.iter() {
            if self.get(rail) == Activity::Idle {
                idle.insert(rail);
            }
        }
        let chosen = idle.next_after(self.last);
        match chosen {
            Some(rail) => {
                self.last = rail;
                self.set(rail, Activity::Busy);
            }
            None => self.note_missed(rails),
        }
        chosen
    }

    fn notify_if(&mut self, waiting: usize, rails: RailSet) -> Option<RailId> {
        match waiting {
            0 => None,
            _ => self.notify(rails),
        }
    }

    fn note_missed(&mut self, rails: RailSet) {
        for rail in rails.iter() {
            if self.get(rail) == Activity::Asking {
                self.set(rail, Activity::AskingRecheck);
            }
        }
    }

    fn get(&self, rail: RailId) -> Activity {
        self.activity.get(rail.index()).copied().unwrap_or_default()
    }

    fn set(&mut self, rail: RailId, activity: Activity) {
        if let Some(slot) = self.activity.get_mut(rail.index()) {
            *slot = activity;
        }
    }
}

impl Default for Scheduler {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rail(number: u8) -> RailId {
        RailId::new(number).unwrap()
    }

    /// Rails that are up and idle.
    fn idle(count: u8) -> Scheduler {
        let mut scheduler = Scheduler::new();
        for number in 0..count {
            scheduler.rail_up(rail(number));
            assert_eq!(scheduler.ask(rail(number)), Turn::Look);
            assert_eq!(
                scheduler.found_nothing(rail(number), Afterwards::Rests),
                None
            );
        }
        scheduler
    }

    #[test]
    fn idle_rails_are_notified_in_turn_and_once() {
        let mut scheduler = idle(2);
        assert_eq!(scheduler.notify(RailSet::ALL), Some(rail(0)));
        assert_eq!(scheduler.notify(RailSet::ALL), Some(rail(1)));
        assert_eq!(scheduler.notify(RailSet::ALL), None);
        scheduler.ask(rail(0));
        scheduler.found_nothing(rail(0), Afterwards::Rests);
        scheduler.ask(rail(1));
        scheduler.found_nothing(rail(1), Afterwards::Rests);
        assert_eq!(scheduler.notify(RailSet::ALL), Some(rail(0)));
    }

    #[test]
    fn work_that_comes_while_a_rail_looks_is_looked_for_again() {
        let mut scheduler = idle(1);
        assert_eq!(scheduler.ask(rail(0)), Turn::Look);
        assert_eq!(scheduler.notify(RailSet::ALL), None);
        assert_eq!(
            scheduler.found_nothing(rail(0), Afterwards::Rests),
            Some(rail(0))
        );
    }

    #[test]
    fn a_rail_that_writes_is_not_idle() {
        let mut scheduler = idle(2);
        scheduler.ask(rail(0));
        scheduler.found(rail(0));
        scheduler.ask(rail(0));
        scheduler.found_nothing(rail(0), Afterwards::AsksAgain);
        assert_eq!(scheduler.notify(RailSet::ALL), Some(rail(1)));
        assert_eq!(scheduler.notify(RailSet::ALL), None);
    }

    #[test]
    fn a_rail_whose_ring_is_full_is_not_idle() {
        let mut scheduler = idle(1);
        scheduler.busy(rail(0));
        assert_eq!(scheduler.notify(RailSet::ALL), None);
    }

    #[test]
    fn a_suspect_gets_work_only_if_nobody_else_can_do_it() {
        let mut scheduler = idle(2);
        assert_eq!(scheduler.suspect(rail(0), 0), None);
        assert_eq!(scheduler.notify(RailSet::ALL), Some(rail(1)));
        // The other one will ask.
        assert_eq!(scheduler.notify(RailSet::ALL), None);
        assert_eq!(scheduler.ask(rail(0)), Turn::Rest);
        assert_eq!(scheduler.notify(RailSet::only(rail(0))), Some(rail(0)));
    }

    #[test]
    fn when_all_are_suspect_all_work() {
        let mut scheduler = idle(2);
        scheduler.suspect(rail(0), 0);
        scheduler.suspect(rail(1), 0);
        assert_eq!(scheduler.ask(rail(0)), Turn::Look);
        scheduler.found_nothing(rail(0), Afterwards::Rests);
        assert_eq!(scheduler.notify(RailSet::ALL), Some(rail(0)));
    }

    #[test]
    fn what_a_suspect_was_notified_of_goes_to_another() {
        let mut scheduler = idle(2);
        assert_eq!(scheduler.notify(RailSet::ALL), Some(rail(0)));
        assert_eq!(scheduler.suspect(rail(0), 1), Some(rail(1)));
    }

    #[test]
    fn a_suspect_that_answers_is_notified_of_what_it_did_not_get() {
        let mut scheduler = idle(2);
        scheduler.suspect(rail(0), 0);
        assert_eq!(scheduler.ask(rail(0)), Turn::Rest);
        assert_eq!(scheduler.trust(rail(0), 1), Some(rail(0)));
        assert_eq!(scheduler.ask(rail(0)), Turn::Look);
    }

    #[test]
    fn what_a_rail_was_notified_of_goes_to_another_when_it_goes_down() {
        let mut scheduler = idle(2);
        assert_eq!(scheduler.notify(RailSet::ALL), Some(rail(0)));
        assert_eq!(scheduler.rail_down(rail(0), 1), Some(rail(1)));
        assert_eq!(scheduler.up(), RailSet::only(rail(1)));
    }

    #[test]
    fn a_rail_that_has_gone_down_gets_nothing() {
        let mut scheduler = idle(1);
        scheduler.ask(rail(0));
        assert_eq!(scheduler.rail_down(rail(0), 1), None);
        assert_eq!(scheduler.found_nothing(rail(0), Afterwards::Rests), None);
        scheduler.found(rail(0));
        scheduler.busy(rail(0));
        assert_eq!(scheduler.ask(rail(0)), Turn::Rest);
        assert_eq!(scheduler.notify(RailSet::ALL), None);
    }
}
