// SPDX-License-Identifier: GPL-2.0

//! Multicast groups and their members.

use kernel::prelude::*;

#[kunit_tests(usb4_roce_multicast)]
mod tests {
    use super::*;
    use crate::transport::ids::Qpn;
    use crate::transport::unreliable_datagram::Gid;
    use crate::verbs::multicast::MulticastGroups;

    fn groups() -> Result<Pin<KBox<MulticastGroups>>> {
        KBox::pin_init(MulticastGroups::new(), GFP_KERNEL)
    }

    fn group(number: u16) -> Gid {
        let mut gid = [0xff; 16];
        gid[14..].copy_from_slice(&number.to_be_bytes());
        Gid(gid)
    }

    fn count(groups: &MulticastGroups, group: Gid) -> usize {
        let mut from = Qpn::default();
        let mut count = 0;
        while let Some(member) = groups.next_member(group, from) {
            count += 1;
            from = Qpn::new(member.get() + 1);
        }
        count
    }

    #[test]
    fn members_are_found_one_after_the_other_and_by_group() -> Result {
        let groups = groups()?;
        for number in [9, 2, 5] {
            groups.attach(group(1), Qpn::new(number))?;
        }
        groups.attach(group(1), Qpn::new(5))?;
        groups.attach(group(2), Qpn::new(5))?;
        assert_eq!(count(&groups, group(1)), 3);
        assert_eq!(count(&groups, group(2)), 1);
        assert_eq!(count(&groups, group(3)), 0);
        assert_eq!(groups.next_member(group(1), Qpn::new(3)), Some(Qpn::new(5)));
        Ok(())
    }

    #[test]
    fn who_has_left_is_no_member() -> Result {
        let groups = groups()?;
        for number in 1..4 {
            groups.attach(group(1), Qpn::new(number))?;
            groups.attach(group(2), Qpn::new(number))?;
        }
        groups.detach(group(1), Qpn::new(1))?;
        assert!(groups.detach(group(1), Qpn::new(1)).is_err());
        assert_eq!(count(&groups, group(1)), 2);
        groups.detach_all(Qpn::new(2));
        assert_eq!(count(&groups, group(1)), 1);
        assert_eq!(count(&groups, group(2)), 2);
        Ok(())
    }

    #[test]
    fn groups_and_their_members_are_limited() -> Result {
        let groups = groups()?;
        let mut members = 0u32;
        while groups.attach(group(0), Qpn::new(members + 1)).is_ok() {
            members += 1;
        }
        assert_eq!(members, 64);
        let mut others = 0u16;
        while groups.attach(group(others + 1), Qpn::new(1)).is_ok() {
            others += 1;
        }
        assert_eq!(others, 255);
        groups.detach(group(1), Qpn::new(1))?;
        assert!(groups.attach(group(300), Qpn::new(1)).is_ok());
        Ok(())
    }
}
