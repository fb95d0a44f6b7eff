// SPDX-License-Identifier: GPL-2.0

//! The hosts that are kept in mind. Any process can name hosts, so there must be limits, and they must not be at the
//! cost of hosts that a cable leads to.

/// Hosts that are kept in mind.
pub const MAX_PEERS: usize = 64;

/// Of these, hosts that no rail leads to. The others are for rails.
pub const MAX_WITHOUT_RAIL: usize = 48;

/// Of these, hosts that one user has named.
pub const MAX_OF_USER: usize = 12;

/// A host in the table.
pub trait Entry {
    /// Who names hosts.
    type User: PartialEq;

    /// Whether anybody needs it: a rail or a QP.
    fn is_used(&self) -> bool;

    /// Whether a rail leads to it.
    fn has_rail(&self) -> bool;

    /// Who named it first, unless that was a rail.
    fn named_by(&self) -> Option<&Self::User>;
}

/// Who wants a new host to be kept in mind.
#[derive(Debug)]
pub enum NewPeer<'a, U> {
    /// A rail that leads to it.
    Rail,
    /// A process of that user.
    User(&'a U),
}

/// Why there is no room for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The user has named too many.
    UserLimit,
    /// There are too many hosts.
    Full,
}

/// The hosts.
pub struct PeerTable<E> {
    slots: [Option<E>; MAX_PEERS],
}

impl<E: Entry> PeerTable<E> {
    /// A table without hosts.
    pub const fn new() -> Self {
        Self {
            slots: [const { None }; MAX_PEERS],
        }
    }

    /// All hosts.
    pub fn iter(&self) -> impl Iterator<Item = &E> {
        self.slots.iter().flatten()
    }

    /// A place for a new host. Hosts that nobody needs are forgotten if that takes it.
    ///
    /// # Errors
    ///
    /// If too many hosts are needed.
    pub fn make_room(&mut self, reason: &NewPeer<'_, E::User>) -> Result<&mut Option<E>, Refusal> {
        while let Err(refusal) = self.check(reason) {
            self.forget_one(reason, refusal)?;
        }
        self.slots
            .iter_mut()
            .find(|slot| slot.is_none())
            .ok_or(Refusal::Full)
    }

    fn check(&self, reason: &NewPeer<'_, E::User>) -> Result<(), Refusal> {
        if self.iter().count() >= MAX_PEERS {
            return Err(Refusal::Full);
        }
        let NewPeer::User(user) = reason else {
            return Ok(());
        };
        let without_rail = || self.iter().filter(|entry| !entry.has_rail());
        let of_user = without_rail().filter(|entry| entry.named_by() == Some(*user));
        if of_user.count() >= MAX_OF_USER {
            return Err(Refusal::UserLimit);
        }
        if without_rail().count() >= MAX_WITHOUT_RAIL {
            return Err(Refusal::Full);
        }
        Ok(())
    }

    /// Forgets a host that nobody needs, and that counts towards the limit which is reached.
    fn forget_one(
        &mut self,
        reason: &NewPeer<'_, E::User>,
        refusal: Refusal,
    ) -> Result<(), Refusal> {
        let counts = |entry: &E| match (refusal, reason) {
            (Refusal::UserLimit, NewPeer::User(user)) => entry.named_by() == Some(*user),
            (Refusal::UserLimit | Refusal::Full, _) => true,
        };
        let unused = self.slots.iter_mut().find(|slot| {
            slot.as_ref()
                .is_some_and(|entry| !entry.is_used() && counts(entry))
        });
        *unused.ok_or(refusal)? = None;
        Ok(())
    }
}

impl<E: Entry> Default for PeerTable<E> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct User(u32);

    #[derive(Debug, PartialEq)]
    struct Host {
        number: usize,
        used: bool,
        rail: bool,
        named_by: Option<User>,
    }

    impl Entry for Host {
        type User = User;

        fn is_used(&self) -> bool {
            self.used || self.rail
        }

        fn has_rail(&self) -> bool {
            self.rail
        }

        fn named_by(&self) -> Option<&User> {
            self.named_by.as_ref()
        }
    }

    fn name(table: &mut PeerTable<Host>, number: usize, user: User) -> Result<(), Refusal> {
        let place = table.make_room(&NewPeer::User(&user))?;
        *place = Some(Host {
            number,
            used: true,
            rail: false,
            named_by: Some(user),
        });
        Ok(())
    }

    fn connect(table: &mut PeerTable<Host>, number: usize) -> Result<(), Refusal> {
        let place = table.make_room(&NewPeer::Rail)?;
        *place = Some(Host {
            number,
            used: false,
            rail: true,
            named_by: None,
        });
        Ok(())
    }

    /// Many users, who all name as many hosts as they may. Says how many hosts they have got.
    fn crowd(table: &mut PeerTable<Host>) -> usize {
        (0..1000)
            .filter(|&number| name(table, number, User(number as u32 / 20)).is_ok())
            .count()
    }

    #[test]
    fn a_user_may_name_so_many_hosts() {
        let mut table = PeerTable::new();
        for number in 0..MAX_OF_USER {
            assert_eq!(name(&mut table, number, User(1)), Ok(()));
        }
        assert_eq!(name(&mut table, 99, User(1)), Err(Refusal::UserLimit));
        assert_eq!(name(&mut table, 99, User(2)), Ok(()));
    }

    #[test]
    fn all_users_together_leave_room_for_rails() {
        let mut table = PeerTable::new();
        assert_eq!(crowd(&mut table), MAX_WITHOUT_RAIL);
        assert_eq!(name(&mut table, 2000, User(77)), Err(Refusal::Full));
        for number in MAX_WITHOUT_RAIL..MAX_PEERS {
            assert_eq!(connect(&mut table, number), Ok(()));
        }
    }

    #[test]
    fn hosts_that_nobody_needs_make_room() {
        let mut table = PeerTable::new();
        for number in 0..MAX_OF_USER {
            name(&mut table, number, User(1)).unwrap();
        }
        table.slots[3].as_mut().unwrap().used = false;
        assert_eq!(name(&mut table, 99, User(1)), Ok(()));
        assert!(table.iter().all(|host| host.number != 3));
        assert_eq!(name(&mut table, 100, User(1)), Err(Refusal::UserLimit));
    }

    #[test]
    fn another_user_s_leftovers_make_room_when_all_is_full() {
        let mut table = PeerTable::new();
        crowd(&mut table);
        table.slots[0].as_mut().unwrap().used = false;
        assert_eq!(name(&mut table, 2000, User(77)), Ok(()));
        assert_eq!(name(&mut table, 2001, User(77)), Err(Refusal::Full));
    }

    #[test]
    fn hosts_are_kept_as_long_as_there_is_room() {
        let mut table = PeerTable::new();
        for number in 0..5 {
            name(&mut table, number, User(1)).unwrap();
        }
        for slot in table.slots.iter_mut().flatten() {
            slot.used = false;
        }
        connect(&mut table, 5).unwrap();
        assert_eq!(table.iter().count(), 6);
    }

    #[test]
    fn a_host_that_a_rail_leads_to_does_not_count_for_who_named_it() {
        let mut table = PeerTable::new();
        for number in 0..MAX_OF_USER {
            name(&mut table, number, User(1)).unwrap();
        }
        table.slots[0].as_mut().unwrap().rail = true;
        assert_eq!(name(&mut table, 99, User(1)), Ok(()));
    }
}
