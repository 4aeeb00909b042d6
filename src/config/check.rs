//! `openwired check`: everything a configuration would meet at start, without starting.

use std::fmt;

use super::environment::Environment;
use super::error::Fault;
use super::notice::{Notice, Weight};
use super::source::Source;

/// What there is to say of a configuration, one line each.
#[derive(Debug)]
pub struct CheckReport {
    pub faults: Vec<Fault>,
    pub notices: Vec<Notice>,
}

/// Reads a configuration as [`super::load`] does.
pub fn check(source: &Source, environment: &Environment) -> CheckReport {
    let (config, faults) = super::read(source, environment);
    CheckReport { faults, notices: config.notices }
}

impl CheckReport {
    /// 0 when all of it is served, 1 when the broker would not start, 2 when it would start without
    /// parts that the configuration asks for.
    pub fn exit_code(&self) -> u8 {
        let not_served = self.notices.iter().any(|notice| notice.weight == Weight::NotServed);
        match (self.faults.is_empty(), not_served) {
            (false, _) => 1,
            (true, true) => 2,
            (true, false) => 0,
        }
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            writeln!(f, "error: {fault}")?;
        }
        for notice in &self.notices {
            let label = if notice.weight.is_warn() { "warning" } else { "note" };
            writeln!(f, "{label}: {notice}")?;
        }
        f.write_str(match self.exit_code() {
            0 => "openwired would start; all of it is served",
            1 => "openwired would not start",
            _ => "openwired would start, without the parts that are not served",
        })
    }
}
