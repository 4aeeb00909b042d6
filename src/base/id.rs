//! Unique names as ActiveMQ makes them: `ID:host-port-millis-instance:n`.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the generators of this process, so that two made in one millisecond differ.
static INSTANCES: AtomicU64 = AtomicU64::new(0);

/// Makes names that no other process and no other generator makes.
#[derive(Debug)]
pub struct IdGenerator {
    seed: String,
    next: AtomicU64,
}

impl IdGenerator {
    /// `host` is a name for people; `unique` (a port or process id) and `now_ms` tell processes apart.
    pub fn new(host: &str, unique: u32, now_ms: i64) -> Self {
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
        Self { seed: format!("ID:{host}-{unique}-{now_ms}-{instance}:"), next: AtomicU64::new(1) }
    }

    /// Names that begin with `seed` instead of `ID:`, as those of bridges do.
    pub fn named(seed: &str, unique: u32, now_ms: i64) -> Self {
        let instance = INSTANCES.fetch_add(1, Ordering::Relaxed);
        Self { seed: format!("{seed}-{unique}-{now_ms}-{instance}:"), next: AtomicU64::new(1) }
    }

    pub fn generate(&self) -> String {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{}{n}", self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_within_and_between_generators() {
        let (a, b) = (IdGenerator::new("h", 1, 2), IdGenerator::new("h", 1, 2));
        let names = [a.generate(), a.generate(), b.generate()];
        assert!(names[0].starts_with("ID:h-1-2-") && names[0].ends_with(":1"), "{}", names[0]);
        assert_ne!(names[0], names[1]);
        assert_ne!(names[0], names[2]);
    }
}
