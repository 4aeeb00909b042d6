//! What brokers do with a store, by chance.

use std::collections::BTreeSet;

use super::state::message;
use super::state::{durable, queue, xid};
use super::world::{End, World};
use crate::store::{Branch, Entry, Key, OwnerId};

/// How many messages are held at a time, unless a test says otherwise.
const MESSAGES: usize = 12;
const OWNERS: usize = 5;

/// A world in which one thing after another happens.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) world: World,
    pub(super) dice: fastrand::Rng,
    xids: i32,
    versions: i64,
    /// How many of 1000 steps end with the end of the broker.
    pub(super) ends: u32,
    /// How many messages are held at a time, about.
    pub(super) messages: usize,
}

impl Script {
    pub(super) fn new(world: World, seed: u64) -> Self {
        // The salts of epochs come from here.
        fastrand::seed(seed);
        let dice = fastrand::Rng::with_seed(seed);
        Self { world, dice, xids: 0, versions: 0, ends: 15, messages: MESSAGES }
    }

    /// Opens the store and makes that many steps, as long as the disk does what it is asked for.
    pub(super) fn run(&mut self, steps: usize) -> Result<(), String> {
        if !self.world.open()? {
            return Ok(());
        }
        for _ in 0..steps {
            self.step()?;
            if !self.world.is_open() || !self.world.opened().is_running() {
                return Ok(());
            }
        }
        Ok(())
    }

    pub(super) fn step(&mut self) -> Result<(), String> {
        if let Some(entries) = self.entries() {
            let wanted = self.dice.u8(..3) > 0;
            drop(self.world.append(entries, wanted));
        }
        match self.dice.u8(..10) {
            0..=3 => drop(self.world.opened().write(false)),
            4 => drop(self.world.opened().write(true)),
            5..=7 => self.world.opened().keep(),
            _ => {}
        }
        self.world.check_order()?;
        if self.dice.u32(..1000) < self.ends {
            let end = match self.dice.u8(..4) {
                0 => End::Close,
                1 => End::Crash,
                _ => End::PowerCut(self.dice.u64(..)),
            };
            self.world.end(end);
            self.world.open()?;
        }
        Ok(())
    }

    /// What one group is to change.
    fn entries(&mut self) -> Option<Vec<Entry>> {
        let state = self.world.state();
        let owners: Vec<OwnerId> = state.owners.keys().copied().collect();
        let promised: BTreeSet<(OwnerId, Key)> =
            state.branches.iter().flat_map(|branch| branch.acks.iter().copied()).collect();
        let held: Vec<(OwnerId, Key)> = state
            .messages()
            .map(|(owner, key, _)| (owner, key))
            .filter(|message| !promised.contains(message))
            .collect();
        if owners.len() < 2 {
            return Some(vec![self.new_owner()]);
        }
        let is_filling = self.messages > MESSAGES && held.len() < self.messages;
        let dice = match held.len() > self.messages {
            true => self.dice.u8(30..100),
            false if is_filling && self.dice.bool() => self.dice.u8(..32),
            false => self.dice.u8(..100),
        };
        let owner = self.dice.choice(owners.iter().copied())?;
        let message = self.dice.choice(held.iter().copied());
        Some(match dice {
            0..25 => vec![self.world.add(&[owner], 0)],
            25..32 => vec![self.world.add(&owners, 0)],
            32..60 => {
                let (owner, key) = message?;
                let more = held.iter().filter(|(other, _)| *other == owner).map(|(_, key)| *key);
                let count = self.dice.usize(1..4);
                let keys: BTreeSet<Key> = more.take(count).chain([key]).collect();
                vec![self.world.remove(owner, &keys.into_iter().collect::<Vec<_>>())]
            }
            // A dead letter: the same message elsewhere.
            60..66 => {
                let (from, key) = message?;
                let number = state.owners[&from].messages[&key].number;
                let remove = self.world.remove(from, &[key]);
                vec![self.world.add_again(number, &[owner], 1), remove]
            }
            66..72 => {
                let mut entries: Vec<_> =
                    owners.iter().map(|owner| self.world.add(&[*owner], 0)).collect();
                let acked = held.iter().take(2).copied();
                entries.extend(acked.map(|(owner, key)| self.world.remove(owner, &[key])));
                entries
            }
            72..79 => {
                let (owner, key) = message?;
                let count = state.owners[&owner].messages[&key].redeliveries + 1;
                vec![Entry::Redelivered { owner, key, count }]
            }
            79..82 if owners.len() < OWNERS => vec![self.new_owner()],
            82..84 => {
                let is_promised = promised.iter().any(|(other, _)| *other == owner);
                if is_promised {
                    return None;
                }
                vec![self.world.owner_gone(owner)]
            }
            84..86 => self.new_version(owner),
            86..91 if state.branches.len() < 3 => vec![self.prepared(message)],
            91..96 => self.outcome(state.branches.first()?, owner),
            _ => return None,
        })
    }

    fn new_owner(&mut self) -> Entry {
        let is_queue = self.dice.bool();
        self.world.owner(|id| if is_queue { queue(id) } else { durable(id, 0) }).1
    }

    /// An owner that is there is described anew.
    fn new_version(&mut self, id: OwnerId) -> Vec<Entry> {
        self.versions += 1;
        vec![Entry::Owner { id, record: durable(id.0, self.versions) }]
    }

    fn prepared(&mut self, ack: Option<(OwnerId, Key)>) -> Entry {
        self.xids += 1;
        let sends = (0..self.dice.usize(..3)).map(|_| message(self.world.next_number())).collect();
        Entry::Prepared(Branch { xid: xid(self.xids), sends, acks: ack.into_iter().collect() })
    }

    fn outcome(&mut self, branch: &super::state::Prepared, owner: OwnerId) -> Vec<Entry> {
        let mut entries = vec![Entry::Outcome(xid(branch.xid))];
        if self.dice.bool() {
            for number in &branch.sends {
                entries.push(self.world.add_again(*number, &[owner], 0));
            }
            for (owner, key) in &branch.acks {
                entries.push(self.world.remove(*owner, &[*key]));
            }
        }
        entries
    }
}
