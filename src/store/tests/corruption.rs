//! R6: any bit, any length, any sector of a store may be wrong.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::hand::{Opened, directory, options};
use super::left::{Left, Part, is_footer, losses, parts};
use super::script::Script;
use super::state::{message, number_of};
use super::world::{End, World};
use super::{scaled, seed};
use crate::store::disk::model::{Image, ModelDisk};
use crate::store::inspect;
use crate::store::options::JournalOptions;
use crate::store::{Damage, Fetched, Key, Location};

/// Bytes of the journal that is damaged, at least.
const JOURNAL_BYTES: u64 = 128 << 10;
const SECTOR: usize = 512;
/// Every so many damaged stores are looked at more closely.
const CLOSELY: u64 = 16;

/// What happens to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Blow {
    Bit(usize),
    Cut(usize),
    Sector(usize, Sector),
    /// It is not there any more.
    Gone,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Sector {
    Zeros,
    Swapped(usize),
    /// What belongs to another one was written here.
    Misdirected(usize),
    /// As it was in another file that had the place before.
    Stale(PathBuf),
}

impl Blow {
    /// What it leaves of `bytes`; `None` when that is nothing.
    fn strike(&self, bytes: &[u8], image: &Image) -> Option<Vec<u8>> {
        let mut bytes = bytes.to_vec();
        let sector = |bytes: &[u8], sector: usize| {
            let rest = bytes.get(sector * SECTOR..).unwrap_or_default();
            rest[..rest.len().min(SECTOR)].to_vec()
        };
        let mut put = |at: usize, what: &[u8]| {
            for (place, byte) in bytes.iter_mut().skip(at * SECTOR).zip(what) {
                *place = *byte;
            }
        };
        match self {
            Self::Gone => return None,
            Self::Bit(bit) => bytes[bit / 8] ^= 1 << (bit % 8),
            Self::Cut(length) => bytes.truncate(*length),
            Self::Sector(at, Sector::Zeros) => put(*at, &[0; SECTOR]),
            Self::Sector(at, Sector::Swapped(other)) => {
                let (ours, theirs) = (sector(&bytes, *at), sector(&bytes, *other));
                for (place, what) in [(*at, theirs), (*other, ours)] {
                    bytes.iter_mut().skip(place * SECTOR).zip(what).for_each(|(to, it)| *to = it);
                }
            }
            Self::Sector(at, Sector::Misdirected(other)) => {
                let what = sector(&bytes, *other);
                bytes.iter_mut().skip(at * SECTOR).zip(what).for_each(|(to, it)| *to = it);
            }
            Self::Sector(at, Sector::Stale(other)) => {
                put(*at, &sector(&image.peek(other).unwrap_or_default(), *at));
            }
        }
        Some(bytes)
    }
}

/// A store that is whole.
#[derive(Debug)]
pub(super) struct Victim {
    pub(super) image: Image,
    pub(super) parts: Vec<Part>,
    /// What it holds.
    pub(super) all: Left,
    /// Numbers of the messages by where they lie.
    numbers: HashMap<Location, i64>,
}

pub(super) fn victim_options() -> JournalOptions {
    JournalOptions { journal_max_file_length: 16 << 10, ..options() }
}

impl Victim {
    /// A store in which a lot has happened, that was closed or has crashed.
    pub(super) fn new(seed: u64, end: End, has_footers: bool) -> Result<Self, String> {
        let world = World::new(ModelDisk::default(), victim_options());
        let mut script = Script::new(world, seed);
        (script.messages, script.ends) = (350, 4);
        script.world.open()?;
        let is_enough = |script: &mut Script| {
            let shared = script.world.opened().journal.shared();
            let tail = shared.tail_room();
            shared.segments.lock().len() > 3
                && script.world.opened().journal.written_bytes() >= JOURNAL_BYTES
                && tail < 10 << 10
        };
        for step in 0.. {
            if is_enough(&mut script) {
                break;
            }
            assert!(step < 20_000, "the journal does not grow");
            script.step()?;
        }
        script.world.opened().write(true);
        // Until nothing is left to be tidied up.
        for _ in 0..20 {
            script.world.opened().keep();
            script.world.opened().write(true);
        }
        script.world.end(end);
        let disk = script.world.disk;
        for path in disk.files(&directory().join("journal")) {
            if is_footer(&path) && !has_footers {
                disk.forget(&path);
            }
        }
        Self::of(disk.image())
    }

    fn of(image: Image) -> Result<Self, String> {
        let parts = parts(&image);
        let mut all = Left::default();
        parts.iter().for_each(|part| part.say_all(&mut all));
        all.adopt(false);
        let disk = ModelDisk::of(image.clone());
        let mut opened = Opened::new(&disk, &victim_options()).unwrap();
        let found = Left::of(&opened.recovered, opened.journal.next_owner().0);
        if all != found {
            return Err(all.difference(&found));
        }
        let mut numbers = HashMap::new();
        // Also those that were removed: they may be back.
        for at in parts.iter().flat_map(Part::puts) {
            let Fetched::Message(read) = opened.fetch(Key::FIRST, at) else { panic!("{at:?}") };
            let number = number_of(&read);
            assert_eq!(*read, *message(number));
            numbers.insert(at, number);
        }
        assert!(numbers.len() > 100, "only {} messages", numbers.len());
        Ok(Self { image, parts, all, numbers })
    }

    fn files(&self) -> Vec<PathBuf> {
        let disk = ModelDisk::of(self.image.clone());
        let mut files = Vec::new();
        for sub in ["", "journal", "claims"] {
            files.extend(disk.files(&directory().join(sub)));
        }
        files.retain(|path| !path.ends_with("lock"));
        files
    }

    fn part_of(&self, path: &Path) -> Option<&Part> {
        self.parts.iter().find(|part| part.path == path)
    }

    /// Damages one file, opens the store, and looks at what is left.
    fn suffer(&self, path: &Path, blow: &Blow, case: u64) -> Result<(), String> {
        let old = self.image.peek(path).unwrap();
        let new = blow.strike(&old, &self.image);
        let disk = ModelDisk::of(self.image.clone());
        match &new {
            Some(new) if *new == *old => return Ok(()),
            Some(new) => disk.poke(path, new.clone()),
            None => disk.forget(path),
        }
        let new = new.unwrap_or_default();
        let is_changed = |at: usize| new.get(at) != old.get(at);
        let mut opened = Opened::new(&disk, &victim_options()).map_err(|why| why.to_string())?;
        let wound = Wound { victim: self, path, is_changed: &is_changed, length: new.len() };
        wound.check_state(&opened)?;
        wound.check_fetched(&mut opened)?;
        wound.check_named(&opened, blow)?;
        wound.check_kept(&opened, &disk, &new)?;
        if case.is_multiple_of(CLOSELY) {
            wound.check_tool(blow)?;
            wound.check_again(opened, &disk)?;
        }
        Ok(())
    }
}

/// A damaged file of a store.
struct Wound<'a> {
    victim: &'a Victim,
    path: &'a Path,
    is_changed: &'a dyn Fn(usize) -> bool,
    /// Of the file now.
    length: usize,
}

impl Wound<'_> {
    fn is_touched(&self, from: usize, to: usize) -> bool {
        (from..to).any(self.is_changed)
    }

    /// Whether recovery need not read a segment, as its footer says all.
    fn is_by_footer(&self, part: &Part) -> bool {
        let is_whole = self.path != part.index && self.victim.image.peek(&part.index).is_some();
        let has_head = self.path != part.path || !self.is_touched(0, part.start());
        !part.is_last && is_whole && has_head
    }

    /// Only what stands in the damaged batches is lost.
    fn check_state(&self, opened: &Opened) -> Result<(), String> {
        let mut expected = Left::default();
        for part in &self.victim.parts {
            let is_hit = self.path == part.path && !self.is_by_footer(part);
            part.survive(|from, to| is_hit && self.is_touched(from, to), &mut expected);
        }
        expected.adopt(!losses(&opened.recovered).is_empty());
        let found = Left::of(&opened.recovered, opened.journal.next_owner().0);
        match expected == found {
            true => Ok(()),
            false => Err(expected.difference(&found)),
        }
    }

    /// No message is altered, also none that lies in what was damaged.
    fn check_fetched(&self, opened: &mut Opened) -> Result<(), String> {
        let number = self.victim.part_of(self.path).map(|part| part.sealed.name.number);
        let found = Left::of(&opened.recovered, 0);
        let near = found.messages().filter(|(_, _, stored)| Some(stored.at.segment) == number);
        let mut page = Vec::new();
        let mut whole = 0;
        for (_, key, stored) in near {
            let (from, to) = (stored.at.offset as usize, self.record_end(stored.at));
            let is_hit = self.is_touched(from, to);
            whole += usize::from(!is_hit);
            if is_hit || whole <= 3 {
                page.push((key, stored.at, is_hit));
            }
        }
        let wanted = page.iter().map(|(key, at, _)| (*key, *at)).collect();
        let fetched = opened.fetch_all(wanted);
        for ((_, at, is_hit), (_, fetched)) in page.iter().zip(&fetched) {
            match (fetched, is_hit) {
                (Fetched::Damaged(text), true) if text.contains(&self.name()) => {}
                (Fetched::Message(read), false) => {
                    let number = self.victim.numbers[at];
                    if **read != *message(number) {
                        return Err(format!("#{number} is altered"));
                    }
                }
                (other, _) => return Err(format!("{at:?}: {other:?}")),
            }
        }
        match page.len() == fetched.len() {
            true => Ok(()),
            false => Err(format!("{} of {} bodies came", fetched.len(), page.len())),
        }
    }

    fn record_end(&self, at: Location) -> usize {
        let whole = self.victim.image.peek(self.path).unwrap();
        let at = at.offset as usize;
        at + u32::from_be_bytes(*whole[at..].first_chunk().unwrap()) as usize
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap().to_string_lossy().into_owned()
    }

    /// What is damaged is named, and nothing else is.
    fn check_named(&self, opened: &Opened, blow: &Blow) -> Result<(), String> {
        let damage = &opened.recovered.damage;
        let named = |file: &str| {
            let mut places = Vec::new();
            for found in damage {
                if let Damage::Bytes { file: other, from, to } = found
                    && other == file
                {
                    places.push((*from as usize, *to as usize));
                }
            }
            places
        };
        let fail = |what: &str| Err(format!("{what}: {damage:?}"));
        let Some(part) = self.victim.part_of(self.path) else {
            // What is in a segment that was only prepared is nobody's, but it is named.
            let of_nobody = Damage::Unreadable { file: self.name() }.to_string();
            let mut lost = losses(&opened.recovered);
            lost.retain(|loss| *loss != of_nobody);
            if !lost.is_empty() {
                return fail("nothing was lost");
            }
            let is_slot = self.path.ends_with("EPOCH");
            let is_named = damage.iter().any(|damage| {
                matches!(damage, Damage::Footer { file } if *file == self.name())
                    || matches!(damage, Damage::Slot { .. }) && is_slot
            });
            let is_read = is_footer(self.path)
                && *blow != Blow::Gone
                && self.victim.parts.iter().any(|part| part.index == self.path && !part.is_last);
            return if is_named || !is_read { Ok(()) } else { fail("it was not named") };
        };
        if self.is_by_footer(part) || !self.is_touched(0, part.end()) {
            return Ok(());
        }
        let survival = part.survive(|from, to| self.is_touched(from, to), &mut Left::default());
        let is_head_lost = self.is_touched(0, part.start());
        let is_missing = || damage.iter().any(|damage| matches!(damage, Damage::Missing { .. }));
        if self.length < part.places[0].to && part.is_last {
            // As if it had only been begun.
            let is_torn = damage.iter().any(|damage| matches!(damage, Damage::Torn { .. }));
            let before = self.victim.parts.iter().rev().nth(1);
            let has_footer =
                before.is_some_and(|part| self.victim.image.peek(&part.index).is_some());
            let is_known = has_footer && self.is_head_gone(part);
            return match is_missing() || is_torn || !is_known {
                true => Ok(()),
                false => fail("that it is missing was not named"),
            };
        }
        if *blow == Blow::Gone {
            return if is_missing() { Ok(()) } else { fail("that it is missing was not named") };
        }
        let is_anything_whole =
            part.places.iter().any(|place| !self.is_touched(place.from, place.to));
        if part.is_last && !is_anything_whole {
            let is_named = damage.iter().any(|damage| {
                matches!(damage, Damage::Unreadable { file } | Damage::Torn { file, .. }
                    if *file == self.name())
            });
            return if is_named { Ok(()) } else { fail("nothing of it is whole") };
        }
        if is_head_lost != damage.contains(&Damage::Head { file: self.name() }) {
            return fail("the head");
        }
        if named(&self.name()) != survival.damage {
            return fail(&format!("not {:?}", survival.damage));
        }
        let is_short = damage.iter().any(|damage| matches!(damage, Damage::Short { .. }));
        match survival.cut {
            Some(cut) => {
                let is_cut_there = damage.iter().any(
                    |damage| matches!(damage, Damage::Torn { from, .. } if *from as usize == cut),
                );
                let is_named = is_cut_there || is_short || self.length < part.places[1].to;
                if is_named { Ok(()) } else { fail(&format!("not that it was cut off at {cut}")) }
            }
            None => Ok(()),
        }
    }

    fn is_head_gone(&self, part: &Part) -> bool {
        self.length < part.start()
    }

    /// What was damaged is kept for people to look at.
    fn check_kept(&self, opened: &Opened, disk: &ModelDisk, new: &[u8]) -> Result<(), String> {
        for damage in &opened.recovered.damage {
            let Damage::Bytes { file, from, to } = damage else { continue };
            let path = directory().join("quarantine").join(format!("{file}-{from}-{to}"));
            let kept = disk.peek(&path).ok_or_else(|| format!("no {}", path.display()))?;
            let to = (*to as usize).min(new.len());
            let expected = new.get(*from as usize..to).unwrap_or_default();
            if *file == self.name() && *kept != expected {
                return Err(format!("{} is not what was damaged", path.display()));
            }
        }
        Ok(())
    }

    /// `openwired store verify` names what recovery did not need to read, too.
    fn check_tool(&self, blow: &Blow) -> Result<(), String> {
        let disk = ModelDisk::of(self.victim.image.clone());
        let old = self.victim.image.peek(self.path).unwrap();
        let Some(new) = blow.strike(&old, &self.victim.image) else { return Ok(()) };
        disk.poke(self.path, new);
        let verified = inspect::verify(&disk, directory()).map_err(|why| why.to_string())?;
        let Some(part) = self.victim.part_of(self.path) else { return Ok(()) };
        let is_hit = self.is_touched(0, part.end()) && !part.is_last;
        let name = self.name();
        match is_hit && !verified.problems.iter().any(|problem| problem.contains(&name)) {
            true => Err(format!("the tool does not say it: {:?}", verified.problems)),
            false => Ok(()),
        }
    }

    /// It is the same once more after the keeper has done what it does.
    fn check_again(&self, mut opened: Opened, disk: &ModelDisk) -> Result<(), String> {
        let first = Left::of(&opened.recovered, 0);
        for _ in 0..20 {
            opened.keep();
            opened.write(true);
        }
        if !opened.is_running() {
            return Err("it has failed".to_owned());
        }
        drop(opened);
        let opened = Opened::new(disk, &victim_options()).map_err(|why| why.to_string())?;
        let second = Left::of(&opened.recovered, 0);
        match first == second {
            true => Ok(()),
            false => Err(format!("a second time: {}", first.difference(&second))),
        }
    }
}

/// Every blow at a file, by its number.
fn blows(victim: &Victim, path: &Path) -> Vec<Blow> {
    let length = victim.image.peek(path).unwrap().len();
    // Behind its end a segment is zeros for a long way.
    let length = victim.part_of(path).map_or(length, |part| length.min(part.end() + 2 * SECTOR));
    let sectors = length.div_ceil(SECTOR);
    let logs: Vec<_> = victim.parts.iter().map(|part| &part.path).collect();
    let stale = |at: usize| {
        let other = logs[at % logs.len()];
        Blow::Sector(at, Sector::Stale(other.clone()))
    };
    (0..length * 8)
        .map(Blow::Bit)
        .chain((0..length).map(Blow::Cut))
        .chain((0..sectors).flat_map(|at| {
            let other = (at * 7 + 3) % sectors;
            [
                Blow::Sector(at, Sector::Zeros),
                Blow::Sector(at, Sector::Swapped(other)),
                Blow::Sector(at, Sector::Misdirected(other)),
                stale(at),
                stale(at + 1).at(at),
            ]
        }))
        .chain((victim.parts[0].path != path).then_some(Blow::Gone))
        .collect()
}

impl Blow {
    fn at(self, at: usize) -> Self {
        match self {
            Self::Sector(_, sector) => Self::Sector(at, sector),
            other @ (Self::Bit(_) | Self::Cut(_) | Self::Gone) => other,
        }
    }
}

/// What was tried, by kind.
pub(super) type Tally = BTreeMap<&'static str, u64>;

/// Tries the blows that are chosen by their kind, and says how many there were.
fn torture(victim: &Victim, mut chosen: impl FnMut(&str) -> bool) -> Result<Tally, String> {
    let mut tally = Tally::new();
    let mut case = 0;
    for path in victim.files() {
        for blow in blows(victim, &path) {
            let kind = match blow {
                Blow::Bit(_) => "bits",
                Blow::Cut(_) => "truncations",
                Blow::Sector(..) => "sectors",
                Blow::Gone => "removals",
            };
            if !chosen(kind) {
                continue;
            }
            case += 1;
            *tally.entry(kind).or_default() += 1;
            let suffered = catch_unwind(AssertUnwindSafe(|| victim.suffer(&path, &blow, case)));
            let suffered = suffered.unwrap_or_else(|_| Err("a panic".to_owned()));
            suffered.map_err(|why| {
                let name = path.file_name().unwrap_or_default();
                let parts = victim.parts.iter();
                let parts: Vec<_> = parts.map(|part| (part.sealed.name, part.end())).collect();
                format!("{blow:?} of {name:?} among {parts:?}: {why}")
            })?;
        }
    }
    Ok(tally)
}

/// How a store ends that is damaged then, and whether it has footers.
const KINDS: [(End, bool); 4] =
    [(End::Crash, false), (End::Close, false), (End::Crash, true), (End::Close, true)];

/// Some of the blows at one kind of store; all of them if `STORE_SOAK` says so often enough.
pub(super) fn sampled(kind: usize, seed: u64) -> Result<Tally, String> {
    let (end, has_footers) = KINDS[kind];
    let victim = Victim::new(seed, end, has_footers)?;
    let mut dice = fastrand::Rng::with_seed(seed);
    torture(&victim, |kind| {
        let one_of = match kind {
            "bits" => 4000,
            "truncations" => 1200,
            "sectors" => 20,
            _ => 1,
        };
        dice.u64(..one_of) < scaled(1)
    })
}

fn sample(kind: usize) {
    let started = Instant::now();
    let tally = sampled(kind, seed()).unwrap();
    println!("{tally:?}, {:?}", started.elapsed());
    assert_eq!(tally.len(), 4, "{tally:?}");
}

#[test]
fn damage_of_a_store_that_crashed_is_named_and_alters_nothing() {
    sample(0);
}

#[test]
fn damage_of_a_store_that_was_closed_is_named_and_alters_nothing() {
    sample(1);
}

#[test]
fn damage_of_a_store_with_footers_that_crashed_is_named_and_alters_nothing() {
    sample(2);
}

#[test]
fn damage_of_a_store_with_footers_that_was_closed_is_named_and_alters_nothing() {
    sample(3);
}
