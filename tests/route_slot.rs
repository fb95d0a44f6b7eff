// SPDX-License-Identifier: GPL-2.0

//! A QP and the lists of two routes, in all orders in which threads may do their steps: posting, changing the path,
//! destroying, and two rails that take the QP off their list and then ask it for a frame.
//!
//! A step is what happens with the QP locked, or with a list locked; between two steps anything may come.

use std::cell::Cell;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use usb4_roce::transport::share::Cause;
use usb4_roce::transport::share::Share;
use usb4_roce::verbs::route_slot::Attached;
use usb4_roce::verbs::route_slot::Roster;
use usb4_roce::verbs::route_slot::RosterId;
use usb4_roce::verbs::route_slot::RouteSlot;

#[derive(Clone, Copy, PartialEq)]
struct Qp;

/// The only one.
const QP: Qp = Qp;

/// The way to a host.
#[derive(Default)]
struct Route {
    ready: RefCell<VecDeque<Qp>>,
    /// What it knows of that which the QP has under way.
    share: Cell<Share>,
    /// Not of size zero, so that routes differ by their addresses.
    _number: u32,
}

impl Roster for Route {
    type Member = Qp;
    type Work = ();
    type Errand = ();

    fn id(&self) -> RosterId {
        RosterId::of(self)
    }

    fn note_share(&self, old: Share, new: Share, _cause: Cause) {
        assert_eq!(self.share.replace(new), old, "it has been told another");
    }

    fn enqueue(&self, member: &Attached<'_, Qp>, (): ()) {
        let mut ready = self.ready.borrow_mut();
        if ready.is_empty() {
            ready.push_back(*member.member());
        }
    }

    fn dequeue(&self, _member: &Attached<'_, Qp>) {
        self.ready.borrow_mut().clear();
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// A request is posted.
    Post,
    /// The same as it must not be: the route is looked up, and used later.
    LookUp,
    Push,
    /// The path is changed to the second route.
    Change,
    Destroy,
    /// A rail of that route takes the QP off the list.
    Pop(usize),
    /// It asks the QP for a frame.
    Ask(usize),
}

struct World {
    routes: [Rc<Route>; 2],
    slot: RouteSlot<Rc<Route>>,
    has_frame: bool,
    is_destroyed: bool,
    looked_up: Option<Rc<Route>>,
    popped: [bool; 2],
    /// Where the frame of the QP went, and the route it had then.
    sent: Vec<(usize, Option<usize>)>,
}

impl World {
    fn new() -> Self {
        let routes = [Rc::new(Route::default()), Rc::new(Route::default())];
        let mut slot = RouteSlot::new();
        assert!(slot.replace(&QP, Some(routes[0].clone())).is_none());
        Self {
            routes,
            slot,
            has_frame: false,
            is_destroyed: false,
            looked_up: None,
            popped: [false; 2],
            sent: Vec::new(),
        }
    }

    fn route(&self) -> Option<usize> {
        (0..2).find(|&route| self.slot.is(self.routes[route].id()))
    }

    fn schedule(&mut self) {
        let share = Share {
            under_way: u32::from(self.has_frame),
            is_owed: self.has_frame,
        };
        self.slot.note_share(share, Cause::Other);
        if self.has_frame {
            self.slot.enqueue(&QP, ());
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Post => {
                self.has_frame = !self.is_destroyed;
                self.schedule();
            }
            Step::LookUp => {
                self.has_frame = !self.is_destroyed;
                self.looked_up = self.slot.get().cloned();
            }
            Step::Push => {
                if let Some(route) = self.looked_up.take() {
                    route.ready.borrow_mut().push_back(QP);
                }
            }
            Step::Change => {
                if !self.is_destroyed {
                    self.slot.replace(&QP, Some(self.routes[1].clone()));
                    self.schedule();
                }
            }
            Step::Destroy => {
                self.is_destroyed = true;
                self.has_frame = false;
                self.slot.replace(&QP, None);
            }
            Step::Pop(route) => {
                let qp = self.routes[route].ready.borrow_mut().pop_front();
                self.popped[route] = qp.is_some();
            }
            Step::Ask(route) => {
                let was_popped = core::mem::take(&mut self.popped[route]);
                if was_popped && self.slot.is(self.routes[route].id()) && self.has_frame {
                    self.has_frame = false;
                    self.schedule();
                    self.sent.push((route, self.route()));
                }
            }
        }
    }

    /// What is wrong, if anything.
    fn verdict(&self) -> Option<&'static str> {
        let listed: Vec<usize> = (0..2)
            .filter(|&route| !self.routes[route].ready.borrow().is_empty())
            .collect();
        if listed.iter().any(|&route| self.route() != Some(route)) {
            return Some("in the list of a route that it does not have");
        }
        if self.sent.iter().any(|&(to, route)| Some(to) != route) {
            return Some("sent to a host that it is not connected to");
        }
        let told = |route: usize| self.routes[route].share.get() != Share::NONE;
        if (0..2).any(|route| told(route) && self.route() != Some(route)) {
            return Some("told to a route that it does not have");
        }
        let is_known = !listed.is_empty() || self.popped.contains(&true);
        (self.has_frame && self.looked_up.is_none() && !is_known).then_some("forgotten")
    }
}

/// Runs the threads' steps in all orders. Gives what went wrong first, with the steps that led to it.
fn explore(threads: &[&[Step]]) -> (u32, Option<(Vec<Step>, &'static str)>) {
    fn go(
        threads: &[&[Step]],
        done: &mut Vec<Step>,
        at: &mut Vec<usize>,
        orders: &mut u32,
    ) -> Option<(Vec<Step>, &'static str)> {
        let mut world = World::new();
        for &step in done.iter() {
            world.run(step);
            if let Some(wrong) = world.verdict() {
                return Some((done.clone(), wrong));
            }
        }
        let mut is_end = true;
        for thread in 0..threads.len() {
            let Some(&step) = threads[thread].get(at[thread]) else {
                continue;
            };
            is_end = false;
            at[thread] += 1;
            done.push(step);
            let found = go(threads, done, at, orders);
            done.pop();
            at[thread] -= 1;
            if found.is_some() {
                return found;
            }
        }
        *orders += u32::from(is_end);
        None
    }
    let mut orders = 0;
    let found = go(
        threads,
        &mut Vec::new(),
        &mut vec![0; threads.len()],
        &mut orders,
    );
    (orders, found)
}

const RAILS: [&[Step]; 2] = [&[Step::Pop(0), Step::Ask(0)], &[Step::Pop(1), Step::Ask(1)]];

#[test]
fn a_qp_is_in_the_list_of_the_route_it_has() {
    let (orders, wrong) = explore(&[
        &[Step::Post, Step::Post],
        &[Step::Change, Step::Destroy],
        RAILS[0],
        RAILS[1],
    ]);
    assert_eq!(wrong, None);
    assert_eq!(orders, 2520);
}

#[test]
fn a_route_that_is_looked_up_too_early_is_found_out() {
    let (_, wrong) = explore(&[
        &[Step::LookUp, Step::Push],
        &[Step::Change, Step::Destroy],
        RAILS[0],
        RAILS[1],
    ]);
    let (_, what) = wrong.expect("something is wrong with that");
    assert_eq!(what, "in the list of a route that it does not have");
}
