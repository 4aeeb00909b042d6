//! R8: all orders in which nodes can claim, confirm, clean and index one store whose lock is worth nothing.
//!
//! The nodes are small programs over an abstract disk, one step for one thing asked of it. Each may stand
//! still for ever before any step. The code has its steps in this order: `epoch.rs` claims, `recovery.rs`
//! reads, `writer.rs` seals and confirms, `cleaner.rs` deletes, `keeper.rs` writes footers.

use std::collections::HashSet;

use foldhash::fast::RandomState;

const NODES: usize = 3;
/// Epochs count from 1.
const EPOCHS: usize = 4;
/// Messages that each epoch confirms.
const MESSAGES: usize = 2;

/// Message `m` of epoch `e` is bit `(e - 1) * MESSAGES + m`.
type Set = u8;

/// What is done wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    NoEpochCheck,
    CheckBeforeSync,
    ReadBeforeClaim,
    /// Two may claim one epoch.
    NoArbiter,
    /// The seals that an older owner has written do not count.
    IgnoreSeals,
    /// A segment goes without a look whether the copies of what was in it count.
    DeleteUnchecked,
    /// A footer counts whatever its segment is said to hold.
    TrustFooter,
}

/// What a node does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    Pick,
    Claim,
    Publish,
    LookUp,
    Read(u8),
    Seal,
    CheckSeal,
    Serve,
    CheckEarly,
    Sync,
    Check,
    Confirm,
    SyncCopies(u8),
    CheckCopies(u8),
    CheckDelete(u8),
    Delete(u8),
    CheckFooter(u8),
    WriteFooter(u8),
    Gone,
}

/// What a segment is read as, by each epoch before.
type View = [Set; EPOCHS + 1];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Node {
    step: Step,
    epoch: u8,
    view: View,
    sent: u8,
}

/// One segment for each epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Disk {
    claims: u8,
    /// The highest published epoch: the length of `EPOCH`.
    published: u8,
    written: View,
    durable: View,
    deleted: u8,
    /// The first segment of an epoch says what those before hold.
    seals: [Option<View>; EPOCHS + 1],
    footers: [Option<Set>; EPOCHS + 1],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    nodes: [Node; NODES],
    disk: Disk,
    /// Messages that were confirmed.
    confirmed: Set,
    /// Who confirmed in an epoch, a bit for each node.
    confirmers: [u8; EPOCHS + 1],
}

/// What a search has seen.
#[derive(Debug, Default)]
struct Tally {
    states: usize,
    lost: usize,
    /// Two nodes have confirmed in one epoch.
    doubled: usize,
    /// What was there before an epoch is read in two ways.
    drifted: usize,
}

fn has(set: u8, epoch: u8) -> bool {
    set >> epoch & 1 == 1
}

fn messages_of(epoch: usize) -> Set {
    (((1 << MESSAGES) - 1) << ((epoch - 1) * MESSAGES)) as Set
}

impl State {
    fn first() -> Self {
        let node = Node { step: Step::Pick, epoch: 0, view: Default::default(), sent: 0 };
        let disk = Disk {
            claims: 0,
            published: 0,
            written: Default::default(),
            durable: Default::default(),
            deleted: 0,
            seals: Default::default(),
            footers: Default::default(),
        };
        Self { nodes: [node; NODES], disk, confirmed: 0, confirmers: Default::default() }
    }

    /// The last owner, once its first segment is there.
    fn owner(&self) -> Option<(usize, View)> {
        let epoch = usize::from(self.disk.published);
        Some((epoch, self.disk.seals[epoch]?))
    }

    /// A confirmed message is not where the last owner looks for it, or on no segment that counts.
    fn has_lost(&self) -> bool {
        let Some((epoch, view)) = self.owner() else { return false };
        let older = (1..epoch).map(messages_of).fold(0, |all, set| all | set);
        let seen = view[1..epoch].iter().fold(0, |all, set| all | set);
        let on_disk = (1..=epoch)
            .filter(|old| !has(self.disk.deleted, *old as u8))
            .map(|old| if old == epoch { self.disk.durable[old] } else { view[old] })
            .fold(0, |all, set| all | set);
        self.confirmed & older & !seen != 0
            || self.confirmed & !on_disk & (older | messages_of(epoch)) != 0
    }

    fn is_doubled(&self) -> bool {
        self.confirmers.iter().any(|nodes| nodes.count_ones() > 1)
    }

    fn has_drifted(&self) -> bool {
        let confirmed = |epoch: &usize| self.confirmers[*epoch] != 0;
        let epochs = || (1..=EPOCHS).filter(confirmed);
        epochs().any(|later| {
            epochs().filter(|earlier| *earlier < later).any(|earlier| {
                let views = (self.disk.seals[earlier], self.disk.seals[later]);
                let (Some(first), Some(second)) = views else { return false };
                (1..earlier)
                    .any(|old| first[old] != second[old] && !has(self.disk.deleted, old as u8))
            })
        })
    }

    /// All states that one step of one node leads to.
    fn next(&self, bug: Bug, found: &mut Vec<Self>) {
        for index in 0..NODES {
            let mut go = |change: &dyn Fn(&mut Node, &mut Self)| {
                let mut next = *self;
                let mut node = self.nodes[index];
                change(&mut node, &mut next);
                next.nodes[index] = node;
                found.push(next);
            };
            let node = self.nodes[index];
            let epoch = usize::from(node.epoch);
            let is_owner = self.disk.published == node.epoch;
            let checked = |then: Step| if is_owner { then } else { Step::Gone };
            let to = |step: Step| move |node: &mut Node, _: &mut Self| node.step = step;
            match node.step {
                Step::Gone => {}
                Step::Pick => {
                    let next =
                        (0..=EPOCHS as u8).rev().find(|e| has(self.disk.claims, *e)).unwrap_or(0)
                            + 1;
                    if usize::from(next) <= EPOCHS {
                        go(&|node, _| (node.step, node.epoch) = (Step::Claim, next));
                    }
                }
                Step::Claim if has(self.disk.claims, node.epoch) && bug != Bug::NoArbiter => {
                    go(&to(Step::Pick));
                }
                Step::Claim => go(&|node, state| {
                    state.disk.claims |= 1 << node.epoch;
                    node.step =
                        if bug == Bug::ReadBeforeClaim { Step::Read(1) } else { Step::Publish };
                }),
                Step::Publish => go(&|node, state| {
                    state.disk.published = state.disk.published.max(node.epoch);
                    node.step = if bug == Bug::ReadBeforeClaim { Step::Seal } else { Step::LookUp };
                }),
                Step::LookUp => go(&to(checked(Step::Read(1)))),
                Step::Read(old) if usize::from(old) == epoch => {
                    go(&to(if bug == Bug::ReadBeforeClaim { Step::Publish } else { Step::Seal }));
                }
                Step::Read(old) => go(&|node, state| {
                    node.view[usize::from(old)] = state.disk.read(old, node.epoch, bug);
                    node.step = Step::Read(old + 1);
                }),
                Step::Seal => go(&|node, state| {
                    state.disk.seals[epoch] = Some(node.view);
                    node.step = Step::CheckSeal;
                }),
                Step::CheckSeal => {
                    go(&to(if bug == Bug::NoEpochCheck {
                        Step::Serve
                    } else {
                        checked(Step::Serve)
                    }));
                }
                Step::Serve => {
                    if usize::from(node.sent) < MESSAGES {
                        go(&|node, state| {
                            state.disk.written[epoch] |=
                                1 << ((epoch - 1) * MESSAGES + usize::from(node.sent));
                            node.step = if bug == Bug::CheckBeforeSync {
                                Step::CheckEarly
                            } else {
                                Step::Sync
                            };
                        });
                    }
                    // One that its segment outgrows, as a copy of a live file would be.
                    if node.sent == 1 && epoch < 3 && self.disk.footers[epoch].is_none() {
                        go(&to(Step::CheckFooter(node.epoch)));
                    }
                    let oldest = (1..node.epoch).find(|old| !has(self.disk.deleted, *old));
                    if let Some(old) = oldest.filter(|old| node.view[usize::from(*old)] != 0) {
                        go(&|node, state| {
                            state.disk.written[epoch] |= node.view[usize::from(old)];
                            node.step = Step::SyncCopies(old);
                        });
                        if self.disk.footers[usize::from(old)].is_none() {
                            go(&to(Step::CheckFooter(old)));
                        }
                    }
                }
                Step::CheckEarly => go(&to(checked(Step::Sync))),
                Step::Sync => go(&|node, state| {
                    state.disk.durable[epoch] = state.disk.written[epoch];
                    let unchecked = matches!(bug, Bug::CheckBeforeSync | Bug::NoEpochCheck);
                    node.step = if unchecked { Step::Confirm } else { Step::Check };
                }),
                Step::Check => go(&to(checked(Step::Confirm))),
                Step::Confirm => go(&|node, state| {
                    state.confirmed |= 1 << ((epoch - 1) * MESSAGES + usize::from(node.sent));
                    state.confirmers[epoch] |= 1 << index;
                    (node.sent, node.step) = (node.sent + 1, Step::Serve);
                }),
                Step::SyncCopies(old) => go(&|node, state| {
                    state.disk.durable[epoch] = state.disk.written[epoch];
                    let unchecked = matches!(bug, Bug::DeleteUnchecked | Bug::NoEpochCheck);
                    node.step = if unchecked { Step::Delete(old) } else { Step::CheckCopies(old) };
                }),
                Step::CheckCopies(old) => go(&to(checked(Step::CheckDelete(old)))),
                Step::CheckDelete(old) => go(&to(checked(Step::Delete(old)))),
                Step::Delete(old) => go(&|node, state| {
                    state.disk.deleted |= 1 << old;
                    node.step = Step::Serve;
                }),
                Step::CheckFooter(old) => {
                    let then = Step::WriteFooter(old);
                    go(&to(if bug == Bug::NoEpochCheck { then } else { checked(then) }));
                }
                Step::WriteFooter(old) => go(&|node, state| {
                    let own = state.disk.durable[epoch];
                    let held = if old == node.epoch { own } else { node.view[usize::from(old)] };
                    state.disk.footers[usize::from(old)] = Some(held);
                    node.step = Step::Serve;
                }),
            }
        }
    }
}

impl Disk {
    /// What the claimant of an epoch takes a segment to hold: what the newest owner before it says of those
    /// before that, from a footer where that fits; else what is there.
    fn read(&self, old: u8, epoch: u8, bug: Bug) -> Set {
        let index = usize::from(old);
        if has(self.deleted, old) {
            return 0;
        }
        let sealed = (old + 1..epoch).rev().find_map(|owner| self.seals[usize::from(owner)]);
        let end = sealed.filter(|_| bug != Bug::IgnoreSeals).map(|view| view[index]);
        match (self.footers[index], end) {
            (Some(footer), _) if bug == Bug::TrustFooter => footer,
            (Some(footer), Some(end)) if footer == end => footer,
            (_, Some(end)) => end & self.durable[index],
            (_, None) => self.durable[index],
        }
    }
}

/// Goes all ways there are, or until something is wrong often enough.
fn search(bug: Bug, wrong_max: usize) -> Tally {
    let first = State::first();
    let mut seen: HashSet<State, RandomState> = HashSet::default();
    seen.insert(first);
    let (mut open, mut tally) = (vec![first], Tally::default());
    let mut found = Vec::new();
    while let Some(state) = open.pop() {
        tally.lost += usize::from(state.has_lost());
        tally.doubled += usize::from(state.is_doubled());
        tally.drifted += usize::from(state.has_drifted());
        if tally.lost + tally.doubled + tally.drifted >= wrong_max {
            break;
        }
        state.next(bug, &mut found);
        open.extend(found.drain(..).filter(|next| seen.insert(*next)));
    }
    tally.states = seen.len();
    tally
}

#[test]
fn nothing_confirmed_is_lost_in_any_order_of_three_nodes() {
    let tally = search(Bug::None, 1);
    println!("{tally:?}");
    assert_eq!((tally.lost, tally.doubled, tally.drifted), (0, 0, 0), "{tally:?}");
    assert!(tally.states > 500_000, "{tally:?}");
}

#[test]
fn each_mistake_in_the_protocol_is_found() {
    for bug in [
        Bug::NoEpochCheck,
        Bug::CheckBeforeSync,
        Bug::ReadBeforeClaim,
        Bug::NoArbiter,
        Bug::IgnoreSeals,
        Bug::DeleteUnchecked,
        Bug::TrustFooter,
    ] {
        let tally = search(bug, 1);
        println!("{bug:?}: {tally:?}");
        assert!(tally.lost + tally.doubled + tally.drifted > 0, "{bug:?} is not found: {tally:?}");
    }
}
