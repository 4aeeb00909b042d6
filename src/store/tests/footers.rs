//! R14: footers only save time. Without any of them the same is found, and they are made again.

use std::time::Instant;

use super::corruption::Victim;
use super::hand::Opened;
use super::left::{Left, losses};
use super::world::End;
use super::{scaled, seed};
use crate::store::disk::model::ModelDisk;

/// Does something to some of the footers. `None`: they are as they were.
fn spoil(victim: &Victim, disk: &ModelDisk, dice: &mut fastrand::Rng) -> Option<()> {
    let mut spoiled = None;
    for part in &victim.parts {
        let Some(old) = disk.peek(&part.index) else { continue };
        let mut new = old.to_vec();
        match dice.u8(..6) {
            0 => disk.forget(&part.index),
            1 => new.truncate(dice.usize(..old.len())),
            2 => {
                let bit = dice.usize(..old.len() * 8);
                new[bit / 8] ^= 1 << (bit % 8);
            }
            3 => {
                let other = dice.choice(&victim.parts)?;
                new = victim.image.peek(&other.index).unwrap_or_default().to_vec();
            }
            _ => continue,
        }
        if disk.peek(&part.index).is_some() {
            disk.poke(&part.index, new);
        }
        spoiled = Some(());
    }
    spoiled
}

/// Rebuilds footers until that many stores were rebuilt.
fn rebuild(count: u64) -> Result<(), String> {
    let seed = seed();
    let mut dice = fastrand::Rng::with_seed(seed);
    let victim = Victim::new(seed, End::Crash, true)?;
    let mut rebuilt = 0;
    while rebuilt < count {
        let disk = ModelDisk::of(victim.image.clone());
        if spoil(&victim, &disk, &mut dice).is_none() {
            continue;
        }
        rebuilt += 1;
        let mut opened = Opened::new(&disk, &super::corruption::victim_options())
            .map_err(|why| why.to_string())?;
        let found = Left::of(&opened.recovered, opened.journal.next_owner().0);
        if found != victim.all {
            return Err(format!("rebuild {rebuilt}: {}", victim.all.difference(&found)));
        }
        let lost = losses(&opened.recovered);
        if !lost.is_empty() {
            return Err(format!("rebuild {rebuilt}: taken for damage: {lost:?}"));
        }
        if rebuilt % 8 != 0 {
            continue;
        }
        for _ in 0..2 * victim.parts.len() {
            opened.keep();
        }
        for part in victim.parts.iter().filter(|part| !part.is_last) {
            let (old, new) = (victim.image.peek(&part.index), disk.peek(&part.index));
            // It was cleaned meanwhile.
            if disk.peek(&part.path).is_some() && old != new {
                return Err(format!("rebuild {rebuilt}: {} differs", part.index.display()));
            }
        }
    }
    Ok(())
}

#[test]
fn without_any_of_its_footers_a_store_holds_the_same() {
    let started = Instant::now();
    rebuild(scaled(400)).unwrap();
    println!("{:?}", started.elapsed());
}
